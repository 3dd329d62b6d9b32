"""
One host with real systemd: start, stop, kill, run a command in it.

A host is given everything it needs: a network namespace with its interfaces, the layers it boots from, block devices
and directories. Whoever gives these, `lab/ctl` or a cloud's compute driver, calls the same functions. What runs is
found by the host's control group, named after its directory. What a host was started from, with the disks attached
and detached since, is in its directory's host.json; the keeper boots from it, and `known` reads it back.
"""

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lab import cgroups, volumes
from lab.settings import HOSTS, NAME
from lab.shell import PATIENCE, LabError, delete, run, wait_until

KEEPER = Path(__file__).with_name("keeper.py")
PYTHON = "/usr/bin/python3"   # not the starter's own, which may be a virtual environment that goes
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "TERM": os.environ.get("TERM", "dumb"),
}
PROPAGATED = Path("/run/systemd/nspawn/propagate")
# Nodes that were there at boot are mounts, later ones are files.
SHOW = """
for node in "$3" "$4"; do
  mkdir -p "${node%/*}"
  rm -f "$node" 2>/dev/null || :
  [ -b "$node" ] || mknod -m 600 "$node" b "$1" "$2"
done
"""
HIDE = """
for node in "$@"; do
  umount "$node" 2>/dev/null || :
  rm -f "$node"
done
"""


@dataclass(frozen=True)
class Disk:
    """A block device of a host: /dev/NAME, and by SERIAL under /dev/disk/by-id/virtio-…; its bytes are in FILE."""

    file: Path
    name: str
    serial: str


@dataclass(frozen=True)
class Host:
    """What one host is started from. DIRECTORY is its own (upper layer, console) and names it."""

    directory: Path
    hostname: str
    netns: str
    layers: tuple                                      # directories, the topmost first
    disks: tuple = ()
    directories: dict = field(default_factory=dict)    # path in the host: directory of this machine
    limits: bool = False                               # it limits what runs in it: memory, CPU, number of processes


def start(host):
    """
    Start a host unless it runs; returns at once (`wait` tells when it is up).

    What an earlier, killed run left of it is cleaned away first.
    """
    if is_on(host.directory):
        return
    end(host.directory)
    host.directory.mkdir(parents=True, exist_ok=True)
    _write(host.directory, {
        "hostname": host.hostname,
        "netns": host.netns,
        "machine": _machine(host.directory),
        "group": f"{NAME}/{host.directory.name}",
        "limits": host.limits,
        "layers": [str(layer) for layer in host.layers],
        "directories": {target: str(source) for target, source in host.directories.items()},
        "volumes": [_volume(disk, volumes.attach(disk.file)) for disk in host.disks],
    })
    with open(host.directory / "console.log", "ab") as console:
        subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{host.netns}", "unshare", "--mount", "--propagation", "slave",
             PYTHON, "-BP", KEEPER, host.directory],
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True)
    wait_until(f"{host.hostname} starts", lambda: is_on(host.directory), PATIENCE)


def wait(directory, seconds=300):
    """Wait until the host is up: its systemd says `running` or `degraded`. Refuses at once when the host is off."""
    def failed():
        return None if is_on(directory) else f"it is off; its console said: {last_words(directory)}"

    wait_until(f"{directory.name} is up", lambda: state(directory) in ("running", "degraded"), seconds, failed, 0.2)


