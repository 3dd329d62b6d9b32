"""
What hosts boot from: a Debian as a cloud image brings it, and thin layers above it for what single hosts need besides.

Each is a directory in the cache, named after the hash of its recipe, and never changed once it is there: hosts run on
overlays of it. Nothing is in the base that a cloud image lacks; no Salt, no OMERO, no database.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.settings import CACHE
from lab.shell import LabError, delete, run

IMAGES = CACHE / "images"
PACKAGES = (
    "apt-utils", "ca-certificates", "curl", "dbus", "iproute2", "iputils-ping", "kmod", "less", "libpam-systemd",
    "logrotate", "netbase", "nftables", "openssh-server", "procps", "python3", "sudo", "systemd", "systemd-sysv",
    "systemd-timesyncd", "tzdata",
)
# Documentation is left out and dpkg doesn't sync: six hosts install packages at once, on one disk. The lists that the
# base was made by stay, without translations: a server's first update only has to look for what is new.
APT = "Acquire::Languages \"none\""
DPKG = ("force-unsafe-io", "path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/locale/*")
FINISH = r"""
update-ca-certificates >/dev/null 2>&1
printf 'LANG=C.UTF-8\n' > /etc/default/locale
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ndisable-pip-version-check = true\n' > /etc/pip.conf
# This machine's own certificate authorities, for programs that bring another list of them
printf 'SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n' >> /etc/environment
mkdir -p /etc/systemd/system.conf.d
printf '[Manager]\nDefaultEnvironment=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n' \
  > /etc/systemd/system.conf.d/lab.conf
rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf /var/cache/apt/archives/*.deb
apt-cache -q gencaches
: > /etc/machine-id
"""
AUTHORITIES = Path("/usr/local/share/ca-certificates")
IN_CHROOT = r"""
mount -t overlay building -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mkdir -p "$ROOT/var/cache/apt/archives"
mount --bind "$DEBS" "$ROOT/var/cache/apt/archives"
cp "$RESOLV" "$ROOT/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$ROOT/usr/sbin/policy-rc.d"
chmod 755 "$ROOT/usr/sbin/policy-rc.d"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
  chroot "$ROOT" sh -ec "$SCRIPT"
rm -rf "$ROOT/usr/sbin/policy-rc.d" "$ROOT/etc/resolv.conf"
"""


@dataclass(frozen=True)
class Layer:
    """What some hosts need beside the base: packages, files (path, text, mode), and a script that runs after them."""

    name: str
    packages: tuple = ()
    files: tuple = ()
    script: str = ""


def sources():
    """The lines of sources.list for this machine's Debian, as its own apt is configured."""
    release = codename()
    targets = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
                  "Identifier: Packages").split()
    lines = [
        f"deb {uri} {suite} {component}" for origin, uri, suite, component in (line.split("|") for line in targets)
        if origin == "Debian" and suite.split("-")[0] == release
    ]
    if not lines:
        raise LabError("apt knows no package lists of this Debian: apt-get update")
    return sorted(set(lines))


def base():
    """The directory of the base image; built if it isn't in the cache (half a minute)."""
    authorities = {path.name: path.read_text() for path in sorted(AUTHORITIES.glob("*.crt"))}
    recipe = [PACKAGES, APT, DPKG, FINISH, sources(), authorities]
    return _cached("base", recipe, _build_base)


def layer(wanted, image):
    """
    The directories that hosts with the Layer WANTED (None: the base alone) boot from, the topmost first.

    image:  the base's directory

    Built if it isn't in the cache.
    """
    if wanted is None:
        return (image,)
    recipe = [image.name, wanted.packages, wanted.files, wanted.script]
    return _cached(wanted.name, recipe, lambda directory: _build_layer(wanted, image, directory)), image


def prune(used):
    """Delete all images but those that hosts boot from, `used`: what a newer recipe has replaced."""
    for image in IMAGES.iterdir():
        if image not in used:
            delete(image)


def _cached(name, recipe, build):
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    image = IMAGES / f"{name}-{digest}"
    if not image.exists():
        unfinished = IMAGES / f"{image.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        IMAGES.mkdir(parents=True, exist_ok=True)
        build(unfinished)
        unfinished.rename(image)
    return image


def _build_base(directory):
    log = CACHE / "base.log"
    options = [f"--include={','.join(PACKAGES)}", f"--aptopt={APT}", *(f"--dpkgopt={line}" for line in DPKG),
               "--skip=cleanup/apt"]
    if AUTHORITIES.is_dir():
        options.append(f"--customize-hook=copy-in {AUTHORITIES} /usr/local/share")
    bootstrap(codename(), sources(), directory, log, "--variant=minbase", *options,
              f"--customize-hook=chroot \"$1\" sh -ec '{_quoted(FINISH)}'")


def bootstrap(release, lines, directory, log, *options):
    """
    Make a directory of a release of Debian, by mmdebstrap, whose OPTIONS say what comes into it.

    lines:  of sources.list
    log:    the file that is told how it went
    """
    with open(log, "w") as output:
        # a mount namespace, so that nothing stays mounted below the cache when this is killed
        run("unshare", "--mount", "--propagation", "private",
            "mmdebstrap", "--mode=root", "--format=directory", *options, release, directory, "-",
            stdin="\n".join(lines) + "\n", log=output,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"})


def _build_layer(wanted, below, directory):
    upper, work, root = directory, directory.with_suffix(".work"), directory.with_suffix(".root")
    debs = CACHE / "apt" / f"layer-{wanted.name}"   # its own: apt locks it, and layers are built at once
    for path in (work, root):
        shutil.rmtree(path, ignore_errors=True)
    for path in (upper, work, root, debs):
        path.mkdir(parents=True, exist_ok=True)
    for name, text, mode in wanted.files:
        path = upper / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    script = wanted.script
    if wanted.packages:
        script = (f"apt-get -q update && apt-get -q -y --no-install-recommends install {' '.join(wanted.packages)}\n"
                  + script)
    with open(CACHE / f"{wanted.name}.log", "w") as output:
        run("unshare", "--mount", "--propagation", "private", "sh", "-ec", IN_CHROOT, log=output, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LOWER": str(below), "UPPER": str(upper), "WORK": str(work),
            "ROOT": str(root), "DEBS": str(debs), "RESOLV": os.path.realpath("/etc/resolv.conf"), "SCRIPT": script})
    shutil.rmtree(work)
    root.rmdir()


def _quoted(script):
    return script.replace("'", "'\\''")


def codename():
    """The name of this machine's Debian release."""
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return fields["VERSION_CODENAME"]
