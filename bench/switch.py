"""
A whole switch and the way back as an operator types them, from the command to *confirmed*: every check before, the
address, the look through the public's name; without the bake time, which is as long as one likes. Beside the checks
alone, which are typed in the same run.

Needs the lab up, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import os
import time

from bench.lab import run
from bench.machine import machine
from lab.settings import PUBLIC_ADDRESS
from tests.lab.environments import SITE_AS_IDRS

NEW, GOAL = "benchidr", 60
FORGET = f"rm -rf ~/.config/idr/{NEW}"
# The set that it was made of, which its `abort` leaves.
TIDY = """
import openstack
disk = openstack.connect().block_storage
for each in [it for it in disk.snapshots() if it.metadata.get("idr_set") not in (None, *{before!r})]:
    disk.delete_snapshot(each)
    disk.wait_for_delete(each)
"""
SETS = """
import openstack
print(*{it.metadata["idr_set"] for it in openstack.connect().block_storage.snapshots() if it.metadata.get("idr_set")})
"""


def typed(function: str, *words: str) -> float:
    """The seconds that a command of `release` takes at the seat."""
    began = time.perf_counter()
    run("outside", ".venv/bin/salt-run", f"release.{function}", NEW, *words)
    return time.perf_counter() - began


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}, one run", flush=True)
    seat = ("outside", ".venv/bin/python", "-")
    before = run(*seat, script=SETS).split()
    run("outside", "sh", "-ec", SITE_AS_IDRS.format(env=NEW))
    try:
        typed("prepare", "from=idr", "apply=True")
        checked = typed("check")
        switched = typed("switch", f"production={PUBLIC_ADDRESS}", "bake=0", "apply=True")
        back = typed("rollback", "bake=0", "apply=True")
    finally:
        typed("abort", f"confirm={NEW}", "apply=True")
        run("outside", "sh", "-ec", FORGET)
        run(*seat, script=TIDY.format(before=before))
    print(
        f"a switch with its checks {switched:6.1f} s   and back {back:6.1f} s   goal {GOAL} s each   "
        f"the checks alone {checked:6.1f} s   ratio {switched / checked:5.2f}"
    )


if __name__ == "__main__":
    main()
