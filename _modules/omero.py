"""
OMERO.server and OMERO.web on this server: what they are doing, and starting and stopping them as systemd's units.

Everything goes through the units, as ``idr-administration.md`` demands; a server that someone started beside them is
found and reported, never counted as running. Who works in the server is shown before it is stopped (`omero_activity`),
and of what fails is kept what tells why (`omero_evidence`).
"""

import http.client
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time

from salt.exceptions import CommandExecutionError

UNITS = {"server": "omero-server.service", "web": "omero-web.service"}
USERS = {"server": "omero-server", "web": "omero-web"}
PORTS = {"server": (4063, 4064), "web": (4080, 80)}
BUSY = "busy"
LOG_DIRECTORY = "/opt/omero/{side}/OMERO.{side}/var/log"
LOGS = {"server": ("master.err", "Blitz-0.log"), "web": ("OMEROweb.log",)}
# A page that OMERO.web can't make without a session of the visitors' user in OMERO.server
PAGE = "/webclient/userdata/?experimenter=-1"
OMERO = "/opt/omero/server/venv3/bin/omero"
# What the two consist of, as the command lines of their processes tell
PROCESSES = re.compile(r"icegridnode|glacier2router|icebox|blitz|indexer|pixeldata|runtables|processor|gunicorn", re.I)


def __virtual__():
    return "omero"


def status():
    """
    Whether OMERO.server and OMERO.web run as they should, looked at from outside to inside.

    Returns ``{ready, server: {unit, active, main_pid, in_cgroup, ports, session}, web: {…, http}, rogue: [{pid,
    user, command}], problems: [str]}``. ``in_cgroup`` is false for a main process that isn't the unit's own,
    ``session`` is true after a login as the visitors' user, ``http`` is the code of a page that needs one. ``rogue``
    are OMERO's processes outside its units. The exit code is 1 when there are problems.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.status
    """
    found = {"server": _server(), "web": _web(), "rogue": _rogues()}
    found["problems"] = [problem for side in UNITS for problem in _problems(side, found[side])]
    found["problems"] += _tell(found["rogue"])
    found["ready"] = not found["problems"]
    if found["problems"]:
        __context__["retcode"] = 1
    return found


def start(what="all", limit=600, test=None):
    """
    Start OMERO.server, OMERO.web or both through systemd, and wait until a visitor would get a page.

    what:  ``server``, ``web`` or ``all``
    limit: seconds for each until it is ready

    Returns ``{did: [str], seconds: {unit: float}}``; with ``test=True`` ``{would: [str]}`` and nothing is done. Refused
    while processes of OMERO run outside the units. What doesn't become ready fails with the last lines of its logs, and
    with the directory below /var/log/idr/omero where more of them is kept.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.start web
    """
    return _operate("start", what, limit, test)


def stop(what="all", limit=600, even_if=None, test=None):
    """
    Stop OMERO.web, OMERO.server or both through systemd, and wait until nothing of them is left.

    what:    ``server``, ``web`` or ``all``
    limit:   seconds for each
    even_if: ``busy`` to stop a server in which an import runs, which fails by that

    Returns ``{did: [str], seconds: {unit: float}, activity}``; with ``test=True`` ``{would: [str], activity}`` and
    nothing is done. ``activity`` is what went on in the server before, as :func:`activity` tells it. A server in which
    an import runs isn't stopped, nor one of which it can't be known.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.stop server test=True
    """
    return _operate("stop", what, limit, test, even_if)


def restart(what="all", limit=600, even_if=None, test=None):
    """
    Restart OMERO.server, OMERO.web or both through systemd, and wait until a visitor would get a page again.

    what:    ``server``, ``web`` or ``all``
    limit:   seconds for each until it is ready
    even_if: ``busy`` to restart a server in which an import runs, which fails by that

    Returns as :func:`stop`, refuses what that and :func:`start` refuse, and fails as :func:`start`. A restart that
    was cut off is mended by another.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.restart
        salt idr-omero omero.restart server limit=900 even_if=busy
    """
    return _operate("restart", what, limit, test, even_if)


