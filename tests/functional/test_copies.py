"""Volumes copied by the real restic into a repository and put back from there; one is of a PostgreSQL that runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from idr.backup import copied
from idr.backup.model import TAKING
from idr.copies import deeds, restic
from idr.copies.restic import Failed, Missing, Repository
from lab.shell import wait_until
from tests.backups import NIGHT, backup_set
from tests.functional.postgresql_host import DATA, VOLUME, assert_good, server, sql, volume
from tests.functional.privately import private_mounts, run

__all__ = ["server", "volume"]  # fixtures
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("restic"),
    reason="needs root, loop devices and restic",
)
SIZE = 320 * 1024 * 1024  # xfs wants 300 MiB
MOUNT = Path("/srv/data-of-a-copy")
PASSWORD = "correct horse battery"
WHERE = {"name": "vault", "password": PASSWORD, "environment": {}, "ssh_key": "", "known_hosts": "", "ca": ""}
TAKEN = "2026-11-25 03:00:00"


def mounted(image, where, *options):
    """A volume with an empty xfs; its device."""
    with open(image, "wb") as file:
        file.truncate(SIZE)
    run("mkfs.xfs", "-q", image)
    device = run("losetup", "--find", "--show", image).strip()
    where.mkdir(parents=True, exist_ok=True)
    run("mount", *options, device, where)
    return device


class Place:
    """A repository on this machine, and what is told of what is done with it."""

    def __init__(self, folder):
        self.folder, self.said, self.devices = folder, [], []
        (folder / "private").mkdir(mode=0o700)
        self.repository = self.opened_by()
        self.repository.init()

    def opened_by(self, **otherwise):
        asked = {**WHERE, "repository": str(self.folder / "repository"), **otherwise}
        return Repository(asked, self.folder / "private", self.folder / "cache", self.said.append)

    def volume(self, name, where=MOUNT, *options):
        self.devices.append(mounted(self.folder / name, where, *options))
        return self.devices[-1]

    def back_up(self, repository=None, **further):
        asked = {"path": str(MOUNT), "device": None, "running": False, "host": "idr", "taken": TAKEN}
        asked |= {"tags": ["idr_set=a%20set", "idr_phase=taking"]} | further
        return deeds.back_up(asked, repository or self.repository, self.said.append)

    def seal(self, *each):
        asked = {"having": "idr_set=a%20set", "each": list(each), "tags": [["idr_phase=taking"], ["idr_phase=good"]]}
        deeds.seal(asked, self.repository, self.said.append)

    def restore(self, snapshot=None, path=MOUNT, repository=None):
        asked = {"path": str(path), "snapshot": snapshot or self.snapshots()[-1]["id"]}
        return deeds.restore(asked, repository or self.repository, self.said.append)

    def snapshots(self):
        return self.repository.snapshots()

    def packs(self):
        return sorted(path for path in (self.folder / "repository/data").rglob("*") if path.is_file())

    def locks(self):
        return [it for it in (self.folder / "repository/locks").iterdir() if "-tmp-" not in it.name]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(restic, "PAUSE", 0.1)
    with private_mounts():
        made = Place(tmp_path)
        yield made
        for device in made.devices:
            subprocess.run(["umount", "--lazy", "--all-targets", device], capture_output=True)
            run("losetup", "--detach", device)


def fill(root):
    (root / "OMERO/Files").mkdir(parents=True)
    (root / "OMERO/Files/1").write_bytes(os.urandom(2_000_000))
    (root / "OMERO/Files/ü 2").write_text("a name")
    os.link(root / "OMERO/Files/1", root / "OMERO/same")
    os.symlink("/nfs/elsewhere", root / "OMERO/link")
    os.chown(root / "OMERO", 1234, 4321)
    os.chmod(root / "OMERO/Files/ü 2", 0o640)
    os.setxattr(root / "OMERO/Files", "user.comment", b"kept")
    os.utime(root / "OMERO/Files/1", (1_600_000_000, 1_600_000_000))
    os.chown(root, 1234, 4321)
    os.chmod(root, 0o750)


def tree(root):
    """All that is in a volume, and how."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        about = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        names = [] if path.is_symlink() or path == root else os.listxattr(path)
        time_ = about.st_mtime_ns if path.is_file() else None
        of_it = (about.st_mode, about.st_uid, about.st_gid, about.st_nlink if path.is_file() else 0, time_)
        found[str(path.relative_to(root))] = (*of_it, content, {name: os.getxattr(path, name) for name in names})
    return found


