"""
JupyterHub's users and their servers: who is on, ending one of them, and draining all of them with notice.

Asks the hub through its API, as its service `operators`. A drain is a file that the hub and a service of its own act on
(salt/jupyterhub/files/draining.py): it goes on whatever becomes of who ordered it.
"""

import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from salt.exceptions import CommandExecutionError

API = "http://127.0.0.1:8000/jupyter/hub/api"
DRAIN = "/data/jupyterhub/drain.json"
UNIT = "docker-jupyterhub"
LABEL = "org.idr.user"
PAGE = 200  # users that the hub tells at once
LONGEST = 24 * 60  # minutes of notice
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def __virtual__():
    if __opts__.get("pillar", {}).get("server", {}).get("role") != "dockermanager":
        return False, "JupyterHub is on the server with the role dockermanager"
    return "jupyterhub"


def servers():
    """
    Who has a server now, and whether JupyterHub is being drained.

    Returns ``{servers: {user: {started, last_activity, memory_mb}}, draining}``: times in UTC, ``memory_mb`` None for a
    server that is just starting, ``draining`` None or ``{until, notice}``.

    CLI Example:

    .. code-block:: bash

        salt idr-a-dockermanager jupyterhub.servers
    """
    active = _active()
    memory = _memory() if active else {}
    found = {
        user: {
            "started": _to_second(server.get("started")),
            "last_activity": _to_second(server.get("last_activity")),
            "memory_mb": memory.get(user),
        }
        for user, server in sorted(active.items())
    }
    return {"servers": found, "draining": _told(_drain())}


def stop(user, test=None):
    """
    End one user's server. Their files stay, and they may start another.

    Returns ``{did: str}`` once it has ended, with ``test=True`` ``{would: str}``. Refused for who has none.

    CLI Example:

    .. code-block:: bash

        salt idr-a-dockermanager jupyterhub.stop ada
    """
    user = str(user)
    active = _active()
    if user not in active:
        raise CommandExecutionError(f"{user} has no server. On now: {', '.join(sorted(active)) or 'nobody'}")
    deed = f"end {user}'s server, started {_to_second(active[user].get('started'))}"
    if _is_test(test):
        return {"would": deed}
    _ask("DELETE", f"/users/{urllib.parse.quote(user, safe='')}/server")
    _wait_without([user], 60)
    return {"did": deed}


def drain(minutes=15, notice="The analysis service is going to be maintained.", test=None):
    """
    Start no more servers from now on, tell those who are on, and end their servers in so many minutes.

    minutes: from now; with 0 the call returns once all are gone, and fails if they aren't after two minutes
    notice:  what users read, in JupyterHub's pages and in a file that appears in their file browser; the time is added

    Holds until :func:`undrain`, through a restart of the hub or the server. Another drain takes the place of the one
    before. Returns ``{until, notice, on: [user]}``, with ``test=True`` ``{would: [str]}``.

    CLI Example:

    .. code-block:: bash

        salt idr-a-dockermanager jupyterhub.drain 30 notice='We move to new servers.'
    """
    minutes, notice = _checked(minutes, notice)
    active = sorted(_active())
    ordered = {"until": round(time.time() + minutes * 60), "notice": notice}
    if _is_test(test):
        when = f"at {_utc(ordered['until'])}" if minutes else "now"
        return {"would": ["start no more servers", f"end {len(active)} servers {when}: {', '.join(active) or 'none'}"]}
    beside = f"{DRAIN}.new"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(ordered, file)
    except OSError as failure:
        raise CommandExecutionError(f"{beside} can't be written: {failure.strerror}") from None
    os.replace(beside, DRAIN)
    __salt__["event.send"]("idr/jupyterhub/drain", {**_told(ordered), "on": active})
    if not minutes:
        _wait_without(None, 120)
    return {**_told(ordered), "on": active}


