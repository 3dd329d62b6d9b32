"""
A runner of this checkout in a process of its own, that no lost terminal and no broken link can end, and followed.

It is typed once more, in a session of its own, and who typed it reads along. Typed again meanwhile it's followed, too.
A lock on a file tells that it goes on: the kernel takes that away with the process, however it ends.
"""

import fcntl
import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from idr.at_master import returned
from idr.checkout import CHECKOUT
from idr.errors import IdrError, Refused

PLACE = "~/.local/state/idr/release"
KEPT = 20  # logs and reports
LOOK = 0.2  # seconds between two looks at the log
PATIENCE = 2  # seconds for one who only looked whether the lock is free
TIMES = re.compile(r"^\[ *\d+\.\d s\] ")  # of the other's progress: it's told with ours


def run(new, words, tell, command=None, place=None):
    """
    What a runner returned that was run in a process of its own; or the one that goes on already.

    new:      the new environment of the release; one deed of it goes on at a time
    words:    the runner and its arguments, with what makes it do the deed itself
    tell:     is told one line of progress at a time
    command:  ``salt-run`` of this checkout
    place:    the directory of logs and reports

    Ctrl-C, and the end of the terminal, end the following alone. Refused where another deed of that release goes on
    here.
    """
    folder = Path(place or PLACE).expanduser() / str(new)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        begun = _begun(folder, lock, words, command or CHECKOUT / ".venv/bin/salt-run")
    finally:
        os.close(lock)  # the deed has it, too
    if begun["words"] != words:
        raise Refused(
            [
                f"{' '.join(begun['words'])} goes on here since {begun['began']}, and tells of it in {begun['log']}: "
                f"salt-run release.status {new}"
            ]
        )
    tell(f"it goes on whatever becomes of this terminal: {begun['log']}")
    try:
        _follow(folder, Path(begun["log"]), tell)
    except (KeyboardInterrupt, SystemExit):  # Salt makes the latter of Ctrl-C
        raise IdrError(
            f"it goes on without you; type the same again to follow it. How it stands: salt-run release.status {new}"
        ) from None
    return returned(Path(begun["report"]).read_text(), f"{begun['log']}; salt-run release.status {new}")


def _begun(folder, lock, words, command):
    """What was begun: by this call, or by the one that has the lock."""
    file = folder / "deed.json"
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                return json.loads(file.read_text())
            time.sleep(LOOK)
    now = datetime.now(UTC)
    report, log = (folder / f"{now:%Y%m%dT%H%M%S.%fZ}.{end}" for end in ("json", "log"))
    begun = {"words": words, "began": f"{now:%H:%M:%S} UTC", "report": str(report), "log": str(log)}
    for old in sorted(it for it in folder.iterdir() if it.name[:1].isdigit())[: -2 * KEPT]:
        old.unlink()
    out, err = (os.open(it, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) for it in (report, log))
    try:
        beside = folder / "deed.json.new"
        beside.write_text(json.dumps(begun))
        beside.replace(file)  # before it begins: whoever sees that it goes on knows what
        subprocess.Popen(
            [command, "--out=json", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, pass_fds=[lock],
        )  # fmt: skip
    finally:
        os.close(out)
        os.close(err)
    return begun


def _follow(folder, log, tell):
    """Tell the lines of a log until the deed has ended."""
    with open(log) as lines, open(folder / "lock") as lock:
        rest = ""
        while True:
            is_going = _goes_on(lock)  # asked first, so that no line comes after the last look
            *whole, rest = (rest + lines.read()).split("\n")
            for line in whole:
                tell(TIMES.sub("", line))
            if not is_going:
                return
            time.sleep(LOOK)


def _goes_on(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False
