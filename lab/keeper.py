#!/usr/bin/python3
"""
Keeps one host running: `keeper.py DIRECTORY`, in the host's network namespace and a mount namespace of its own.

Boots systemd on an overlay of the host's layers, boots it again when it asks for a reboot, and ends when it is powered
off. What it boots is DIRECTORY/host.json (written by `hosts.start`), read at every boot, so that a volume attached
meanwhile is there after a reboot. SIGTERM powers the host off.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REBOOT = 133        # systemd-nspawn with --keep-unit: the host asked for a reboot
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = ("cpu", "memory", "pids")


def mount(*arguments):
    """Mount, in this namespace only."""
    subprocess.run(["mount", *arguments], check=True)


def only_version_2():
    """Show the host nothing but the version 2 hierarchy, also where this machine has version 1 beside it."""
    if not (CGROUPS / "cgroup.controllers").exists():
        subprocess.run(["umount", "--recursive", "--lazy", CGROUPS], check=True)
        mount("-t", "cgroup2", "cgroup2", str(CGROUPS))


def mounted():
    """Where hierarchies of control groups are mounted: that of version 2, and those of version 1 with controllers."""
    second, first = None, []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2":
            second = second or Path(where)
        elif kind == "cgroup" and "name=" not in options:
            first.append(Path(where))
    return second, first


def remove(group, seconds=180):
    """Remove an empty control group and all below it, which are busy for a moment after their last process ended."""
    end = time.monotonic() + seconds
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(directory)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


def let_limit(group, hierarchies):
    """
    Let a host limit what runs in it, by the controllers that this machine has.

    group:        the host's, of version 2
    hierarchies:  of version 1; the host gets an empty group of its own in each

    Returns those groups, by hierarchy.
    """
    for directory in (group.parent.parent, group.parent, group):
        has = (directory / "cgroup.controllers").read_text().split()
        for controller in sorted(set(LIMITS) & set(has)):
            try:
                (directory / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as refusal:
                print(f"keeper: nothing limits {controller}, {directory} can't: {refusal.strerror}", flush=True)
    owned = {}
    for hierarchy in hierarchies:
        own = owned[hierarchy] = hierarchy / group.parent.name / group.name
        own.mkdir(parents=True, exist_ok=True)
        for left in filter(Path.is_dir, own.iterdir()):   # by the boot before
            remove(left)
        if (own / "cpuset.cpus").exists():   # a new group has none, and takes no process without
            for directory in (own.parent, own):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (directory / name).write_text((directory.parent / name).read_text())
    return owned


def nspawn(host, root, limiting=None):
    """The command that boots HOST on ROOT; LIMITING: the groups of `let_limit`, which are the host's to write."""
    binds = [f"--bind={source}:{target}" for target, source in host["directories"].items()]
    if limiting:
        binds += ["--tmpfs=/sys/fs/cgroup", *(f"--bind={group}:{where}" for where, group in limiting.items())]
    for volume in host["volumes"]:
        binds.append(f"--bind={volume['device']}:/dev/{volume['name']}")
        binds.append(f"--bind={volume['device']}:/dev/disk/by-id/virtio-{volume['serial']}")
    return [
        "systemd-nspawn", "--quiet", "--keep-unit", "--register=no", "--boot", f"--directory={root}",
        f"--machine={host['machine']}", f"--hostname={host['hostname']}",
        "--network-namespace-path=/proc/self/ns/net", "--capability=CAP_NET_ADMIN",
        "--system-call-filter=@keyring", "--system-call-filter=bpf",   # Docker's
        "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", "--kill-signal=SIGRTMIN+3",
        *binds,
    ]


def as_after_power_on():
    """Empty the network namespace of what the host made in it: unlike a machine's own, it outlives a reboot."""
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    links = json.loads(subprocess.run(["ip", "-json", "link"], check=True, capture_output=True).stdout)
    for name in (link["ifname"] for link in links):
        if name != "lo" and not name.startswith("eth"):
            subprocess.run(["ip", "link", "delete", name], check=False)   # a bridge takes its ports with it


def start(host, root, group):
    """Start the host in its control group; returns the process."""
    limiting = let_limit(group, mounted()[1]) if host["limits"] else {}
    (group / "guest").mkdir(exist_ok=True)

    def into_group():
        for path in (group / "guest", *limiting.values()):
            (path / "cgroup.procs").write_text(str(os.getpid()))

    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SYSTEMD_NSPAWN_LOCK": "0",
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",   # the rest of /proc/sys is this machine's own
    }
    return subprocess.Popen(nspawn(host, root, limiting), env=environment, preexec_fn=into_group,
                            stdin=subprocess.DEVNULL)


def main(directory):
    host = json.loads((directory / "host.json").read_text())
    if not host["limits"]:
        only_version_2()
    group = mounted()[0] / host["group"]
    (group / "keeper").mkdir(parents=True, exist_ok=True)
    (group / "keeper/cgroup.procs").write_text(str(os.getpid()))
    root = directory / "root"
    for name in ("upper", "work", "root"):
        (directory / name).mkdir(exist_ok=True)
    layers = ":".join(host["layers"])
    mount("-t", "overlay", host["machine"], "-o",
          f"lowerdir={layers},upperdir={directory / 'upper'},workdir={directory / 'work'}", str(root))
    asked_to_end = False
    process = None

    def power_off(*_):
        nonlocal asked_to_end
        asked_to_end = True
        if process:
            process.terminate()

    signal.signal(signal.SIGTERM, power_off)
    code = REBOOT
    while code == REBOOT and not asked_to_end:
        host = json.loads((directory / "host.json").read_text())
        as_after_power_on()
        process = start(host, root, group)
        if asked_to_end:
            process.terminate()
        code = process.wait()
        print(f"keeper: systemd-nspawn ended with {code}", flush=True)
        (group / "guest/cgroup.kill").write_text("1")   # a killed systemd-nspawn leaves its host running
    return 0 if asked_to_end else code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
