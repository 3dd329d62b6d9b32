"""
What is kept of an OMERO that failed, before a restart wipes it away: its logs' ends, its processes and their threads.
"""

import os
import re
import shutil
import signal
import subprocess
import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "omero"

DIRECTORY = "/var/log/idr/omero"
KEPT = 10  # the oldest of more are deleted
TAIL = 256 * 1024  # bytes of each log; master.err grows to gigabytes
UNITS = {"server": "omero-server.service", "web": "omero-web.service"}
LOGS = "/opt/omero/{side}/OMERO.{side}/var/log"
# Servers of the grid that run on Java, by where their configuration is: SIGQUIT makes them print their threads
DUMPERS = re.compile(r"/servers/(?:Blitz|Indexer|PixelData)-\d+/config/config")
OUTPUTS = ("master.out", "master.err")  # where the grid writes what its servers print
PATIENCE = 30  # seconds until the threads have to be there


def __virtual__():
    return __virtualname__


def keep_evidence(what="server", test=None):
    """
    Keep what tells why OMERO.server or OMERO.web doesn't work: journal, logs' ends, processes, threads.

    what:  ``server`` or ``web``

    Everything goes to a directory of its own below /var/log/idr/omero, of which the ten newest are kept. Threads are
    those of OMERO.server's Java processes, which print them when asked and go on. Returns ``{directory, files}``;
    with ``test=True`` ``{would: [str]}``. A failed start, stop or restart does this by itself.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.keep_evidence server
    """
    if what not in UNITS:
        raise CommandExecutionError(f"There is no {what!r} to keep anything of: server or web")
    directory = f"{DIRECTORY}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{what}"
    if __opts__.get("test", False) if test is None else test:
        return {"would": [f"keep logs, processes and threads of {UNITS[what]} in {directory}"]}
    os.makedirs(directory, mode=0o700, exist_ok=True)
    kept = {"processes": _processes(what), "journal": _journal(what)}
    if what == "server":
        kept["threads"] = _threads()
    logs = LOGS.format(side=what)
    for name in sorted(os.listdir(logs)) if os.path.isdir(logs) else []:
        if name.endswith((".log", *OUTPUTS)):
            kept[name] = _since(f"{logs}/{name}")
    for name, content in kept.items():
        with open(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    for old in sorted(os.listdir(DIRECTORY))[:-KEPT]:
        shutil.rmtree(f"{DIRECTORY}/{old}")
    return {"directory": directory, "files": {name: len(content) for name, content in sorted(kept.items())}}


def _processes(side):
    """Every process of the unit, with its state and what it waits for in the kernel."""
    pids = ",".join(_pids(side))
    if not pids:
        return b"The unit has no process.\n"
    columns = "pid,ppid,user,stat,wchan:32,nlwp,rss,etimes,times,args"
    return subprocess.run(["ps", "-ww", "-o", columns, "-p", pids], capture_output=True, check=False).stdout


def _journal(side):
    command = ["journalctl", "-u", UNITS[side], "-n", "1000", "--no-pager", "-o", "short-iso-precise"]
    return subprocess.run(command, capture_output=True, check=False).stdout


def _threads():
    """What the grid's servers print of their threads: what comes to their outputs once they were asked."""
    outputs = [f"{LOGS.format(side='server')}/{name}" for name in OUTPUTS]
    before = {path: os.path.getsize(path) for path in outputs if os.path.exists(path)}
    asked = [pid for pid in _pids("server") if DUMPERS.search(_command(pid)) and _survives(pid)]
    for pid in asked:
        os.kill(int(pid), signal.SIGQUIT)
    if not asked:
        return b"No process of OMERO.server is there that would tell its threads.\n"
    end, seen = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        time.sleep(0.5)
        now = [os.path.getsize(path) for path in before]
        if now == seen and now != list(before.values()):
            break  # something came, and no more comes
        seen = now
    return b"".join(_since(path, start) for path, start in before.items())


def _pids(side):
    """The processes of the unit's cgroup, in whichever hierarchy systemd uses here."""
    shown = subprocess.run(
        ["systemctl", "show", "-p", "ControlGroup", UNITS[side]], capture_output=True, text=True, check=False
    ).stdout
    group = next((line.split("=", 1)[1] for line in shown.splitlines() if line.startswith("ControlGroup=")), "")
    if group in ("", "/"):
        return []
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup") as lines:
                paths = [line.rstrip("\n").split(":", 2)[2] for line in lines]
        except OSError:
            continue  # it has ended meanwhile
        if any(path == group or path.startswith(group + "/") for path in paths):
            found.append(pid)
    return found


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile


def _survives(pid):
    """Whether a process has something of its own for SIGQUIT; it would die of it otherwise."""
    try:
        with open(f"/proc/{pid}/status") as lines:
            caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    except OSError:
        return False
    return bool(int(caught, 16) >> (signal.SIGQUIT - 1) & 1)


def _since(path, start=0):
    """A file from an offset on, and not more than its end."""
    with open(path, "rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - TAIL))
        return file.read(TAIL)
