"""
Single files of a backup set brought back on a server: run there like idr/on_server.py, sent over SSH with each call.

The work is done in a unit of the server's own systemd, which mounts the clone of a snapshot for itself alone. Once that
unit has ended, by itself or by `end`, nothing is mounted any more, whatever became of whoever asked. No link in the
clone is followed, and what is copied is nobody's but root's until all of it is there.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

UNIT = "idr-restore-files.service"
FOLDER = Path("/run/idr-restore-files")
DEVICES = Path("/dev/disk/by-id")
SERIAL_LENGTH = 20  # virtio hands the guest this much of a volume's id
PARTIAL = ".partial"  # how the folder's name ends until all of it is there
RESERVE = 100  # of a volume, this part stays free
INODE = 512  # bytes that each file takes beside its content
PATIENCE = 5  # seconds that a question about progress waits for the end
SEEN = 60  # seconds until a volume that was attached has to be seen
FREE = 60  # seconds until one that isn't mounted any more has to be let go of


# ---- over SSH


def ready(asked, _stream):
    """What keeps files from being brought back on this server, known before there's anything to bring: a line each."""
    return _unfit(asked)


def begin(asked, _stream):
    """
    Begin `look` or `bring` in the unit; what it was asked, and told, is in FOLDER. Asked the same again, as an answer
    was lost, it goes on; anything else that is at work is ended.

    program:  the text of this file
    deed:     which of the two
    """
    program, text = asked.pop("program"), json.dumps(asked) + "\n"
    if _text(FOLDER / "begun") == text:
        return
    _stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700)
    (FOLDER / "program.py").write_text(program)
    (FOLDER / "asked").write_text(text)
    done = subprocess.run(
        [
            "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--description=files of {asked['set']}",
            "--property=PrivateMounts=yes", "--property=Nice=19", "--property=IOSchedulingClass=idle",
            f"--property=StandardInput=file:{FOLDER}/asked", f"--property=StandardOutput=file:{FOLDER}/answer",
            f"--property=StandardError=file:{FOLDER}/errors", "/usr/bin/python3", f"{FOLDER}/program.py", "-",
            asked["deed"],
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"systemd-run: {_last_line(done.stderr)}")
    (FOLDER / "begun").write_text(text)


def so_far(_asked, _stream):
    """How far the unit is: ``{"bytes": copied}``, and once it has ended its ``answer``, or why it ``failed``."""
    until = time.monotonic() + PATIENCE
    while _is_at_work() and time.monotonic() < until:
        time.sleep(0.2)
    if _is_at_work():
        return {"bytes": int(_text(FOLDER / "bytes") or 0)}
    answer = _text(FOLDER / "answer")
    if answer:
        return {"answer": json.loads(answer)}
    return {"failed": _last_line(_text(FOLDER / "errors") or "it was ended from outside, or this server was restarted")}


def end(asked, _stream):
    """End the unit, take away what it didn't finish, and see to it that the clone can be detached."""
    _stop()
    until = time.monotonic() + FREE
    while _is_in_use(_device(asked["clone"])):
        if time.monotonic() > until:
            device = os.path.realpath(_device(asked["clone"]))
            sys.exit(f"{device}, a clone of {asked['set']}, is still in use: findmnt {device}, umount it, once more")
        time.sleep(0.2)
    _remove(Path(asked["mount"], asked["folder"] + PARTIAL))
    shutil.rmtree(FOLDER, ignore_errors=True)


def _stop():
    subprocess.run(["systemctl", "stop", UNIT], stdin=subprocess.DEVNULL, capture_output=True)
    if _is_at_work():
        sys.exit(f"{UNIT} doesn't end: systemctl status {UNIT}")


def _is_at_work():
    shown = subprocess.run(["systemctl", "show", "--property=ActiveState", UNIT], capture_output=True, text=True).stdout
    return shown.strip().partition("=")[2] in ("active", "activating", "deactivating")


def _is_in_use(device):
    """Whether a block device that is there is mounted, in whatever namespace: then nobody gets it for themselves."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _text(path):
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _last_line(text):
    return (text.strip() or "no output").splitlines()[-1]


# ---- in the unit


def look(asked, _stream):
    """
    What is asked for, as it is in the clone: ``problems``, a line each, and its ``bytes`` and ``entries``.

    set:    the backup set's id
    clone:  the cloud's id of the volume that was made of its snapshot
    live:   that of the volume on which it's brought back
    mount:  where that one is mounted
    folder: the name of what is to be made there
    paths:  what is asked for, relative to the mount point
    """
    with _mounted(asked) as root:
        missing = {path: _missing(root, path, asked) for path in asked["paths"]}
        size, entries = _size(os.path.join(root, path) for path, why in missing.items() if not why)
    problems = [why for why in missing.values() if why]
    problems += _unfit(asked) or _no_room(asked, size + entries * INODE)
    return {"problems": problems, "bytes": size, "entries": entries}


def bring(asked, _stream):
    """Copy what is asked for into the new folder, with owners, modes, times, links, ACLs and attributes."""
    with _mounted(asked) as root:
        wrong = [why for path in asked["paths"] if (why := _missing(root, path, asked))] or _unfit(asked)
        if wrong:
            sys.exit(wrong[0])
        if os.path.lexists(f"{asked['mount']}/{asked['folder']}"):  # a rename goes over an empty one
            sys.exit(f"{asked['mount']}/{asked['folder']} is there already, and stays as it is")
        live = os.open(asked["mount"], os.O_RDONLY | os.O_DIRECTORY)
        unfinished = asked["folder"] + PARTIAL
        os.mkdir(unfinished, 0o700, dir_fd=live)
        try:
            inside = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=live)
            _copy(root, asked["paths"], inside)
            os.rename(unfinished, asked["folder"], src_dir_fd=live, dst_dir_fd=live)
            top = os.fstat(live)
            os.fchown(inside, top.st_uid, top.st_gid)
            os.fchmod(inside, stat.S_IMODE(top.st_mode))
            os.fsync(live)
        except BaseException:
            _remove(Path(asked["mount"], unfinished))
            raise
    return {"folder": f"{asked['mount']}/{asked['folder']}"}


@contextmanager
def _mounted(asked):
    """
    Where the clone is mounted. Its log may have to be replayed, which writes into it though it's mounted read-only: it
    is nobody's but this run's. It has the UUID of the volume beside which it is.
    """
    device, until = _device(asked["clone"]), time.monotonic() + SEEN
    while not os.path.exists(device):
        if time.monotonic() > until:
            sys.exit(f"{device}, a clone of {asked['set']}, isn't seen after {SEEN} s")
        time.sleep(0.2)
    root = FOLDER / "clone"
    root.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "xfs", "-o", "ro,nouuid,nosuid,nodev,noexec", device, str(root))
    try:
        yield str(root)
    finally:
        _run("umount", str(root))


def _missing(root, path, asked):
    """Why a path isn't there to be brought back, "" if it is. Only its last part may be a link: it's copied as one."""
    shown, at, parts = f"{asked['mount']}/{path}", root, path.split("/")
    for number, part in enumerate(parts):
        known = "/".join([asked["mount"], *parts[:number]])
        at = os.path.join(at, part)
        try:
            about = os.lstat(at)
        except FileNotFoundError:
            return f"{shown} isn't in {asked['set']}; {known} is"
        if number == len(parts) - 1:
            return ""
        if stat.S_ISLNK(about.st_mode):
            return f"{shown}: {known}/{part} is a link in {asked['set']}, to {os.readlink(at)}: say where that is"
        if not stat.S_ISDIR(about.st_mode):
            return f"{shown} isn't in {asked['set']}, where {known}/{part} is no folder"
    return ""


def _unfit(asked):
    mount, device = asked["mount"], _device(asked["live"])
    if not os.path.exists(device) or os.stat(mount).st_dev != os.stat(device).st_rdev:
        return [f"{mount}: the volume {asked['live']} isn't mounted there: salt '*' data_volume.problems"]
    return []


def _no_room(asked, needed):
    room = os.statvfs(asked["mount"])
    free, size = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    if needed + size // RESERVE <= free:
        return []
    return [
        f"{asked['mount']}: {needed / 1e9:.1f} GB are needed, and {free / 1e9:.1f} of {size / 1e9:.1f} GB are free, of "
        f"which a hundredth of all has to stay so"
    ]


def _size(paths):
    """Bytes that these take with all that is in them, and how many files and folders they are."""
    size, entries, known, left = 0, 0, set(), list(paths)
    while left:
        path = left.pop()
        about = os.lstat(path)
        if about.st_ino not in known:
            size += about.st_blocks * 512
            entries += 1
        if about.st_nlink > 1:
            known.add(about.st_ino)
        if stat.S_ISDIR(about.st_mode):
            left += [entry.path for entry in os.scandir(path)]
    return size, entries


def _copy(root, paths, inside):
    """Copy these into that open folder, below the folders that they're in; what is there is on the disk then."""
    there = f"/proc/self/fd/{inside}"
    command = [
        "cp", "--recursive", "--no-dereference", "--preserve=mode,ownership,timestamps,links,xattr", "--reflink=never",
        "--parents", f"--target-directory={there}", "--", *paths,
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=root, pass_fds=[inside], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
        while process.poll() is None:
            _tell_bytes(process.pid)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
        errors.seek(0)
        if process.returncode:
            sys.exit(_last_line(errors.read()))
    subprocess.run(["sync", "--file-system", there], pass_fds=[inside], check=True)


def _tell_bytes(process):
    try:
        with open(f"/proc/{process}/io") as about:
            written = next(line.split()[1] for line in about if line.startswith("wchar:"))
    except (OSError, StopIteration):  # it has just ended
        return
    (FOLDER / "bytes.new").write_text(written)
    (FOLDER / "bytes.new").rename(FOLDER / "bytes")


def _remove(unfinished):
    """Remove what wasn't finished: its name is this run's own, and nobody but root could have put anything in it."""
    if not unfinished.is_symlink() and unfinished.is_dir() and unfinished.stat().st_uid == os.geteuid():
        shutil.rmtree(unfinished)


def _device(volume):
    return str(DEVICES / f"virtio-{volume[:SERIAL_LENGTH]}")


def _run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {_last_line(done.stderr)}")


if __name__ == "__main__":
    DOINGS = (ready, begin, so_far, end, look, bring)
    doing = {function.__name__: function for function in DOINGS}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
