#!/usr/bin/env python3
"""
What somebody does at the machines themselves: `power.py start` switches on every server that is off, `power.py rebuild
NAME` gives one a fresh system. Run in the services' environment.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[2]))

from lab.cloud.bootstrap import administrator  # noqa: E402
from lab.shell import wait_until  # noqa: E402

SECONDS = 120


def start(compute):
    """Switch on every server that is off, and wait until all are on."""
    off = [server for server in compute.servers(all_projects=True) if server.status == "SHUTOFF"]
    for server in off:
        compute.start_server(server)
    for server in off:
        compute.wait_for_server(server, "ACTIVE", wait=SECONDS)


def rebuild(compute, name):
    """Give the server of exactly that NAME a fresh system, and wait until it runs."""
    [server] = compute.servers(all_projects=True, name=f"^{name}$")
    compute.rebuild_server(server, image=server.image.id)
    action = next(it for it in compute.server_actions(server) if it.action == "rebuild")   # the newest

    def is_rebuilt():   # not by its status: one that Nova knew to be off is said to be on until it's turned off again
        events = compute.get_server_action(action.request_id, server).events
        return bool(events) and all(event.finish_time for event in events)

    wait_until(f"{name} is rebuilt", is_rebuilt, SECONDS, every=0.5)
    if compute.get_server(server).status == "SHUTOFF":
        compute.start_server(server)
        compute.wait_for_server(server, "ACTIVE", wait=SECONDS)


if __name__ == "__main__":
    {"start": start, "rebuild": rebuild}[sys.argv[1]](administrator().compute, *sys.argv[2:])
