"""
A volume of a set restored, by its size: its clone made and attached to a server by the steps that a restore takes;
beside the same two calls by the SDK alone, and beside what the storage does for them, one FICLONE of a file.

Needs the lab up, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from bench.lab import run
from bench.machine import machine
from lab.volumes import GIGABYTE, SHELF

SIZES = 1, 4, 16  # GB
PIECE = 1 << 20  # bytes, and as many left out after each: the clone of a file in one piece would cost nothing
FICLONE = 0x40049409  # linux/fs.h
SERVER = "idr-proxy"
BEGIN = f"""
import json, openstack, time
from idr.cloud import connection, making
from idr.cloud.model import Plan, Ref, Step
cloud = connection.connect("idr")
disk, compute = cloud.block_storage, cloud.compute
server = next(compute.servers(name="^{SERVER}$"))
"""
VOLUME = """
made = disk.create_volume(size={size}, name="bench", metadata={{"bench": "restore"}})
print(disk.wait_for_status(made, "available", interval=0.2).id)
"""
SNAPSHOT = """
made = disk.create_snapshot(volume_id="{volume}", name="bench", metadata={{"bench": "restore"}})
print(disk.wait_for_status(made, "available", interval=0.2).id)
"""
RESTORE = """
asked = {{"size": {size}, "name": "bench-restored", "snapshot_id": "{snapshot}", "metadata": {{"bench": "restore"}}}}
on = {{"server_id": server.id, "volume_id": Ref("volume", "bench-restored")}}
clone = Step("make", "volume", "bench-restored", asked)
steps = clone, Step("make", "attachment", "bench-restored", on, needs=(clone.key,))
began = time.monotonic()
outcome = making.carry_out(cloud, Plan("bench", steps), lambda line: None, None)
took = time.monotonic() - began
assert not outcome.problems, outcome.problems
print(json.dumps(took))
"""
PLAINLY = """
began = time.monotonic()
asked = {{"size": {size}, "name": "bench-plainly", "snapshot_id": "{snapshot}", "metadata": {{"bench": "restore"}}}}
made = disk.wait_for_status(disk.create_volume(**asked), "available", interval=0.2)
compute.create_volume_attachment(server, volume_id=made.id)
disk.wait_for_status(made, "in-use", interval=0.2)
print(json.dumps(time.monotonic() - began))
"""
TIDY = """
for each in [it for it in disk.volumes() if it.metadata.get("bench") == "restore"]:
    for on in each.attachments:
        compute.delete_volume_attachment(on["server_id"], each.id)
        disk.wait_for_status(each, "available", interval=0.5)
for find, delete in ((disk.snapshots, disk.delete_snapshot), (disk.volumes, disk.delete_volume)):
    for each in [it for it in find() if it.metadata.get("bench") == "restore"]:
        delete(each)
        disk.wait_for_delete(each)
"""


def seat(script: str, **given) -> str:
    """What a script said at the operator's seat; it has to succeed."""
    return run("outside", ".venv/bin/python", "-", script=BEGIN + script.format(**given)).strip()


def fill(file: Path) -> None:
    """Write to every other piece of a volume's file."""
    piece = os.urandom(PIECE)
    with open(file, "r+b") as opened:
        for place in range(0, file.stat().st_size, 2 * PIECE):
            opened.seek(place)
            opened.write(piece)
        os.fsync(opened.fileno())


def cloned(file: Path) -> float:
    """Seconds of one FICLONE of that file, which doesn't stay."""
    copy = file.with_name("bench")
    try:
        with open(file, "rb") as old, open(copy, "xb") as new:
            began = time.perf_counter()
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
            return time.perf_counter() - began
    finally:
        copy.unlink()


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}, one run", flush=True)
    try:
        for size in SIZES:
            volume = seat(VOLUME, size=size)
            fill(SHELF / f"volume-{volume}")
            snapshot = seat(SNAPSHOT, volume=volume)
            plainly = json.loads(seat(PLAINLY, size=size, snapshot=snapshot))
            restored = json.loads(seat(RESTORE, size=size, snapshot=snapshot))
            alone = cloned(SHELF / f"snapshot-{snapshot}")
            held = (SHELF / f"snapshot-{snapshot}").stat().st_blocks * 512 / GIGABYTE
            print(
                f"clone and attachment of {size:3} GB, {held:4.1f} GB in it {restored:6.2f} s   the two calls alone "
                f"{plainly:6.2f} s   ratio {restored / plainly:5.2f}   one FICLONE {alone:7.3f} s",
                flush=True,
            )
            seat(TIDY)
    finally:
        seat(TIDY)


if __name__ == "__main__":
    main()
