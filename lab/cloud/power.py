#!/usr/bin/env python3
"""
What somebody does at the machines themselves after an outage: switches on every server that is off. Run in the
services' environment.
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
    servers = [server for server in compute.servers(all_projects=True)
               if server.status == "SHUTOFF" or server.status == "ACTIVE" and not _runs(server)]

    def are_on():   # one that Nova turns off afterwards, having heard late that it went off, is on again as well
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
        start(administrator().compute)
    except (LabError, SDKException) as problem:
        sys.exit(str(problem))
