"""What this machine must have for a lab: every missing thing at once, each with what to do about it."""

import contextlib
import os
import re
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path

from lab import cgroups, egress
from lab.settings import CACHE, CHECKOUT, NAME, STATE
from lab.shell import LabError, run, succeeds

# Package: a file that it brings.
PACKAGES = {
    "systemd-container": "/usr/bin/systemd-nspawn",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "nftables": "/usr/sbin/nft",
    "iproute2": "/usr/sbin/ip",
    "ethtool": "/usr/sbin/ethtool",
    "procps": "/usr/sbin/sysctl",
    "xfsprogs": "/usr/sbin/mkfs.xfs",
    "postgresql": "/usr/lib/postgresql/15/bin/postgres",
    "ovn-central": "/usr/bin/ovn-northd",
    "ovn-host": "/usr/bin/ovn-controller",
    "openvswitch-switch": "/usr/lib/openvswitch-switch/ovs-vswitchd",
    "git": "/usr/bin/git",
    "openssh-client": "/usr/bin/ssh-keygen",
    "ca-certificates": "/usr/sbin/update-ca-certificates",
    "python3-yaml": "/usr/lib/python3/dist-packages/yaml/__init__.py",
    "python3-pip": "/usr/lib/python3/dist-packages/pip/__init__.py",
    "python3-venv": "/usr/lib/python3.11/ensurepip/__init__.py",
    "python3-dev": "/usr/include/python3.11/Python.h",
    "g++": "/usr/bin/g++",
    "libssl-dev": "/usr/include/openssl/ssl.h",
    "libbz2-dev": "/usr/include/bzlib.h",
}
POLICY = Path("/usr/sbin/policy-rc.d")   # asked by every package before it starts a daemon
GIGABYTE = 1 << 30
STATE_BYTES, CACHE_BYTES, MEMORY_BYTES = 15 * GIGABYTE, 5 * GIGABYTE, 6 * GIGABYTE


def missing_packages():
    """The Debian packages that the lab needs on this machine and that aren't here."""
    return [package for package, sign in PACKAGES.items() if not Path(sign).exists()]


