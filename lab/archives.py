"""What the downloads site offers: OMERO's archive and wheel, built beside everything else where the cache has none."""

import subprocess
import time
from pathlib import Path

from lab import downloads
from lab.settings import CACHE
from lab.shell import LabError

OMERO = Path(__file__).with_name("omero")
BUILT = CACHE / "omero"
LOG = CACHE / "omero.log"
VERSION = "5.6.13-ice36"
BUILDERS = {"server": ("archive.py", "build"), "ice_wheel": ("ice.py", "wheel")}
LONGEST = 1200   # seconds; the wheel is minutes of compiling, and others compile meanwhile


def start():
    """Start building, at low priority; returns the processes by name."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(LOG, "w") as log:
        return {
            name: subprocess.Popen(["nice", "-n", "10", "/usr/bin/python3", "-B", OMERO / script, verb, BUILT],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
            for name, (script, verb) in BUILDERS.items()
        }


def are_built(building, seconds=10):
    """Whether all of it is done, for better or worse, within `seconds`: what is in the cache is found within some."""
    end = time.monotonic() + seconds
    try:
        for process in building.values():
            process.wait(timeout=max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def offer(building):
    """
    Wait until all is built and put it on the downloads site.

    Returns the pillar `omero` that installs it. Refuses, naming the log, what didn't build.
    """
    end = time.monotonic() + LONGEST
    pillar = {}
    for name, process in building.items():
        try:
            said, _ = process.communicate(timeout=max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LabError(f"OMERO's {name} isn't built after {LONGEST} s: see {LOG}") from None
        if process.returncode:
            raise LabError(f"OMERO's {name} wasn't built: see {LOG}")
        pillar[name] = downloads.offer(Path(said.split()[-1]))
    pillar["server"]["version"] = VERSION
    pillar["server"]["packages"] = []   # no Java: the stand-in has a shim of it
    return pillar
