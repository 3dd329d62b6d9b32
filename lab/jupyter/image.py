"""
Builds the image of the lab's JupyterHub: a Debian, JupyterHub in /opt/hub, and in /opt/user what users work with. It
needs no Docker.

CLI:  python3 -m lab.jupyter.image build /var/cache/idr-lab/jupyter /var/cache/idr-lab/omero
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import shutil
import sys
from pathlib import Path

from lab import base
from lab.jupyter import docker_archive
from lab.omero import ice
from lab.settings import CHECKOUT
from lab.shell import LabError, run

HERE = Path(__file__).resolve().parent
NAME = "idr-lab/jupyter:1"
# usr-is-merged: instead of usrmerge, which brings all of Perl
PACKAGES = ("ca-certificates", "netbase", "node-configurable-http-proxy", "passwd", "procps", "python3", "tzdata",
            "usr-is-merged")
MERGED = "/usr/share/mmdebstrap/hooks/merged-usr"
# What no container of the lab reads: from packages of Debian, and of Python
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*",
            "/usr/share/bash-completion/*", "/usr/share/lintian/*", "/usr/share/nodejs/@types/*")
DELETED = (
    "opt/user/share/jupyterhub/static",   # JupyterHub's own pages
    "opt/hub/share/jupyterhub/static/components/@fortawesome/fontawesome-free/[!cw]*",   # all but css and webfonts
    "opt/*/**/*.map",
    "opt/*/lib/python3*/site-packages/**/tests",
    "opt/user/lib/python3*/site-packages/babel/locale-data/[!er]*",   # all but English and the root of all
    "opt/user/lib/python3*/site-packages/jedi/third_party/typeshed/stubs",
)
USER = "jovyan"
PATH = "/opt/user/bin:/opt/hub/bin:/usr/local/bin:/usr/bin:/bin"
CONFIG = {
    "User": USER, "WorkingDir": f"/home/{USER}", "Cmd": ["jupyterhub-singleuser"],
    "Env": [f"PATH={PATH}", f"HOME=/home/{USER}", "LANG=C.UTF-8", "SHELL=/bin/bash"],
}
PYTHONS = {"hub": "hub.lock", "user": "user.lock"}
CLONE_NEWNS = 0x20000
UV = CHECKOUT / "requirements-uv.lock"


def build(dest, wheels):
    """
    Write jupyter.tar into the directory DEST unless it is there, made by this recipe; takes one minute or two.

    wheels:  directory of the Ice wheel, which is built if it isn't there

    Returns the archive's path; beside it jupyter.json says the image's name and id.
    """
    dest.mkdir(parents=True, exist_ok=True)
    archive, told = dest / "jupyter.tar", dest / "jupyter.json"
    with open(dest / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = _recipe()
        if archive.exists() and told.exists() and json.loads(told.read_text())["recipe"] == recipe:
            return archive
        unfinished = dest / f"{archive.name}.part"
        work = _workplace(dest / "work")
        root = work / "root"
        _debian(root)
        _pythons(root, work, wheels)
        _compile(root)
        architecture = run("dpkg", "--print-architecture").strip()
        image = docker_archive.write(root, unfinished, NAME, CONFIG, architecture)
        told.unlink(missing_ok=True)
        unfinished.rename(archive)
        unfinished.write_text(json.dumps({"name": NAME, "id": image, "recipe": recipe}))
        unfinished.rename(told)
    return archive


def described(dest):
    """What the archive in DEST is: the image's name and id."""
    told = json.loads((dest / "jupyter.json").read_text())
    return {"name": told["name"], "id": told["id"]}


def _workplace(directory):
    """An empty directory in memory, seen by this process and its children only, and gone with them."""
    directory.mkdir(exist_ok=True)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace of its own")
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "building", directory)
    return directory


def _debian(root):
    options = [f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io",
               *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)]
    run("mmdebstrap", "--variant=essential", "--mode=root", "--format=directory", f"--hook-dir={MERGED}", *options,
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
    # By its name: of a file, uv would note the time in the image
    run(*uv, "pip", "install", "--python", root / "opt/user/bin/python", "--no-deps", "--no-index",
        "--find-links", ice.wheel(wheels).parent, "zeroc-ice==3.6.5")
    (root / "opt/user/bin/jupyterhub").unlink()   # it comes first in PATH, and can't spawn
    for pattern in DELETED:
        for path in root.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _compile(root):
    """Compile all modules, by content rather than time, which the image has none of: containers keep nothing of it."""
    for path in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(path)
    run("chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode",
        "unchecked-hash", "/usr/lib/python3.11", "/usr/lib/python3", "/opt/hub/lib", "/opt/user/lib")


def _recipe():
    sources = [UV, *sorted(HERE.glob("*.py")), *sorted(HERE.glob("*.lock"))]
    return hashlib.sha256(json.dumps([base.sources(), *(path.read_text() for path in sources)]).encode()).hexdigest()


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
    except (ice.Missing, LabError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
