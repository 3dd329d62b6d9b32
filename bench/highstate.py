"""
A highstate that has nothing to do: of each role beside `salt-call test.ping` on the same server, and of the whole fleet
beside the processor time of its runs divided by the machine's cores. Medians of one run, and their ratio.

Needs the lab up and converged, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

from bench import lab
from bench.machine import machine

ROLES = ("idr-proxy", "idr-omero", "idr-database", "idr-a-dockermanager")
FLEET = (*ROLES, "idr-a-omero", "idr-a-database")
MASTER = "idr-proxy"
RUNS = 3


def run(server: str, *command: str) -> str:
    """What a command said in a server; it has to succeed, and no state may have had anything to do."""
    said = lab.run("exec", server, *command)
    if "(changed=" in said:
        sys.exit(f"{server}: that highstate changed something, so it is no baseline; run it again")
    return said


def timed(call: Callable[[], object]) -> float:
    """Wall time of a call, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def role(server: str) -> None:
    """A line for one role; the two are measured by turns, so that whatever else goes on hits both."""
    ping, highstate = [], []
    for _ in range(RUNS):
        ping.append(timed(lambda: run(server, "salt-call", "test.ping")))
        highstate.append(timed(lambda: run(server, "salt-call", "state.highstate")))
    line(f"highstate of {server}", statistics.median(highstate), "test.ping", statistics.median(ping), 2.5)


def processor_time(daemon: str, servers: tuple[str, ...]) -> float:
    """What a daemon's processes and their ended children have used so far, in seconds, all servers together."""
    stat = f"for pid in $(pgrep -f bin/{daemon}); do sed 's/.*) //' /proc/$pid/stat; done"
    lines = [words for server in servers for words in run(server, "bash", "-c", stat).splitlines()]
    return sum(int(ticks) for words in lines for ticks in words.split()[11:15]) / os.sysconf("SC_CLK_TCK")


def fleet() -> None:
    """A line for all servers at once, from the master, as an operator types it."""
    walls, used = [], []
    for _ in range(RUNS):
        before = processor_time("salt-minion", FLEET), processor_time("salt-master", (MASTER,))
        walls.append(timed(lambda: run(MASTER, "salt", "*", "state.highstate")))
        after = processor_time("salt-minion", FLEET), processor_time("salt-master", (MASTER,))
        used.append(tuple(now - then for now, then in zip(after, before, strict=True)))
    minions, master = (statistics.median(seconds) for seconds in zip(*used, strict=True))
    wall, cores = statistics.median(walls), os.cpu_count()
    line(f"highstate of {len(FLEET)} servers", wall, f"processor / {cores} cores", (minions + master) / cores, 1.3)
    print(f"    of which the runs {minions / cores:.2f} s and their master {master / cores:.2f} s")


def line(what: str, took: float, baseline: str, its: float, goal: float) -> None:
    print(f"{what:34}{took:7.2f} s   {baseline:20}{its:7.2f} s   ratio {took / its:5.2f}   goal {goal}", flush=True)


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}, medians of {RUNS}", flush=True)
    for server in ROLES:
        role(server)
    fleet()


if __name__ == "__main__":
    main()