def test_a_volume_is_copied_and_put_back_as_it_was(place):
    device = place.volume("old")
    fill(MOUNT)
    was = tree(MOUNT)
    run("umount", MOUNT)

    said = place.back_up(device=device)  # a clone, that nobody has mounted
    place.seal()

    assert said["files"] == 3 and said["bytes"] > 2_000_000 and not os.path.ismount(MOUNT)
    [snapshot] = place.snapshots()
    assert snapshot["tags"] == ["idr_set=a%20set", "idr_phase=good"] and snapshot["paths"] == [str(MOUNT)]
    assert (snapshot["hostname"], snapshot["time"]) == ("idr", "2026-11-25T03:00:00Z")
    assert any("copying into vault" in line for line in place.said)
    assert not any(b"a name" in path.read_bytes() for path in place.packs())  # it's encrypted

    place.volume("new")
    assert place.restore() == {"there": False}
    assert tree(MOUNT) == was
    assert place.restore() == {"there": True} and tree(MOUNT) == was


def test_what_restic_lists_is_a_set_and_goes_whole(place):
    place.volume("old")
    fill(MOUNT)
    it = replace(backup_set(), facts={"by": "ada@desk, by hand"}, figures="7 rows, 100% read", verified=NIGHT)
    for piece in it.pieces:
        place.back_up(tags=copied.tags(it, piece, NIGHT))
    assert copied.sets(place.snapshots())[0].phase == TAKING

    each = [copied.of(use) for use in it.uses]
    asked = {"having": copied.having(it.id), "each": each, "tags": copied.PHASE}
    deeds.seal(asked, place.repository, place.said.append)

    found = copied.the(place.snapshots(), it.id)
    assert replace(found, pieces=it.pieces) == it and found.is_complete
    place.repository.run("forget", "--prune", "--quiet", *(piece.snapshot for piece in found.pieces))
    assert place.snapshots() == [] and place.packs() == []


def test_what_was_there_already_is_not_written_again(place):
    place.volume("old")
    fill(MOUNT)
    first = place.back_up()
    (MOUNT / "OMERO/more").write_bytes(os.urandom(1000))
    assert place.back_up()["added"] < 100_000 < first["added"]


def test_nothing_is_put_back_over_anything(place):
    place.volume("old")
    fill(MOUNT)
    place.back_up()
    before = tree(MOUNT)

    with pytest.raises(SystemExit, match=f"{MOUNT} isn't empty, it has OMERO: a copy is put back into an empty"):
        place.restore()
    assert tree(MOUNT) == before
    run("umount", MOUNT)
    with pytest.raises(SystemExit, match="no volume is mounted there"):
        place.restore()
    with pytest.raises(SystemExit, match="nothing is mounted there, so there's nothing to copy"):
        place.back_up()
    assert os.listdir(MOUNT) == []


def test_a_restore_that_was_cut_off_is_gone_on_with(place):
    place.volume("old")
    fill(MOUNT)
    was = tree(MOUNT)
    place.back_up()
    place.volume("new")
    snapshot = place.snapshots()[0]["id"]
    staging = MOUNT / deeds.RESTORING
    staging.mkdir()
    (staging / "half of a file").write_text("x")

    place.restore()
    assert tree(MOUNT) == was

    # killed between the renames
    staging.mkdir()
    root = staging / MOUNT.relative_to("/")
    root.mkdir(parents=True)
    shutil.copystat(MOUNT, root)
    os.chown(root, 1234, 4321)
    os.rename(MOUNT / "OMERO", root / "OMERO")
    (MOUNT / "renamed already").write_text("x")
    (staging / deeds.READY).write_text(snapshot)
    place.restore()
    (MOUNT / "renamed already").unlink()
    assert tree(MOUNT) == was


def test_what_came_to_a_volume_meanwhile_is_not_renamed_over(place):
    place.volume("new")
    staging = MOUNT / deeds.RESTORING
    root = staging / MOUNT.relative_to("/")
    (root / "OMERO").mkdir(parents=True)
    (root / "log").write_text("of the copy")
    (staging / deeds.READY).write_text("a snapshot")
    (MOUNT / "log").write_text("of today")

    with pytest.raises(SystemExit, match=f"{MOUNT}: log came there meanwhile, and is in the copy, too: move it away"):
        place.restore("a snapshot")
    assert (MOUNT / "log").read_text() == "of today" and sorted(os.listdir(root)) == ["OMERO", "log"]

    (MOUNT / "log").unlink()
    place.restore("a snapshot")
    assert (MOUNT / "log").read_text() == "of the copy" and sorted(os.listdir(MOUNT)) == ["OMERO", "log"]


