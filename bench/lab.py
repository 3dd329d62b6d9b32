"""The lab, for what is measured in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CTL = Path(__file__).parents[1] / "lab/ctl"


def run(*command: str, script: str | None = None) -> str:
    """What a command of `lab/ctl` said; it has to succeed."""
    done = subprocess.run([CTL, *command], input=script, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
