#!/usr/bin/python3
"""
Builds the image of the lab's JupyterHub: a Debian, JupyterHub in /opt/hub, and in /opt/user what users work with. It
needs no Docker.

CLI:  python3 -m lab.jupyter.image build /var/cache/idr-lab/jupyter /var/cache/idr-lab/omero
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab import base
from lab.jupyter import docker_archive
from lab.omero import ice
from lab.settings import CHECKOUT
from lab.shell import run

HERE = Path(__file__).resolve().parent
NAME = "idr-lab/jupyter:1"
PACKAGES = ("ca-certificates", "netbase", "node-configurable-http-proxy", "passwd", "procps", "python3", "tzdata")
WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*",
           "/usr/share/bash-completion/*", "/usr/share/lintian/*")
USER = "jovyan"
PATH = "/opt/user/bin:/opt/hub/bin:/usr/local/bin:/usr/bin:/bin"
CONFIG = {
    "User": USER, "WorkingDir": f"/home/{USER}", "Cmd": ["jupyterhub-singleuser"],
    "Env": [f"PATH={PATH}", f"HOME=/home/{USER}", "LANG=C.UTF-8", "SHELL=/bin/bash"],
}
PYTHONS = {"hub": "hub.lock", "user": "user.lock"}
SPARED = ("opt/*/share/jupyterhub/static/components/@fortawesome/fontawesome-free/svgs*",
          "opt/user/share/jupyterhub/static", "opt/*/lib/python3*/site-packages/**/tests")
UV = CHECKOUT / "requirements-uv.lock"


def build(dest, wheels):
    """
    Write jupyter.tar into the directory DEST unless it is there, made by this recipe; takes about two minutes.

    wheels:  directory of the Ice wheel, which is built if it isn't there

    Returns the archive's path; beside it jupyter.json says the image's name and id.
    """
    dest.mkdir(parents=True, exist_ok=True)
    archive, described = dest / "jupyter.tar", dest / "jupyter.json"
    with open(dest / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = _recipe()
        if _made_by(described) == recipe:
            return archive
        work = dest / "unfinished"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        root = work / "root"
        _debian(root)
        _pythons(root, work, wheels)
        _compile(root)
        architecture = run("dpkg", "--print-architecture").strip()
        image = docker_archive.write(root, work / archive.name, NAME, CONFIG, architecture)
        described.unlink(missing_ok=True)
        (work / archive.name).rename(archive)
        (work / described.name).write_text(json.dumps({"name": NAME, "id": image, "recipe": recipe}))
        (work / described.name).rename(described)
        shutil.rmtree(work)
    return archive


def described(dest):
    """What the archive in DEST is: the image's name and id."""
    told = json.loads((dest / "jupyter.json").read_text())
    return {"name": told["name"], "id": told["id"]}


def _debian(root):
    options = [f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io",
               *(f"--dpkgopt=path-exclude={path}" for path in WITHOUT)]
    # a mount namespace, so that nothing stays mounted when this is killed
    run("unshare", "--mount", "--propagation", "private",
        "mmdebstrap", "--variant=essential", "--mode=root", "--format=directory", *options,
        f'--customize-hook=chroot "$1" useradd --create-home --user-group --uid 1000 --shell /bin/bash {USER}',
        base.codename(), root, "-", stdin="\n".join(base.sources()) + "\n",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
             "SOURCE_DATE_EPOCH": str(docker_archive.MOMENT)})


def _pythons(root, work, wheels):
    """Both virtual environments, made from here: this machine's Python is the image's, being of the same Debian."""
    run(ice.PYTHON, "-m", "venv", work / "venv")
    run(work / "venv/bin/pip", "--quiet", "--disable-pip-version-check", "install", "--require-hashes", "-r", UV)
    uv = [work / "venv/bin/uv", "--no-config", "--quiet", "--cache-dir", work / "uv"]
    for name, lock in PYTHONS.items():
        run(*uv, "venv", "--relocatable", "--python", ice.PYTHON, root / "opt" / name)
        run(*uv, "pip", "install", "--python", root / "opt" / name / "bin/python", "--no-deps", "--require-hashes",
            "-r", HERE / lock)
    run(*uv, "pip", "install", "--python", root / "opt/user/bin/python", "--no-deps", ice.wheel(wheels))
    (root / "opt/user/bin/jupyterhub").unlink()   # it comes first in PATH, and can't spawn
    for pattern in SPARED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _compile(root):
    """Compile all modules, by content rather than time, which the image has none of: containers keep nothing of it."""
    for path in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(path)
    run("chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode",
        "unchecked-hash", "/usr/lib/python3.11", "/usr/lib/python3", "/opt/hub/lib", "/opt/user/lib")


def _recipe():
    parts = [base.sources(), [(path.name, path.read_text()) for path in
                              (UV, HERE / "image.py", HERE / "docker_archive.py", *(HERE / lock for lock in PYTHONS.values()))]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _made_by(described):
    """The recipe of what is there already, or None."""
    return json.loads(described.read_text())["recipe"] if described.exists() else None


def main():
    """The command line: `build DEST WHEELS` prints the path of the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="write the archive into DEST, or find it there")
    command.add_argument("dest", type=Path)
    command.add_argument("wheels", type=Path)
    asked = parser.parse_args()
    try:
        print(build(asked.dest, asked.wheels))
    except ice.Missing as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
