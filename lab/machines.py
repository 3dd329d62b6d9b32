"""
The lab's machines as hosts: which image, volumes and directories each gets, and its making before the first boot.

What depends on a machine's role is asked by role, so that a server which the cloud makes gets the same.
"""

import json
import os
import shutil
from pathlib import Path

from lab import base, firstboot, hosts, network, seat, volumes
from lab.settings import CACHE, HOSTS, STATE
from lab.shell import LabError

SHIMS = Path(__file__).with_name("omero") / "shims"
DEVICES = "bcdefghij"   # /dev/vda is the disk that a server boots from
STANDIN_PACKAGES = ("zeroc-icegrid", "zeroc-glacier2", "zeroc-ice-utils")
LAYERS = STATE / "cloud/layers.json"   # by role, what the cloud's servers boot from; "" is every other role


def layer_of(role):
    """What a machine of that role needs beside the base, or None."""
    if role == "omero":
        # Debian's Ice, and lab/omero/shims, with which it passes for 3.6
        shims = tuple((f"/usr/local/bin/{path.name}", path.read_text(), 0o755) for path in sorted(SHIMS.iterdir()))
        return base.Layer("omero", packages=STANDIN_PACKAGES, files=shims)
    return seat.LAYER if role == seat.ROLE else None


def limits(role):
    """Whether a machine of that role limits what runs in it."""
    return role == "dockermanager"


def directories(name, role, directory):
    """
    What a machine has from this one, by its path there: downloads that outlive the lab, and for Docker a filesystem
    that its own overlays can lie on.

    directory:  its host's
    """
    shared = {"/var/cache/apt/archives": CACHE / "apt" / name}   # its own: apt locks it
    if role == seat.ROLE:
        shared[f"{seat.HOME}/.cache"] = CACHE / "operator"
    else:
        shared["/root/.cache"] = CACHE / "root"
    if role == "dockermanager":
        shared["/var/lib/docker"] = directory / "docker"
    for source in shared.values():
        source.mkdir(parents=True, exist_ok=True)
    if role == seat.ROLE:
        os.chown(CACHE / "operator", seat.UID, -1)
    return shared


def prepare_for_cloud():
    """Build what the cloud's servers boot from, and note where it is: the cloud itself builds nothing."""
    image = base.base()
    layers = {role: [str(layer) for layer in base.layer(layer_of(role), image)] for role in ("", "omero")}
    LAYERS.parent.mkdir(parents=True, exist_ok=True)
    unfinished = LAYERS.with_suffix(".new")
    unfinished.write_text(json.dumps(layers, indent=1))
    unfinished.rename(LAYERS)


def prepared(role):
    """The layers that a server of that role boots from in the cloud, the topmost first."""
    layers = json.loads(LAYERS.read_text())
    return tuple(Path(layer) for layer in layers.get(role, layers[""]))


def role_of(name, metadata):
    """The role of a server in the cloud: what its metadata says, or else its name, as one made by hand has no more."""
    return metadata.get("idr_role") or name.rpartition("-")[2]


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
        directories=directories(machine.name, machine.role, directory), limits=limits(machine.role))


def made_on(directory):
    """The layers that the host in DIRECTORY was made on."""
    return tuple(Path(layer) for layer in json.loads((directory / "layers.json").read_text()))
