"""``nginx_cache.recount``: nginx takes its own place, so that it no longer counts what was purged beside it."""

import contextlib
import os
import signal
import time

from salt.exceptions import CommandExecutionError

PID = "/run/nginx.pid"
FORMER = "/run/nginx.pid.oldbin"
ERROR_LOG = "/var/log/nginx/error.log"


def __virtual__():
    return "nginx_cache"


def recount(limit=30, test=None):
    """
    Let nginx count its cache's entries anew, without a request that fails.

    limit:  seconds until the new nginx answers
    test:   only say what would be done

    A second nginx is started on the same sockets, then the first takes no more requests and ends with its last one
    (signals USR2 and QUIT, as for a new version). A minute later the new one begins to count, at most 2 000 entries a
    second; entries that it hasn't seen yet are served, but not removed when a zone grows beyond its size.

    Returns ``{"was": pid, "is": pid}``; with ``test=True`` ``{"would": str}``. One that was interrupted is finished.
    Refused when nginx refuses its configuration. If the new one doesn't start, the first goes on.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.recount
    """
    __salt__["nginx_cache.zones"]()                 # or nginx would refuse to start, too
    former, present = _pid(FORMER), _pid(PID)
    if not present:
        raise CommandExecutionError("nginx isn't running: systemctl start nginx")
    if __opts__.get("test", False) if test is None else test:
        return {"would": f"end {former}, which {present} replaces" if former else f"replace nginx {present} by another"}
    if not former:
        os.kill(present, signal.SIGUSR2)
        former, present = present, _other(present, limit)
    os.kill(former, signal.SIGQUIT)
    return {"was": former, "is": present}


def _other(former, limit):
    """The nginx that took the place of another, once it has workers."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        present = _pid(PID)
        if present and present != former:
            with open(f"/proc/{present}/task/{present}/children") as children:
                if children.read():
                    return present
        time.sleep(0.05)
    with open(ERROR_LOG, errors="replace") as log:
        last = log.readlines()[-1:]
    raise CommandExecutionError(f"no new nginx after {limit} s, so {former} goes on: {''.join(last).strip()}")


def _pid(path):
    """The nginx of a pid file; None if it is gone, whoever has its number now."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(path) as file:
        pid = int(file.read())
        with open(f"/proc/{pid}/comm") as name:
            return pid if name.read() == "nginx\n" else None
    return None
