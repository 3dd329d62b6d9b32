"""The virtual environment that the cloud's services run from, made from `requirements.lock` and kept in the cache."""

import hashlib
import shutil
from pathlib import Path

from lab.cloud.settings import CACHED
from lab.settings import CHECKOUT
from lab.shell import run

LOCK = Path(__file__).with_name("requirements.lock")
COMPLETE = "complete"   # a file in it that is made last
PYTHON = "/usr/bin/python3"
UV, BUILD = CHECKOUT / "requirements-uv.lock", CHECKOUT / "requirements-build.lock"


def made_from():
    """The hash of everything the environment is made from."""
    parts = [run(PYTHON, "--version").encode(), *(path.read_bytes() for path in (LOCK, UV, BUILD))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def directory():
    """Where the environment is, or is to be."""
    return CACHED / f"venv-{made_from()}"


def is_made():
    """Whether it is there, and complete."""
    return (directory() / COMPLETE).exists()


def make():
    """Make it unless it is there (half a minute), and delete older ones. Nothing may run from those; returns where."""
    if is_made():
        return directory()
    for other in CACHED.glob("venv-*"):
        shutil.rmtree(other)
    CACHED.mkdir(parents=True, exist_ok=True)
    environment = directory()
    # in its place, which its scripts name
    run(PYTHON, "-m", "venv", environment)
    with open(CACHED / "venv.log", "w") as log:
        run(environment / "bin/pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", UV, log=log)
        # compiled now: a service that compiles what it imports takes half a minute to start instead of three seconds
        run(environment / "bin/uv", "--no-config", "pip", "install", "--python", environment / "bin/python",
            "--require-hashes", "--compile-bytecode", "--build-constraints", BUILD, "-r", LOCK, log=log)
    (environment / COMPLETE).touch()
    return environment
