"""A release's moves as they are done at an operator's seat: with the guards, and the real parts that a move needs."""

import ipaddress
from dataclasses import dataclass, replace

from idr import table
from idr.cloud import live, lock, wanted
from idr.cloud.connection import connect
from idr.cloud.model import PRODUCTION_TAG
from idr.door import who
from idr.errors import IdrError, Refused
from idr.hub import Hub
from idr.release import checking, kinds, moves, record, seen, smoke, switching

ANSWER = 5  # seconds for one question of whether there's an answer
NOTICE = "This service moves to new servers."  # for Jupyter's users


@dataclass(frozen=True)
class Coming:
    """
    A move that would be done by those STEPS. PASSED and PROBLEMS are lines of what was looked at, LOST of what is lost
    by it; COMMIT is what the environment has that is to be the public's.
    """

    now: seen.Seen
    move: record.Move
    steps: tuple[str, ...]
    passed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    commit: str | None = None


def look(environment):
    """What Neutron says now, as ``seen.Seen``; of the project that an environment is in."""
    return seen.look(connect(wanted.cloud_of(environment)))


def address_named(production):
    """The address that a caller means, who names it, or a name that leads to it alone. Refused where none is."""
    if production is None:
        return None
    try:
        return str(ipaddress.IPv4Address(str(production)))
    except ValueError:
        pass
    try:
        found = sorted(live.addresses_of(str(production)))
    except OSError as error:
        raise Refused([f"production={production}: DNS doesn't say where that leads to ({error})"]) from error
    if len(found) != 1:
        raise Refused([f"production={production}: leads to {', '.join(found)}; name the one that's meant"])
    return found[0]


def coming_switch(new, production, even_if, broken, folders, tell):
    """
    The switch to an environment as it would be done, with what every guard says.

    production:  the public's address as the caller means it
    even_if:     guards that are known not to pass, by what they protect
    broken:      the holder of locks that are to be broken, or None
    folders:     ``folders(name)``: an environment's site directory

    Refused where it's no switch at all.
    """
    now = look(new)
    move = kinds.of_switch(now, new, production, who())
    checked = _checked(now, move, even_if, broken, folders, tell)
    steps = tuple(str(step) for step in moves.left(now, move))
    return Coming(
        now, move, steps, tuple(checked.passed), tuple(checked.problems), tuple(checked.writes), checked.commit
    )


def coming_rollback(new, even_if, is_plan, folders, tell):
    """
    The way back from an environment as it would be done: what the one before shows through the spare address, and what
    was written to this one since it took over, which is lost.

    even_if:  ``failing`` where it's known that the one before isn't as it should be
    is_plan:  whether what is lost is looked for, which may take a quarter of an hour: nobody waits for that who goes
              back, and is told what looks for it
    """
    now = look(new)
    move = kinds.of_rollback(now, new, who())
    tell(f"{move.target} is looked at, through {move.spare}")
    wrong = [f"{move.target}, through {move.spare}: {line}" for line in _smoke(folders)(move.target, move.spare)]
    passed = [] if wrong else [f"{move.target} shows what it should, through {move.spare}"]
    allowed = switching.FAILING in even_if
    problems = () if allowed or not wrong else (*wrong, f"to go back all the same: even_if={switching.FAILING}")
    steps = tuple(str(step) for step in moves.left(now, move))
    lost = tuple(_lost(now, move, is_plan, folders))
    return Coming(now, move, steps, tuple(passed + (wrong if allowed else [])), problems, lost)


def coming_resume(new, back):
    """What is left of a move that was begun and hasn't ended, or with BACK of undoing it."""
    now = look(new)
    move = kinds.of_resume(now, new)
    way = move.back if back or move.is_undone else move
    return Coming(now, move, tuple(str(step) for step in moves.left(now, way)))


