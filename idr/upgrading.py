"""
OMERO's database of one side brought to its installed release's schema: never the live environment's, and never
without a fresh backup set.

The cloud says whether an environment is live and which sets there are, and no server may ask it: so that is looked at
here, on the environment's master. What the database itself has against it, its server's own ``omero`` module says.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from idr.backup import project
from idr.backup import status as standing
from idr.backup.holding import reason
from idr.backup.preparing import without_record
from idr.cloud import live, lock, mark, wanted
from idr.errors import IdrError, Refused

NAME = "omero.upgrade_database"  # of the runner, and of the server's function
DATABASES = {"production": "database-db", "analysis": "a-database-db"}  # sides, and the volume with its database
LOOK = 10  # seconds, and again, for a minion that does nothing; one that is at work is waited for
DEED = 60  # the same of one that is busy


@dataclass(frozen=True)
class Upgrade:
    """An upgrade that would be done; PROBLEMS block it. Without steps and problems there's nothing to do."""

    server: str
    backup: str | None  # the id of the set that stands for it
    age: str | None  # of that
    steps: tuple[str, ...]  # as the server's module says them
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def plan(cloud, environment, ask, side):
    """
    The upgrade of an environment's database on that SIDE, an ``Upgrade`` with all its problems.

    environment:  its table
    ask:          as ``asking`` gives it
    """
    server = _server(environment, side)
    seen, now = project.look(cloud), datetime.now(UTC)
    backup, age, lacking = _backup(seen, environment.name, DATABASES[side], now)
    steps, refused = _rehearsed(ask, server, backup)
    signs, unknown = live.signs(seen.facts, environment.name, wanted.public_name_of(environment.name))
    problems = [f"{environment.name} is live, and what is live is never upgraded: {sign}" for sign in signs]
    if steps or refused:
        if backup is None:  # told by this runner, to which the module would send whoever asks without
            refused = [line for line in refused if f"salt-run {NAME}" not in line]
        problems += [*lacking, *refused, *without_record(seen.facts, environment.name)]
        problems += [seen.held[environment.name]] if environment.name in seen.held else []
    return Upgrade(server, backup, age, tuple(steps), tuple(problems), tuple(unknown))


def upgrade(cloud, environment, ask, side, broken, tell):
    """
    Upgrade it as `plan` says, under the environment's lock; returns the ``Upgrade`` and what the server's module
    answered, None where there was nothing to do.

    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time

    Refused with every problem at once.
    """
    name, server = environment.name, _server(environment, side)
    if lock.record_id(cloud, name) is None:  # making it isn't what an upgrade is for
        raise Refused(plan(cloud, environment, ask, side).problems)
    typed = f"{NAME} {name}" if side == "production" else f"{NAME} {name} side={side}"
    with lock.held(cloud, name, mark.new_run(), f"upgrade the database of {server}", broken, typed) as held:
        planned = plan(cloud, environment, ask, side)
        if planned.problems:
            raise Refused(planned.problems)
        if not planned.steps:
            return planned, None
        held.check()
        tell(f"{server}: {planned.backup}, {planned.age} old, stands for it")
        for step in planned.steps:
            tell(f"{server}: {step}")
        answer = ask([server], NAME, [], DEED, backup=planned.backup, test=False).get(server)
    if not answer:
        raise IdrError(
            f"{server} doesn't answer any more, and may be at it still: salt {server} saltutil.is_running "
            f"{NAME}. What it came to: the same command without apply=True"
        )
    if not isinstance(answer, dict) or "to" not in answer:
        raise IdrError(f"{server}: {reason(answer)}")
    return planned, answer


def _server(environment, side):
    """The server with that side's OMERO.server, by its id."""
    if side not in DATABASES:
        raise Refused([f"side: {' or '.join(DATABASES)}, not {side}"])
    prefix = environment.name if side == "production" else f"{environment.name}-a"
    found = [it.id for it in environment.servers.values() if it.role == "omero" and it.prefix == prefix]
    if len(found) != 1:
        raise Refused([f"{environment.name} has {len(found)} servers with OMERO on its {side} side, and one is needed"])
    return found[0]


def _backup(seen, name, use, now):
    """The set that stands for an upgrade and its age, and why there's none: ``(id or None, age or None, problems)``."""
    at_once = f"salt-run backup.create {name} apply=True"
    found = standing.of(seen, name, now)
    if found.good is None:
        return None, None, [f"{name} has no backup set that can be restored: {at_once}"]
    id_, age = found.good.id, standing.told(found)["last_good"]["age"]
    if now - found.good.when > standing.LATE:
        limit = f"{standing.LATE.total_seconds() / 3600:.0f} h"
        newest = f"the newest backup set of {name} that can be restored, {id_}, is {age} old"
        return None, None, [f"{newest}, and more than {limit} is too old: {at_once}"]
    if not any(piece.use == use and piece.status == "available" for piece in found.good.pieces):
        return None, None, [f"{id_}, {age} old, has no snapshot of {use} that can be restored: {at_once}"]
    return id_, age, []


def _rehearsed(ask, server, backup):
    """What the server's own module would do, and what it has against it."""
    named = {"backup": backup} if backup else {}
    said = ask([server], NAME, [], LOOK, test=True, **named).get(server)
    if not isinstance(said, dict) or "would" not in said:
        return [], [f"{server}: {reason(said)}"]
    refused = [f"{server}: {line}" for line in said.get("refused", ())]
    return said["would"], refused
