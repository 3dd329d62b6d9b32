"""The cloud from nothing to up, and down again; each may be called in whatever state the last one was killed."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import hosts, machines, network, volumes
from lab.cloud import config, faults, ovn, postgres, processes, services, venv
from lab.cloud.settings import ADDRESS, API, DIRECTORY, DOORS, HYPERVISOR, PORTS
from lab.settings import HOSTS
from lab.shell import run
from lab.topology import OUTSIDE_NETWORK

BOOTSTRAP, POWER = (Path(__file__).with_name(name) for name in ("bootstrap.py", "power.py"))


def up(say):
    """
    Bring the cloud up on the lab's outside network, which has to be there (`network.outside_up`), as does the lab's own
    filesystem (`filesystem.mount`).

    say:  takes a line of progress

    Refuses, with what it said last, when one of its processes ends.
    """
    began = time.monotonic()
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not {API, HYPERVISOR} <= set(network.namespaces()) or not venv.is_made():
        processes.end()   # whatever is left of namespaces that are gone, or runs from another environment
    _give_api_its_addresses()
    volumes.SHELF.mkdir(mode=0o700, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        beside = [pool.submit(part) for part in (machines.prepare_for_cloud, ovn.up)]
        environment = venv.make()
        for name in config.outdated(environment):
            processes.end(name)
        config.write(environment)
        postgres.up(say)
        faults.up()
        for part in beside:
            part.result()
    with ThreadPoolExecutor(len(PORTS)) as pool:
        for name in PORTS:
            services.start(name, environment)
        services.wait("keystone")
        _by_an_administrator(BOOTSTRAP, "identity")   # Cinder and Nova wait for it
        list(pool.map(services.wait, PORTS))
    _by_an_administrator(BOOTSTRAP, "resources")
    _by_an_administrator(POWER)
    say(f"the cloud is up ({time.monotonic() - began:.1f} s)")


def is_up():
    """Whether every part of the cloud answers."""
    return ovn.is_up() and postgres.is_up() and faults.is_up() and all(map(services.answers, PORTS))


def restart(name):
    """End a service as a crash does, and start it again; its servers and volumes go on meanwhile."""
    processes.end(name)
    services.start(name, venv.directory())
    services.wait(name)


def down():
    """Power the cloud's servers off and stop the cloud; it keeps all it knows, and `up` starts the servers again."""
    for name in (*reversed(PORTS), faults.NAME):   # Nova first, which takes note of servers that are off
        processes.end(name)
    off = servers()
    with ThreadPoolExecutor(max(1, len(off))) as pool:
        list(pool.map(hosts.stop, off))
    ovn.down()
    postgres.down()
    processes.end()


def servers():
    """The directories of the cloud's servers, as hosts, on or off: those that are named by an id."""
    return sorted(path for path in HOSTS.glob("*-*-*-*-*") if re.fullmatch("[0-9a-f-]{36}", path.name))


def _give_api_its_addresses():
    network.enclose(API)
    for address in (ADDRESS, *DOORS.values()):
        network.plug(API, "eth0", OUTSIDE_NETWORK, address)


def _by_an_administrator(script, *words):
    run("nsenter", f"--net={network.NAMESPACES / API}", venv.directory() / "bin/python", "-I", script, *words)
