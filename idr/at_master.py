"""
Runners of an environment's own master, typed at a workstation: run over there, and told here as if they ran here.

What changes something runs in a unit of its own, which no lost terminal ends, and is followed; typed again meanwhile,
it's the same one that is followed.
"""

import json
import re
import time
from contextlib import contextmanager

from idr import site, table
from idr.errors import IdrError, Refused
from idr.ssh import connections

OUT_OF_SIGHT = 300  # seconds without a word from the master until a runner is no longer followed
LOOK = 300  # seconds that a runner may take which only looks
FAILED = ("ERROR", "The minion function caused an exception", "Passed invalid arguments", "'")  # of a minion's answers


def has_to_be_of(opts, environment, otherwise):
    """
    Refused, with OTHERWISE as what to do about it, unless the master of an environment is what runs here.

    opts:  Salt's configuration, which names a master's own environment
    """
    here = opts.get("idr_environment")
    if environment != here:
        where = f"this is the master of {here}" if here else "only its own master can"
        raise Refused([f"{environment}: {where}; {otherwise}"])


def answer(name, folder, words, seconds=LOOK):
    """
    What a runner of an environment's master returns that only looks.

    folder:   the operator's site directory
    words:    the runner and its arguments
    seconds:  that it may take
    """
    with reached(name, folder) as (ssh, proxy):
        text = ssh.do(proxy, "answer", {"words": words}, seconds=seconds)
    return returned(text, f"on {proxy.id}: salt-run {' '.join(words)}")


def execute(name, folder, server, function, **values):
    """
    What a function of a server's minion returns that is soon done, asked by its environment's master. An IdrError where
    the minion doesn't answer, or what is asked can't be had.

    folder:  the operator's site directory
    values:  what the function is given, by its arguments' names
    """
    words = executing(server, function, **values)
    return executed(answer(name, folder, words), server, function)


def executing(server, function, **values):
    """The runner, and its arguments, that has a function of a server's minion run."""
    return ["salt.execute", server, function, *([f"kwarg={json.dumps(values)}"] if values else [])]


def executed(said, server, function):
    """What a function of a server's minion returned, by what ``salt.execute`` did. An IdrError where it's an error."""
    if not isinstance(said, dict) or server not in said:
        raise IdrError(f"{server}: its minion doesn't answer")
    if isinstance(said[server], str) and said[server].startswith(FAILED):
        lines = [line for line in said[server].strip().splitlines() if line.strip()]
        raise IdrError(f"{server}: {function}: {lines[-1] if lines[0].startswith(FAILED[1]) else lines[0]}")
    return said[server]


def run(name, folder, words, unit, action, tell, again=None):
    """
    What a runner of an environment's master returns that changes something; or the one that goes on already.

    unit:    the unit's name
    action:  whose milestones are its progress: ``backup/create``
    tell:    is told one line of progress at a time
    again:   what is typed here to follow it once more; the runner itself unless given
    """
    with reached(name, folder) as (ssh, proxy):
        report = ssh.do(proxy, "going_on", {"unit": unit})
        if report:
            tell("following the one that is going on")
            began = {"unit": unit, "action": action, "report": report, "offset": None}
        else:
            tell(f"begins on {proxy.id}, and goes on whatever becomes of this terminal")
            began = ssh.do(proxy, "begin", in_unit(words, unit, action))
        text = follow(ssh, proxy, began, again or f"salt-run {' '.join(words)}", tell)
    return returned(text, f"ssh {proxy.id} journalctl -u {unit}")


def in_unit(words, unit, action):
    """What ``on_server.begin`` is asked for a runner whose progress are that action's milestones."""
    folder, _, of = action.partition("/")
    return {"unit": unit, "folder": folder, "of": of, "words": words, "action": action}


@contextmanager
def reached(name, folder):
    """
    Connections to an environment's servers, and its proxy, for as long as the block lasts: ``(Ssh, Server)``.

    folder:  the operator's site directory
    """
    environment, _ = table.of_operator(name, folder)
    found, problems = site.read(name, folder)
    if problems:
        raise Refused(problems)
    with connections(environment, found.known_hosts) as ssh:
        yield ssh, environment.proxy


def follow(ssh, proxy, began, again, tell):
    """
    Tell how a runner in its unit goes on until it has ended; returns its report.

    began:  what is to be asked, as it was begun
    again:  what is typed to follow it once more
    """
    asked = began
    last_word = time.monotonic()
    while True:
        try:
            said = ssh.do(proxy, "progress", asked, seconds=60)
        except IdrError as error:  # a new firewall or a restart of the network may cut the link
            if time.monotonic() - last_word > OUT_OF_SIGHT:
                raise IdrError(
                    f"out of sight for {OUT_OF_SIGHT} s ({error}); it goes on without you. To follow it again: {again}"
                ) from error
            tell(f"out of sight: {error}")
            time.sleep(2)
            continue
        last_word = time.monotonic()
        for event in said["events"]:
            tell(_told(event))
        if said["report"] is not None:
            return said["report"]
        asked = {**began, "offset": said["offset"]}


def _told(event):
    if "said" in event:
        return event["said"]
    if "began" in event:
        return f"at work: {', '.join(sorted(event['began']))}"
    failed = f", {event['failed']} failed" if event["failed"] else ""
    return f"{event['ended']}: {event['changed']} of {event['states']} states changed{failed}"


def returned(text, more):
    """
    What a runner returned, from the JSON in what it printed. An IdrError where there's none, as it was killed.

    more:  where to look for why
    """
    begin = re.search(r"^\{", text, re.MULTILINE)
    try:
        return json.JSONDecoder().raw_decode(text, begin.start() if begin else 0)[0]
    except json.JSONDecodeError:
        said = (text.strip() or "no output").splitlines()[-1].strip()
        raise IdrError(f"it ended without a report: {said} ({more})") from None