def begin(coming, limits, minutes, even_if, broken, typed, folders, tell):
    """
    Do a move that was looked at, under both locks; returns how it is ``switching.Done``.

    minutes:  that Jupyter's users have left
    broken:   the holder of locks that are to be broken
    typed:    the command that was typed, without ``apply=True``

    Refused with all problems, and where since then Neutron says otherwise.
    """
    move = coming.move
    if coming.problems:
        raise Refused(coming.problems)
    means = _means(move, minutes, folders, tell)
    if minutes and move.kind == record.SWITCH:
        means = replace(means, again=lambda: _by_now(coming, even_if, folders, tell))
    with switching.both_locks(means.fresh, move, move.kind, broken, typed) as held:
        now = seen.look(means.fresh())
        spare = now.named(move.spare)
        new = move.new
        as_before = now.holder(now.public) == move.source and spare and now.holder(spare) == move.target
        if now.moving or not as_before or now.release(new) != coming.now.release(new):
            raise Refused([f"it's otherwise by now than it was looked at: salt-run release.status {new}"])
        tell(f"{move.kind} from {move.source} to {move.target}: {now.public.ip} to {now.proxy(move.target).name}")
        checks = len(coming.passed) or None
        return switching.begin(switching.locked(means, held), move, limits, checks, coming.commit, even_if)


def _by_now(coming, even_if, folders, tell):
    """What keeps a switch from being done after its users' notice, in which much may have happened; our locks don't."""
    tell("everything is checked once more, as users had their notice in between")
    return _checked(coming.now, coming.move, even_if, lock.this_process(), folders, tell).problems


def _checked(now, move, even_if, broken, folders, tell):
    others = tuple(it for it in even_if if it != switching.UNDRAINED)
    named = {"address": now.public.ip, "even_if": others, "broken": broken}
    return checking.check(move.target, move.source, **named, folders=folders, tell=tell)


def resume(coming, back, limits, broken, typed, folders, tell):
    """Go on with a move that was begun, or with BACK undo it, under both locks; as `begin` else."""
    move = coming.move
    means = _means(move, 0, folders, tell)
    with switching.both_locks(means.fresh, move, "resume a move", broken, typed) as held:
        now = seen.look(means.fresh())
        if now.moving is None or now.moving.began != move.began:
            raise Refused([f"it has ended meanwhile: salt-run release.status {move.new}"])
        means = switching.locked(means, held)
        if back:
            return switching.undo(means, now.moving, [], limits)
        release = now.release(move.target)  # by whose commit it was made
        return switching.go_on(means, now.moving, limits, commit=release.commit if release else None)


def _means(move, minutes, folders, tell):
    new = move.new
    cloud, public_name = wanted.cloud_of(new), wanted.public_name_of(new)
    return switching.Means(
        fresh=lambda: connect(cloud),
        smoke=_smoke(folders),
        answers=lambda address: smoke.answers(public_name, address, ANSWER),
        drain=lambda environment: _hub(environment, folders).drain(minutes, tell),
        # whosever: what has taken over may be the clone of one that was drained
        undrain=lambda environment: _hub(environment, folders).undrain(tell, whosever=True),
        tell=tell,
        tag=PRODUCTION_TAG,
    )


def _hub(environment, folders):
    found, _ = table.of_operator(environment, folders(environment))
    servers = [it.id for it in found.servers.values() if it.role == "dockermanager"]
    return Hub(environment, servers, folders(environment), NOTICE)


def _smoke(folders):
    def look(environment, address):
        expected = wanted.release_expectations(environment, folders(environment))
        return smoke.problems(wanted.public_name_of(environment), address, expected)

    return look


def _lost(now, move, is_looked_for, folders):
    """What was written to an environment since it took over, a line each, as far as it can be known; or what tells."""
    switch = next((it for it in now.history if (it.kind, it.target) == (record.SWITCH, move.source)), None)
    since = record.when(switch.began if switch else now.release(move.source).began)
    if not is_looked_for:
        how = f"salt-run release.writes {move.source} since={record.moment(since)}"
        return [f"what was written to {move.source} since {since:%Y-%m-%d %H:%M} UTC: {how}"]
    try:
        lines, unknown = checking.writes_since(move.source, since, folders(move.source))
    except IdrError as error:
        told = f"what was written to {move.source} since {since:%Y-%m-%d %H:%M} UTC isn't known"
        return [f"{told}: {why}" for why in error.problems]
    return [*lines, *unknown]