def _operate(verb, what, limit, test, even_if=None):
    if what not in ("all", *UNITS):
        raise CommandExecutionError(f"There is no {what!r} to {verb}: all, server or web")
    if even_if not in (None, BUSY):
        raise CommandExecutionError(f"even_if={even_if!r} protects nothing: only {BUSY}, a server with an import, does")
    sides = [side for side in UNITS if what in ("all", side)]
    if verb == "stop":
        sides.reverse()  # nobody asks a server that is going down
    strangers = [process for process in _rogues() if process["side"] in sides]
    if strangers and verb != "stop":
        raise CommandExecutionError(" ".join(_tell(strangers)))
    commands = [f"systemctl {verb} {UNITS[side]}" for side in sides]
    done = {"did": commands, "seconds": {}}
    busy = None
    if verb != "start" and "server" in sides:
        done["activity"], busy = _busy()
    if __opts__.get("test", False) if test is None else test:
        return _rehearsed(done, busy, f"omero.{verb} {what}", even_if)
    if busy and even_if != BUSY:
        raise CommandExecutionError(f"{busy}. If it may fail: omero.{verb} {what} even_if={BUSY}")
    if busy:
        done["even_if"] = {BUSY: busy}
        __salt__["event.send"](f"idr/omero/even_if/{BUSY}", {"message": f"{verb} {what}, though: {busy}"})
    for side in sides:
        began = time.monotonic()
        __salt__["event.send"](f"idr/omero/{verb}", {"message": f"{verb} {UNITS[side]}"})
        _systemctl(verb, side, limit)
        _wait(verb, side, began + limit)
        done["seconds"][UNITS[side]] = round(time.monotonic() - began, 1)
    return done


def _rehearsed(done, busy, command, even_if):
    """What would be done, and who would notice."""
    told = {"would": done["did"]}
    if "activity" in done:
        told["activity"] = done["activity"]
    if busy and even_if != BUSY:
        told.update(would=[], refused=f"{busy}. If it may fail: {command} even_if={BUSY}")
        __context__["retcode"] = 1
    return told


def _busy():
    """What goes on in a server, and why it isn't to be stopped, if so. In one that is down nothing can go on."""
    if not _listens(PORTS["server"][1]):
        return None, None
    try:
        activity = __salt__["omero.activity"]()
    except CommandExecutionError as problem:
        return None, f"Whether an import runs isn't known ({problem})"
    told = [f"{one['user']} since {one['since']}, {one['sign']}" for one in activity["imports"]]
    return activity, f"An import runs: {'; '.join(told)}" if told else None


