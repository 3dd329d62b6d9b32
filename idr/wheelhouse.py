"""
Salt as wheels: made once on an operator's machine from the lock and its hashes, installed on servers without an index,
by the uv that goes along.
"""

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from idr.checkout import CHECKOUT
from idr.errors import IdrError

LOCK = CHECKOUT / "requirements.lock"
BUILD_LOCK = CHECKOUT / "requirements-build.lock"
UV_LOCK = CHECKOUT / "requirements-uv.lock"
CACHE = Path("~/.cache/idr")
PYTHON = (3, 11)  # of the servers: Debian 12's own, and a package of the RHEL 9 family


def content_hash():
    """What tells one Salt on a server from another: its locks, its Python and machine, and that uv stays with it."""
    made_for = f"{sysconfig.get_config_var('SOABI')} {platform.machine()}, and uv"
    locks = b"".join(lock.read_bytes() for lock in (LOCK, BUILD_LOCK, UV_LOCK))
    return hashlib.sha256(locks + made_for.encode()).hexdigest()


def problems():
    """Why wheels that servers can use can't be made here, one line each."""
    if sys.version_info[:2] == PYTHON:
        return []
    here = ".".join(map(str, sys.version_info[:2]))
    return [f"this checkout's Python is {here} and the servers' is 3.11: rm -r .venv; make venv PYTHON=python3.11"]


def wheelhouse(tell):
    """
    The tar file of the wheels and their lock, made unless it's there; making it takes two minutes and a C compiler.

    tell:  is told one line before the making begins
    """
    ready = CACHE.expanduser() / f"salt-{content_hash()[:16]}.tar"
    if ready.exists():
        return ready
    tell("making Salt's wheels from the lock, once for all servers (about two minutes)")
    ready.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ready.parent) as scratch:
        wheels = Path(scratch) / "wheels"
        _make(wheels)
        (wheels / "wheels.lock").write_text(_lock(wheels))
        _fetch_uv(wheels)
        tar = Path(scratch) / "wheels.tar"
        subprocess.run(["tar", "-c", "-f", str(tar), "-C", str(wheels), "."], check=True)
        tar.rename(ready)
    for old in ready.parent.glob("salt-*.tar"):
        if old != ready:
            old.unlink()
    return ready


def _make(wheels):
    """Fetch and build by hash, with what builds installed by hash too."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "venv"
        python = place / "bin/python"
        quiet = "--disable-pip-version-check", "--quiet"
        for command in (
            [sys.executable, "-m", "venv", place],
            [uv, "--no-config", "pip", "install", "--python", python, "--require-hashes", "-r", BUILD_LOCK],
            [python, "-m", "pip", "wheel", *quiet, "--no-build-isolation", "--no-deps", "--require-hashes",
             "-r", LOCK, "-w", wheels],
        ):  # fmt: skip
            _run(command, _environment(place))


def _fetch_uv(wheels):
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    _run([*command, "--only-binary=:all:", "--require-hashes", "-r", UV_LOCK, "-d", wheels], os.environ)


def _run(command, environment):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if line.lstrip().startswith("ERROR")]
        raise IdrError(
            f"making Salt's wheels failed (it needs the package index, gcc and python3-dev): "
            f"{' '.join(errors[:1]) or done.stderr.strip()[-300:]}"
        )


def _environment(place):
    """What builds finds its tools in the scratch venv, and nothing of a package by a local path."""
    kept = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    return kept | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}


def _lock(wheels):
    """The lock of the wheels themselves: those built here have other hashes than their sources."""
    lines = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)
