"""
Data volumes: sparse files, shown to hosts as block devices through loop devices.

Without a cloud they have the sizes that pillar gives. A snapshot in the cloud shares its blocks with what it was taken
of, as the lab's own filesystem can.
"""

import json
import os
import threading
from pathlib import Path

from lab.settings import STATE, VOLUMES
from lab.shell import PATIENCE, LabError, run, succeeds, wait_until

GIGABYTE = 1 << 30
SHELF = STATE / "cloud/volumes"   # where the cloud's are
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
    try:
        wait_until(f"the loop device of {path} goes", lambda: not devices(path), PATIENCE)
    except LabError as error:
        raise LabError(f"{error}: it's mounted for {', '.join(_mounted_for(path)) or 'nobody that is seen'}") from None


def _mounted_for(path):
    """The processes in whose mount namespaces a loop device of a volume file is: of a host, or another one's copy."""
    found, here = [], devices(path)
    for about in Path("/proc").glob("[0-9]*"):
        try:
            mounts, name = (about / "mountinfo").read_text(), (about / "comm").read_text().strip()
        except OSError:   # it has just ended
            continue
        if any(f" {device} " in mounts for device in here):
            found.append(f"{name} (process {about.name})")
    return found


def is_held(path):
    """Whether a mount, in whatever namespace, or anything else holds a loop device of the volume file PATH."""
    for device in devices(path):
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError:
            return True
    return False


def devices(path):
    """The loop devices of PATH: of that volume file, or of all files below that directory, deleted ones too."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE")
    found = json.loads(listed)["loopdevices"] if listed.strip() else []
    return [
        loop["name"] for loop in found
        if (file := (loop["back-file"] or "").removesuffix(" (deleted)")) == str(path) or file.startswith(f"{path}/")
    ]