def install(packages):
    """Install Debian packages on this machine, and start none of the daemons that are in them."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_daemon_starts():
        run("apt-get", "-q", "update", env=environment)
        run("apt-get", "-q", "-y", "--no-install-recommends", "install", *packages, env=environment)


@contextlib.contextmanager
def _no_daemon_starts():
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()


def problems():
    """Everything that keeps this machine from running a lab, one line each; empty when nothing does."""
    if os.geteuid():
        return ["not root: the lab makes namespaces and mounts; run it as root"]
    packages = missing_packages()
    found = [f"missing packages: {' '.join(packages)}; install them: lab/ctl install"] if packages else []
    tests = [_debian, _namespaces, _filesystems, _control_groups, _links_and_rules, _loop_devices, _room, _network,
             _commit]
    with ThreadPoolExecutor(len(tests)) as pool:
        for lines in pool.map(_careful, tests):
            found += lines
    return found


def _careful(test):
    try:
        return test()
    except FileNotFoundError as absent:   # a command of a package that is reported as missing already
        return [] if missing_packages() else [f"{absent.filename} is missing"]
    except LabError as problem:
        return [str(problem)]


def _debian():
    release = Path("/etc/os-release").read_text()
    if re.search(r"^ID=debian$", release, re.M) and re.search(r'^VERSION_ID="12"$', release, re.M):
        return []
    return ["this is not Debian 12: hosts are made of this machine's own packages, and only those of 12 were tried"]


def _namespaces():
    if succeeds("unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--propagation", "private", "true"):
        return []
    return ["namespaces can't be made (a container without CAP_SYS_ADMIN?): use a machine or a privileged container"]


def _filesystems():
    found = []
    for filesystem in ("overlay", "xfs"):
        known = filesystem in Path("/proc/filesystems").read_text().split()
        if not known and not succeeds("sh", "-c", f"modprobe {filesystem}"):
            found.append(f"this kernel has no {filesystem}: use one that has it")
    inside = ("mount -t tmpfs check /mnt && cd /mnt && mkdir lower upper work merged && "
              "mount -t overlay check -o lowerdir=lower,upperdir=upper,workdir=work merged")
    if not found and not succeeds("unshare", "--mount", "--propagation", "private", "sh", "-c", inside):
        found.append("no overlay can be mounted: use a machine or a privileged container")
    return found


def _control_groups():
    where = cgroups.hierarchy()
    probe = where / f"{NAME}-check"
    try:
        probe.mkdir(exist_ok=True)
        can_kill = (probe / "cgroup.kill").exists()
        probe.rmdir()
    except OSError as refusal:
        return [f"{where} can't be written ({refusal.strerror}): make it writable for root"]
    return [] if can_kill else ["this kernel can't kill a control group: use Linux 5.14 or later"]


def _links_and_rules():
    inside = ("ip link add bridge0 type bridge && ip link add veth0 type veth peer name veth1 && nft add table ip t && "
              "nft add chain ip t c '{ type nat hook postrouting priority 100; }' && nft add rule ip t c masquerade")
    if succeeds("unshare", "--net", "sh", "-c", inside):
        return []
    return ["bridges, veth pairs or nftables with NAT can't be made: load bridge, veth, nf_tables, nft_masq"]


def _loop_devices():
    if not Path("/dev/loop-control").exists():
        return ["no /dev/loop-control: modprobe loop"]
    return [] if succeeds("losetup", "--find") else ["no free loop device: losetup --list shows what takes them"]


def _room():
    found = []
    for directory, least, variable in ((STATE, STATE_BYTES, "IDR_LAB_STATE"), (CACHE, CACHE_BYTES, "IDR_LAB_CACHE")):
        free = shutil.disk_usage(_nearest(directory)).free
        if free < least and not directory.exists():
            found.append(f"{directory} has {free / GIGABYTE:.0f} GB free, {least / GIGABYTE:.0f} are needed: "
                         f"make room, or set {variable}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < MEMORY_BYTES:
        found.append(f"{memory / GIGABYTE:.1f} GB of memory, {MEMORY_BYTES / GIGABYTE:.0f} are needed")
    return found


def _network():
    found = []
    resolvers = egress.resolvers()
    if not resolvers:
        found.append("/etc/resolv.conf names no IPv4 resolver that hosts can reach (a local stub they can't): name one")
    inside = [ip_network(cidr) for cidr in ("192.168.1.0/24", "192.168.2.0/24", "198.51.100.0/24", "169.254.215.0/30")]
    for resolver in resolvers:
        if any(ip_address(resolver) in network for network in inside):
            found.append(f"the resolver {resolver} has an address of the lab's own networks: use another resolver")
    if egress.OUTER_ADDRESS in run("ip", "-4", "-oneline", "address", "show") and not egress.is_up():
        found.append(f"this machine uses {egress.OUTER_ADDRESS} itself, the lab's link to it: take it off")
    try:
        names = egress.registries()
        addresses = egress.registry_addresses()
    except LabError as unknown:
        return [*found, f"{unknown}; apt-get update, and see that names resolve"]
    with ThreadPoolExecutor(8) as pool:
        reached = list(pool.map(_answers, addresses))
    if not any(reached):
        found.append(f"no package registry answers on port 80 or 443 ({', '.join(names)}): connect this machine")
    return found


def _answers(address):
    for port in (443, 80):
        try:
            socket.create_connection((address, port), 3).close()
            return True
        except OSError:
            continue
    return False


def _commit():
    if succeeds("git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT, "rev-parse", "--verify", "--quiet", "HEAD"):
        return []
    return [f"{CHECKOUT} is no git checkout with a commit: the operator's seat gets a clone of it"]


def _nearest(path):
    """The path itself or the nearest directory above it that exists."""
    return next(directory for directory in (path, *path.parents) if directory.is_dir())
