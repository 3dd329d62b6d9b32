"""Copies at the kinds of places that aren't reached by SSH: real servers, over TLS, with a user and a password."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from idr.copies import restic
from idr.copies.restic import Failed, Missing, OnlyAdds
from lab.shell import wait_until
from tests.functional.privately import private_mounts, private_network, run
from tests.functional.test_copies import MOUNT, Place, fill, tree

PORT, WORD, WRONG = 8443, "a-secret-word", "another-secret-word"
SWIFT = Path("/usr/lib/python3/dist-packages/swift")
HERE = Path(__file__).parent
PUT_UP = 60  # seconds
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not all(map(shutil.which, ("restic", "rclone")))
    or not SWIFT.exists(),
    reason="needs root, loop devices, restic, rclone and python3-swift",
)  # fmt: skip


def rest(word, path="repository"):
    return {"repository": f"rest:https://ada:{word}@127.0.0.1:{PORT}/{path}/"}


def s3(word, path="idr"):
    opened_by = {"AWS_ACCESS_KEY_ID": "idr:ada", "AWS_SECRET_ACCESS_KEY": word}
    return {"repository": f"s3:https://127.0.0.1:{PORT}/bucket/{path}", "environment": opened_by}


def swift(word, path="idr"):
    opened_by = {"ST_AUTH": f"https://127.0.0.1:{PORT}/auth/v1.0", "ST_USER": "idr:ada", "ST_KEY": word}
    return {"repository": f"swift:box:/{path}", "environment": opened_by}


class Vault(Place):
    """A repository at a server of one of these kinds, on this machine."""

    def __init__(self, folder, kind):
        self.kind, self.running, self.adds = kind, None, ()
        self.pem = folder / "server.pem"
        words = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=vault")
        words += ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.pem, "-out", folder / "ca")
        run("openssl", "req", "-x509", *words)
        self.ca = (folder / "ca").read_text()
        self.pem.write_text(self.pem.read_text() + self.ca)
        self.folder = folder
        self.start()
        super().__init__(folder)

    def start(self):
        if self.kind is rest:
            tls = ("--cert", self.folder / "ca", "--key", self.pem, "--addr", f"127.0.0.1:{PORT}")
            words = ("rclone", "serve", "restic", *tls, "--user", "ada", "--pass", WORD, *self.adds, self.folder)
        else:
            words = ("/usr/bin/python3", HERE / "swift_in_one.py", self.folder / "swift", str(PORT), self.pem)
        environment = {**os.environ, "KEY": WORD, "PYTHONPATH": str(HERE), "RCLONE_CONFIG": "/dev/null"}
        with open(self.folder / "log", "a") as log:
            self.running = subprocess.Popen([*map(str, words)], env=environment, stdout=log, stderr=log)

        def ended():
            return None if self.running.poll() is None else (self.folder / "log").read_text()

        wait_until("it listens", lambda: not socket.socket().connect_ex(("127.0.0.1", PORT)), PUT_UP, ended)

    def kill(self):
        self.running.kill()
        self.running.wait()

    def opened_by(self, **otherwise):
        return super().opened_by(**{"ca": self.ca, **self.kind(WORD), **otherwise})

    def packs(self):
        """The files in which packs of restic's are, whatever else the server keeps of them."""
        if self.kind is rest:
            return super().packs()
        return [path for path in self.folder.glob("swift/devices/one/objects/**/*.data") if b"/data/" in _named(path)]


def _named(path):
    return os.getxattr(path, "user.swift.metadata")


@pytest.fixture(params=[rest, s3, swift], ids=lambda kind: kind.__name__)
def vault(tmp_path, monkeypatch, request):
    monkeypatch.setattr(restic, "PAUSE", 0.1)
    with private_mounts(), private_network():
        made = Vault(tmp_path, request.param)
        yield made
        made.kill()
        for device in made.devices:
            subprocess.run(["umount", "--lazy", "--all-targets", device], capture_output=True)
            run("losetup", "--detach", device)


def only(*kinds):
    return pytest.mark.parametrize("vault", kinds, indirect=True, ids=lambda kind: kind.__name__)


