"""
Draining: while /data/jupyterhub/drain.json is there, nobody gets a new server, and at its time the running ones end.

The hub's configuration imports this, and the hub runs it as one of its own services, so that a drain goes on whatever
becomes of who ordered it, through a restart of the hub and of the machine. The file is written by the execution module
`jupyterhub`: ``{"until": seconds since the epoch, "notice": "...", "by": "..."}``.
"""

import contextlib
import html
import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

DRAIN = Path("/data/jupyterhub/drain.json")
NOTEBOOKS = Path("/data/notebooks")
NOTE = "!Ends at "  # "!" sorts before other files, and a file browser shows little more than the time


def current():
    """What is in force, or None."""
    try:
        return json.loads(DRAIN.read_text())
    except FileNotFoundError:
        return None


def text(drain):
    """What users are told."""
    when = time.strftime("%H:%M UTC on %d %B", time.gmtime(drain["until"]))
    ends = f"Servers end at {when}" if drain["until"] > time.time() else "Servers have ended"
    return f"{drain['notice']} {ends}; none are started until this is over. Files in your home directory are kept."


class Announcement:
    """What the hub's pages show on top, looked up whenever a page is made; nothing unless there is a drain."""

    def __bool__(self):
        return current() is not None

    def __html__(self):
        drain = current()
        return html.escape(text(drain)) if drain else ""

    __str__ = __html__


def home_of(user):
    """Where a user's files are. No name leads anywhere else."""
    name = quote(user, safe="@+")
    return NOTEBOOKS / ("%2E" + name[1:] if name.startswith(".") else name)


def note_of(drain):
    """The name of the file that users see in their file browser; it says the time."""
    return NOTE + time.strftime("%H.%M UTC", time.gmtime(drain["until"])) + " - read me.txt"


def put_note(home, drain):
    """Write the notice into a user's home. The directory's content is the user's own: nothing there is followed."""
    with _directory(home) as directory, contextlib.suppress(FileExistsError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(note_of(drain), flags, 0o644, dir_fd=directory), "w") as note:
            os.fchown(note.fileno(), 1000, 1000)
            note.write(text(drain) + "\n")


def take_notes_away(keep):
    """Remove the notices of drains that are over from every home."""
    for home in NOTEBOOKS.iterdir():
        with contextlib.suppress(NotADirectoryError), _directory(home) as directory:
            for name in os.listdir(directory):
                if name.startswith(NOTE) and name != keep:
                    with contextlib.suppress(OSError):  # a directory of that name is a user's own joke
                        os.unlink(name, dir_fd=directory)


@contextlib.contextmanager
def _directory(path):
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield opened
    finally:
        os.close(opened)


def running():
    """Names of the users who have a server."""
    users, page = [], None
    while page is None or len(page) == 200:
        page = _ask("GET", f"/users?state=active&limit=200&offset={len(users)}")
        users += [user["name"] for user in page]
    return users


def _ask(method, path):
    request = urllib.request.Request(
        os.environ["JUPYTERHUB_API_URL"] + path,
        method=method,
        headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def step(before):
    """One look at the drain, and what follows from it; returns what is in force now."""
    drain = current()
    if drain != before:
        print(f"draining: {text(drain)}" if drain else "draining: over", flush=True)
        take_notes_away(keep=note_of(drain) if drain else None)
    if drain and time.time() >= drain["until"]:
        with ThreadPoolExecutor(20) as pool:  # each takes seconds
            list(pool.map(_stop, running()))
    elif drain and drain != before:
        for user in running():
            put_note(home_of(user), drain)
    return drain


def _stop(user):
    print(f"draining: stopping {user}'s server", flush=True)
    _ask("DELETE", f"/users/{quote(user, safe='')}/server")


def main():
    """What the hub runs as a service: forever, once in two seconds."""
    before = "unknown"
    while True:
        try:
            before = step(before)
        except OSError as failure:  # the hub is starting, or busy with a server
            print(f"draining: {failure}", flush=True)
        time.sleep(2)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # how the hub ends its services
        main()
