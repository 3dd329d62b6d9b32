"""Data volumes on real block devices: what is formatted and mounted, and what is refused and left as it was."""

import hashlib
import os
import shutil
import struct
import subprocess
import uuid
import zlib

import pytest

from tests.functional.conftest import own_pillar
from tests.functional.privately import STAND_INS, private_mounts, run, shadow

needs_devices = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.xfs"),
    reason="needs root, loop devices and xfsprogs",
)
pytestmark = needs_devices
SIZE = 320 * 1024 * 1024  # xfs wants 300 MiB
SMALL = 32 * 1024 * 1024
MOUNT = "/srv/volume-of-a-test"


class Disk:
    """A loop device below /dev/disk/by-id, under the id of a volume that the cloud would have made."""

    def __init__(self, image, size=SIZE):
        self.image = image
        self.size = size
        if not image.exists():
            with open(image, "wb") as file:
                file.truncate(size)
        self.device = run("losetup", "--find", "--show", image).strip()
        self.id = str(uuid.uuid4())
        self.path = f"/dev/disk/by-id/virtio-{self.id[:20]}"
        self.volume = {"name": "database-db", "mount": MOUNT, "size_gb": 1, "id": self.id}
        self.link()

    def link(self):
        os.symlink(self.device, self.path)

    def write(self, offset, content):
        with open(self.device, "r+b") as file:
            file.seek(offset)
            file.write(content)

    def hash(self):
        with open(self.device, "rb") as file:
            return hashlib.file_digest(file, "sha1").hexdigest()


@pytest.fixture
def disks(tmp_path, monkeypatch):
    """Makes disks, in a world whose mounts and units are the test's own."""
    monkeypatch.setenv("PATH", f"{STAND_INS}:{os.environ['PATH']}")
    made = []

    def make(image="disk", size=SIZE):
        made.append(Disk(tmp_path / image, size))
        return made[-1]

    with private_mounts():
        shadow(tmp_path / "shadow", "/etc", "/srv")
        # devtmpfs can't be shadowed
        os.makedirs("/dev/disk", exist_ok=True)
        run("mount", "-t", "tmpfs", "disks", "/dev/disk")
        os.mkdir("/dev/disk/by-id")
        yield make
    for disk in made:
        run("losetup", "--detach", disk.device)


@pytest.fixture
def storage(loaders):
    """Applies the storage states of one volume in order, as salt/storage/mounted.sls does, up to the first failure."""

    def apply(volume, test=False):
        server = loaders("idr-database", test=test)
        context = {"volume": volume, "device": server.modules.data_volume.path(volume)}
        unit = f"/etc/systemd/system/{server.modules.data_volume.unit(volume['mount'])}"
        steps = [
            lambda: server.states.data_volume.formatted(name=volume["name"], volume=volume),
            lambda: server.states.file.managed(
                name=unit, source="salt://storage/files/volume.mount.j2", template="jinja", context=context
            ),
            lambda: server.states.data_volume.mounted(name=volume["name"], volume=volume),
        ]
        results = []
        for step in steps:
            results.append(step())
            if results[-1].result is False:
                break
        return results

    return apply


def options_at(mount):
    return run("findmnt", "-no", "OPTIONS", mount).strip().split(",")


@pytest.mark.parametrize("test", [False, True])
def test_a_blank_volume_is_formatted_and_mounted(disks, storage, test):
    disk = disks()
    before = disk.hash()

    results = storage(disk.volume, test=test)

    assert [r.result for r in results] == [None if test else True] * 3, [r.comment for r in results]
    assert all(r.changes for r in results)
    if test:
        assert disk.hash() == before
        assert not os.path.ismount(MOUNT)
        assert not os.path.exists("/etc/systemd/system/srv-volume\\x2dof\\x2da\\x2dtest.mount")
        return
    assert "noatime" in options_at(MOUNT)
    assert run("findmnt", "-no", "FSTYPE", MOUNT).strip() == "xfs"
    again = storage(disk.volume)
    assert [(r.result, dict(r.changes)) for r in again] == [(True, {})] * 3, [r.comment for r in again]


