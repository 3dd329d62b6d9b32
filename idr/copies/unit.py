"""
The unit in which a server copies a volume into a repository, or puts it back: begun over SSH, and asked how it goes on
by idr/told_on_server.py. Sent by itself with each call, as idr/on_server.py is.

What it's asked holds the repository's secrets. It's read from a file that is unlinked as soon as the unit has it open,
in /run, which is memory; what the unit writes of it is in a directory that systemd removes with the unit.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

UNIT = "idr-copy.service"
HOME = Path("/run/idr-copy")  # what is run, and what it tells
SECRET = "idr-copy-secret"  # in /run, the unit's own
LONGEST = "RuntimeMaxSec=3d"  # then it's ended


def begin(asked, _stream):
    """
    Begin a deed of idr/copies/deeds.py in a unit that no lost link ends. Refused while another is at work.

    files:  what is run, each file's text by its path
    asked:  as for the deed
    aside:  a directory that is to be gone with the unit, None: there's none
    """
    if _is_at_work():
        sys.exit(f"a copy or a restore goes on there already: systemctl status {UNIT}")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(mode=0o700)
    for path, text in {**asked["files"], "told": "", "errors": ""}.items():
        (HOME / path).parent.mkdir(parents=True, exist_ok=True)
        (HOME / path).write_text(text)
    secret = HOME / "asked"
    try:
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(asked["asked"]))
        _begin(secret, asked["aside"])
    finally:
        secret.unlink()


def _begin(secret, aside):
    after = [f"--property=ExecStopPost=/bin/rm -rf {aside}"] if aside else []
    done = subprocess.run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--working-directory={HOME}",
         "--property=Type=exec", "--property=PrivateMounts=yes", "--property=Nice=19",
         "--property=IOSchedulingClass=idle", f"--property=RuntimeDirectory={SECRET}",
         "--property=RuntimeDirectoryMode=0700", "--property=CacheDirectory=idr-copy",
         "--property=CacheDirectoryMode=0700", f"--property={LONGEST}", *after,
         f"--property=StandardInput=file:{secret}", f"--property=StandardOutput=file:{HOME}/told",
         f"--property=StandardError=file:{HOME}/errors", "python3", "-m", "idr.copies.deeds"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"systemd-run: exit {done.returncode}: {' '.join(done.stderr.split())}")


def end(_asked, _stream):
    """End it, if it's at work, and forget what it told."""
    subprocess.run(["systemctl", "stop", UNIT], stdin=subprocess.DEVNULL, capture_output=True)
    if _is_at_work():
        sys.exit(f"{UNIT} doesn't end: systemctl status {UNIT}")
    shutil.rmtree(HOME, ignore_errors=True)


def _is_at_work():
    said = subprocess.run(["systemctl", "is-active", UNIT], capture_output=True, text=True).stdout.strip()
    return said in ("active", "activating", "deactivating")


if __name__ == "__main__":
    doing = {function.__name__: function for function in (begin, end)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
