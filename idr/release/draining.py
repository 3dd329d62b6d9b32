"""An environment's Jupyter users told that it moves, and their servers ended, through its own master."""

import json
import time

from idr import at_master, table
from idr.errors import IdrError

NOTICE = "This service moves to new servers."
PATIENCE = 150  # seconds; the module itself gives users' servers 120 to end
WORD = 60  # seconds between two words of what is waited for


def drain(environment, folder, minutes, tell):
    """
    Tell those who are on, start no more servers, and end theirs in so many minutes; returns when all have ended.

    folder:  the operator's site directory of that environment
    tell:    is told one line of progress at a time

    An IdrError where that can't be had: its master or its hub doesn't answer.
    """
    for server in _hubs(environment, folder):
        told = _ask(environment, folder, server, "drain", minutes, notice=NOTICE)
        tell(f"{server}: drained by {told['until']}, on it: {', '.join(told['on']) or 'nobody'}")
        if minutes:
            _wait(60 * minutes, tell)
            _ask(environment, folder, server, "drain", 0, notice=NOTICE)  # which returns once they have ended


def undrain(environment, folder, tell):
    """Let users of an environment have servers again; an IdrError as `drain` raises it."""
    for server in _hubs(environment, folder):
        told = _ask(environment, folder, server, "undrain")
        if told["did"]:
            tell(f"{server}: {told['did']}")


def _hubs(environment, folder):
    found, _ = table.of_operator(environment, folder)
    return [server.id for server in found.servers.values() if server.role == "dockermanager"]


def _ask(environment, folder, server, function, *arguments, **named):
    words = ["salt.execute", server, f"jupyterhub.{function}", f"timeout={PATIENCE}"]
    words += [f"arg={json.dumps(arguments)}"] if arguments else []
    words += [f"kwarg={json.dumps(named)}"] if named else []
    said = at_master.executed(at_master.answer(environment, folder, words), server, f"jupyterhub.{function}")
    if not isinstance(said, dict):
        raise IdrError(f"{server}: jupyterhub.{function}: {said or 'no answer'}")
    return said


def _wait(seconds, tell):
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        tell(f"users have {round(left / 60)} min left")
        time.sleep(min(WORD, left))
