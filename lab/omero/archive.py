#!/usr/bin/env python3
"""Builds the archive of the OMERO.server stand-in, in the shape of OME's own: what lies under server/ here, and the
PostgreSQL driver that it needs. The same sources give the same bytes.

CLI:  python3 lab/omero/archive.py build /var/cache/idr-lab/downloads
"""
import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "OMERO.server-5.6.13-ice36"
EMPTY = ("etc/grid/", "lib/server/", "var/")    # directories of the real one that the commands expect
LONG_AGO = (1980, 1, 1, 0, 0, 0)
SKIP = ("__pycache__", ".pyc")


def build(dest):
    """Write NAME.zip into the directory DEST; a second or two, and longer when the driver must be downloaded.

    Returns the archive's path. Refuses (CalledProcessError) where the driver cannot be had with its pinned hash.

    CLI:  python3 lab/omero/archive.py build /var/cache/idr-lab/downloads
    """
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    files = {f"{NAME}/{path.relative_to(HERE / 'server')}": (path.read_bytes(), os.access(path, os.X_OK))
             for path in (HERE / "server").rglob("*")
             if path.is_file() and not any(skip in str(path) for skip in SKIP)}
    with zipfile.ZipFile(driver(dest)) as wheel:
        files |= {f"{NAME}/lib/python/{name}": (wheel.read(name), False)
                  for name in wheel.namelist() if not name.endswith("/")}
    archive = dest / f"{NAME}.zip"
    being_written = archive.with_suffix(".part")
    with zipfile.ZipFile(being_written, "w", zipfile.ZIP_DEFLATED) as made:
        for directory in EMPTY:
            made.writestr(_entry(f"{NAME}/{directory}", 0o40755), b"")
        for name, (content, executable) in sorted(files.items()):
            made.writestr(_entry(name, 0o100755 if executable else 0o100644), content)
    return being_written.rename(archive)


def driver(dest):
    """The wheel of the PostgreSQL driver, kept beside the archive."""
    kept = sorted(dest.glob("psycopg2_binary-*.whl"))
    if not kept:
        with tempfile.TemporaryDirectory(dir=dest) as work:
            # Debian's own Python has no pip, but its virtual environments do
            subprocess.run([sys.executable, "-m", "venv", f"{work}/venv"], check=True)
            subprocess.run([f"{work}/venv/bin/pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps",
                            "--only-binary", ":all:", "--python-version", "3.11", "--require-hashes",
                            "-r", HERE / "requirements.txt", "--dest", work], check=True)
            (wheel,) = Path(work).glob("*.whl")
            kept = [wheel.rename(dest / wheel.name)]
    return kept[0]


def _entry(name, mode):
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.external_attr = mode << 16 | (0x10 if name.endswith("/") else 0)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def main():
    """The command line: `build DEST_DIR` prints the path of the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="write the archive into DEST").add_argument("dest")
    print(build(parser.parse_args().dest))


if __name__ == "__main__":
    main()
