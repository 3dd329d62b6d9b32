"""
The SSH host keys of new servers: from their consoles, where each prints its own, into the operator's ``known_hosts``.

A line ends with the id of the server that it was read from, so that a server made anew under an old name is known as
such from any later run. Lines without one are the operator's own.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

from idr.cloud.connection import ERRORS, told
from idr.errors import IdrError, Refused

FILE = "known_hosts"
LIMIT = 600  # seconds for a server's first start
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
KEY = re.compile(r"\b((?:ssh|ecdsa)-[\w-]+ AAAA[A-Za-z0-9+/]+=*)")


def bring(cloud, folder, servers, made, tell):
    """
    Have the host keys of an environment's servers in the operator's directory.

    servers:  their ids by name
    made:     names of those that were never enrolled, of which whatever was known before may be another's
    """
    path = folder / FILE
    missing = _missing(_lines(path), servers, made)
    if not missing:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tell(f"reading the SSH host keys of {', '.join(missing)} from their consoles")
    keys, problems = {}, []
    with ThreadPoolExecutor(len(missing)) as pool:
        asked = {name: pool.submit(_from_console, cloud, name, servers[name]) for name in missing}
        for name, answer in asked.items():
            try:
                keys[name] = answer.result()
            except IdrError as error:
                problems.append(str(error))
    lines = [line for line in _lines(path) if line.split(" ", 1)[0] not in keys]
    lines += [f"{name} {key} {servers[name]}" for name, found in keys.items() for key in found]
    _write(path, lines)
    if problems:
        raise Refused(problems, "stopped; the servers are made, and the next run goes on from there")


def forget(folder, names):
    """Take the lines of servers that are gone out of the operator's ``known_hosts``."""
    path = folder / FILE
    lines = _lines(path)
    kept = [line for line in lines if line.split(" ", 1)[0] not in names]
    if kept != lines:
        _write(path, kept)


def in_console(text):
    """The host keys that a console shows, of the last start that began to print them; [] until it has ended."""
    _, begun, last = (text or "").rpartition(BEGIN)  # what is before may be of another system with other keys
    keys, ended, _ = last.partition(END)
    return KEY.findall(keys) if begun and ended else []


def _missing(lines, servers, made):
    """The names of servers whose keys have to be read."""
    own = {}
    for line in lines:
        words = line.split()
        if words and words[0] in servers:
            own.setdefault(words[0], set()).add(words[3] if len(words) == 4 else None)
    return [
        name for name, id_ in servers.items() if own.get(name) != {id_} and (name in made or own.get(name) != {None})
    ]


def _from_console(cloud, name, id_):
    until, pause = time.monotonic() + LIMIT, 1
    while True:
        try:
            found = in_console(cloud.compute.get_server_console_output(id_)["output"])
        except ERRORS as error:  # there is no console before it has started
            found, why = [], str(told(error))
        else:
            why = "its console shows none"
        if found:
            return found
        if time.monotonic() > until:
            raise IdrError(
                f"{name}: no SSH host keys after {LIMIT} s ({why}). Look at what it says: "
                f"openstack console log show {name}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 5)


def _lines(path):
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _write(path, lines):
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
    new.replace(path)