def _systemctl(verb, side, limit):
    try:
        asked = subprocess.run(
            ["systemctl", verb, UNITS[side]], capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failure(f"systemctl {verb} {UNITS[side]} isn't done after {limit} s.", side) from None
    if asked.returncode:
        raise _failure(f"systemctl {verb} {UNITS[side]} failed.", side)


def _failure(said, side):
    """An error with the last lines of the logs, and where more is kept."""
    lines = _last_lines(side)
    kept = __salt__["omero.keep_evidence"](side, test=False)["directory"]
    return CommandExecutionError("\n".join(filter(None, [said, lines, f"Kept: {kept}"])))


def _wait(verb, side, end):
    """Until the side is as the verb wants it; not longer once the unit has failed."""
    look = {"server": _server, "web": _web}[side]
    while True:
        seen = look()
        left = _remains(side, seen) if verb == "stop" else _problems(side, seen)
        if not left:
            return
        if time.monotonic() >= end or (verb != "stop" and seen["active"] in ("failed", "inactive")):
            raise _failure("; ".join(left), side)
        time.sleep(2)


def _server():
    seen = _unit("server")
    seen["session"] = _session() if seen["ports"]["4064"] else False
    return seen


def _web():
    seen = _unit("web")
    seen["http"] = _http() if seen["ports"]["80"] else None
    return seen


def _problems(side, seen):
    unit = UNITS[side]
    if seen["active"] != "active":
        return [f"{unit} is {seen['active']}: start it with omero.start {side}"]
    if not seen["in_cgroup"]:
        return [f"{unit}'s main process {seen['main_pid']} isn't in its cgroup: restart it with omero.restart {side}"]
    problems = [f"Nothing listens on port {port} of {unit}" for port, is_open in seen["ports"].items() if not is_open]
    if side == "server" and not problems and not seen["session"]:
        problems.append("OMERO.server doesn't let the visitors' user log in")
    if side == "web" and not problems and seen["http"] != 200:
        problems.append(f"OMERO.web answers {seen['http'] or 'nothing'} instead of 200 to {PAGE}")
    return problems


def _remains(side, seen):
    """What is still there of a side that should have stopped; nginx stays on port 80."""
    left = [f"{UNITS[side]} is still {seen['active']}"] if seen["active"] not in ("inactive", "failed") else []
    own = [str(port) for port in PORTS[side] if port != 80]
    return left + [f"Something still listens on port {port}" for port in own if seen["ports"][port]]


def _unit(side):
    facts = _facts(side)
    pid = int(facts.get("MainPID") or 0)
    return {
        "unit": UNITS[side],
        "active": facts.get("ActiveState", "unknown"),
        "main_pid": pid,
        "in_cgroup": bool(pid) and _is_in(pid, facts.get("ControlGroup")),
        "ports": {str(port): _listens(port) for port in PORTS[side]},
    }


def _facts(side):
    shown = subprocess.run(
        ["systemctl", "show", "-p", "ActiveState,MainPID,ControlGroup", UNITS[side]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def _is_in(pid, cgroup):
    """Whether a process is in a cgroup or below it, in whichever hierarchy systemd uses here."""
    if not cgroup or cgroup == "/":
        return False
    try:
        with open(f"/proc/{pid}/cgroup") as lines:
            paths = [line.rstrip("\n").split(":", 2)[2] for line in lines]
    except OSError:
        return False
    return any(path == cgroup or path.startswith(cgroup + "/") for path in paths)


def _rogues():
    """OMERO's processes that are in none of its units' cgroups, told by their user or by where they run from."""
    cgroups = [_facts(side).get("ControlGroup") for side in UNITS]
    here = os.readlink("/proc/self/ns/pid")
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                command = line.read().replace(b"\0", b" ").decode(errors="replace").strip()
            uid = os.stat(f"/proc/{pid}").st_uid
            if os.readlink(f"/proc/{pid}/ns/pid") != here:
                continue  # in a container, which has its own units
        except OSError:
            continue  # it has ended meanwhile
        if not PROCESSES.search(command) or any(_is_in(pid, cgroup) for cgroup in cgroups):
            continue
        user = _user_name(uid)
        if user in USERS.values() or "/opt/omero/" in command:
            side = "web" if "gunicorn" in command else "server"
            found.append({"pid": int(pid), "user": user, "side": side, "command": command[:200]})
    return sorted(found, key=lambda process: process["pid"])


def _tell(rogues):
    """One line for each side that has rogue processes, with what ends them."""
    told = []
    for side, unit in UNITS.items():
        pids = " ".join(str(process["pid"]) for process in rogues if process["side"] == side)
        if pids:
            told.append(
                f"{USERS[side]}'s processes {pids} run outside {unit}, started by hand. End them with `kill {pids}`, "
                f"then omero.start {side}"
            )
    return told


def _user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _http():
    """Status code of a page, or None without an answer."""
    asked = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
    try:
        asked.request("GET", PAGE)
        return asked.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        asked.close()


def _session():
    """Whether the visitors' user gets a session, which is closed again. The password goes by the environment."""
    directory = tempfile.mkdtemp(prefix="omero-status-")
    try:
        owner = pwd.getpwnam(USERS["server"])
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        environment = {
            "PATH": "/opt/omero/server/venv3/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": directory,
            "OMERODIR": "/opt/omero/server/OMERO.server",
            "OMERO_SESSIONDIR": directory,
            "OMERO_PASSWORD": __salt__["pillar.get"]("secrets:omero:public_password", "", unmask=True),
        }
        user = __salt__["pillar.get"]("omero:public:user", "public", unmask=True)
        logged_in = False
        for command in (["login", "-q", "-C", "-s", "127.0.0.1", "-p", "4064", "-u", user], ["logout"]):
            done = subprocess.run(
                [OMERO, *command], env=environment, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], cwd="/",
                stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
            )  # fmt: skip
            if command[0] == "login":
                logged_in = done.returncode == 0
            if not logged_in:
                return False
        return True
    except (OSError, KeyError, subprocess.TimeoutExpired):
        return False
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _last_lines(side, count=12):
    """The end of the unit's journal and of the logs of what it runs."""
    journal = subprocess.run(
        ["journalctl", "-u", UNITS[side], "-n", str(count), "-o", "cat", "--no-pager"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = [f"{UNITS[side]}: {line}" for line in journal.stdout.splitlines()]
    for name in LOGS[side]:
        try:
            with open(os.path.join(LOG_DIRECTORY.format(side=side), name), "rb") as log:
                log.seek(-min(16384, os.fstat(log.fileno()).st_size), os.SEEK_END)  # master.err grows to gigabytes
                told += [f"{name}: {line}" for line in log.read().decode(errors="replace").splitlines()[-count:]]
        except OSError:
            continue  # not written yet
    return "\n".join(told)