def test_a_copy_is_made_read_and_put_back_and_its_damage_found(vault):
    vault.volume("old")
    fill(MOUNT)
    was = tree(MOUNT)
    vault.back_up()
    vault.seal()
    [snapshot] = vault.snapshots()
    assert snapshot["tags"] == ["idr_set=a%20set", "idr_phase=good"] and snapshot["before"] == []

    assert vault.repository.run("dump", snapshot["id"], f"{MOUNT}/OMERO/Files/ü 2") == "a name"
    vault.volume("new")
    vault.restore()
    assert tree(MOUNT) == was

    with pytest.raises(Failed, match="^vault: ") as failed:
        vault.opened_by(**vault.kind(WRONG)).snapshots()
    assert re.search("401|signature we calculated|Authorization Failed", str(failed.value))
    assert "\n" not in str(failed.value) and WRONG not in str(failed.value) and not isinstance(failed.value, Missing)
    with pytest.raises(Failed, match="^vault: its password isn't that of the repository"):
        vault.opened_by(password="a wrong password").snapshots()
    with pytest.raises(Missing, match="^vault: there is no repository at "):
        vault.opened_by(**vault.kind(WORD, "elsewhere")).snapshots()
    with pytest.raises(Failed, match="certificate"):
        vault.opened_by(ca="").snapshots()

    pack = max(vault.packs(), key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    whole = pack.read_bytes()
    pack.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    with pytest.raises(Failed, match="^vault: restic check: exit 1: .") as failed:
        vault.repository.run("check", "--quiet", "--read-data-subset=100%")
    assert "\n" not in str(failed.value)


@only(rest, s3)
def test_of_a_copy_whose_place_broke_off_nothing_counts_and_the_next_one_is_whole(vault):
    vault.volume("old")
    fill(MOUNT)
    (MOUNT / "OMERO/large").write_bytes(os.urandom(24_000_000))  # more than a pack
    was = tree(MOUNT)
    vault.repository.words += ["--limit-upload", "10000"]  # KiB/s
    breaking = threading.Thread(target=breaks_off, args=(vault,))
    breaking.start()
    with pytest.raises(Failed, match="^vault: restic backup: exit "):
        vault.back_up()
    breaking.join()

    assert [line for line in vault.said if line.startswith("vault: Save(<data/") and "retrying after" in line]
    vault.start()
    assert vault.snapshots() == [] and len(vault.repository.run("list", "locks", "--no-lock").split()) == 1

    vault.back_up()
    vault.seal()
    assert [it["tags"] for it in vault.snapshots()] == [["idr_set=a%20set", "idr_phase=good"]]
    assert vault.repository.run("list", "locks", "--no-lock") == ""
    vault.volume("new")
    vault.restore()
    assert tree(MOUNT) == was


@only(rest)
def test_one_who_stops_a_copy_leaves_no_lock(vault):
    vault.volume("old")
    fill(MOUNT)
    often = vault.opened_by(environment={"RESTIC_PROGRESS_FPS": "50"})
    often.words += ["--limit-upload", "200"]

    def stops(line):
        assert "status" in line and len(vault.locks()) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        often.run("backup", "--json", str(MOUNT), heard=stops)
    assert vault.locks() == [] and vault.snapshots() == []


def breaks_off(vault):
    """Its server is killed once something is there; and who copies, as they see that nothing goes on."""
    wait_until("something is there", vault.packs, PUT_UP, every=0.01)
    vault.kill()
    wait_until("that is told", lambda: any("retrying after" in line for line in vault.said), PUT_UP)
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "restic\n":
                os.kill(int(child), signal.SIGKILL)


@only(rest)
def test_at_a_place_that_only_adds_a_copy_is_made_and_told_of_anew_and_only_its_keeper_removes_it(vault):
    vault.kill()
    vault.adds = ("--append-only",)
    vault.start()
    vault.volume("old")
    fill(MOUNT)
    was = tree(MOUNT)
    vault.back_up()
    vault.seal()
    vault.repository.retag(vault.snapshots(), ["idr_phase=good"], ["idr_phase=disproved"])
    vault.repository.retag(vault.snapshots(), ["idr_phase=disproved"], ["idr_phase=good"])

    assert vault.locks() == []
    [it] = vault.snapshots()
    assert it["tags"] == ["idr_set=a%20set", "idr_phase=good"] and len(it["before"]) == 4
    files = tree(vault.folder / "repository")
    with pytest.raises(OnlyAdds, match="^vault: restic forget: nothing can be removed there. If it's to be so, its "):
        vault.repository.forget([it])
    assert tree(vault.folder / "repository") == files
    vault.volume("new")
    vault.restore()
    assert tree(MOUNT) == was

    vault.kill()
    vault.adds = ()  # as its keeper reaches it
    vault.start()
    vault.repository.forget(vault.snapshots())
    assert vault.snapshots() == [] and vault.packs() == [] and os.listdir(vault.folder / "repository/snapshots") == []
