"""What the downloads site offers: archives of OMERO and JupyterHub, built beside all else where the cache has none."""

import subprocess
import time
from pathlib import Path

from lab import downloads
from lab.jupyter import image
from lab.settings import CACHE, CHECKOUT
from lab.shell import LabError

OMERO = Path(__file__).with_name("omero")
BUILT = CACHE / "omero"
JUPYTER = CACHE / "jupyter"
LOG = CACHE / "archives.log"
VERSION = "5.6.13-ice36"
BUILDERS = {
    "OMERO's server": ("lab.omero.archive", "build", BUILT),
    "the Ice wheel": ("lab.omero.ice", "wheel", BUILT),
    "JupyterHub's image": ("lab.jupyter.image", "build", JUPYTER, BUILT),
}
LONGEST = 1200   # seconds; the wheel is minutes of compiling, and others compile meanwhile


def start():
    """Start building, at low priority; returns the processes by name."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(LOG, "w") as log:
        return {
            name: subprocess.Popen(["nice", "-n", "10", "/usr/bin/python3", "-B", "-m", *words], cwd=CHECKOUT,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
            for name, words in BUILDERS.items()
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

    Returns the pillar that installs it, of `omero` and `jupyterhub`. Refuses, naming the log, what didn't build.
    """
    end = time.monotonic() + LONGEST
    offered = []
    for name, process in building.items():
        try:
            said, _ = process.communicate(timeout=max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LabError(f"{name} isn't built after {LONGEST} s: see {LOG}") from None
        if process.returncode:
            raise LabError(f"{name} wasn't built: see {LOG}")
        offered.append(downloads.offer(Path(said.split()[-1])))
    server, wheel, jupyter = offered
    # no packages: Java is a shim in the stand-in
    server |= {"version": VERSION, "packages": []}
    jupyter |= image.described(JUPYTER)
    return {"omero": {"server": server, "ice_wheel": wheel},
            "jupyterhub": {"hub_image": jupyter, "user_image": dict(jupyter)}}
