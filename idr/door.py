"""
The one decorator of every public runner function.

What Salt does with a failing runner depends on how it fails: `TypeError` (and so a misspelt or missing argument) exits
0, `False` exits 0, and only a retcode both in ``__context__`` and in the returned dict reaches the shell, an
orchestration and the reader alike. `door` brings every outcome into that form, and writes the record of it.
"""

import functools
import getpass
import inspect
import json
import logging
import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from idr.errors import IdrError, Refused

RECORD = "~/.local/state/idr/actions.jsonl"  # of a checkout; a master's is in its configuration (idr_record)

# After a runner, Salt's own clients complain on stderr that they weren't closed, when logging has already ended.
logging.lastResort = logging.NullHandler()


def door(function):
    """
    Make a function of ``_runners/`` safe to type: unknown, missing or ill-typed arguments, the project's errors and
    those of a cloud's API are one line and exit code 1 for shell and orchestration; a bug keeps its traceback but never
    exits 0.
    Every call is recorded with who, when, what, result and duration.

    What a function returns has failed where its ``result`` is False, or where it has a ``retcode``: also within what an
    outputter shows.

    A function that takes ``**given`` judges by itself what it was given beyond its other arguments.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith("__")}  # Salt's own __pub_*
        began = time.time()
        outcome = {"result": False, "comment": "ended before it was done"}
        try:
            _check_arguments(signature, args, kwargs)
            outcome = function(*args, **kwargs)
        except Refused as refusal:
            outcome = {"result": False, "comment": str(refusal), "problems": refusal.problems}
        except IdrError as error:
            outcome = {"result": False, "comment": str(error)}
        except TypeError as bug:
            outcome = {"result": False, "comment": f"a bug: {bug}"}
            raise RuntimeError(f"a bug in {function.__name__}: {bug}") from bug  # Salt takes TypeError for success
        except Exception as error:
            line = _refused_by_a_cloud(error)
            outcome = {"result": False, "comment": line or f"a bug: {error!r}"}
            if not line:
                raise
        finally:
            _record(function, args, kwargs, outcome, began)
        told = _told(outcome)
        if told.get("result") is False or "retcode" in told:
            told["retcode"] = 1  # of the shell; that of an orchestration is in the context
            function.__globals__["__context__"]["retcode"] = 1
        return outcome

    return call


def _refused_by_a_cloud(error):
    """What an error of a cloud's API says in one line, None of any other; without importing the SDK for it."""
    connection = sys.modules.get("idr.cloud.connection")
    return connection.told(error) if connection and isinstance(error, connection.ERRORS) else None


def _check_arguments(signature, args, kwargs):
    """Refuse what the function doesn't take, all of it at once."""
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    takes = f"it takes {', '.join(parameters) or 'no arguments'}"
    takes_more = "given" in signature.parameters
    problems = [f"{name}: unknown argument; {takes}" for name in kwargs if name not in parameters and not takes_more]
    if len(args) > len(parameters):
        problems.append(f"{args[len(parameters)]}: one argument too many; {takes}")
    given = dict(zip(parameters, args, strict=False)) | kwargs
    for name, parameter in parameters.items():
        if name not in given and parameter.default is inspect.Parameter.empty:
            problems.append(f"{name}: missing; {takes}")
        if isinstance(parameter.default, bool) and not isinstance(given.get(name, False), bool):
            problems.append(f"{name}: True or False, not {given[name]!r}")
    problems += [f"{name}: given twice" for name in list(parameters)[: len(args)] if name in kwargs]
    if problems:
        raise Refused(problems)


def milestones(opts, action):
    """
    A function that tells one line of progress: to the terminal, and on the master's event bus if there is one.

    action:  e.g. ``environment/enrol``; the event's tag is ``idr/<action>/progress``
    """
    began = time.monotonic()

    def tell(line):
        print(f"[{time.monotonic() - began:6.1f} s] {line}", file=sys.stderr, flush=True)
        _fire(opts, {"message": line}, f"idr/{action}/progress")

    return tell


def who():
    """Who this is, for records: ``ada@workstation``. Whoever became root by sudo is told as themselves."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"


def _told(outcome):
    """What a function tells, without how it's shown; of what tells no outcome, like a text, nothing."""
    told = outcome["data"] if isinstance(outcome, dict) and "outputter" in outcome else outcome
    return told if isinstance(told, dict) else {}


def _record(function, args, kwargs, outcome, began):
    opts, told = function.__globals__["__opts__"], _told(outcome)
    entry = {
        "when": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "who": who(),
        "what": f"{function.__module__.rpartition('.')[2]}.{function.__name__}",
        "arguments": [*map(str, args), *(f"{name}={value}" for name, value in kwargs.items())],
        "result": told.get("result", True),
        "comment": told.get("comment", ""),
        "seconds": round(time.time() - began, 2),
    }
    if "problems" in told:
        entry["problems"] = told["problems"]
    path = Path(opts.get("idr_record", RECORD)).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as record:
            record.write(json.dumps(entry) + "\n")
    except OSError as error:
        print(f"not recorded: {path}: {error.strerror}", file=sys.stderr)
    _fire(opts, entry, "idr/action")


def _fire(opts, event, tag):
    """Send an event where a master listens; a checkout has none, and trying costs a second."""
    if not (Path(opts["sock_dir"]) / "master_event_pull.ipc").exists():
        return
    import salt.utils.event  # only where there is a master: it takes its time to import

    with salt.utils.event.get_event("master", opts=opts, sock_dir=opts["sock_dir"], listen=False) as bus:
        bus.fire_event(event, tag)
