"""What of the lab is still on this machine, found by looking: the proof that `destroy` did its work."""

import contextlib
import os
from pathlib import Path

from lab import cgroups, egress, network, volumes
from lab.settings import NAME, NFT_TABLE, STATE, STATE_FILE
from lab.shell import run, succeeds

NSPAWN = Path("/run/systemd/nspawn")


def leftovers():
    """Every process, control group, namespace, interface, table, loop device and mount of the lab, one line each."""
    return [*_processes(), *_groups(), *(f"network namespace {name}" for name in network.namespaces()),
            *_links(), *_tables(), *_devices(), *_mounts(), *_files()]


def _processes():
    return [f"process {pid} ({_name(pid)})" for pid in cgroups.processes(cgroups.group()) if pid != os.getpid()]


def _name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "ended meanwhile"


def _groups():
    """Control groups of any hierarchy, version 1 too."""
    roots = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()
             if line.split()[2] in ("cgroup", "cgroup2")}
    return [f"control group {root}/{NAME}" for root in sorted(roots) if Path(root, NAME).is_dir()]


def _links():
    return [f"interface {egress.OUTER}"] if succeeds("ip", "link", "show", egress.OUTER) else []


def _tables():
    return [f"nft table {NFT_TABLE}"] if f"table ip {NFT_TABLE}\n" in run("nft", "list", "tables") else []


def _devices():
    return [f"loop device {device}" for place in (STATE, STATE_FILE) for device in volumes.devices(place)]


def _mounts():
    """Mounts of the lab in any process's mount namespace, each namespace looked at once."""
    seen, found = set(), set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):   # it ended meanwhile
            namespace = os.readlink(process / "ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            for line in (process / "mountinfo").read_text().splitlines():
                if is_mount_of_the_lab(line):
                    found.add(f"mount {line.split()[4]}")
    return sorted(found)


def is_mount_of_the_lab(line):
    """Whether a line of mountinfo is a mount of the lab: its state or below it, or something of its name."""
    return any(mark in line for mark in (f" {STATE} ", f" {STATE}/", f"/{NAME}-", f" {NAME}-"))


def _files():
    return [f"directory {path}" for path in propagated()]


def propagated():
    """The directories that systemd-nspawn leaves behind for hosts of the lab when it is killed."""
    return sorted(NSPAWN.glob(f"*/{NAME}-*"))
