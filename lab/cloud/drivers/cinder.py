"""
The volume driver of the lab's Cinder: a volume or snapshot is a sparse file, its copies share their blocks (FICLONE).

The kernel clones a file as of one moment: what is still in memory is written first, and writes wait meanwhile. So a
snapshot of a volume in use holds all that its server's disk had said was written, and nothing half-way. Without
reflinks the call fails; nothing here ever copies a byte.
"""

import fcntl
import json
import os
import time

from cinder import exception, interface
from cinder.volume import driver

from lab.volumes import GIGABYTE, SHELF, devices

FICLONE = 0x40049409   # linux/fs.h
SLOW = SHELF.parent / "slow.json"   # {"snapshot": seconds, "clone": seconds}, read at every call


def slow(kind):
    """Wait as long as a slow storage would, before a `snapshot` or `clone` is what its source is at that moment."""
    if SLOW.exists():
        time.sleep(json.loads(SLOW.read_text()).get(kind, 0))


def clone(source, target, size):
    """
    Make the file TARGET of the bytes of SOURCE and zeros after them, whole or not at all.

    size:  of TARGET, in bytes
    """
    if size < source.stat().st_size:
        raise exception.InvalidInput(reason=f"{target.name} would be smaller than {source.name}")
    unfinished = target.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with open(source, "rb") as old, open(unfinished, "xb") as new:
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        new.truncate(size)
    unfinished.rename(target)


@interface.volumedriver
class FilesDriver(driver.VolumeDriver):
    """Volumes as files on the shelf (`lab.volumes`), which the lab makes before Cinder starts."""

    VERSION = "1"

    def check_for_setup_error(self):
        if not SHELF.is_dir():
            raise exception.VolumeBackendAPIException(data=f"there's no {SHELF}")

    def create_volume(self, volume):
        unfinished = _file(volume).with_suffix(".new")
        with open(unfinished, "wb") as file:
            file.truncate(volume.size * GIGABYTE)
        unfinished.rename(_file(volume))

    def delete_volume(self, volume):
        if devices(_file(volume)):
            raise exception.VolumeIsBusy(volume_name=volume.name)
        _delete(volume)

    def create_snapshot(self, snapshot):
        slow("snapshot")
        clone(_file(snapshot.volume), _file(snapshot), snapshot.volume_size * GIGABYTE)

    def delete_snapshot(self, snapshot):
        _delete(snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        slow("clone")
        clone(_file(snapshot), _file(volume), volume.size * GIGABYTE)

    def create_cloned_volume(self, volume, src_vref):
        slow("clone")
        clone(_file(src_vref), _file(volume), volume.size * GIGABYTE)

    def extend_volume(self, volume, new_size):
        os.truncate(_file(volume), new_size * GIGABYTE)

    def initialize_connection(self, volume, connector, **kwargs):
        # a type that os-brick doesn't know: only the lab's compute driver reads it, and nothing copies volumes by it
        return {"driver_volume_type": "lab", "data": {"device_path": str(_file(volume))}}

    def terminate_connection(self, volume, connector, **kwargs):
        """There's nothing at this end: the server's host has the file, or hasn't."""

    def create_export(self, context, volume, connector):
        """Files need none."""

    def ensure_export(self, context, volume):
        """Files need none."""

    def remove_export(self, context, volume):
        """Files have none."""

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        raise NotImplementedError("the lab's volumes are made of nothing, volumes and snapshots, not of images")

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        raise NotImplementedError("the lab makes no images of volumes")

    def _update_volume_stats(self):
        room = os.statvfs(SHELF)
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "lab", "driver_version": self.VERSION, "storage_protocol": "lab",
            "total_capacity_gb": round(room.f_blocks * room.f_frsize / GIGABYTE, 2),
            "free_capacity_gb": round(room.f_bavail * room.f_frsize / GIGABYTE, 2),
            "provisioned_capacity_gb": sum(path.stat().st_size for path in SHELF.iterdir()) / GIGABYTE,
            "thin_provisioning_support": True, "thick_provisioning_support": False, "max_over_subscription_ratio": 1000,
            "reserved_percentage": 0, "multiattach": False, "online_extend_support": False, "QoS_support": False,
        }


def _file(thing):
    """The file of a volume or snapshot."""
    return SHELF / thing.name


def _delete(thing):
    for path in (_file(thing), _file(thing).with_suffix(".new")):
        path.unlink(missing_ok=True)