def test_an_existing_filesystem_is_kept(disks, storage):
    disk = disks()
    run("mkfs.xfs", "-q", disk.device)
    filesystem = run("blkid", "-p", "-s", "UUID", "-o", "value", disk.device)

    storage(disk.volume)

    assert os.path.ismount(MOUNT)
    assert run("blkid", "-p", "-s", "UUID", "-o", "value", disk.device) == filesystem


def test_a_clone_is_mounted_beside_its_source(disks, storage, tmp_path):
    source = disks()
    run("mkfs.xfs", "-q", source.device)
    shutil.copy(source.image, tmp_path / "clone")
    clone = disks("clone")
    clone.volume["mount"] = "/srv/clone"

    storage(source.volume)
    storage(clone.volume)

    assert run("findmnt", "-no", "SOURCE", MOUNT).strip() == source.device
    assert run("findmnt", "-no", "SOURCE", "/srv/clone").strip() == clone.device


def test_a_volume_mounted_by_hand_gets_its_unit_and_noatime(disks, storage):
    disk = disks()
    run("mkfs.xfs", "-q", disk.device)
    os.mkdir(MOUNT)
    run("mount", disk.device, MOUNT)

    results = storage(disk.volume)

    assert [r.result for r in results] == [True] * 3
    assert "noatime" in options_at(MOUNT)


def test_a_server_made_by_hand_names_its_filesystem(disks, storage):
    disk = disks()
    run("mkfs.xfs", "-q", disk.device)
    filesystem = run("blkid", "-p", "-s", "UUID", "-o", "value", disk.device).strip()
    by_uuid = {"name": "omero-data", "mount": MOUNT, "size_gb": 1, "uuid": filesystem}

    assert storage(by_uuid, test=True)[0].result is True

    clone = disk.image.with_name("clone")
    shutil.copy(disk.image, clone)
    other = disks("clone")
    refused = storage(by_uuid)[-1]
    assert refused.result is False
    assert "both answer to" in refused.comment and other.device in refused.comment and disk.device in refused.comment
    assert not os.path.ismount(MOUNT)


def lvm(disk):
    # header of an LVM physical volume, as pvcreate writes it to the second sector: its CRC covers all after itself
    rest = struct.pack("<I8s32s", 32, b"LVM2 001", b"x" * 32).ljust(512 - 20, b"\0")
    crc = 0xF597A6CF
    for byte in rest:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    disk.write(512, b"LABELONE" + struct.pack("<QI", 1, crc) + rest)


def raid(disk):
    # superblock of an md array of version 1.2, 4 KiB into the device
    size = 4 * 2  # sectors
    disk.write(4096, struct.pack("<IIII", 0xA92B4EFC, 1, 0, 0).ljust(144, b"\0") + struct.pack("<Q", size))


def mbr(disk):
    disk.write(446 + 4, b"\x83\0\0\0" + struct.pack("<II", 2048, 4096))
    disk.write(510, b"\x55\xaa")


def gpt(disk):
    entries = bytes(128 * 128)
    last = disk.size // 512 - 1
    places = (1, last, 34, last - 33)
    table = (2, 128, 128, zlib.crc32(entries))
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *places, b"x" * 16, *table)
    disk.write(512, header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:])
    disk.write(446 + 4, b"\xee\0\0\0" + struct.pack("<II", 1, last))
    disk.write(510, b"\x55\xaa")


