"""`down`, which keeps the hosts' disks, and `destroy`, which keeps nothing but the cache."""

from concurrent.futures import ThreadPoolExecutor

from lab import cgroups, downloads, filesystem, hosts, leftovers, network, volumes
from lab.cloud import control
from lab.settings import STATE
from lab.shell import LabError, delete
from lab.topology import CLOUD


def down():
    """Power every host off and take the networks away. Hosts and volumes keep what they wrote."""
    if CLOUD.exists():
        control.down()
    directories = hosts.made()
    with ThreadPoolExecutor(max(1, len(directories))) as pool:
        list(pool.map(hosts.stop, directories))
    downloads.down()
    network.down()


def destroy():
    """
    End everything of the lab at once and delete it, whatever state it is in; the cache stays.

    Refuses with what is left when something is.
    """
    cgroups.end(cgroups.group())
    for directory in hosts.made():
        hosts.end(directory)
    for directory in leftovers.propagated():
        directory.rmdir()
    volumes.detach(STATE)
    network.down()
    filesystem.delete()
    if STATE.exists():
        delete(STATE)
    left = leftovers.leftovers()
    if left:
        raise LabError("still there:\n" + "\n".join(left))
