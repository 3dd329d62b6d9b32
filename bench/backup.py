"""
A backup set of an environment's six volumes, with storage that takes 5 s for each snapshot: beside the same snapshots
made one after another, each waited for; and the seconds for which writers were held still, beside those of one
snapshot.

Needs the lab up, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import json
import os
import time

from bench.lab import run
from bench.machine import machine
from lab.cloud.settings import DIRECTORY

SNAPSHOT = 5  # seconds
GOAL, GOAL_FROZEN = 0.3, 1.5
ONE_AFTER_ANOTHER = """
import json, time, openstack
disk = openstack.connect().block_storage
took = []
for volume in [each for each in disk.volumes() if each.status == "in-use"]:
    began = time.monotonic()
    disk.wait_for_status(disk.create_snapshot(volume_id=volume.id, name="bench", force=True), "available", interval=0.2)
    took.append(time.monotonic() - began)
print(json.dumps(took))
"""
TIDY = """
import openstack
disk = openstack.connect().block_storage
for each in list(disk.snapshots()):
    if each.name == "bench" or each.metadata.get("idr_set") == "{set}":
        disk.delete_snapshot(each)
        disk.wait_for_delete(each)
"""


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}, one run", flush=True)
    seat = ("outside", ".venv/bin/python", "-")
    slow = DIRECTORY / "slow.json"
    slow.write_text(json.dumps({"snapshot": SNAPSHOT}))
    try:
        single = json.loads(run(*seat, script=ONE_AFTER_ANOTHER))
        began = time.perf_counter()
        said = run("exec", "idr-proxy", "salt-run", "--out=json", "backup.create", "idr", "apply=True")
        took = time.perf_counter() - began
    finally:
        slow.unlink()
    taken = json.loads(said[said.index("{") :])["set"]
    run(*seat, script=TIDY.format(set=taken["set"]))
    frozen = max(piece["frozen"] for piece in taken["volumes"].values() if piece["frozen"])
    print(
        f"backup of {len(taken['volumes'])} volumes, {SNAPSHOT} s a snapshot {took:7.2f} s   "
        f"one after another {sum(single):7.2f} s   ratio {took / sum(single):5.2f}   goal {GOAL}"
    )
    print(
        f"of which writers were held still for {frozen:7.2f} s   the slowest snapshot alone {max(single):7.2f} s   "
        f"more by {frozen - max(single):5.2f} s   goal {GOAL_FROZEN}"
    )


if __name__ == "__main__":
    main()