# what is done to the device, what the refusal must say
UNEXPECTED = {
    "ext4": (lambda d: run("mkfs.ext4", "-q", d.device), "carries ext4"),
    "swap": (lambda d: run("mkswap", d.device), "carries swap"),
    "partition table": (mbr, "carries dos"),
    "GPT": (gpt, "gpt"),
    "LUKS": (lambda d: d.write(0, b"LUKS\xba\xbe\0\1"), "crypto_LUKS"),
    "LVM": (lvm, "LVM2_member"),
    "RAID": (raid, "linux_raid_member"),
    "xfs under a partition table": (lambda d: (run("mkfs.xfs", "-q", d.device), mbr(d)), "dos and xfs"),
    "unknown at the front": (lambda d: d.write(70000, b"?"), "isn't blank at byte 70000"),
    "unknown at the end": (lambda d: d.write(d.size - 1, b"?"), f"isn't blank at byte {SMALL - 1}"),
    "a filesystem without its head": (
        lambda d: (run("mkfs.ext4", "-q", d.device), d.write(0, bytes(2 * 1024 * 1024))),
        "",
    ),
}


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("content", UNEXPECTED)
def test_a_device_that_carries_anything_else_is_refused(disks, storage, content, test):
    disk = disks(size=SIZE if "xfs" in content else SMALL)
    write, reason = UNEXPECTED[content]
    write(disk)
    before = disk.hash()

    refused = storage(disk.volume, test=test)[-1]

    assert refused.result is False
    assert not refused.changes
    assert refused.comment.startswith("idr-database: volume database-db for ") and "\n" not in refused.comment
    assert reason in refused.comment and "Nothing was changed" in refused.comment
    assert disk.hash() == before
    assert not os.path.ismount(MOUNT)


def test_the_deed_itself_refuses_what_is_not_blank(disks, loaders):
    disk = disks(size=SMALL)
    disk.write(SMALL // 2, b"?")
    before = disk.hash()
    with pytest.raises(Exception, match="isn't blank"):
        loaders("idr-database").modules.data_volume.make_filesystem(disk.device)
    assert disk.hash() == before


def no_device(disk):
    os.unlink(disk.path)


def not_a_device(disk):
    os.unlink(disk.path)
    shutil.copy("/etc/hostname", disk.path)


def files_in_the_mount_point(disk):
    os.makedirs(f"{MOUNT}/15/data")


def another_filesystem_there(disk):
    os.mkdir(MOUNT)
    run("mount", "-t", "tmpfs", "another", MOUNT)


def mounted_elsewhere(disk):
    run("mkfs.xfs", "-q", disk.device)
    os.mkdir("/srv/elsewhere")
    run("mount", disk.device, "/srv/elsewhere")


def mounts() -> list[str]:
    """What is mounted and how; not under /run, where others' network namespaces come and go, in here too."""
    listed = run("findmnt", "-rno", "TARGET,SOURCE,OPTIONS").splitlines()
    return [line for line in listed if not line.startswith("/run/")]


PLACES = {
    no_device: "there is no device",
    not_a_device: "there is no device",
    files_in_the_mount_point: f"mv {MOUNT} {MOUNT}.before",
    another_filesystem_there: "another is mounted there instead of",
    mounted_elsewhere: "umount /srv/elsewhere",
}


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_a_place_that_is_not_as_expected_is_refused(disks, storage, place, test):
    disk = disks(size=SIZE if place is mounted_elsewhere else SMALL)
    place(disk)
    before, mounted = disk.hash(), mounts()

    refused = storage(disk.volume, test=test)[-1]

    assert refused.result is False and not refused.changes
    assert PLACES[place] in refused.comment, refused.comment
    assert (disk.hash(), mounts()) == (before, mounted)


def test_a_mount_that_fails_says_why(disks, storage):
    disk = disks()
    run("mkfs.xfs", "-q", disk.device)
    disk.write(64 * 1024, bytes(4096))  # its root directory
    failed = storage(disk.volume)[-1]
    assert failed.result is False and not failed.changes
    assert failed.comment.startswith("database-db: systemctl start srv-volume"), failed.comment


@pytest.mark.parametrize("family", ["Debian", "RedHat"])
def test_every_volume_of_a_server_has_its_unit(loaders, family):
    low = loaders("idr-a-omero", os_family=family).modules.state.show_low_sls("storage.mounted")
    unit = next(chunk for chunk in low if chunk["state"] == "file")
    assert unit["name"] == "/etc/systemd/system/data.mount"
    assert unit["context"]["device"] == "/dev/disk/by-id/virtio-5e40b2d8-c713-4fa9-a"


@pytest.mark.parametrize("path", ["/var/lib/pgsql", "/data", "/srv/a-b c/d_e.f"])
def test_units_are_named_as_systemd_names_them(loaders, path):
    escaped = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", path], capture_output=True, text=True, check=True
    )
    assert loaders("idr-database").modules.data_volume.unit(path) == escaped.stdout.strip()


