"""The lab's machines as hosts: which image, volumes and directories each gets, and its making before the first boot."""

import json
import os
import shutil
from pathlib import Path

from lab import base, firstboot, hosts, network, seat, volumes
from lab.settings import CACHE, HOSTS
from lab.shell import LabError

SHIMS = Path(__file__).with_name("omero") / "shims"
DEVICES = "bcdefghij"   # /dev/vda is the disk that a server boots from
STANDIN_PACKAGES = ("zeroc-icegrid", "zeroc-glacier2", "zeroc-ice-utils")


def layer_of(machine):
    """What a machine needs beside the base, or None."""
    if machine.role == "omero":
        # Debian's Ice, and lab/omero/shims, with which it passes for 3.6
        shims = tuple((f"/usr/local/bin/{path.name}", path.read_text(), 0o755) for path in sorted(SHIMS.iterdir()))
        return base.Layer("omero", packages=STANDIN_PACKAGES, files=shims)
    return seat.LAYER if machine.role == seat.ROLE else None


def directory_of(machine):
    """The directory of a machine's host."""
    return HOSTS / machine.name


def make(machine, layers, authorized_key):
    """
    Make a machine's upper layer unless it is there: a new server, with new SSH host keys.

    It keeps the layers it was made on; newer ones reach it when it is made again.
    """
    directory = directory_of(machine)
    if directory.exists():
        return
    unfinished = HOSTS / f".{machine.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    firstboot.seed(unfinished / "upper", machine.name, authorized_key)
    (unfinished / "layers.json").write_text(json.dumps([str(layer) for layer in layers]))
    unfinished.rename(directory)


def host(machine):
    """A machine's host, to be started. Refuses when the image it was made on is no longer in the cache."""
    directory = directory_of(machine)
    layers = made_on(directory)
    absent = [layer.name for layer in layers if not layer.is_dir()]
    if absent:
        raise LabError(f"{machine.name} was made on {absent[0]}, which isn't in the cache any more: "
                       f"lab/ctl remake {machine.name}")
    return hosts.Host(
        directory=directory, hostname=machine.name, netns=network.namespace_of(machine.name), layers=layers,
        disks=tuple(hosts.Disk(volumes.file_of(volume), f"vd{letter}", volume.serial)
                    for letter, volume in zip(DEVICES, machine.volumes, strict=False)),
        directories=_directories(machine), limits=machine.role == "dockermanager")


def made_on(directory):
    """The layers that the host in DIRECTORY was made on."""
    return tuple(Path(layer) for layer in json.loads((directory / "layers.json").read_text()))


def _directories(machine):
    """Downloads that outlive the lab, and for Docker a filesystem that its own overlays can lie on."""
    shared = {"/var/cache/apt/archives": CACHE / "apt" / machine.name}   # its own: apt locks it
    if machine.role == seat.ROLE:
        shared[f"{seat.HOME}/.cache"] = CACHE / "operator"
    else:
        shared["/root/.cache"] = CACHE / "root"
    if machine.role == "dockermanager":
        shared["/var/lib/docker"] = directory_of(machine) / "docker"
    for directory in shared.values():
        directory.mkdir(parents=True, exist_ok=True)
    if machine.role == seat.ROLE:
        os.chown(CACHE / "operator", seat.UID, -1)
    return shared
