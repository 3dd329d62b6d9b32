"""
The lab's processes, each in a control group below one of a known name.

A process that was started is in its starter's group from its first moment, so even what a SIGKILL orphaned is found
and ended here, without a pid file. `ctl` enters a group of its own before it changes anything.
"""

import contextlib
import os
from pathlib import Path

from lab.settings import NAME
from lab.shell import PATIENCE, LabError, wait_until

CTL = "ctl"


def hierarchy():
    """Where this machine has the version 2 hierarchy mounted, alone or beside version 1; refuses when it hasn't."""
    for line in _mounts():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError("no cgroup version 2 hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")


def group(*names):
    """The path of one of the lab's groups, whether it is there or not."""
    return (hierarchy() / NAME).joinpath(*names)


def everywhere(path):
    """The group PATH, and the one of that name in each hierarchy of version 1, whether they are there or not."""
    older = [Path(line.split()[1]) for line in _mounts() if line.split()[2] == "cgroup"]
    return [path, *(root / path.relative_to(hierarchy()) for root in older)]


def enter(path):
    """Make the group PATH where needed, and put this process into it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.procs").write_text(str(os.getpid()))


def processes(path):
    """The pids in the group PATH and below it; zombies aren't counted."""
    pids = []
    for directory, _, _ in os.walk(path):
        with contextlib.suppress(OSError):   # a group that ended meanwhile has no processes
            pids += [int(pid) for pid in Path(directory, "cgroup.procs").read_text().split()]
    return sorted(pids)


def end(path):
    """Kill whatever runs in the group PATH and below it, and remove it in every hierarchy; nothing if there is none."""
    with contextlib.suppress(FileNotFoundError):
        (path / "cgroup.kill").write_text("1")
    wait_until(f"the processes of {path} end", lambda: not processes(path), PATIENCE)
    for same in everywhere(path):
        for directory, _, _ in os.walk(same, topdown=False):
            # busy for a moment after the last process was reaped
            wait_until(f"{directory} goes", lambda directory=directory: _removed(directory), PATIENCE)


def _mounts():
    return Path("/proc/self/mounts").read_text().splitlines()


def _removed(directory):
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def own_group():
    """Run the body with this process in the lab's group for `ctl`, and take it back to where it was."""
    before = _group_of_this_process()
    end(group(CTL))   # children of an earlier run that was killed
    enter(group(CTL))
    try:
        yield
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
        end(group(CTL))
        for same in everywhere(group()):
            with contextlib.suppress(OSError):
                same.rmdir()   # stays as long as hosts run


def _group_of_this_process():
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return hierarchy() / line[3:].lstrip("/")
    return hierarchy()