def undrain(test=None):
    """
    End a drain: servers may be started again, and the notices go.

    Returns ``{did: str}``, with ``test=True`` ``{would: str}``; None in either when there is no drain.

    CLI Example:

    .. code-block:: bash

        salt idr-a-dockermanager jupyterhub.undrain
    """
    ordered = _drain()
    deed = f"end the drain until {_utc(ordered['until'])}" if ordered else None
    if _is_test(test):
        return {"would": deed}
    if ordered:
        os.unlink(DRAIN)
        __salt__["event.send"]("idr/jupyterhub/undrain", {"message": deed})
    return {"did": deed}


def resolvers():
    """
    The IPv4 name servers that users' containers ask: those of this server, as Docker hands them on.

    CLI Example:

    .. code-block:: bash

        salt idr-a-dockermanager jupyterhub.resolvers
    """
    # where systemd-resolved answers on loopback, Docker takes what it asks itself
    for path in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        try:
            with open(path) as file:
                words = [line.split() for line in file]
        except FileNotFoundError:
            continue
        return [each[1] for each in words if each[:1] == ["nameserver"] and len(each) > 1 and ":" not in each[1]]
    return []


def _checked(minutes, notice):
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes <= LONGEST:
        raise CommandExecutionError(f"minutes={minutes!r}: a number from 0 to {LONGEST}")
    if not isinstance(notice, str) or not notice.strip() or len(notice.splitlines()) > 1:
        raise CommandExecutionError(f"notice={notice!r}: one line that users are to read")
    return minutes, notice.strip()


def _is_test(test):
    return __opts__.get("test", False) if test is None else test


def _drain():
    try:
        with open(DRAIN) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def _told(ordered):
    return ordered and {"until": _utc(ordered["until"]), "notice": ordered["notice"]}


def _utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _to_second(moment):
    """The hub's times have microseconds."""
    return moment and moment.split(".")[0].rstrip("Z") + "Z"


def _active():
    """The hub's model of each server that runs, starts or ends, by its user."""
    users, page = [], None
    while page is None or len(page) == PAGE:
        page = _ask("GET", f"/users?state=active&limit={PAGE}&offset={len(users)}")
        users += page
    return {user["name"]: next(iter(user["servers"].values()), {}) for user in users}


def _wait_without(users, limit):
    """Until none of these users has a server, or nobody at all with None."""
    end = time.monotonic() + limit
    while True:
        left = [user for user in _active() if users is None or user in users]
        if not left:
            return
        if time.monotonic() >= end:
            raise CommandExecutionError(
                f"{', '.join(sorted(left))} still on after {limit} s: journalctl -u {UNIT} says why"
            )
        time.sleep(1)


def _ask(method, path):
    token = __salt__["pillar.get"]("secrets:jupyterhub:api_token", "", unmask=True)
    if not token:
        raise CommandExecutionError("Pillar has no secrets:jupyterhub:api_token: salt-run environment.enrol makes it")
    request = urllib.request.Request(API + path, method=method, headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
    except urllib.error.HTTPError as refusal:
        raise CommandExecutionError(f"JupyterHub answers {refusal.code} to {method} {path}") from None
    except (OSError, http.client.HTTPException) as failure:
        reason = getattr(failure, "reason", failure)
        raise CommandExecutionError(f"JupyterHub doesn't answer ({reason}): systemctl status {UNIT}") from None
    return json.loads(body) if body else None


def _memory():
    """MB that each user's container takes, as Docker counts."""
    form = f'{{{{.ID}}}}\t{{{{.Label "{LABEL}"}}}}'
    users = dict(line.split("\t") for line in _docker("ps", "--filter", f"label={LABEL}", "--format", form))
    if not users:
        return {}
    shown = _docker("stats", "--no-stream", "--format", "{{.ID}}\t{{.MemUsage}}", *users)
    used = dict(line.split("\t") for line in shown)
    return {users[container]: _megabytes(usage) for container, usage in used.items() if container in users}


def _megabytes(usage):
    """Of Docker's `31.4MiB / 1GiB` the first, in MB."""
    amount = usage.split("/")[0].strip()
    number = amount.rstrip("BKMGTi")
    return round(float(number) * UNITS[amount[len(number) :]] / 1e6)


def _docker(*arguments):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []
