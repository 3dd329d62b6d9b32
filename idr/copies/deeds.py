"""
A volume copied into a repository, and put back from there, in a unit of the server that has it.

What is in the repository has the paths that it has on a server, /data and /var/lib/pgsql, whatever it was copied from:
a clone on a scratch server, or what a server made by hand has mounted.
"""

import contextlib
import glob
import json
import os
import shutil
import stat
import sys
import threading
import time
from pathlib import Path

from idr.copies.restic import WORD, Failed, Repository
from idr.verify.commands import attached, run

ASIDE = ".idr-copy"  # on a database's volume, what pg_basebackup makes: no highstate takes it for a cluster
RESTORING = ".idr-restoring"  # on a volume, what isn't all there yet; data_volume.problems knows it
READY = "all of it is here"  # in that, once it is
RESTORED = "user.idr_restored"  # an attribute of a volume's root: the snapshot of which it is
UNFINISHED = "idr_unfinished"  # since when: the one tag of a snapshot of which nobody knows yet that all was read
RESERVE = 20  # of what is copied beside, this part has to be free besides


def back_up(asked, repository, say):
    """
    Copy a volume into a repository; returns ``{bytes, files, added}``.

    path:     where it is on a server: ``/data``
    device:   the clone that it's copied from, which is mounted there for this alone; None: what is mounted there
    running:  whether PostgreSQL works on it: then it's asked for a base backup, which is copied
    host, tags, taken:  what the snapshot says of itself
    """
    path = Path(asked["path"])
    with contextlib.ExitStack() as stack:
        if asked["device"]:
            stack.enter_context(_mounted(asked["device"], path))
        elif not os.path.ismount(path):
            sys.exit(f"{path}: nothing is mounted there, so there's nothing to copy")
        if asked["running"]:
            stack.enter_context(_base_backup(path, say))
        said = _written(repository, path, asked, say)
    return {
        "bytes": said["total_bytes_processed"],
        "files": said["total_files_processed"],
        "added": said["data_added"],
    }


def seal(asked, repository, say):
    """
    Have a copy count as one, all of whose volumes are in a repository: once that was checked, its structure, and that
    all of it is there which its snapshots name. What isn't read by that is their content.

    having:  a tag that the copy's snapshots have
    each:    tags of which each has to be on one of them: a copy is of all its volumes
    tags:    those that are taken off them, and those that they get in their place: ``[[…], […]]``
    """
    say(f"{repository.asked['name']}: checking what is there")
    repository.run("check", "--quiet")
    before, after = asked["tags"]
    repository.retag([it for it in repository.snapshots() if asked["having"] in it["tags"]], before, after)
    # restic's exit code is 0 where it couldn't write a tag, and where there was nothing to be tagged
    there = [{*it["tags"]} for it in repository.snapshots()]
    missing = [tag for tag in asked["each"] if not any({asked["having"], tag, *after} <= tags for tags in there)]
    if missing:
        raise Failed(
            f"{repository.asked['name']}: of {asked['having']}, {', '.join(missing)} isn't there, or couldn't be "
            "marked as whole; it doesn't count. Is the repository full, or pruned meanwhile? Then type the copy again"
        )
    return {}


def fits(asked, _repository, _say):
    """
    Whether a volume can be put back, as `restore` does with what it's asked: ``{"there": …}``, True where it was done
    before. Ends with why not.
    """
    path = Path(asked["path"])
    if not os.path.ismount(path):
        sys.exit(f"{path}: no volume is mounted there")
    there = sorted(name for name in os.listdir(path) if name != RESTORING)
    if not there or _is_ready(asked):
        return {"there": False}
    left = (path / RESTORING).exists() and os.listdir(path / RESTORING)
    if _attribute(path) == asked["snapshot"] and not left:
        return {"there": True}
    shown = ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")
    sys.exit(f"{path} isn't empty, it has {shown}: a copy is put back into an empty volume only")


