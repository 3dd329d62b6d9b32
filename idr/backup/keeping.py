"""
A pin on a backup set: who wants it kept and why, on each of its snapshots; no rule removes it then.

It's taken under the environment's lock, since a prune that is at work has decided already.
"""

from idr.backup import manifest, project, turn
from idr.backup.model import GOING
from idr.cloud.connection import ERRORS, told
from idr.cloud.making import carry_out
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused


def text(who, reason):
    """What a pin says. Refused where that is too long for the cloud's metadata, or no reason."""
    if not str(reason).strip():
        raise Refused(["reason: say for whom or for what the set is to be kept"])
    found = f"{who}: {str(reason).strip()}"
    if len(found) > manifest.LONGEST:
        raise Refused([f"reason: {len(found) - manifest.LONGEST} characters too long for the cloud's metadata"])
    return found


def plan(seen, id_, pin):
    """
    The Plan by which a set is pinned, or not any more: a pure function. Refused where there's no such set, and where
    its removal was begun.

    seen:  the Project
    pin:   what the pin says; "" takes it off
    """
    it = seen.the(id_)
    if it.phase == GOING and pin:
        raise Refused([f"{id_}: its removal was begun, there may be nothing left to keep"])
    ids = {piece.snapshot for piece in (*it.pieces, *it.spare)}
    steps = [
        Step("change", "snapshot", f"{thing.name} ({thing.id})", {"metadata": {"idr_pinned": pin}}, id=thing.id)
        for thing in seen.facts.all("snapshot")
        if thing.id in ids and thing.what["metadata"].get("idr_pinned", "") != pin
    ]
    return Plan(it.environment, tuple(steps))


def keep(cloud, id_, pin, apply, broken, tell):
    """
    Pin a set or take its pin off, as `plan` says; or without `apply` only plan it. Returns the ``Plan``.

    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time
    """
    try:
        seen = project.look(cloud)
        shown = plan(seen, id_, pin)
        if not apply or not shown.steps:
            return shown
        with turn.held(cloud, seen.facts, shown.environment, "pin" if pin else "unpin", broken) as held:
            now = plan(project.look(cloud), id_, pin)
            outcome = carry_out(cloud, now, tell, held)
    except ERRORS as error:
        raise IdrError(told(error)) from error
    if outcome.problems:
        raise Refused(outcome.problems, "stopped; the next run goes on from there")
    return now
