#!/usr/bin/env python3
"""
What somebody does at the machines themselves: `power.py start` switches on every server that is off, `power.py rebuild
NAME` gives one a fresh system. Run in the services' environment.
"""

import contextlib
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[2]))

from openstack.exceptions import ConflictException, SDKException  # noqa: E402

from lab import hosts  # noqa: E402
from lab.cloud.bootstrap import administrator  # noqa: E402
from lab.settings import HOSTS  # noqa: E402
from lab.shell import LabError, wait_until  # noqa: E402

SECONDS = 300


def start(compute):
    """Switch on every server that is off, those too of which Nova hasn't heard it yet, and wait until all are on."""
    servers = compute.servers(all_projects=True)
    _switch_on(compute, [
        server for server in servers if server.status == "SHUTOFF" or server.status == "ACTIVE" and not _runs(server)])


def rebuild(compute, name):
    """Give the server of exactly that NAME a fresh system, and wait until it runs. Refuses unless one is called so."""
    named = list(compute.servers(all_projects=True, name=f"^{name}$"))
    if len(named) != 1:
        raise LabError(f"{len(named)} servers are called {name}: lab/ctl status")
    [server] = named

    def is_taken():   # not while Nova is at work on the server, such as for its having been killed a moment ago
        with contextlib.suppress(ConflictException):
            return bool(compute.rebuild_server(server, image=server.image.id))

    wait_until(f"{name} may be rebuilt", is_taken, SECONDS, every=0.5)
    action = next(it for it in compute.server_actions(server) if it.action == "rebuild")   # the newest

    def is_rebuilt():   # not by its status: one that Nova knew to be off is said to be on until it's turned off again
        events = compute.get_server_action(action.request_id, server).events
        return bool(events) and all(event.finish_time for event in events)

    wait_until(f"{name} is rebuilt", is_rebuilt, SECONDS, every=0.5)
    _switch_on(compute, [server])


def _switch_on(compute, servers):
    """Until all are on: one that Nova turns off afterwards, having heard late that it went off, is on again as well."""
    def are_on():
        now = [compute.get_server(server.id) for server in servers]
        for server in now:
            if server.status == "ERROR":
                raise LabError(f"{server.name}: {(server.fault or {}).get('message', 'ERROR')}")
            if server.status == "SHUTOFF" and not server.task_state:
                with contextlib.suppress(ConflictException):
                    compute.start_server(server)
        return all(server.status == "ACTIVE" and not server.task_state and _runs(server) for server in now)

    wait_until(f"{' '.join(server.name for server in servers)}: on", are_on, SECONDS, every=0.5)


def _runs(server):
    return hosts.is_on(HOSTS / server.id)


if __name__ == "__main__":
    try:
        {"start": start, "rebuild": rebuild}[sys.argv[1]](administrator().compute, *sys.argv[2:])
    except (LabError, SDKException) as problem:
        sys.exit(str(problem))