def restore(asked, repository, say):
    """
    Put a volume back from a repository into the empty one that is mounted in its place; returns ``{"there": …}``, True
    where it was done before. Nothing is seen there before all of it is: it's restored into a folder that only root gets
    into, and renamed.

    path:      where it is on a server
    snapshot:  the repository's id of it
    """
    path, staging = Path(asked["path"]), Path(asked["path"], RESTORING)
    if fits(asked, repository, say)["there"]:
        if staging.exists():  # a run was cut off before its last word
            staging.rmdir()
        return {"there": True}
    ready = staging / READY
    if not _is_ready(asked):
        _emptied(staging)
        say(f"{path}: restoring")
        words = ("--target", str(staging))
        _while_telling(staging, say, lambda: repository.run("restore", asked["snapshot"], *words))
        run("sync", "--file-system", staging)
        ready.write_text(asked["snapshot"])
    _in_place(staging, path, asked["snapshot"])
    return {"there": False}


def _written(repository, path, asked, say):
    """restic's summary of a volume's backup, which is one of ours only once all of it was read."""
    summary = {}

    def heard(line):
        it = json.loads(line) if line.startswith("{") else {}
        if it.get("message_type") == "summary":
            summary.update(it)
        elif it.get("message_type") == "status" and it.get("bytes_done"):
            say(f"{path}: {it['bytes_done'] / 1e9:.1f} of {it['total_bytes'] / 1e9:.1f} GB looked at")

    words = ["--json", "--one-file-system", "--host", asked["host"], "--time", asked["taken"]]
    words += ["--tag", f"{UNFINISHED}={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"]
    # what another run left there is no part of the volume
    words += [word for name in (ASIDE, RESTORING) for word in ("--exclude", str(path / name))]
    say(f"{path}: copying into {repository.asked['name']}")
    try:
        repository.run("backup", *words, str(path), heard=heard)
    except Failed:
        if summary:  # there's a snapshot of what it could read
            with contextlib.suppress(Failed):
                repository.run("forget", summary["snapshot_id"])
        raise
    # without the lock that waits for all others, which may take days: nobody else has to do with this snapshot
    made = {"id": summary["snapshot_id"], "tags": [], "retold": 0}
    repository.retag([made], add=asked["tags"], options=("--no-lock",))
    return summary


@contextlib.contextmanager
def _mounted(device, path):
    """A clone at the place of what it is a clone of; its log may have to be replayed, so it isn't quite read-only."""
    attached(device, path)
    path.mkdir(parents=True, exist_ok=True)
    kind = run("blkid", "-p", "-o", "value", "-s", "TYPE", device).stdout.strip()
    run("mount", "-o", "ro,nouuid" if kind == "xfs" else "ro", device, path)
    try:
        yield
    finally:
        run("umount", path)


@contextlib.contextmanager
def _base_backup(path, say):
    """
    A base backup of the cluster that runs on a volume, in the volume's place: nothing but PostgreSQL itself can copy
    one that is being written to. It needs room beside the cluster, and is looked at before anybody copies it.
    """
    running = sorted(glob.glob(f"{path}/*/data/postmaster.pid"))
    if len(running) != 1:
        found = f"{len(running)} clusters run" if running else "no PostgreSQL runs"
        sys.exit(f"{path}: {found} there; one has to: systemctl status 'postgresql*'")
    data = Path(running[0]).parent
    major, aside = data.parent.name, path / ASIDE
    places = (f"/usr/lib/postgresql/{major}/bin", f"/usr/pgsql-{major}/bin")
    programs = next(place for place in places if os.path.exists(f"{place}/pg_basebackup"))
    shutil.rmtree(aside, ignore_errors=True)
    _has_room(path, data)
    about = os.stat(data)
    aside.mkdir(mode=0o755)
    shutil.copystat(path, aside)
    (aside / major).mkdir(mode=0o700)
    for made in (aside, aside / major):
        os.chown(made, about.st_uid, about.st_gid)
    try:
        owner = ("setpriv", f"--reuid={about.st_uid}", f"--regid={about.st_gid}", "--clear-groups")
        say(f"{path}: PostgreSQL makes a base backup")
        where = f"{aside}/{major}/data"
        run(*owner, f"{programs}/pg_basebackup", "-w", "-h", "/run/postgresql", "-U", "postgres", "-D", where,
            "--wal-method=stream", "--checkpoint=fast", "--no-sync", cwd="/")  # fmt: skip
        run(*owner, f"{programs}/pg_verifybackup", "-q", where, cwd="/")
        run("mount", "--bind", aside, path)
        try:
            yield
        finally:
            run("umount", path)
    finally:
        shutil.rmtree(aside)


