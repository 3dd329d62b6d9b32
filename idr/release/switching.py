"""
A move of the public's address with all that belongs to it: users told, addresses moved, looked at, confirmed; or
undone.

What it is done with is given (``Means``), so that it needs nothing but Neutron. Whatever a run dies at, `go_on` or
`undo` does the rest from any other machine, by what Neutron says.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

from idr.cloud import lock, mark
from idr.cloud.connection import ERRORS, told
from idr.cloud.model import PRODUCTION_TAG
from idr.errors import IdrError, Refused
from idr.release import moves, record, seen
from idr.release.watching import Watch

LOOKS = 3  # at what has moved, until it isn't as it should be
BETWEEN = 3  # seconds between them: the network may take a moment
POLL = 2  # seconds between two questions of the bake time
SILENT = 3  # questions without an answer in a row, and it's over
PATIENCE = 60  # seconds for what is written down, and for locks to be given back
FAILING = "failing"  # is said where it's known that what gets the public's doesn't show what it should
UNDRAINED = "undrained"  # is said where users who can't be told and drained don't matter
STOPPED = "stopped in the middle; what was moved stays where it is"


@dataclass(frozen=True)
class Means:
    """What a move is done with."""

    fresh: Callable  # makes a connection to the cloud
    smoke: Callable  # an environment, an address: what is wrong with its site through that, a line each
    answers: Callable  # an address: whether one new connection is answered
    drain: Callable  # an environment: ends its Jupyter users' servers; an IdrError where that can't be had
    undrain: Callable  # the other way
    tell: Callable  # one line of progress
    again: Callable = field(default=lambda: ())  # users are drained: what keeps it from being done by now, a line each
    tag: str = PRODUCTION_TAG
    allowed: Callable = field(default=lambda now: None)  # raises where by what Neutron says this run must not go on


@dataclass(frozen=True)
class Limits:
    """Seconds: for moving and looking, until all is moved back; and for which it's watched before it's confirmed."""

    limit: float = 300
    bake: float = 60


@dataclass(frozen=True)
class Done:
    """How it ended: a ``record.Moved``; WHY it isn't confirmed, and what should be known besides."""

    moved: record.Moved
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def both_locks(fresh, move, purpose, broken, typed):
    """
    The locks of a move's two environments for as long as the block lasts, a list of ``lock.Lock``; refused where
    another run has either. They're given back by a connection that the move can't have cut.

    fresh:   makes a connection
    broken:  the holder whose locks are to be broken, wherever it has them
    typed:   the command that was typed, without ``apply=True``
    """
    with ExitStack() as stack:
        run = mark.new_run()
        try:
            held = [
                stack.enter_context(lock.held(fresh(), name, run, purpose, broken, typed))
                for name in sorted({move.source, move.target})
            ]
        except Refused as refusal:
            raise Refused(
                [*refusal.problems, f"how it stands: salt-run release.status {move.new}"], str(refusal)
            ) from refusal
        try:
            yield held
        finally:
            with suppress(IdrError, *ERRORS):
                cloud = moves.again(fresh, time.monotonic() + PATIENCE, "connecting")
                for each in held:
                    each.cloud = cloud


def locked(means, held):
    """The same means, which end where a lock was taken away from this run."""

    def allowed(now):
        for each in held:
            there = now.records.get(each.environment)
            if there is None or (there.held.holder, there.held.since) != (each.mine.holder, each.mine.since):
                raise lock.Lost(f"{each.environment}: the lock was taken away from this run: {STOPPED}")

    return replace(means, allowed=allowed)


def begin(means, move, limits, checks=None, commit=None, even_if=()):
    """
    Do a move from its beginning, under the locks of both environments; returns how it is ``Done``.

    checks:   how many were passed before
    commit:   of the environment that is to be the public's
    even_if:  ``UNDRAINED`` and ``FAILING`` may be in it

    Refused, with nothing changed, where Jupyter's users can't be drained, and where by then something keeps it from
    being done. Everything else that fails is undone.
    """
    try:
        _put(means, record.moving_tag(move), time.monotonic() + limits.limit)
    except lock.Lost:
        raise
    except (IdrError, *ERRORS) as error:
        how = f"how it stands: salt-run release.status {move.new}"
        raise Refused([*_lines(error), how], "stopped before anything was moved") from error
    try:
        means.drain(move.source)
    except (IdrError, *ERRORS) as error:
        if UNDRAINED not in even_if:
            more = f"To go on all the same: even_if={UNDRAINED}"
            problem = f"users can't be drained: {_line(error)}. {more}"
            notes = _undrained(means, move.source)  # they may have been told
            raise Refused([problem, *notes, *_called_off(means, move)]) from error
        means.tell(f"users weren't drained: {_line(error)}")
    problems = means.again()
    if problems:
        notes = _undrained(means, move.source)
        raise Refused([*problems, *notes, *_called_off(means, move)], "stopped before anything was moved")
    return go_on(means, move, limits, checks, commit, even_if)


