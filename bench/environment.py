"""
An environment made in the cloud, with storage that takes 30 s for each clone: by an apply, whose independent steps go
side by side, and by the same steps one after another, each waited for. And an apply that has nothing to do.

Needs the lab up, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import json
import os
import time

from bench.lab import run
from bench.machine import machine
from lab.cloud.settings import DIRECTORY

NAME, SOURCE = "newidr", "idr"
CLONE = 30  # seconds
GOAL, GOAL_CALLS = 0.5, 25
ONE_AFTER_ANOTHER = f"""
from pathlib import Path
from idr.cloud import applying, making
making.AT_ONCE = 1
applying.apply("{NAME}", {{"sources": "{SOURCE}"}}, None, None, Path("~/.config/idr/{NAME}").expanduser(), print)
"""


def seat(*command: str) -> str:
    """What a command of the operator's said; it has to succeed."""
    return run("outside", f".venv/bin/{command[0]}", *command[1:])


def timed(*command: str) -> tuple[float, str]:
    """Wall time of an operator's command, in seconds, and what it said."""
    start = time.perf_counter()
    said = seat(*command)
    return time.perf_counter() - start, said


def environment(*words: str) -> tuple[str, ...]:
    """A command on an environment, answered as data."""
    return "salt-run", "--out=json", f"environment.{words[0]}", *words[1:]


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}, one run", flush=True)
    destroy = environment("destroy", NAME, f"confirm={NAME}", "apply=True")
    seat(*destroy)
    slow = DIRECTORY / "slow.json"
    slow.write_text(json.dumps({"clone": CLONE}))
    try:
        made, _ = timed(*environment("apply", NAME, f"sources={SOURCE}", "apply=True", "deploy=False"))
        seat(*destroy)
        slowly, _ = timed("python", "-c", ONE_AFTER_ANOTHER)
        seat(*destroy)
    finally:
        slow.unlink()
    print(
        f"apply of {NAME}, {CLONE} s a clone {made:7.2f} s   one after another {slowly:7.2f} s   "
        f"ratio {made / slowly:5.2f}   goal {GOAL}"
    )
    took, said = timed(*environment("apply", SOURCE, "apply=True", "deploy=False"))
    calls = json.loads(said[said.index("{") :])["calls"]
    print(f"apply of {SOURCE} with nothing to do {took:7.2f} s   calls {calls}   goal under {GOAL_CALLS}")


if __name__ == "__main__":
    main()
