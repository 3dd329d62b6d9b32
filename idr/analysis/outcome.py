"""What a refresh of the analysis side would do, and what was done, as its runner tells it: plain data."""

from idr import outcome
from idr.cloud import telling


def of_coming(asked, coming, how):
    """
    A refresh that would be done, as its ``Refresh`` asks for it.

    how:  the command that does it
    """
    side, problems, steps = f"the analysis side of {asked.environment}", coming.problems, coming.plan.steps
    told = telling.as_data(coming.plan) | outcome.of_plan(how, problems) | {"lines": []}
    if not (steps or problems):
        left = f"it has yet to be looked at, and {', '.join(coming.drained)} opened: {how}"
        told["comment"] = f"{side} is of {coming.set}: {left if coming.drained else 'nothing to change'}"
    elif not problems:
        users = [user for on in coming.on.values() for user in on]
        told["lines"] = [f"{side} is made of {coming.set}", f"on are {', '.join(users) or 'nobody'}"]
        told["lines"] += telling.lines(coming.plan)
    told["lines"] += [f"BLOCKED: {problem}" for problem in problems]
    return told


def of_refreshed(asked, done):
    """A side that was refreshed."""
    answer = outcome.of_apply(asked.environment, done.applied) | {"set": done.set}
    answer["comment"] = f"the analysis side of {asked.environment} is of {done.set}, and well"
    if done.aside:
        answer["kept"] = [_kept(volume) for volume in done.aside]
    return answer


def _kept(volume):
    line = f"{volume.name}, until nobody needs it: openstack volume delete {volume.id}"
    if volume.snapshots:
        line += f", once the {volume.snapshots} snapshots of it are gone, which backup sets have"
    return line
