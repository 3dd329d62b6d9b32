"""Data volumes: sparse files of the size that pillar gives, shown to hosts as block devices through loop devices."""

import json
import threading

from lab.settings import VOLUMES
from lab.shell import run, succeeds, wait_until

GIGABYTE = 1 << 30
_choosing_a_device = threading.Lock()


def file_of(volume):
    """The file that holds a topology's VOLUME; made, sparse, if it isn't there. Its bytes outlive its hosts."""
    VOLUMES.mkdir(parents=True, exist_ok=True)
    path = VOLUMES / volume.id
    if not path.exists():
        with open(path, "xb") as file:
            file.truncate(volume.size_gb * GIGABYTE)
    return path


def attach(path):
    """The loop device of the volume file PATH; the one it has, or a new one."""
    with _choosing_a_device:
        return run("losetup", "--find", "--show", "--nooverlap", path).strip()


def detach(path):
    """Take the loop devices of the volume file PATH away, once no mount holds them any more."""
    for device in devices(path):
        succeeds("losetup", "--detach", device)
    wait_until(f"the loop device of {path} goes", lambda: not devices(path), 20)


def devices(path):
    """The loop devices of PATH: of that volume file, or of all files below that directory, deleted ones too."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE")
    found = json.loads(listed)["loopdevices"] if listed.strip() else []
    return [
        loop["name"] for loop in found
        if (file := (loop["back-file"] or "").removesuffix(" (deleted)")) == str(path) or file.startswith(f"{path}/")
    ]
