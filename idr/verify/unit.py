"""
The unit in which a scratch server looks at clones: begun over SSH, and asked how it goes on, by connections that may be
cut. Sent by itself with each call, as idr/on_server.py is.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

UNIT = "idr-verify.service"
HOME = Path("/run/idr-verify")  # what is run, what it's asked, what it tells; the volumes are mounted below it
PATIENCE = 10  # seconds that a question about progress waits for something to tell
LONGEST = "RuntimeMaxSec=3d"  # then it's ended


def begin(asked, _stream):
    """
    Begin to look at clones, in a unit that no lost link ends.

    files:  what is run, each file's text by its path: ``{"idr/verify/look.py": …}``
    asked:  as for ``look.look``
    """
    os.umask(0o022)  # the cluster's owner comes through here
    files = {**asked["files"], "asked.json": json.dumps(asked["asked"]), "told": "", "errors": ""}
    for path, text in files.items():
        (HOME / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        (HOME / path).write_text(text)
    done = subprocess.run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--working-directory={HOME}",
         f"--property={LONGEST}", "--property=OOMPolicy=stop", f"--property=StandardOutput=file:{HOME}/told",
         f"--property=StandardError=file:{HOME}/errors",
         "python3", "-m", "idr.verify.look", f"{HOME}/asked.json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"systemd-run: exit {done.returncode}: {' '.join(done.stderr.split())}")


def progress(asked, _stream):
    """
    What was told from an offset on, as soon as there is something: ``{told: [{said: …} or {result: …}], offset,
    ended}``. ENDED is None while it goes on, and then the last line of its errors, "" where there's none.
    """
    until = time.monotonic() + PATIENCE
    while True:
        at_work = _is_at_work()  # asked first, so that nothing is told after the last look
        lines = _told(asked["offset"])
        if lines or not at_work or time.monotonic() > until:
            break
        time.sleep(0.5)
    offset = asked["offset"] + sum(len(line) + 1 for line in lines)
    return {"told": [json.loads(line) for line in lines], "offset": offset, "ended": None if at_work else _errors()}


def _is_at_work():
    said = subprocess.run(["systemctl", "is-active", UNIT], capture_output=True, text=True).stdout.strip()
    return said in ("active", "activating", "deactivating")


def _told(offset):
    """The whole lines from an offset on."""
    with open(HOME / "told", "rb") as told:
        told.seek(offset)
        return told.read().rpartition(b"\n")[0].splitlines()


def _errors():
    lines = (HOME / "errors").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    doing = {function.__name__: function for function in (begin, progress)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
