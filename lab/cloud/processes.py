"""The cloud's processes, each in a namespace and a control group of its own, found and ended by that group."""

import os
import subprocess

from lab import cgroups, network
from lab.cloud.settings import LOG
from lab.shell import PATIENCE, wait_until

GROUP = "cloud"


def start(name, namespace, *command, env=None):
    """Start COMMAND as the process NAME in a network namespace unless it runs; what it says goes to its log."""
    if is_on(name):
        return
    group = cgroups.group(GROUP, name)
    cgroups.end(group)
    group.mkdir(parents=True)
    LOG.mkdir(parents=True, exist_ok=True)
    enter = f"--net={network.NAMESPACES / namespace}"
    with open(LOG / f"{name}.out", "ab") as log:
        process = subprocess.Popen(
            ["nsenter", enter, "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, *map(os.fspath, command)],
            env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    wait_until(f"{name} is in its group", lambda: is_on(name) or process.poll() is not None, PATIENCE)


def is_on(name):
    """Whether the process NAME runs."""
    return bool(cgroups.processes(cgroups.group(GROUP, name)))


def pids(name):
    """The pids of the process NAME and of what it has started."""
    return cgroups.processes(cgroups.group(GROUP, name))


def end(*name):
    """End the process NAME at once, or all of the cloud's."""
    cgroups.end(cgroups.group(GROUP, *name))


def last_words(name):
    """The end of what the process NAME has said."""
    path = LOG / f"{name}.out"
    return path.read_text(errors="replace")[-600:].strip() if path.exists() else "(nothing)"