def test_a_restore_that_was_cut_off_while_it_tidied_up_is_ended(place, monkeypatch):
    place.volume("new")
    staging = MOUNT / deeds.RESTORING
    root = staging / MOUNT.relative_to("/")
    (root / "OMERO").mkdir(parents=True)
    (staging / deeds.READY).write_text("a snapshot")

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    for at in ("unlink", "rmdir"):  # after all is in its place; then once its last file is gone, too
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Path, at, killed)
            place.restore("a snapshot")
        assert sorted(os.listdir(MOUNT)) == [deeds.RESTORING, "OMERO"] and not root.exists()
    assert place.restore("a snapshot") == {"there": True}
    assert os.listdir(MOUNT) == ["OMERO"]


def test_a_copy_whose_marks_were_not_written_does_not_count(place, monkeypatch):
    place.volume("old")
    fill(MOUNT)
    place.back_up(tags=["idr_set=a%20set", "idr_volume=omero-data", "idr_phase=taking"])
    with pytest.raises(Failed, match="^vault: of idr_set=a%20set, idr_volume=database-db isn't there, or couldn't"):
        place.seal("idr_volume=omero-data", "idr_volume=database-db")
    place.seal("idr_volume=omero-data")

    wrapper = place.folder / "restic"
    wrapper.write_text(  # as where the repository is full: a warning, and exit code 0
        f'#!/bin/sh\ncase "$*" in *" tag "*) echo unable to modify the tags, ignoring >&2; exit 0;; esac\n'
        f'exec {shutil.which("restic")} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.folder}:{os.environ['PATH']}")
    place.back_up(tags=["idr_set=another", "idr_volume=omero-data", "idr_phase=taking"])
    asked = {"having": "idr_set=another", "each": ["idr_volume=omero-data"], "tags": copied.PHASE}
    with pytest.raises(Failed, match="^vault: of idr_set=another, idr_volume=omero-data isn't there, or couldn't"):
        deeds.seal(asked, place.repository, place.said.append)


def test_a_wrong_password_and_a_repository_that_is_not_there_are_a_line_each(place):
    place.volume("old")
    fill(MOUNT)
    with pytest.raises(Failed, match="^vault: its password isn't that of the repository") as failed:
        place.back_up(place.opened_by(password="a wrong password"))
    assert "a wrong password" not in str(failed.value)
    with pytest.raises(Missing, match="^vault: there is no repository at /nowhere$"):
        place.back_up(place.opened_by(repository="/nowhere"))
    secret = place.opened_by(repository="rest:http://ada:a-secret-word@127.0.0.1:9/")
    with pytest.raises(Failed, match="connection refused") as failed:
        secret.snapshots()
    assert not isinstance(failed.value, Missing) and "a-secret-word" not in str(failed.value)
    assert place.snapshots() == []


SECRETS = {
    "AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-word", "B2_ACCOUNT_ID": "an-id",
    "B2_ACCOUNT_KEY": "a-secret-word", "AZURE_ACCOUNT_NAME": "account", "AZURE_ACCOUNT_KEY": "YS1zZWNyZXQtd29yZA==",
    "OS_AUTH_URL": "http://127.0.0.1:9/v3", "OS_PASSWORD": "a-secret-word", "HTTPS_PROXY": "http://127.0.0.1:9",
}  # fmt: skip


@pytest.mark.parametrize(
    "repository",
    ["rest:http://ada:a-secret-word@127.0.0.1:9/", "s3:http://127.0.0.1:9/bucket", "b2:bucket:idr", "azure:box:/idr",
     "gs:bucket:/idr", "swift:box:/idr"],
)  # fmt: skip
def test_a_place_of_any_kind_that_is_not_reached_is_a_line_without_what_opens_it(place, monkeypatch, repository):
    monkeypatch.setattr(restic, "ANSWERED", 3)
    with pytest.raises(Failed, match="^vault: restic snapshots: exit .*: .") as failed:
        place.opened_by(repository=repository, environment=SECRETS).snapshots()
    assert "\n" not in str(failed.value) and "secret-word" not in str(failed.value)
    assert not isinstance(failed.value, Missing)


def test_a_place_that_never_answers_is_given_up(place, monkeypatch):
    monkeypatch.setattr(restic, "ANSWERED", 0.2)
    (place.folder / "restic").write_text("#!/bin/sh\nexec sleep 600\n")
    (place.folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.folder}:{os.environ['PATH']}")
    with pytest.raises(Failed, match="^vault: restic snapshots: exit -15: Fatal: no answer within 0.2 s$"):
        place.snapshots()


def test_damage_in_a_repository_is_found_before_a_copy_counts_and_when_it_is_read(place):
    place.volume("old")
    fill(MOUNT)
    place.back_up()
    pack = max(place.packs(), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])

    place.volume("new")
    with pytest.raises(Failed, match=f"^vault: restic restore: exit 1: .*{MOUNT}/OMERO/Files/1.*verification failed"):
        place.restore()
    assert os.listdir(MOUNT) == [deeds.RESTORING]  # of which a deploy is told

    pack.unlink()
    with pytest.raises(Failed, match=f"^vault: restic check: exit 1: pack {pack.name}: does not exist"):
        place.seal()
    assert place.snapshots()[0]["tags"] == ["idr_set=a%20set", "idr_phase=taking"]

    pack.write_bytes(whole)
    place.seal()
    place.restore()
    assert (MOUNT / "OMERO/Files/ü 2").read_text() == "a name"


