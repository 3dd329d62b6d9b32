"""
The unit in which a server copies a volume into a repository, or puts it back: begun over SSH, and asked how it goes on
by idr/told_on_server.py. Sent by itself with each call, as idr/on_server.py is.

What it's asked holds the repository's secrets. It's read from a file that is unlinked as soon as the unit has it open,
in /run, which is memory; the unit has it in memory alone.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

UNIT = "idr-copy.service"
HOME = Path("/run/idr-copy")  # a folder for each run: what is run, and what it tells
UNREAD = 3600  # seconds after its last word until nobody comes for what a run told
SECRET = "idr-copy-secret"  # in /run, the unit's own
LONGEST = "RuntimeMaxSec=3d"  # then it's ended


def begin(asked, _stream):
    """
    Begin a deed of idr/copies/deeds.py in a unit that no lost link ends. Refused while another is at work.

    run:    its id, by which nobody takes another's words for its own
    files:  what is run, each file's text by its path
    asked:  as for the deed
    aside:  a directory that is to be gone with the unit, None: there's none
    """
    if _at_work():
        sys.exit(f"a copy or a restore goes on there already: systemctl status {UNIT}")
    HOME.mkdir(mode=0o700, exist_ok=True)
    _forget_the_dead()
    home = HOME / asked["run"]
    for path, text in {**asked["files"], "told": "", "errors": ""}.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    secret = home / "asked"
    try:
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(asked["asked"]))
        _begin(home, secret, asked["aside"])
    finally:
        secret.unlink()


def _forget_the_dead():
    """Remove what runs told that have ended, and that nobody came for."""
    for told in HOME.glob("*/told"):
        if told.stat().st_mtime < time.time() - UNREAD:
            shutil.rmtree(told.parent, ignore_errors=True)


def _begin(home, secret, aside):
    after = [f"--property=ExecStopPost=/bin/rm -rf {aside}"] if aside else []
    done = subprocess.run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--working-directory={home}",
         "--property=Type=exec", "--property=PrivateMounts=yes", "--property=Nice=19",
         "--property=IOSchedulingClass=idle", f"--property=RuntimeDirectory={SECRET}",
         "--property=RuntimeDirectoryMode=0700", "--property=CacheDirectory=idr-copy",
         "--property=CacheDirectoryMode=0700", f"--property={LONGEST}", *after,
         f"--property=StandardInput=file:{secret}", f"--property=StandardOutput=file:{home}/told",
         f"--property=StandardError=file:{home}/errors", "python3", "-m", "idr.copies.deeds"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"systemd-run: exit {done.returncode}: {' '.join(done.stderr.split())}")


def end(asked, _stream):
    """End a run, if it's at work, and forget what it told. Another's is let be."""
    home = HOME / asked["run"]
    if _at_work() == str(home):
        subprocess.run(["systemctl", "stop", UNIT], stdin=subprocess.DEVNULL, capture_output=True)
        if _at_work() == str(home):
            sys.exit(f"{UNIT} doesn't end: systemctl status {UNIT}")
    shutil.rmtree(home, ignore_errors=True)
    with suppress(OSError):  # another's is there
        HOME.rmdir()


def _at_work():
    """The folder of the run that is at work; "" where none is."""
    asked = ["systemctl", "show", "--property=ActiveState,WorkingDirectory", UNIT]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    shown = dict(line.partition("=")[::2] for line in said.splitlines())
    return shown["WorkingDirectory"] if shown["ActiveState"] in ("active", "activating", "deactivating") else ""


if __name__ == "__main__":
    doing = {function.__name__: function for function in (begin, end)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