def stop(directory, seconds=90):
    """Power a host off and wait for it; what isn't off after `seconds` is killed. Volumes are detached."""
    for pid in cgroups.processes(_group(directory) / "keeper"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(LabError):
        wait_until(f"{directory.name} is off", lambda: not is_on(directory), seconds)
    end(directory)


def reboot(directory):
    """Reboot a host from inside and wait until it is up again."""
    before = leader(directory)
    run_in(directory, "systemctl", "--no-block", "reboot")
    wait_until(f"{directory.name} goes down to reboot", lambda: leader(directory) != before, 300)
    wait(directory)


def end(directory):
    """End whatever there is of a host at once, as a power cut does, and detach its volumes."""
    cgroups.end(_group(directory))
    with contextlib.suppress(OSError):
        (PROPAGATED / _machine(directory)).rmdir()
    for volume in _started_with(directory).get("volumes", []):
        volumes.detach(volume["file"])


def known(directory):
    """The host as it was started last, with the disks attached and detached since; None if it never was."""
    said = _started_with(directory)
    if not said:
        return None
    return Host(
        directory=directory, hostname=said["hostname"], netns=said["netns"],
        layers=tuple(Path(layer) for layer in said["layers"]),
        disks=tuple(Disk(Path(volume["file"]), volume["name"], volume["serial"]) for volume in said["volumes"]),
        directories={target: Path(source) for target, source in said["directories"].items()}, limits=said["limits"])


def made():
    """The directories of all hosts that were made."""
    return sorted(path for path in HOSTS.glob("[!.]*") if path.is_dir()) if HOSTS.exists() else []


def named(name):
    """The directory of the host that calls itself NAME. Refuses a name that none has or several have."""
    names = {directory: host.hostname for directory in made() if (host := known(directory))}
    found = [directory for directory in names if name in (names[directory], directory.name)]
    if not found:
        there = ", ".join(sorted(names.values()))
        raise LabError(f"there is no host {name}: {f'it is one of {there}' if there else 'lab/ctl up'}")
    if len(found) > 1:
        raise LabError(f"{len(found)} hosts are called {name}; say which: {', '.join(path.name for path in found)}")
    return found[0]


def attach(directory, disk):
    """
    Give a host that was started a block device: now if it is on, and at every boot from now on.

    Refuses a name that another volume of the host has. Doing it again does nothing.
    """
    said = _started_with(directory)
    others = [volume for volume in said["volumes"] if volume["serial"] != disk.serial]
    if disk.name in [volume["name"] for volume in others]:
        raise LabError(f"{said['hostname']} has another volume at /dev/{disk.name}")
    device = volumes.attach(disk.file) if is_on(directory) else None
    _write(directory, {**said, "volumes": [*others, _volume(disk, device)]})
    if device:
        number = os.stat(device).st_rdev
        _run_at_once(directory, SHOW, os.major(number), os.minor(number), *_nodes(disk.name, disk.serial))


def detach(directory, serial):
    """
    Take the block device with that serial number from a host: now if it is on, and for good.

    Refuses while anything holds it, a mount inside the host above all. Doing it again does nothing.
    """
    said = _started_with(directory)
    volume = next((volume for volume in said.get("volumes", []) if volume["serial"] == serial), None)
    if not volume:
        return
    if is_on(directory):
        if volumes.is_held(volume["file"]):
            raise LabError(f"{said['hostname']} has /dev/{volume['name']} mounted or else in use: unmount it first")
        _run_at_once(directory, HIDE, *_nodes(volume["name"], serial))
    volumes.detach(volume["file"])
    _write(directory, {**said, "volumes": [other for other in said["volumes"] if other is not volume]})


def remove(directory):
    """Delete a host that is off, with everything it wrote; its volumes' files are elsewhere and stay."""
    if is_on(directory):
        raise LabError(f"{directory.name} is on: stop it before it is removed")
    delete(directory)


def is_on(directory):
    """Whether the host has its keeper; one that lost it can't reboot, and is ended by the next `start` or `stop`."""
    return bool(cgroups.processes(_group(directory) / "keeper"))


def state(directory):
    """`off`, `starting`, or what the host's systemd says of itself: `running`, `degraded`, `stopping`…"""
    if not is_on(directory):
        return "off"
    pid = leader(directory)
    if not pid:
        return "starting"
    said = subprocess.run(["nsenter", f"--target={pid}", "--all", "systemctl", "is-system-running"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()
    return said if said in ("running", "degraded", "maintenance", "stopping") else "starting"


def leader(directory):
    """The pid, on this machine, of the host's own process 1; None when it has none."""
    for pid in cgroups.processes(_group(directory) / "guest"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                # two namespaces deep and number one there: not the process 1 of a container inside the host
                if line.startswith("NSpid:") and len(line.split()) == 3 and line.split()[2] == "1":
                    return pid
    return None


def inside(directory, *command):
    """The command line that runs COMMAND in the host, as root; refuses when the host is off."""
    pid = leader(directory)
    if not pid:
        raise LabError(f"{directory.name} is off: lab/ctl up")
    variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return ["nsenter", f"--target={pid}", "--all", "--", "env", "-i", *variables, *command]


def entering(directory, *command):
    """
    The command line that runs COMMAND in the host, as root, and in the host's control group: it ends with the host.

    Refuses when the host is off.
    """
    words = inside(directory, *command)
    group = _group(directory) / "exec"
    group.mkdir(parents=True, exist_ok=True)
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', os.fspath(group), *words]


def run_in(directory, *command, stdin=None):
    """Run a command in the host as root and return what it said; refuses when it fails."""
    return run(*inside(directory, *command), stdin=stdin)


def last_words(directory):
    """The end of the host's console."""
    with contextlib.suppress(FileNotFoundError):
        return (directory / "console.log").read_text(errors="replace")[-400:].strip()
    return "(nothing)"


def _run_at_once(directory, script, *words):
    """Run a shell script in the host, also while it reboots."""
    wait_until(f"{directory.name} has a process 1", lambda: leader(directory), PATIENCE)
    run_in(directory, "sh", "-ec", script, "sh", *map(str, words))


def _nodes(name, serial):
    return f"/dev/{name}", f"/dev/disk/by-id/virtio-{serial}"


def _volume(disk, device):
    return {"file": str(disk.file), "device": device, "name": disk.name, "serial": disk.serial}


def _group(directory):
    return cgroups.group(directory.name)


def _machine(directory):
    return f"{NAME}-{directory.name}"[:64]


def _write(directory, said):
    """Write host.json, whole or not at all: the keeper reads it at every boot."""
    unfinished = directory / "host.json.new"
    unfinished.write_text(json.dumps(said, indent=1))
    unfinished.rename(directory / "host.json")


def _started_with(directory):
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return json.loads((directory / "host.json").read_text())
    return {}
