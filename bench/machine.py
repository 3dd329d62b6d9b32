"""Figures are of a machine, so each bench begins with its name."""

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """The machine that the figures are of."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{platform.node()}: {os.cpu_count()} cores, {model[1] if model else platform.machine()}"
