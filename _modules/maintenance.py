"""
The site closed for maintenance: visitors get a page that says why and until when, and the site opens by itself.

All of it is one link, /srv/www/closed, whose target's name has the end; nginx compares that with the clock at each
request (salt/nginx/files/maps.conf.j2). So there is nothing that a reboot or a killed caller could leave half done.
"""

import contextlib
import datetime
import email.utils
import fcntl
import html
import http.client
import os
import shutil
import string
import time

from salt.exceptions import CommandExecutionError

LINK = "/srv/www/closed"
CLOSURES = "/srv/www/maintenance"
TEMPLATE = "/srv/www/maintenance.html"
LONGEST = 7 * 24 * 60


def __virtual__():
    return "maintenance"


def on(reason, minutes=60, test=None):
    """
    Close the public site: 503 with a page, for stored URLs too, until the time is over or :func:`off`.

    reason:   what visitors read, at most 500 characters
    minutes:  until the site opens by itself, 1 to 10080
    test:     only say what would be done

    Returns :func:`status`; with ``test=True`` ``{would: str}``. A closed site gets the new reason and end. ``/about``
    and port 9000 stay open. What visitors then get is looked at: if that isn't the page, the site is opened again and
    this fails. Refused: an empty reason, and one with control characters.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy maintenance.on 'The database moves to new disks.' minutes=90
    """
    reason = _reason(reason)
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= LONGEST:
        raise CommandExecutionError(f"minutes is {minutes!r}, not a number from 1 to {LONGEST} (a week)")
    try:
        with open(TEMPLATE, encoding="utf-8") as page:
            template = string.Template(page.read())
    except FileNotFoundError:
        raise CommandExecutionError(f"{TEMPLATE} isn't there: run this server's highstate") from None
    end = int(time.time()) + 60 * minutes
    if _only_test(test):
        return {"would": f"close the site until {_iso(end)}: {reason}"}
    with _alone():
        before = _closure()
        _point_to(_written(template, reason, end))
        found = status()
        if found["problem"]:
            _point_to(before) if before else os.unlink(LINK)
            raise CommandExecutionError(f"The site is as it was: {found['problem']}")
        _sweep()
    __salt__["event.send"]("idr/maintenance/on", {"message": f"closed until {found['until']}: {reason}"})
    return found


def off(test=None):
    """
    Open the public site now.

    test:  only say what would be done

    Returns :func:`status`; with ``test=True`` ``{would: str}``.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy maintenance.off
    """
    if _only_test(test):
        return {"would": "open the site" if _open_closure() else "do nothing: the site is open"}
    with _alone():
        was_closed = _open_closure()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LINK)
        _sweep()
    if was_closed:
        __salt__["event.send"]("idr/maintenance/off", {"message": "opened"})
    return status()


def status():
    """
    Whether the public site is closed, as this server's files say, and whether visitors see that.

    Returns ``{closed, reason, until, seconds_left, seen, problem}``. ``seen`` is the status with which nginx answers a
    request for the front page, ``problem`` says how that differs from what it should be. The exit code is 1 if it does.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy maintenance.status
    """
    closure = _open_closure()
    found = {"closed": bool(closure), "reason": None, "until": None, "seconds_left": 0}
    if closure:
        end = _end(closure)
        with open(os.path.join(closure, "reason"), encoding="utf-8") as text:
            found |= {"reason": text.read(), "until": _iso(end), "seconds_left": max(0, int(end - time.time()))}
    seen, told = _seen()
    found |= {"seen": seen, "problem": _problem(closure, seen, told)}
    if found["problem"]:
        __context__["retcode"] = 1
    return found


def _problem(closure, seen, told):
    """How what visitors get differs from what the link says; None if it doesn't."""
    date = closure and os.path.basename(closure).partition(" ")[2]
    if isinstance(seen, str):
        return f"nginx doesn't answer on port 80: {seen}"
    if closure and (seen, told) != (503, date):
        return f"the site should be closed, but visitors get {seen}: look at nginx -t, and whether nginx was reloaded"
    if not closure and told:
        return f"the site should be open, but visitors are told to come back at {told}"
    return None


def _seen():
    """Status and Retry-After of a visitor's request; the error instead of a status if there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
    try:
        # the front page is the proxy's own: OMERO's troubles are none of this answer
        connection.request("GET", "/", headers={"Host": __pillar__["environment"]["public"]["name"]})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After")
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__, None
    finally:
        connection.close()


def _reason(reason):
    """What visitors read."""
    reason = str(reason).strip()
    if not reason or len(reason) > 500 or not reason.isprintable():
        raise CommandExecutionError("reason is what visitors read: one line of 1 to 500 printable characters")
    return reason


def _written(template, reason, end):
    """The directory of a closure that ends then, complete before it has its name."""
    date = email.utils.formatdate(end, usegmt=True)
    os.makedirs(CLOSURES, exist_ok=True)
    closure = os.path.join(CLOSURES, f"{end} {date}")
    unfinished = os.path.join(CLOSURES, ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    os.mkdir(unfinished)
    page = template.safe_substitute(reason=html.escape(reason), iso=_iso(end), end=date)
    for name, text in (("index.html", page), ("reason", reason)):
        with open(os.path.join(unfinished, name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(file.name, 0o644)                  # nginx reads it, whatever the minion's umask
    os.chmod(unfinished, 0o755)
    os.chmod(CLOSURES, 0o755)
    shutil.rmtree(closure, ignore_errors=True)      # on, twice in one second
    os.rename(unfinished, closure)
    return closure


@contextlib.contextmanager
def _alone():
    """Nobody else closes or opens the site meanwhile. The lock goes with this process."""
    folder = os.open(os.path.dirname(LINK), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _point_to(closure):
    """Make the link lead there, in one step."""
    new = f"{LINK}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(closure, new)
    os.rename(new, LINK)


def _sweep():
    """Remove the closures that the link doesn't lead to, and what a killed caller left."""
    current = _closure()
    for name in os.listdir(CLOSURES) if os.path.isdir(CLOSURES) else ():
        if os.path.join(CLOSURES, name) != current:
            shutil.rmtree(os.path.join(CLOSURES, name), ignore_errors=True)


def _closure():
    """Where the link leads, over or not; None without one."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(LINK)


def _open_closure():
    """Where the link leads while the closure isn't over."""
    closure = _closure()
    return closure if closure and _end(closure) > time.time() else None


def _end(closure):
    """When a closure is over, in seconds since the epoch."""
    return int(os.path.basename(closure).partition(" ")[0])


def _iso(end):
    return datetime.datetime.fromtimestamp(end, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _only_test(test):
    return __opts__.get("test", False) if test is None else test