def _has_room(path, data):
    used = int(run("du", "-sxB1", data).stdout.split()[0])
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    if used + used // RESERVE > free:
        sys.exit(f"{path}: a base backup needs {used / 1e9:.1f} GB beside the cluster, and {free / 1e9:.1f} are free")


def _emptied(staging):
    """The folder in which a volume is restored, without what a run that was cut off left in it."""
    if staging.is_symlink() or (staging.exists() and os.stat(staging).st_uid != os.geteuid()):
        sys.exit(f"{staging}: isn't this program's, look at it")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)


def _while_telling(staging, say, work):
    """Do something that takes its time, and tell every now and then what it has put on the volume."""
    ended, before = threading.Event(), _used(staging)

    def tell():
        while not ended.wait(WORD):
            say(f"{staging.parent}: {(_used(staging) - before) / 1e9:.1f} GB restored")

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        work()
    finally:
        ended.set()
        telling.join()


def _used(path):
    room = os.statvfs(path)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def _in_place(staging, path, snapshot):
    """Rename what was restored into its place. Of a run that was cut off the rest goes after, and over nothing."""
    root = staging / path.relative_to("/")
    if root.exists() or _attribute(path) != snapshot:  # else it was cut off while it tidied up
        entries = sorted(os.listdir(root))
        both = [name for name in entries if os.path.lexists(path / name)]
        if both:
            sys.exit(f"{path}: {', '.join(both)} came there meanwhile, and is in the copy, too: move it away")
        for entry in entries:
            os.rename(root / entry, path / entry)
        about = os.stat(root)
        os.chown(path, about.st_uid, about.st_gid)
        os.chmod(path, stat.S_IMODE(about.st_mode))
        os.setxattr(path, RESTORED, snapshot.encode())
        run("sync", "--file-system", path)
    shutil.rmtree(staging / path.parts[1], ignore_errors=True)
    (staging / READY).unlink()  # only now: until then the next run goes on from here
    staging.rmdir()


def _is_ready(asked):
    """Whether all that is asked for is on the volume, and only has to be renamed into its place."""
    ready = Path(asked["path"], RESTORING, READY)
    return ready.exists() and ready.read_text() == asked["snapshot"]


def _attribute(path):
    try:
        return os.getxattr(path, RESTORED).decode()
    except OSError:  # there's none
        return ""


def install(say):
    """Have restic, from the server's own package sources."""
    if shutil.which("restic"):
        return
    say("installing restic")
    run("sh", "-c", "command -v cloud-init >/dev/null && cloud-init status --wait", may_fail=True)  # it installs, too
    if os.path.exists("/usr/bin/apt-get"):
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qqy", "-o", "DPkg::Lock::Timeout=300")
        run(*apt, "update", tries=5)
        run(*apt, "install", "--no-install-recommends", "restic", "ca-certificates", tries=2)
    else:
        run("dnf", "-qy", "install", "restic", tries=2)  # of EPEL


def main():
    """Do what standard input asks for; how it goes on, and the result, are lines of JSON."""
    asked = json.loads(sys.stdin.read())

    def say(line):
        print(json.dumps({"said": line}) + "\n", end="", flush=True)  # at once: threads may say something as well

    install(say)
    secret, cache = os.environ["RUNTIME_DIRECTORY"], os.environ["CACHE_DIRECTORY"]
    try:
        repository = Repository(asked["repository"], secret, cache, say)
        result = {deed.__name__: deed for deed in (back_up, seal, fits, restore)}[asked["deed"]](asked, repository, say)
    except Failed as error:
        sys.exit(str(error))
    print(json.dumps({"result": result}), flush=True)


if __name__ == "__main__":
    main()