def go_on(means, move, limits, checks=None, commit=None, even_if=()):
    """
    Do what is left of a move, forward or back as it was going; returns how it is ``Done``.

    Where its entry is in the history already, and the addresses are as that says, nothing is left but to say so.
    """
    try:
        now = moves.again(lambda: seen.look(means.fresh(), means.tag), time.monotonic() + PATIENCE, "looking")
    except (IdrError, *ERRORS) as error:
        how = f"salt-run release.resume {move.new} apply=True"
        raise Refused([*_lines(error), f"to go on with it: {how}"], STOPPED) from error
    means.allowed(now)
    entry = next((it for it in now.history if (it.kind, it.began) == (move.kind, move.began)), None)
    is_meant = entry and (entry.end == record.UNDONE) == move.is_undone  # it may be wanted back since that was written
    if is_meant and not moves.left(now, move.back if move.is_undone else move):
        notes = _undrained(means, move.source if move.is_undone else move.target)
        _end(means, move, entry)
        return Done(entry, (), tuple(notes))
    if move.is_undone:
        return undo(means, move, ["it was on its way back"], limits, checks)
    watch, began = Watch(lambda: means.answers(now.public.ip)), time.monotonic()
    try:
        is_known = FAILING in even_if
        why = _forward(means, move, now.public.ip, began + limits.limit, limits.bake, watch, is_known)
    except lock.Lost:
        raise
    except (IdrError, *ERRORS) as error:
        why = _lines(error)
    if why and _is_better_back(means, move):
        return undo(means, move, why, limits, checks, watch, began)
    end = record.FAILED if why else record.CONFIRMED
    if why:
        means.tell(f"{move.target} stays the public's: {move.source} doesn't answer at all")
    moved = _moved(move, end, watch, began, checks, commit)
    notes = _undrained(means, move.target)
    _end(means, move, moved)
    return Done(moved, tuple(why), tuple(notes))


def undo(means, move, why, limits, checks=None, watch=None, began=None):
    """
    Move everything back to where it was before a move, and look at it; returns how it is ``Done``.

    why:  what is the reason, a line each; nothing where it was asked for

    Refused where that fails: then `resume` goes on with it.
    """
    for line in why or ["as was asked for"]:
        means.tell(f"back to {move.source}: {line}")
    began = time.monotonic() if began is None else began
    until = time.monotonic() + limits.limit
    try:
        public = _put(means, record.back_tag(move), until)
        watch = watch or Watch(lambda: means.answers(public.ip))
        with watch.going_on():
            moves.carry_out(means.fresh, move.back, until, means.tell, means.tag, means.allowed)
            problems = _looked_at_once_back(means, move.source, public.ip, until)
    except lock.Lost:
        raise
    except (IdrError, *ERRORS) as error:
        how = f"salt-run release.resume {move.new} back=True apply=True"
        more = [f"going back: {line}" for line in _lines(error)]
        raise Refused([*why, *more, f"to go on with it: {how}"], STOPPED) from error
    moved = _moved(move, record.UNDONE, watch, began, checks, None)
    notes = _undrained(means, move.source)
    _end(means, move, moved)
    wrong = [f"{move.source} has {public.ip} again, and: {line}" for line in problems]
    return Done(moved, (*why, *wrong), tuple(notes))


def _forward(means, move, ip, until, bake, watch, is_known):
    """
    Move, look and watch; returns what is wrong, a line each, nothing when it's to be confirmed. Where it IS KNOWN that
    pages aren't as they should be, they aren't looked at.
    """
    with watch.going_on():
        moves.carry_out(means.fresh, move, until, means.tell, means.tag, means.allowed)
        problems = [] if is_known else _looked_at(means, move.target, ip, until)
    if problems:
        return [f"{move.target}, through {ip}: {line}" for line in problems]
    if time.monotonic() > until:
        raise moves.OverLimit("moved and looked at, but not within the limit")
    means.tell(f"{ip} is {move.target}'s; watched for {bake} s")
    return _watched(move, ip, bake, watch)


