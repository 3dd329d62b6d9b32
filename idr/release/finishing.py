"""
A release finished: the environment that it replaced goes, by the guards of every removal, and there's no way back to it
any more.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from idr.cloud import destroying, lock, mark, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.cloud.making import sent
from idr.cloud.model import Plan
from idr.door import who
from idr.errors import IdrError, Refused
from idr.release import record, standing
from idr.release.standing import Standing

EARLY = "early"


@dataclass(frozen=True)
class Ending:
    """A release that would be finished: OLD goes by that PLAN, from the day DUE on. PROBLEMS block it."""

    standing: Standing
    old: str | None
    due: datetime | None
    plan: Plan | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_over(self):
        """Whether it was finished before, and nothing is left to be done."""
        last = next(iter(self.standing.history), None)
        is_written = last is not None and (last.kind, last.target) == (record.FINISH, self.standing.new)
        return is_written and self.plan is not None and not self.plan.steps


def plan(new, even_if, folders, tell):
    """
    What has to be done until a release is finished: an ``Ending`` with its problems.

    even_if:  ``early`` where the keep time isn't over
    folders:  gives the operator's site directory of an environment by its name
    """
    try:
        return _look(connect(wanted.cloud_of(new)), new, even_if, folders, tell)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def finish(new, confirm, even_if, broken, folders, tell):
    """
    Finish a release, as `plan` says: it's none any more, and then the old environment is removed.

    confirm:  has to be the old environment's name
    broken:   the holder of a lock that is to be broken
    tell:     is told one line of progress at a time

    Returns the ``Ending`` that was carried out. Refused with every problem at once, before anything is changed; where
    the removal fails, the next run goes on with it.
    """
    try:
        cloud = connect(wanted.cloud_of(new))
        ending = _unblocked(_look(cloud, new, even_if, folders, tell))
        if ending.is_over:
            return ending
        if confirm != ending.old:
            raise Refused([f"{ending.old} goes with all its data: to have that, confirm={ending.old}"])
        began = datetime.now(UTC)
        # as long as it's held nobody goes back to the old one, which needs both
        typed = f"release.finish {new} confirm={confirm}" + (f" even_if={even_if}" if even_if else "")
        with lock.held(cloud, new, mark.new_run(), "finish a release", broken, typed):
            ending = _unblocked(_look(cloud, new, even_if, folders, tell))
            standing.forget(cloud, ending.standing.facts, new)
            tell(f"{new} is of no release any more; {ending.old} goes")
            destroying.destroy(ending.old, ending.old, True, broken, folders(ending.old), tell)
            _write(cloud, new, ending, began)
        return ending
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _look(cloud, new, even_if, folders, tell):
    at = standing.look(cloud, new, wanted.public_name_of(new))
    problems = [] if even_if in (None, EARLY) else [f"even_if: only `{EARLY}` can be said, not {even_if}"]
    problems += [] if at.live else [f"{new} isn't live, so what it replaces stays: salt-run release.status"]
    problems += at.under_way
    switch = switched(at)
    if switch is None:
        told = "the last move that is written down is no confirmed switch to it: salt-run release.history"
        problems.append(f"{new}: {told}")
    if problems or switch is None:
        return Ending(at, switch and switch.source, None, None, tuple(problems), at.unknown)
    old, due = switch.source, _ended(switch) + timedelta(days=wanted.release_keep_days(new))
    try:
        going = destroying.destroy(old, None, False, None, folders(old), tell)
    except Refused as refusal:
        problems += refusal.problems
        going = None
    ending = Ending(at, old, due, going, tuple(problems), at.unknown)
    if datetime.now(UTC) >= due or even_if == EARLY or ending.is_over:
        return ending
    kept = f"{old} is kept until {due:%Y-%m-%d %H:%M} UTC, for a way back (release_keep_days)"
    return replace(ending, problems=(f"{kept}. If it's to go all the same: even_if={EARLY}", *problems))


def switched(at):
    """The confirmed switch by which an environment became the public's, if nothing was moved since; or None."""
    moves = [it for it in at.history if it.kind != record.FINISH and it.end == record.CONFIRMED]
    last = next(iter(moves), None)
    return last if last and (last.kind, last.target) == (record.SWITCH, at.new) else None


def _ended(moved):
    return record.when(moved.began) + timedelta(seconds=moved.took or 0)


def _unblocked(ending):
    if ending.problems:
        raise Refused(ending.problems)
    return ending


def _write(cloud, new, ending, began):
    """Write into the history that it's finished."""
    [address] = standing.public(ending.standing.facts)
    took = round((datetime.now(UTC) - began).total_seconds())
    done = record.Moved(record.FINISH, ending.old, new, record.moment(began), record.CONFIRMED, took=took, who=who())
    sent(lambda: record.say_moved(cloud, address.id, address.what["tags"], done), lambda: None, time.sleep)
