"""
A backup set taken: both required volumes held still by one call while their snapshots are made, and let go at once.

Optional volumes are never held still for: their snapshots are asked for at the same time, and waited for afterwards.
What is known of the set is written on its snapshots, first with the very call that makes each, so that what a killed
run leaves behind is known as that.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from idr.backup import manifest
from idr.backup.holding import Held, Hold, reason
from idr.backup.model import CRASH, FAILED, GOOD, PARTIAL, QUIESCED, TAKING, BackupSet, Piece
from idr.backup.preparing import holders, prepare
from idr.backup.snapshots import Snapshots
from idr.checkout import CHECKOUT
from idr.cloud import deeds, inventory, lock, mark, wanted
from idr.cloud.connection import ERRORS, told
from idr.cloud.making import sent
from idr.errors import IdrError, Refused

ANSWER = 20  # seconds, and again, for a minion that does nothing; one that is at work is waited for
LONGEST = 60  # seconds of a freeze, as data_volume.freeze takes them


@dataclass(frozen=True)
class Taken:
    """A set as it was ended: PROBLEMS are what failed; NOTES, why what is in it isn't quiesced, or not known."""

    set: BackupSet
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def plan(cloud, environment, ask, frozen, even_if=None):
    """
    The set of an environment that would be taken, a ``Coming`` with its problems.

    environment:  its table
    ask:          ``ask(servers, function, arguments, timeout)``: what each server answered, of those that did
    frozen:       seconds until a volume that is held still is thawed by itself
    even_if:      ``silent`` where it's to be taken although a server of a required volume doesn't answer
    """
    _bounded(frozen)
    try:
        return _look(cloud, environment, ask, even_if)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def take(cloud, environment, ask, frozen, even_if, broken, by, tell):
    """
    Take a set of an environment, as `plan` says.

    broken:  the holder of a lock that is to be broken
    by:      who takes it
    tell:    is told one line of progress at a time

    Returns a ``Taken``. Refused with every problem at once, before anything is made.
    """
    _bounded(frozen)
    run = mark.new_run()
    try:
        if lock.record_id(cloud, environment.name) is None:  # making it isn't what a backup is for
            raise Refused(_look(cloud, environment, ask, even_if).problems)
        typed = f"backup.create {environment.name}"
        with lock.held(cloud, environment.name, run, "back up", broken, typed) as held:
            failed = lock.moment()
            try:
                coming = _look(cloud, environment, ask, even_if)
                if coming.problems:
                    raise Refused(coming.problems)
                taken = _take(cloud, ask, coming, environment, frozen, run, by, tell)
                failed = failed if taken.set.phase == FAILED else None
                return taken
            finally:  # where there's no snapshot to tell of it, nobody else would know of a failure
                with suppress(IdrError, *ERRORS):
                    held.backed_up(failed)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _bounded(frozen):
    if isinstance(frozen, bool) or not isinstance(frozen, int) or not 1 <= frozen <= LONGEST:
        raise Refused([f"frozen: 1 to {LONGEST} seconds, not {frozen!r}"])


def _look(cloud, environment, ask, even_if):
    answers = ask(list(holders(environment)), "data_volume.status", [], ANSWER)
    now, leave_out = datetime.now(UTC).replace(microsecond=0), wanted.backup_leave_out(environment.name)
    return prepare(inventory.facts(cloud), environment, answers, now, even_if, leave_out)


def _take(cloud, ask, coming, environment, frozen, run, by, tell):
    required = [part.use for part in coming.parts if part.required]
    others = [part.use for part in coming.parts if not part.required]
    tell(f"{coming.id}: {' and '.join(required)}, and {len(others)} volumes that can be made again")
    facts, notes = _facts(ask, coming, environment)
    facts |= {"commit": CHECKOUT.name, "by": by}
    begun = BackupSet(coming.id, coming.environment, coming.taken, TAKING, coming.uses, (), facts, run=run)
    with Snapshots(cloud, coming.environment, {part.use: _wanted(begun, part) for part in coming.parts}) as snapshots:
        held = _held_still(ask, coming, snapshots, required, frozen, tell)
        snapshots.wait(required)
        _tell(snapshots, required, tell)
        if not snapshots.failed():  # a set without what is required isn't waited for
            for use in others:
                snapshots.wait([use])
                _tell(snapshots, [use], tell)
        there, failed = snapshots.there(), snapshots.failed()
    phase = FAILED if failed.keys() & set(required) else PARTIAL if failed or coming.left_out else GOOD
    states = dict.fromkeys(failed, "error") | dict.fromkeys(there, "available")
    pieces = [
        _piece(part, snapshots.ids[part.use], states.get(part.use, "creating"), held.get(part.use))
        for part in coming.parts
        if part.use in snapshots.ids
    ]
    ended = replace(begun, phase=phase, pieces=tuple(pieces))
    problems = [f"{part.name}: {failed[part.use]}" for part in coming.parts if part.use in failed]
    unwritten = _write(cloud, ended)
    if phase == FAILED:
        return Taken(ended, (*problems, *unwritten), coming.notes)
    if unwritten:
        what = f"{coming.id} is {phase}, but its snapshots don't say so, and it counts for nothing"
        raise Refused([*problems, *unwritten], what)
    notes += [f"{use} is only crash-consistent: {it.why}" for use, it in held.items() if it.why]
    return Taken(ended, tuple(problems), (*coming.notes, *notes))