def _looked_at(means, environment, ip, until):
    """What the smoke tests of an environment say through the public's address, at last."""
    for number in range(LOOKS):
        problems = means.smoke(environment, ip)
        if not problems or number == LOOKS - 1 or time.monotonic() + BETWEEN > until:
            break
        means.tell(f"once more in {BETWEEN} s: {problems[0]}")
        time.sleep(BETWEEN)
    return problems


def _looked_at_once_back(means, environment, ip, until):
    """The same of one that has its place again, and keeps it: what can't be looked at is told, and is no failure."""
    try:
        return _looked_at(means, environment, ip, until)
    except (IdrError, *ERRORS) as error:
        return [f"it can't be looked at: {line}" for line in _lines(error)]


def _watched(move, ip, bake, watch):
    until = time.monotonic() + bake
    while time.monotonic() < until:
        watch.ask()
        if watch.silent >= SILENT:
            return [f"{move.target} gave no answer through {ip}, {SILENT} times in a row"]
        time.sleep(POLL)
    return []


def _is_better_back(means, move):
    """Whether a move that failed is to be undone: unless its source doesn't answer, by the address that it has now."""
    try:
        now = moves.again(lambda: seen.look(means.fresh(), means.tag), time.monotonic() + PATIENCE, "looking")
    except (IdrError, *ERRORS):
        return True  # where that fails too, it's told with how to go on
    spare = now.named(move.spare)
    if now.holder(now.public) != move.target or spare is None or now.holder(spare) != move.source:
        return True
    for number in range(LOOKS):
        time.sleep(BETWEEN if number else 0)  # its address may need a moment, too
        if means.answers(spare.ip):
            return True
    return False


def _put(means, tag, until):
    """Put a tag on the public's address, which is returned."""

    def put():
        cloud = means.fresh()
        now = seen.look(cloud, means.tag)
        means.allowed(now)
        record.put(cloud, record.ADDRESSES, now.public.id, tag)
        return now.public

    return moves.again(put, until, f"the tag {tag}")


def _called_off(means, move):
    """Take it off that something is under way, as nothing was moved; a line with what ends it where that fails."""

    def call_off():
        cloud = means.fresh()
        now = seen.look(cloud, means.tag)
        means.allowed(now)
        _take_off(cloud, now.public)

    try:
        moves.again(call_off, time.monotonic() + PATIENCE, "taking off that it's under way")
    except (IdrError, *ERRORS) as error:
        return [_line(error), f"to end it: salt-run release.resume {move.new} back=True apply=True"]
    return []


def _take_off(cloud, public):
    for tag in sorted(record.of_move(public.tags)):  # that it's on its way back goes first
        record.take(cloud, record.ADDRESSES, public.id, tag)


def _end(means, move, moved):
    """Write into the history how it ended, and then that nothing is under way."""

    def end():
        cloud = means.fresh()
        now = seen.look(cloud, means.tag)
        means.allowed(now)
        record.say_moved(cloud, now.public.id, now.public.tags, moved)
        _take_off(cloud, now.public)

    try:
        moves.again(end, time.monotonic() + PATIENCE, "writing that")
    except (moves.OverLimit, *ERRORS) as error:
        how = f"salt-run release.resume {move.new} apply=True"
        said = f"the {move.kind} from {move.source} to {move.target} is {moved.end}, which isn't written down"
        raise Refused([f"{said}: {_line(error)}", f"to go on with it: {how}"], STOPPED) from error
    means.tell(f"{moved.end}: {moved.kind} from {moved.source} to {moved.target}")


def _moved(move, end, watch, began, checks, commit):
    return record.Moved(
        move.kind, move.source, move.target, move.began, end, commit, round(time.monotonic() - began), watch.end(),
        checks, move.who,
    )  # fmt: skip


def _undrained(means, environment):
    """Let an environment's users have servers again; a note where that can't be had."""
    try:
        means.undrain(environment)
    except (IdrError, *ERRORS) as error:
        return [f"{environment}: users may still be kept from having servers: {_line(error)}"]
    return []


def _lines(error):
    return [told(error)] if isinstance(error, ERRORS) else error.problems


def _line(error):
    return "; ".join(_lines(error))
