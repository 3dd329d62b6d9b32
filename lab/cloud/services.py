"""The services of OpenStack, each a process in the namespace of the API."""

import shutil
from pathlib import Path

from lab import network
from lab.cloud import postgres, processes
from lab.cloud.settings import ADDRESS, API, DIRECTORY, PORTS
from lab.shell import succeeds, wait_until

SERVICE = Path(__file__).with_name("service.py")
NEEDS = {"cinder": ("keystone",), "nova": ("keystone", "placement", "neutron", "glance", "cinder")}
SECONDS = 300


def start(name, environment):
    """Start a service unless it runs, from the virtual environment in the directory ENVIRONMENT; returns at once."""
    temporary = DIRECTORY / "tmp" / name
    if not processes.is_on(name):
        shutil.rmtree(temporary, ignore_errors=True)   # Neutron takes what another Neutron left there for its own
    temporary.mkdir(parents=True, exist_ok=True)
    processes.start(name, API, environment / "bin/python", "-P", SERVICE, name,
                    env={**postgres.environment(), "TMPDIR": str(temporary)})


def wait(name):
    """Wait until a service answers. Refuses at once, with what it said, when it has ended."""
    wait_until(f"{name} answers", lambda: answers(name), SECONDS,
               lambda: None if processes.is_on(name) else f"it ended: {processes.last_words(name)}", 0.2)


def answers(name):
    """Whether something listens at the service's port."""
    return succeeds("nsenter", f"--net={network.NAMESPACES / API}", "/usr/bin/python3", "-Ic",
                    f"import socket; socket.create_connection(('{ADDRESS}', {PORTS[name]}), 5)")
