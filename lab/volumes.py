"""
Data volumes: sparse files, shown to hosts as block devices through loop devices.

Without a cloud they have the sizes that pillar gives. The cloud's are on a filesystem of their own, xfs in one more
sparse file, where a snapshot shares its blocks with what it was taken of.
"""

import json
import os
import threading
from pathlib import Path

from lab.settings import STATE, VOLUMES
from lab.shell import PATIENCE, LabError, run, succeeds, wait_until

GIGABYTE = 1 << 30
SHELF = STATE / "cloud/volumes"   # where the cloud's are
SHELF_FILE = STATE / "cloud/volumes.xfs"
SHELF_GB = 60   # at most: the file grows with what is written, and shrinks with what is deleted
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


def mount_shelf():
    """Mount the filesystem of the cloud's volumes, for all of this mount namespace; made if it isn't there."""
    if os.path.ismount(SHELF):
        return
    SHELF.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not SHELF_FILE.exists():
        unfinished = SHELF_FILE.with_suffix(".new")
        with open(unfinished, "wb") as file:
            file.truncate(SHELF_GB * GIGABYTE)
        run("mkfs.xfs", "-q", "-m", "reflink=1", unfinished)
        unfinished.rename(SHELF_FILE)
    # past the page cache of this machine's filesystem: what a volume's file caches is enough
    device = run("losetup", "--find", "--show", "--nooverlap", "--direct-io=on", SHELF_FILE).strip()
    run("mount", "-t", "xfs", "-o", "noatime,discard", device, SHELF)
    run("losetup", "--detach", device)   # once it is unmounted


def unmount_shelf():
    """Unmount the filesystem of the cloud's volumes; their bytes stay. Refuses while a host or a service uses it."""
    if os.path.ismount(SHELF):
        run("umount", SHELF)
    detach(SHELF_FILE)
    if os.path.ismount(SHELF):
        raise LabError(f"{SHELF} is mounted twice: umount it")


def devices(path):
    """The loop devices of PATH: of that volume file, or of all files below that directory, deleted ones too."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE")
    found = json.loads(listed)["loopdevices"] if listed.strip() else []
    return [
        loop["name"] for loop in found
        if (file := (loop["back-file"] or "").removesuffix(" (deleted)")) == str(path) or file.startswith(f"{path}/")
    ]