def _held_still(ask, coming, snapshots, required, frozen, tell):
    """Ask for all snapshots while what is required is frozen; returns how each was held still, by its use."""
    asked = {part.server: part.use for part in coming.parts if part.required and part.server not in coming.silent}
    hold = Hold(ask, asked, frozen)
    tell(f"holding {' and '.join(asked.values()) or 'nothing'} still, for {frozen} s at most")
    try:
        hold.freeze()
        snapshots.begin(required)
        snapshots.wait(required, hold.left)
    finally:
        there = snapshots.there()
        thawed = hold.thaw()
    held = {use: _judged(thawed.get(use), use in there, frozen) for use in required}
    for use, it in held.items():
        after = "" if it.seconds is None else f" after {it.seconds:.1f} s"
        tell(f"{use} goes on{after}" + (f", {CRASH}: {it.why}" if it.why else ""))
    return held


def _facts(ask, coming, environment):
    """What the manifest is to tell of the servers, and what they couldn't tell: ``({fact: text}, notes)``."""
    found, notes = {}, []
    for server, function, read in (
        (f"{environment.name}-omero", "omero.release", _release),
        (f"{environment.name}-database", "pg_cluster.checkpoint", _log),  # last: what is written after it is replayed
    ):
        if server in coming.silent:
            continue
        answer = None
        try:
            answer = ask([server], function, [], ANSWER).get(server)
            found |= read(answer)
        except (KeyError, TypeError):
            notes.append(f"{server}: {function}: {reason(answer)}")
        except IdrError as error:
            notes.append(f"{server}: {function}: {error}")
    return found, notes


def _release(answer):
    return {"omero_version": re.fullmatch(r"OMERO\.server-(\S+)", answer)[1]}


def _log(answer):
    return {"lsn": answer["lsn"]} | ({"database_patch": answer["patch"]} if answer["patch"] else {})


def _wanted(begun, part):
    """The call that makes a volume's snapshot, known from then on as one of a set that isn't ended."""
    metadata = manifest.metadata(begun, _piece(part))
    return {"name": part.name, "volume_id": part.volume, "is_forced": True, "metadata": metadata}


def _piece(part, snapshot="", status="creating", held=None):
    is_quiesced = held is not None and not held.why
    consistency = QUIESCED if is_quiesced else CRASH
    seconds = held and held.seconds
    return Piece(part.use, snapshot, part.volume, part.size_gb, status, consistency, part.required, seconds)


def _judged(held, is_there, frozen):
    """How long a volume was held still, with the snapshot in mind that was made meanwhile."""
    if held is None:
        return Held(None, "its server doesn't answer")
    if held.why or is_there:
        return held
    return Held(held.seconds, f"its snapshot took longer than it may be frozen (frozen={frozen}; at most {LONGEST})")


def _tell(snapshots, uses, tell):
    there, failed = snapshots.there(), snapshots.failed()
    for use in uses:
        if use in there:
            tell(f"{use}: its snapshot was there after {there[use]:.1f} s")
        elif use in failed:
            tell(f"{use}: no snapshot: {failed[use]}")


def _write(cloud, ended):
    """Write on each snapshot what became of the set; what couldn't be written, a line each."""

    def write(piece):
        what = {"metadata": manifest.metadata(ended, piece)}
        try:
            sent(lambda: deeds.change(cloud, "snapshot", piece.snapshot, what), lambda: None, time.sleep)
        except (IdrError, *ERRORS) as error:
            return f"snapshot {piece.snapshot}: {told(error) if isinstance(error, ERRORS) else error}"
        return None

    with ThreadPoolExecutor(len(ended.pieces) or 1) as pool:
        return [line for line in pool.map(write, ended.pieces) if line]