@pytest.fixture
def another(place):
    """Another run, that is at work on the repository."""
    environment = {**os.environ, "RESTIC_REPOSITORY": str(place.folder / "repository"), "RESTIC_PASSWORD": PASSWORD}
    words = ["restic", "--no-cache", "backup", "--stdin", "--quiet"]
    running = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE)
    wait_until("it has its lock", place.locks, 120)
    yield running
    running.kill()
    running.communicate()


def test_of_a_run_that_was_killed_nothing_counts_and_its_lock_is_taken_off(place, another):
    place.volume("old")
    fill(MOUNT)
    place.back_up()
    another.send_signal(signal.SIGKILL)
    another.wait()
    assert len(place.locks()) == 1

    place.seal()

    assert place.locks() == [] and len(place.snapshots()) == 1


def test_a_program_that_has_the_number_of_a_dead_run_by_now_is_let_be(place, monkeypatch):
    bystander = subprocess.Popen(["sleep", "600"])
    environment = {**os.environ, "RESTIC_REPOSITORY": str(place.folder / "repository"), "RESTIC_PASSWORD": PASSWORD}
    dies = (
        f"mkfifo fifo; exec 3<>fifo; echo {bystander.pid - 1} > /proc/sys/kernel/ns_last_pid\n"
        "restic --no-cache backup --stdin --quiet <&3 & "
        "until ls repository/locks | grep -qv tmp; do :; done; kill -9 $!"
    )
    pauses = []

    def pause(_):
        pauses.append(place.locks())
        if len(pauses) == 3:
            for lock in place.locks():
                lock.unlink()

    try:
        subprocess.run(["unshare", "--pid", "--fork", "sh", "-ec", dies], cwd=place.folder, env=environment, check=True)
        monkeypatch.setattr(restic.time, "sleep", pause)
        place.repository.run("check")
        assert any(f"already locked by PID {bystander.pid}" in line for line in place.said)
        assert len(pauses) == 3 and bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_run_that_is_at_work_keeps_its_lock_and_is_waited_for(place, another, monkeypatch):
    monkeypatch.setattr(restic, "LOCKED", 0)
    place.volume("old")
    fill(MOUNT)
    place.back_up()
    with pytest.raises(Failed, match="^vault: restic check: exit 1: .*already locked by PID"):
        place.seal()
    assert len(place.locks()) == 1
    assert place.snapshots()[0]["tags"] == ["idr_set=a%20set", "idr_phase=taking"]

    monkeypatch.setattr(restic, "LOCKED", 600)
    place.said.clear()
    lines = place.said.append

    def heard(line):
        lines(line)
        if "waiting" in line:
            another.stdin.close()

    place.repository.say = heard
    place.seal()
    assert any("already locked by PID" in line for line in place.said)
    assert {tag for it in place.snapshots() for tag in it["tags"] or ()} == {"idr_set=a%20set", "idr_phase=good"}