def test_status_tells_what_is_used(disks, storage, loaders):
    disk = disks()
    disk.volume["mount"] = MOUNT
    storage(disk.volume)
    server = loaders("idr-database")
    with own_pillar(server) as pillar:
        pillar["server"]["volumes"] = [disk.volume]
        status = server.modules.data_volume.status()["database-db"]
        assert status["occupant"]["is_volume"] and 0 < status["used"] < status["size"] <= SIZE
        assert server.modules.data_volume.problems() == []
        os.mkdir(f"{MOUNT}/.idr-restoring")
        assert server.modules.data_volume.problems() == [
            f"idr-database: volume database-db for {MOUNT}: a restore from a copy hasn't ended, and what it brings "
            "isn't all there. Type the restore once more"
        ]


@pytest.fixture
def freezing(disks, storage, loaders, tmp_path, monkeypatch):
    """A mounted volume of a server, and what its systemd was asked to run; systemd itself is the lab's to show."""
    disk = disks()
    disk.volume["mount"] = MOUNT
    storage(disk.volume)
    asked = tmp_path / "asked"
    asked.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemd-run").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (tmp_path / "bin" / "systemd-run").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def call(function, *arguments, volumes=(disk.volume,), test=False, **options):
        server = loaders("idr-database", test=test)
        with own_pillar(server) as pillar:
            pillar["server"]["volumes"] = list(volumes)
            return getattr(server.modules.data_volume, function)(*arguments, **options)

    call.disk, call.asked = disk, asked.read_text
    return call


def test_a_rehearsed_freeze_asks_systemd_for_nothing(freezing):
    assert freezing("freeze", 20, test=True) == {"would": [f"freeze {MOUNT} (database-db) for 20 s"]}
    assert freezing.asked() == ""


def test_a_freeze_is_bounded_and_thaws_by_whatever_ends_it(freezing):
    assert freezing("freeze", 20)["database-db"]["unit"] == "idr-freeze-database-db.service"

    asked = freezing.asked()
    assert "RuntimeMaxSec=20" in asked
    assert "ExecStartPre=/bin/sh" in asked and f"fsfreeze -f {MOUNT}" in asked
    assert "ExecStopPost=" in asked and f"exec fsfreeze -u {MOUNT}" in asked


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("seconds", [0, -1, 61, 1.5, "20", None, True])
def test_a_freeze_without_an_end_in_sight_is_refused(freezing, seconds, test):
    with pytest.raises(Exception, match="A freeze lasts 1 to 60 seconds, not "):
        freezing("freeze", seconds, test=test)
    assert freezing.asked() == ""


@pytest.mark.parametrize("test", [False, True])
def test_what_cant_be_frozen_is_refused_and_nothing_beside_it_is_frozen(freezing, disks, test):
    apart = disks("apart", size=SMALL).volume | {"name": "apart", "mount": "/srv/apart"}
    below = freezing.disk.volume | {"name": "below", "mount": MOUNT}

    with pytest.raises(Exception, match="apart can't be frozen: it isn't mounted on /srv/apart"):
        freezing("freeze", volumes=[below, apart], test=test)
    with pytest.raises(Exception, match="idr-database has no volume omero-data: database-db"):
        freezing("freeze", volume="omero-data", test=test)
    # what Salt and systemd write to has to go on
    run("mount", "--bind", MOUNT, "/tmp")
    try:
        with pytest.raises(Exception, match="database-db can't be frozen: /tmp is on it"):
            freezing("freeze", test=test)
    finally:
        run("umount", "/tmp")
    assert freezing.asked() == ""


@pytest.mark.parametrize("test", [False, True])
def test_a_thaw_of_what_wasnt_frozen_is_refused(freezing, test):
    with pytest.raises(Exception, match="no volume is frozen or was since a thaw"):
        freezing("thaw", test=test)
