"""
A no-op highstate of each role beside `salt-call test.ping` on the same server, in one run: medians, and their ratio.

Needs the lab up and converged: ``make bench``.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

CTL = Path(__file__).parents[1] / "lab/ctl"
SERVERS = ("idr-proxy", "idr-omero", "idr-database", "idr-a-dockermanager")
RUNS = 3


def seconds(server: str, *call: str) -> float:
    """Median wall time of a `salt-call` in a server, in seconds."""
    took = []
    for _ in range(RUNS):
        start = time.perf_counter()
        done = subprocess.run([CTL, "exec", server, "salt-call", *call], capture_output=True, text=True)
        took.append(time.perf_counter() - start)
        if done.returncode:
            sys.exit(f"{server}: salt-call {' '.join(call)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
        if "(changed=" in done.stdout:
            sys.exit(f"{server}: that highstate changed something, so it is no baseline; run it again")
    return statistics.median(took)


def main() -> None:
    print(f"{platform.node()}: {os.cpu_count()} cores, {platform.processor() or platform.machine()}, medians of {RUNS}")
    print(f"{'server':24}{'test.ping':>12}{'highstate':>12}{'ratio':>8}")
    for server in SERVERS:
        ping, highstate = seconds(server, "test.ping"), seconds(server, "state.highstate")
        print(f"{server:24}{ping:10.2f} s{highstate:10.2f} s{highstate / ping:8.2f}")


if __name__ == "__main__":
    main()