def test_what_cannot_be_read_whole_leaves_no_snapshot(place, monkeypatch):
    place.volume("old")
    fill(MOUNT)
    real = shutil.which("restic")
    wrapper = place.folder / "restic"
    wrapper.write_text(  # as a file that vanishes: restic makes its snapshot all the same
        f'#!/bin/sh\ncase "$*" in *" backup "*) {real} "$@"; echo error: gone >&2; exit 3;; esac\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.folder}:{os.environ['PATH']}")

    with pytest.raises(Failed, match="restic backup: exit 3: error: gone"):
        place.back_up()
    assert place.snapshots() == []

    text = wrapper.read_text().replace("exec ", 'case "$*" in *forget*) exit 1;; esac\nexec ')  # killed before that
    wrapper.write_text(text)
    with pytest.raises(Failed, match="restic backup: exit 3: error: gone"):
        place.back_up()
    [[tag]] = [it["tags"] for it in place.snapshots()]
    assert tag.startswith("idr_unfinished=20") and copied.sets(place.snapshots()) == ()


@pytest.fixture
def database(place, server):  # which is stopped before what it may be on is unmounted
    assert_good(server.apply())
    sql("CREATE TABLE image (name text)", "idr")
    sql("INSERT INTO image SELECT 'a' FROM generate_series(1, 1000)", "idr")
    return server


def test_a_postgresql_that_runs_is_copied_and_starts_where_it_is_put_back(database, place):
    said = place.back_up(path=VOLUME, running=True)

    assert said["files"] > 500
    assert database.modules.pg_cluster.running() and os.listdir(VOLUME) == ["15"]
    sql("INSERT INTO image SELECT 'later' FROM generate_series(1, 10)", "idr")
    database.stop()
    place.volume("new", Path(VOLUME))
    place.restore(path=VOLUME)
    assert sorted(os.listdir(VOLUME)) == ["15"] and os.path.exists(f"{DATA}/backup_label")
    assert_good(database.apply())
    assert sql("SELECT count(*) FROM image", "idr") == "1000"
    assert sql("SHOW data_checksums") == "on"


def test_a_postgresql_that_does_not_run_or_has_no_room_is_a_line(database, place, monkeypatch):
    room = os.statvfs(VOLUME)
    monkeypatch.setattr(deeds, "RESERVE", 1 / (room.f_blocks * room.f_frsize))
    with pytest.raises(SystemExit, match="a base backup needs .* GB beside the cluster, and .* are free"):
        place.back_up(path=VOLUME, running=True)
    database.stop()
    with pytest.raises(SystemExit, match="no PostgreSQL runs there"):
        place.back_up(path=VOLUME, running=True)
    assert place.snapshots() == [] and os.listdir(VOLUME) == ["15"]


HOLDS_A_KEY = """
import sys, time
from pathlib import Path
from idr.backup import copied, destinations
with copied.opened(destinations.read(Path(sys.argv[1]), "vault"), print) as repository:
    print(repository.place, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGKILL])
def test_ssh_gets_a_key_that_is_in_no_file_however_a_run_ends(tmp_path, how):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    (tmp_path / "site/copies").mkdir(mode=0o700, parents=True)
    key = (tmp_path / "key").read_text()
    said = {"repository": "sftp:ada@vault:/srv/idr", "password": PASSWORD, "ssh_key": key}
    file = tmp_path / "site/copies/vault.yaml"
    file.write_text(json.dumps({**said, "known_hosts": "vault ssh-ed25519 AAAA", "keep": {"daily": 1}}))
    for path in (file, tmp_path / "site"):
        path.chmod(path.stat().st_mode & 0o700)

    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path)}
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-c", HOLDS_A_KEY, tmp_path / "site"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as holding:
        place = Path(holding.stdout.readline().strip())
        given = re.search(r"IdentityFile (.+)", (place / "ssh_config").read_text())[1]
        public = run("ssh-keygen", "-y", "-f", given)
        holding.send_signal(how)

    assert public.split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]
    left = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert not [path for path in left if key.splitlines()[2] in path.read_text() or PASSWORD in path.read_text()]


def test_no_secret_is_an_argument_of_what_is_run(place, monkeypatch):
    seen = place.folder / "seen"
    wrapper = place.folder / "restic"
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {seen}\nexec {shutil.which("restic")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.folder}:{os.environ['PATH']}")
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc"
    where = {"repository": "sftp://ada@127.0.0.1:9//srv/idr", "ssh_key": key, "known_hosts": "vault ssh-ed25519 AAAA"}
    with pytest.raises(Failed, match="ssh: connect to host 127.0.0.1 port 9: Connection refused"):
        place.opened_by(**where).snapshots()
    assert PASSWORD not in seen.read_text() and "abc" not in seen.read_text()
    assert "-p 9 ada@127.0.0.1 -s sftp" in seen.read_text()
    for path in (place.folder / "private").iterdir():
        assert path.stat().st_mode & 0o077 == 0 and PASSWORD not in path.read_text() and "abc" not in path.read_text()
    assert json.dumps(place.said).find(PASSWORD) == -1
