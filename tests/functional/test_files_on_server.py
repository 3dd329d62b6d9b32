"""Single files brought back on a server: real filesystems, of which one is a clone of the other as it was."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from idr import files_on_server
from lab.shell import wait_until
from tests.functional.privately import private_mounts, run

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.xfs"),
    reason="needs root, loop devices and xfsprogs",
)
SIZE = 320 * 1024 * 1024  # xfs wants 300 MiB
MOUNT = Path("/srv/data-of-a-test")
# What systemd does for a unit, as far as it is asked to here
SYSTEMD_RUN = """#!/usr/bin/python3
import subprocess, sys
words, said = sys.argv[1:], {}
while words[0].startswith("--"):
    name, _, value = words.pop(0).removeprefix("--property=").partition("=")
    said[name] = value.removeprefix("file:")
assert said["PrivateMounts"] == "yes"
unit = subprocess.Popen(
    ["unshare", "--mount", *words], stdin=open(said["StandardInput"]), stdout=open(said["StandardOutput"], "w"),
    stderr=open(said["StandardError"], "w"), start_new_session=True,
)
open("/run/pid", "w").write(str(unit.pid))
"""
SYSTEMCTL = """#!/bin/bash
pid=$(cat /run/pid 2>/dev/null) || pid=none
is_active() { [ -d /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status; }
[ "$1" = stop ] && is_active && kill -9 -- -$pid && while is_active; do sleep 0.05; done
is_active && echo ActiveState=active || echo ActiveState=inactive
"""
FOLDER = "restored-idr-20261125T030000Z-run-1"


class Server:
    """A volume that is mounted, and a clone of it as it was; what is done is done by a process of its own, as there."""

    def __init__(self, folder):
        self.image, self.copy = folder / "volume", folder / "clone"
        self.live, self.clone = str(uuid.uuid4()), str(uuid.uuid4())
        self.devices = []
        with open(self.image, "wb") as file:
            file.truncate(SIZE)
        run("mkfs.xfs", "-q", self.image)
        MOUNT.mkdir(parents=True, exist_ok=True)
        run("mount", self.attach(self.live, self.image), MOUNT)

    def attach(self, id_, image):
        device = run("losetup", "--find", "--show", image).strip()
        self.devices.append(device)
        os.symlink(device, f"/dev/disk/by-id/virtio-{id_[:20]}")
        return device

    def snapshot(self):
        """The clone of what is there now, held still meanwhile."""
        run("fsfreeze", "--freeze", MOUNT)
        try:
            self.copied()
        finally:
            run("fsfreeze", "--unfreeze", MOUNT)

    def power_cut(self):
        """The clone of what was there when the power went: some of it only in the log."""
        run("xfs_io", "-x", "-c", "shutdown -f", MOUNT)
        run("umount", MOUNT)
        self.copied()
        run("mount", self.devices[0], MOUNT)

    def copied(self):
        run("cp", "--sparse=always", self.image, self.copy)
        self.attach(self.clone, self.copy)

    def asked(self, *paths, **further):
        about = {"set": "idr-20261125T030000Z", "clone": self.clone, "live": self.live, "mount": str(MOUNT)}
        return {**about, "folder": FOLDER, "paths": paths} | further

    def do(self, what, *paths, check=True, **further):
        done = subprocess.run(
            [sys.executable, files_on_server.__file__, "-", what],
            input=json.dumps(self.asked(*paths, **further)) + "\n",
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


@pytest.fixture
def server(tmp_path):
    with private_mounts():
        for place in ("/dev/disk", "/srv", "/run"):
            os.makedirs(place, exist_ok=True)
            run("mount", "-t", "tmpfs", "of-a-test", place)
        os.mkdir("/dev/disk/by-id")
        it = Server(tmp_path)
        yield it
        assert str(files_on_server.FOLDER) not in Path("/proc/self/mounts").read_text()
        run("umount", MOUNT)
    for device in it.devices:
        run("losetup", "--detach", device)


def write(path, text="", mode=0o640, owner=1234):
    path = MOUNT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.chown(path, owner, owner)
    path.chmod(mode)
    os.utime(path, (1_500_000_000, 1_600_000_000))
    return path


def about(path):
    it = path.lstat()
    return it.st_uid, it.st_gid, stat.S_IMODE(it.st_mode), it.st_mtime_ns


def contents(folder):
    """What is in a folder and below, each with its owner, mode and time, and where it leads or what it holds."""

    def held(it):
        return os.readlink(it) if it.is_symlink() else it.read_bytes() if it.is_file() else None

    return {str(it.relative_to(folder)): (about(it), held(it)) for it in folder.rglob("*")}


def test_what_is_asked_for_is_beside_what_is_there_as_it_was(server):
    first = write("OMERO/Files/12", "as it was\n")
    write("OMERO/ManagedRepository/a b/1.tif", "pixels", 0o600, 77)
    os.link(first, MOUNT / "OMERO/ManagedRepository/a b/linked")
    os.symlink("/etc/shadow", MOUNT / "OMERO/ManagedRepository/a b/out")
    os.setxattr(first, "user.checksum", b"c0ffee")
    os.chmod(MOUNT / "OMERO/Files", 0o2750)
    os.chown(MOUNT / "OMERO/Files", 5, 6)
    os.utime(MOUNT / "OMERO/Files", (1_400_000_000, 1_400_000_000))
    os.chmod(MOUNT, 0o751)
    was = contents(MOUNT)
    server.snapshot()
    first.write_text("as it is now\n")
    shutil.rmtree(MOUNT / "OMERO/ManagedRepository")

    paths = ("OMERO/Files/12", "OMERO/ManagedRepository/a b")
    looked = server.do("look", *paths)
    brought = server.do("bring", *paths)

    assert looked["problems"] == [] and looked["entries"] == 4 and looked["bytes"] > 0
    assert brought == {"folder": f"{MOUNT}/{FOLDER}"}
    there = contents(MOUNT / FOLDER)
    assert there == was
    assert first.read_text() == "as it is now\n"
    restored = MOUNT / FOLDER / "OMERO/Files/12"
    assert os.getxattr(restored, "user.checksum") == b"c0ffee"
    assert restored.samefile(MOUNT / FOLDER / "OMERO/ManagedRepository/a b/linked")
    assert about(MOUNT / FOLDER)[:3] == about(MOUNT)[:3]


def test_of_a_crash_consistent_one_is_brought_what_was_acknowledged(server):
    run("sync")
    for number in range(50):
        with open(write(f"OMERO/{number}", str(number))) as file:
            os.fsync(file.fileno())
    server.power_cut()
    assert "<DIRTY>" in run("xfs_logprint", "-t", server.copy)  # it has to be replayed

    server.do("bring", "OMERO")

    assert {it.name: it.read_text() for it in (MOUNT / FOLDER / "OMERO").iterdir()} == {
        str(number): str(number) for number in range(50)
    }


@pytest.fixture
def unit(server, tmp_path, monkeypatch):
    """Units of a systemd that isn't there; returns what begins one."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    program = Path(files_on_server.__file__).read_text()

    def begin(deed, *paths, cp=None):
        if cp:
            (programs / "cp").write_text(cp)
            (programs / "cp").chmod(0o755)
        server.do("begin", *paths, deed=deed, program=program)

    yield begin
    subprocess.run(["systemctl", "stop"], check=False)


def ended(server):
    """What the unit was asked and had to say in the end."""
    until = time.monotonic() + 300
    while "bytes" in (now := server.do("so_far")):
        assert time.monotonic() < until
    return now


def test_it_is_done_in_a_unit_that_is_asked_how_far_it_is(server, unit):
    write("OMERO/file", "as it was")
    server.snapshot()

    unit("look", "OMERO/file")
    assert ended(server)["answer"]["problems"] == []
    for _ in range(2):  # an answer may have been lost
        unit("bring", "OMERO/file")
        assert ended(server) == {"answer": {"folder": f"{MOUNT}/{FOLDER}"}}
    assert (MOUNT / FOLDER / "OMERO/file").read_text() == "as it was"
    unit("bring", "OMERO")
    assert ended(server) == {"failed": f"{MOUNT}/{FOLDER} is there already, and stays as it is"}
    server.do("end")
    assert ended(server)["failed"].startswith("it was ended from outside")


def test_one_that_is_ended_leaves_nothing_mounted_and_what_it_began_is_taken_away(server, unit):
    write("file")
    server.snapshot()
    device = f"/dev/disk/by-id/virtio-{server.clone[:20]}"
    unit("bring", "file", cp="#!/bin/sh\nhead -c 100000 /dev/zero > /run/copied\nexec sleep 3600\n")
    wait_until("some of it is there", lambda: server.do("so_far")["bytes"] >= 100_000, 120)
    assert files_on_server._is_in_use(device)
    assert sorted(os.listdir(MOUNT)) == ["file", f"{FOLDER}.partial"]
    assert stat.S_IMODE((MOUNT / f"{FOLDER}.partial").stat().st_mode) == 0o700

    server.do("end")

    assert not files_on_server._is_in_use(device)
    assert os.listdir(MOUNT) == ["file"] and not files_on_server.FOLDER.exists()


def test_everything_that_keeps_it_from_being_done_is_said_at_once(server):
    write("OMERO/big", "x" * 1_000_000)
    write("OMERO/file")
    os.symlink("/etc", MOUNT / "OMERO/etc")
    with open(MOUNT / "OMERO/file", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, SIZE // 3)
    server.snapshot()
    shutil.copyfile(MOUNT / "OMERO/file", MOUNT / "full")

    paths = ("OMERO/file", "OMERO/lost/1", "OMERO/etc/shadow", "OMERO/big/1")
    told = server.do("look", *paths)["problems"]

    assert told[:3] == [
        f"{MOUNT}/OMERO/lost/1 isn't in idr-20261125T030000Z; {MOUNT}/OMERO is",
        f"{MOUNT}/OMERO/etc/shadow: {MOUNT}/OMERO/etc is a link in idr-20261125T030000Z, to /etc: say where that is",
        f"{MOUNT}/OMERO/big/1 isn't in idr-20261125T030000Z, where {MOUNT}/OMERO/big is no folder",
    ]
    assert told[3].startswith(f"{MOUNT}: 0.1 GB are needed, and ") and len(told) == 4
    before = sorted(os.listdir(MOUNT))
    for path in paths[1:]:
        assert server.do("bring", path, check=False).startswith(f"{MOUNT}/{path}")
    assert sorted(os.listdir(MOUNT)) == before


def test_a_link_that_is_named_is_brought_as_one_and_a_socket_too(server):
    write("OMERO/file")
    os.symlink("/etc", MOUNT / "OMERO/etc")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(MOUNT / "OMERO/socket"))
    server.snapshot()

    server.do("bring", "OMERO/etc", "OMERO/socket")

    assert os.readlink(MOUNT / FOLDER / "OMERO/etc") == "/etc"
    assert sorted(os.listdir(MOUNT / FOLDER / "OMERO")) == ["etc", "socket"]


def test_a_copy_that_fails_leaves_nothing(server):
    with open(write("file"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, SIZE // 3)
        file.write(os.urandom(SIZE // 3))
    server.snapshot()
    shutil.copyfile(MOUNT / "file", MOUNT / "full")
    before = sorted(os.listdir(MOUNT))

    assert server.do("bring", "file", check=False).endswith("No space left on device")

    assert sorted(os.listdir(MOUNT)) == before


def test_nothing_is_written_where_the_volume_is_not_mounted_nor_into_a_folder_that_is_there(server):
    write("file", "as it was")
    server.snapshot()
    other = {"live": str(uuid.uuid4())}
    [why] = server.do("ready", **other)
    assert why == f"{MOUNT}: the volume {other['live']} isn't mounted there: salt '*' data_volume.problems"
    assert server.do("bring", "file", check=False, **other) == why
    assert server.do("ready") == []
    (MOUNT / FOLDER).mkdir()
    write(f"{FOLDER}/file", "somebody's")

    assert server.do("bring", "file", check=False).endswith(" is there already, and stays as it is")

    assert (MOUNT / FOLDER / "file").read_text() == "somebody's"
    assert sorted(os.listdir(MOUNT)) == ["file", FOLDER]


def test_a_clone_that_is_still_mounted_is_not_let_go_of(server, monkeypatch):
    write("file")
    server.snapshot()
    device = f"/dev/disk/by-id/virtio-{server.clone[:20]}"
    assert not files_on_server._is_in_use(device)
    (MOUNT / "here").mkdir()
    run("mount", "-o", "ro,nouuid", device, MOUNT / "here")
    try:
        assert files_on_server._is_in_use(device)
        monkeypatch.setattr(files_on_server, "FREE", 0)
        monkeypatch.setattr(files_on_server, "_stop", lambda: None)
        with pytest.raises(SystemExit, match="is still in use"):
            files_on_server.end(server.asked(), None)
    finally:
        run("umount", MOUNT / "here")
    (MOUNT / f"{FOLDER}.partial").mkdir()
    write(f"{FOLDER}.partial/OMERO/1")
    files_on_server.end(server.asked(), None)
    assert sorted(os.listdir(MOUNT)) == ["file", "here"]
