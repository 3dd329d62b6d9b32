#!/usr/bin/env python3
"""Builds the wheel of Ice 3.6.5 for Python that omero-py needs and no index has for Python 3.11.

CLI:  python3 lab/omero/ice.py wheel /var/cache/idr-lab/ice
"""
import argparse
import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "ice"
PYTHON = "/usr/bin/python3"     # the lab's hosts run this machine's distribution, so its Python is theirs
NEEDS = {
    "g++": "/usr/bin/g++",
    "libssl-dev": "/usr/include/openssl/ssl.h",
    "libbz2-dev": "/usr/include/bzlib.h",
    "python3-dev": "/usr/include/python3*/Python.h",
    "python3-venv": "/usr/lib/python3*/ensurepip/__init__.py",
}


class Missing(Exception):
    """Something that the build needs isn't on this machine; the message names everything that is missing."""


def wheel(dest):
    """Build the wheel into the directory DEST unless it is there already; takes about four minutes on two cores.

    Returns the wheel's path. Refuses (Missing) where a compiler, a header or Python's venv is absent.

    CLI:  python3 lab/omero/ice.py wheel /var/cache/idr-lab/ice
    """
    dest = Path(dest)
    if found := _found(dest):
        return found
    missing = [package for package, sign in NEEDS.items() if not glob.glob(sign)]
    if missing:
        raise Missing(f"the Ice wheel cannot be built without: apt-get install {' '.join(missing)}")
    dest.mkdir(parents=True, exist_ok=True)
    with open(dest / ".ice.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _found(dest) or _built(dest)


def _found(dest):
    return next(iter(sorted(dest.glob("zeroc_ice-3.6.5-cp3*.whl"))), None)


def _built(dest):
    with tempfile.TemporaryDirectory(dir=dest, prefix=".build-") as work:
        return _build(Path(work), dest)


def _build(work, dest):
    pip = [f"{work}/venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([PYTHON, "-m", "venv", work / "venv"], check=True)
    requirements = (HERE / "requirements.txt").read_text().splitlines()
    for line in requirements:
        # One at a time: unpacking the sdist to read its metadata needs the setuptools of the line before.
        if line.startswith("#"):
            continue
        (work / "line.txt").write_text(line)
        get = ["download", "--no-binary", ":all:", "--no-build-isolation", "--dest", work] \
            if line.startswith("zeroc-ice") else ["install"]
        subprocess.run([*pip, *get, "--no-deps", "--require-hashes", "-r", work / "line.txt"], check=True)
    shutil.unpack_archive(work / "zeroc-ice-3.6.5.tar.gz", work)
    flags = f"-I{HERE} -include {HERE / 'icepy311.h'} -O1 -g0"
    environment = dict(os.environ, SOURCE_DATE_EPOCH="1500000000", CFLAGS=flags, CXXFLAGS=flags)
    with open(dest / "build.log", "w") as log:
        subprocess.run([work / "venv/bin/python", HERE / "setup_in_parallel.py", "-q", "bdist_wheel",
                        "--dist-dir", work / "out"], cwd=work / "zeroc-ice-3.6.5", env=environment, check=True,
                       stdout=log, stderr=subprocess.STDOUT)
    (made,) = (work / "out").glob("*.whl")
    return made.rename(dest / made.name)


def main():
    """The command line: `wheel DEST_DIR` prints the path of the wheel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("wheel", help="build the wheel into DEST, or find it there").add_argument("dest")
    try:
        print(wheel(parser.parse_args().dest))
    except Missing as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
