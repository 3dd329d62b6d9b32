"""
What a unit on a server tells, line by line, in a file of its folder: asked over SSH by connections that may be cut, and
sent by itself with each call, as idr/on_server.py is.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 10  # seconds that a question about progress waits for something to tell


def progress(asked, _stream):
    """
    What was told from an offset on, as soon as there is something: ``{told: [{said: …} or {result: …}], offset,
    ended}``. ENDED is None while it goes on, and then the last line of its errors, "" where there's none.

    unit:    the unit's name
    home:    the folder in which it works and has its files ``told`` and ``errors``; one of that name which works in
             another is another run's
    offset:  in bytes
    """
    home, until = Path(asked["home"]), time.monotonic() + PATIENCE
    while True:
        at_work = _is_at_work(asked["unit"], home)  # asked first, so that nothing is told after the last look
        lines = _told(home, asked["offset"])
        if lines or not at_work or time.monotonic() > until:
            break
        time.sleep(0.5)
    offset = asked["offset"] + sum(len(line) + 1 for line in lines)
    ended = None if at_work else _errors(home)
    return {"told": [json.loads(line) for line in lines], "offset": offset, "ended": ended}


def _is_at_work(unit, home):
    asked = ["systemctl", "show", "--property=ActiveState,WorkingDirectory", unit]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    shown = dict(line.partition("=")[::2] for line in said.splitlines())
    is_active = shown.get("ActiveState") in ("active", "activating", "deactivating")
    return is_active and shown.get("WorkingDirectory") == str(home)


def _told(home, offset):
    """The whole lines from an offset on."""
    with open(home / "told", "rb") as told:
        told.seek(offset)
        return told.read().rpartition(b"\n")[0].splitlines()


def _errors(home):
    lines = (home / "errors").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    doing = {function.__name__: function for function in (progress,)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
