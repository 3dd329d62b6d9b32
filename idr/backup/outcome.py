"""What plans of backups, and what was done by them, come to, as their runner tells it: plain data."""

from idr import outcome
from idr.backup import listing
from idr.backup.model import FAILED
from idr.cloud import telling


def of_plans(plans, lines, how):
    """
    Plans of the cloud, which for people are LINES.

    how:  the command that carries them out
    """
    steps, problems = ([each for plan in plans for each in getattr(plan, key)] for key in ("steps", "problems"))
    told = outcome.of_plan(how if steps else "", problems)
    return told | {"plans": [telling.as_data(plan) for plan in plans], "lines": lines}


def of_steps(steps, comment, nothing="nothing to change"):
    """Steps that were taken, or that there were none."""
    if not steps:
        return {"result": True, "comment": nothing}
    return {"result": True, "comment": comment, "done": [str(step) for step in steps]}


def of_coming(coming, how):
    """
    A set that would be taken.

    how:  the command that takes it
    """
    answer = outcome.of_plan(how, coming.problems)
    answer |= {"snapshots": {part.use: part.name for part in coming.parts}, "needed": coming.needed}
    return answer | ({"notes": list(coming.notes)} if coming.notes else {})


def of_taken(taken):
    """A set as it was ended."""
    it = taken.set
    answer = {"result": True, "comment": f"{it.id} is {it.phase}, {listing.consistency(it)}"}
    if it.phase == FAILED:
        remains = f"what there is of it goes with salt-run backup.prune {it.environment} apply=True"
        answer = {"result": False, "comment": f"{it.id} failed and counts for nothing; {remains}"}
    answer["set"] = listing.told(it, {})
    answer |= {"problems": list(taken.problems)} if taken.problems else {}
    return answer | ({"notes": list(taken.notes)} if taken.notes else {})


def of_proof(proof):
    """A set that was verified."""
    found = {"comment": f"{proof.id} is verified: {proof.figures}", "result": not proof.problems}
    if proof.wrong:
        found["comment"] = f"{proof.id} is disproved: {proof.wrong[0]}"
    elif proof.problems:
        found["comment"] = f"{proof.id} is whole, but not all was done: {proof.problems[0]}"
    found |= {"problems": list(proof.problems)} if proof.problems else {}
    found |= {"figures": proof.figures, "counted": proof.counted, "marked": proof.is_marked}
    return found | ({"notes": list(proof.notes)} if proof.notes else {})


def of_copied(to, done):
    """A set that was copied to a destination; None: it was there."""
    if done is None:
        return {"result": True, "comment": f"it is at {to} already"}
    answer = {"result": not done.problems, "comment": f"{done.set.id} is copied to {to}", "written": done.written}
    if done.problems:
        answer |= {"comment": f"{done.set.id} is copied to {to}, but not all was done: {done.problems[0]}"}
        answer["problems"] = list(done.problems)
    return answer


def of_restored(env, asked, done, notes, seconds):
    """An environment restored from a set."""
    answer = outcome.of_apply(env, done)
    if not done.plan.steps:
        return answer
    return answer | {"restored": f"{asked.set}, in {seconds:.0f} s", "notes": [*done.plan.notes, *notes]}


def of_refilled(env, asked, done, seconds):
    """An environment restored from a copy."""
    had = f"{env} has what the copy of {asked.set} at {asked.origin.name} has"
    answer = {"result": True, "comment": f"{had}; it isn't deployed"}
    if done.updated:
        answer |= outcome.of_update(env, done.updated)
    answer["done"] = [*done.steps, *(done.updated.steps if done.updated else [])]
    answer |= {"volumes": done.volumes, "restored": f"{asked.set}, in {seconds:.0f} s"}
    return answer | ({"notes": list(done.notes)} if done.notes else {})
