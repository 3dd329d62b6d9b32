"""
What is written on each snapshot of a set that was ended: a pin, which is who wants it kept and why, so that no rule
removes it; and what a verification found.

It's done under the environment's lock, since a prune that is at work has decided already.
"""

import time

from idr.backup import manifest, project, turn
from idr.backup.model import GOING
from idr.cloud import lock
from idr.cloud.connection import ERRORS, told
from idr.cloud.destroying import base
from idr.cloud.making import carry_out
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused

LOCKED = 900  # seconds that another run on the set's environment is waited for
PAUSE = 5
MARKING = ("verify", "copy", "prune_copies")  # what has the lock for a moment, to mark a set, and can do it again


def text(who, reason):
    """What a pin says. Refused where that is too long for the cloud's metadata, or no reason."""
    if not str(reason).strip():
        raise Refused(["reason: say for whom or for what the set is to be kept"])
    found = f"{who}: {str(reason).strip()}"
    if len(found) > manifest.LONGEST:
        raise Refused([f"reason: {len(found) - manifest.LONGEST} characters too long for the cloud's metadata"])
    return found


def pinned(text):
    """What a pin writes; "" takes it off."""
    return {"idr_pinned": text}


def plan(seen, id_, said):
    """
    The Plan by which a set says something: a pure function. Refused where there's no such set, and where its removal
    was begun.

    seen:  the Project
    said:  what its snapshots are to say, by the keys of their metadata; "" takes away what was said
    """
    it = seen.the(id_)
    if it.phase == GOING and any(said.values()):
        raise Refused([f"{id_}: its removal was begun, there may be nothing left to keep"])
    ids = {piece.snapshot for piece in (*it.pieces, *it.spare)}
    steps = [
        Step("change", "snapshot", f"{thing.name} ({thing.id})", {"metadata": said}, id=thing.id)
        for thing in seen.facts.all("snapshot")
        if thing.id in ids and any(thing.what["metadata"].get(key, "") != text for key, text in said.items())
    ]
    return Plan(it.environment, tuple(steps))


def say(cloud, id_, said, purpose, apply, broken, tell):
    """
    Have a set say something, as `plan` says; or without `apply` only plan it. Returns the ``Plan``.

    purpose:  the function of the backup runner: ``pin``
    broken:   the holder of a lock that is to be broken
    tell:     is told one line of progress at a time
    """
    try:
        seen = project.look(cloud)
        shown = plan(seen, id_, said)
        if not apply or not shown.steps:
            return shown
        with turn.held(cloud, seen.facts, shown.environment, purpose, broken) as held:
            now = plan(project.look(cloud), id_, said)
            outcome = carry_out(cloud, now, tell, held)
    except ERRORS as error:
        raise IdrError(told(error)) from error
    if outcome.problems:
        raise Refused(outcome.problems, "stopped; the next run goes on from there")
    return now


def patiently(cloud, id_, said, purpose, tell):
    """
    Have a set say something, as `say` does; whoever else is on its environment is waited for, unless that's a run of
    this user's, from here, that was killed while it marked one.
    """
    until, was_locked, dead = time.monotonic() + LOCKED, True, None
    while True:
        try:
            return say(cloud, id_, said, purpose, True, dead, tell)
        except Refused:
            seen, name = project.look(cloud), manifest.environment_of(id_)
            other, dead = seen.held.get(name), _dead(seen.facts, name)
            if not (other or was_locked) or time.monotonic() > until:  # it may have been given back since the refusal
                raise
            was_locked = bool(other)
            tell(f"to mark the set, waiting: {other or 'once more'}")
            time.sleep(PAUSE)


def _dead(seen, name):
    """Who has an environment's lock to mark a set and is known to be dead; None where nobody is."""
    group = base(seen, name)
    record = lock.record(group.what["description"]) if group else None
    return record.holder if record and record.purpose in MARKING and lock.is_dead(record.holder) else None
