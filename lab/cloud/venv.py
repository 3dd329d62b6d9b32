"""The virtual environment that the cloud's services run from, made from `requirements.lock` and kept in the cache."""

import hashlib
import shutil
from pathlib import Path

from lab.cloud import processes
from lab.cloud.settings import CACHED
from lab.settings import CHECKOUT
from lab.shell import run

LOCK = Path(__file__).with_name("requirements.lock")
PYTHON = "/usr/bin/python3"
UV, BUILD = CHECKOUT / "requirements-uv.lock", CHECKOUT / "requirements-build.lock"


def made_from():
    """The hash of everything the environment is made from."""
    parts = [run(PYTHON, "--version").encode(), *(path.read_bytes() for path in (LOCK, UV, BUILD))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def venv():
    """The directory of the environment; made if it isn't in the cache (half a minute), and older ones are deleted."""
    directory = CACHED / f"venv-{made_from()}"
    complete = directory / "complete"
    if complete.exists():
        return directory
    processes.end()   # whatever runs from an older one
    for other in CACHED.glob("venv-*"):
        shutil.rmtree(other)
    directory.parent.mkdir(parents=True, exist_ok=True)
    # in its place, which its scripts name
    run(PYTHON, "-m", "venv", directory)
    with open(CACHED / "venv.log", "w") as log:
        run(directory / "bin/pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", UV, log=log)
        # compiled now: a service that compiles what it imports takes half a minute to start instead of three seconds
        run(directory / "bin/uv", "--no-config", "pip", "install", "--python", directory / "bin/python",
            "--require-hashes", "--compile-bytecode", "--build-constraints", BUILD, "-r", LOCK, log=log)
    complete.touch()
    return directory
