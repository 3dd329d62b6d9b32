"""
An environment restored from a copy, for the day on which the cloud has no snapshot of it: its servers and blank volumes
are made, or were by hand; Salt is brought and has the volumes mounted; restic fills them on the servers themselves; and
the deploy takes into account what is on them.

A copy is put back into empty volumes only, and only as a whole. A volume that isn't all there yet keeps the environment
from a deploy (data_volume.problems). Applied again, what is there stays, and the rest is done.
"""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from idr import at_master, enrol, table, update
from idr.backup import copied, copying, restoring
from idr.backup.model import PRODUCTION
from idr.cloud import applying, wanted
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused

MISMATCH, DISPROVED = "mismatch", "disproved"
MAY_BE_SAID = (MISMATCH, DISPROVED)
STOPPED = "stopped; what is put back stays, and the next run goes on from there"
MOUNTING = 900  # seconds in which a server's volumes have to be there
WAIT = 1  # second, after which it is looked whether somebody interrupts


@dataclass(frozen=True)
class Refill:
    """
    What is asked for: a SET by its id, the Destination of its ORIGIN; VOLUMES: only these, None: all; and in spite of
    what.
    """

    set: str
    origin: object
    volumes: tuple[str, ...] | None = None
    even_if: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Refilled:
    """
    What was made and enrolled before, the volumes and what they have, the deploy, None where none was asked; and what
    wasn't supplied.
    """

    steps: list[str]
    volumes: list[str]
    updated: update.Update | None
    notes: tuple[str, ...] = ()


def plan(asked, name, given, folder):
    """
    What is done until an environment has what a copy has: a ``Plan`` with its problems, of the cloud where there's one.

    given:   what else was typed of the environment, by the parameters' names
    folder:  the operator's site directory
    """
    it, by_hand = _copy(asked, lambda line: None), table.is_by_hand(folder)
    if by_hand:
        environment, _ = table.of_operator(name, folder)
        uses = {volume.name: server.id for server, volume in _volumes(environment)}
    else:
        uses = {volume.use: volume.server for volume in wanted.read(name, given).volumes}
    chosen = _chosen(asked, it, uses)
    made = Plan(name, ()) if by_hand else applying.plan(name, _given(given))
    steps = (*made.steps, *(Step("copy", "volume", f"{use}, to {uses[use]}") for use in chosen))
    notes = [f"{it.id} is of {it.taken:%Y-%m-%d %H:%M} UTC, and comes from {asked.origin.name}"]
    notes += [f"{it.id} was disproved, {it.disproved}"] if it.disproved else []
    notes.append("each volume has to be empty, which its server is asked as soon as it's mounted there")
    notes += restoring.not_supplied(made, folder)
    return Plan(name, steps, made.kept, made.problems, (*notes, *made.notes), made.needed, made.free)


def refill(asked, name, given, broken, commit, deploy, folder, tell):
    """
    Restore an environment from a copy, as `plan` says; returns a ``Refilled``.

    broken:  the holder of a lock that is to be broken
    commit:  the beginning of this checkout's, as for an update
    deploy:  whether it's deployed then
    tell:    is told one line of progress at a time

    Refused with every problem at once; of a server whose volume isn't empty, before anything is put back anywhere.
    """
    it, new, steps, notes = _copy(asked, tell), [], [], ()
    if not table.is_by_hand(folder):
        uses = [volume.use for volume in wanted.read(name, given).volumes]
        _chosen(asked, it, uses)
        made = applying.apply(name, _given(given), broken, None, folder, tell, purpose="restore")
        steps += [str(step) for step in made.plan.steps]
        new, notes = made.new, tuple(restoring.not_supplied(made.plan, folder))
        for line in notes:  # it may be wanted before all of it is there
            tell(line)
    enrolled, _ = enrol.enrol(name, True, new, commit, folder, tell)
    steps += [str(step) for step in enrolled]
    filled = _fill(asked, it, name, folder, tell)
    if not deploy:
        return Refilled(steps, filled, None, notes)
    # what waits for data that has just come back, or for its passwords, fails in the rehearsal, and the deploy mends it
    updated = update.update(name, True, commit, "failing", folder, tell)
    return Refilled(steps, filled, updated, notes)


def _copy(asked, tell):
    with copied.opened(asked.origin, tell) as repository:
        return copied.the(repository.snapshots(), asked.set, DISPROVED in asked.even_if)


def _given(given):
    sources = [key for key in given if key == "sources" or key.endswith("_src")]
    if sources:
        raise Refused([f"{key}=: volumes that a copy is put back into are blank" for key in sources])
    return {**given, "sources": "blank"}


def _volumes(environment):
    return [(server, volume) for server in environment.servers.values() for volume in server.volumes]


def _chosen(asked, it, uses):
    """What each volume of an environment gets, by its use; the analysis side's what production's get."""
    pieces = {piece.use: piece for piece in it.pieces}
    found = {use: piece for use in uses if (piece := pieces.get(use.removeprefix("a-")))}
    problems = [f"volumes: {use}: {it.id} has nothing for it" for use in asked.volumes or () if use not in found]
    lacks = [use for use in uses if PRODUCTION.match(use) and use not in found and not asked.volumes]
    problems += [f"{it.id} has nothing for {use}, which can't be made again" for use in lacks]
    problems += [f"{use} is in {it.id}, and there's no server for it" for use in pieces if use not in uses]
    chosen = {use: piece for use, piece in found.items() if asked.volumes is None or use in asked.volumes}
    alone = [use for use in chosen if PRODUCTION.match(use)]
    others = [use for use in found if PRODUCTION.match(use) and use not in chosen]
    if alone and others and MISMATCH not in asked.even_if:
        problems.append(
            f"volumes: {', '.join(alone)} without {', '.join(others)}: the set's are of one moment, and rows may name "
            f"files that aren't there otherwise: even_if={MISMATCH}"
        )
    if problems:
        raise Refused(problems)
    return chosen


def _fill(asked, it, name, folder, tell):
    """Have the volumes mounted, and filled side by side; returns what each has now, a line each."""
    with at_master.reached(name, folder) as (ssh, _):
        there = _volumes(ssh.environment)
        chosen = _chosen(asked, it, [volume.name for _, volume in there])
        parts = [(server, volume, chosen[volume.name]) for server, volume in there if volume.name in chosen]
        tell(f"having the volumes mounted on {', '.join(server.id for server, *_ in parts)}")
        _all(lambda part, _: _mounted(ssh, part[0]), parts, tell)
        _all(lambda part, stopping: _asked(ssh, part, "fits", asked, tell, stopping), parts, tell)
        done = _all(lambda part, stopping: _asked(ssh, part, "restore", asked, tell, stopping), parts, tell)
    return [
        f"{server.id}:{volume.mount}: {it.id}" + (", which was there already" if said["there"] else "")
        for (server, volume, _), said in zip(parts, done, strict=True)
    ]


def _mounted(ssh, server):
    problems = ssh.ask_salt(server, "mount", {}, seconds=MOUNTING)
    if problems:
        raise Refused([f"{server.id}: {why}" for why in problems])


def _asked(ssh, part, deed, asked, tell, stopping):
    server, volume, piece = part
    which = {"path": volume.mount, "snapshot": piece.snapshot}
    return copying.do(ssh, server, deed, which, asked.origin, tell, stopping)


def _all(work, parts, tell):
    """What is done for each, side by side, and returned; refused with what kept which from it."""
    stopping = threading.Event()
    with ThreadPoolExecutor(len(parts)) as pool:
        try:  # from the first on: an interrupt may come while others are begun
            under_way = [pool.submit(work, part, stopping) for part in parts]
            while wait(under_way, WAIT).not_done:  # an interrupt that comes just as a wait begins is seen after it
                pass
        except (KeyboardInterrupt, SystemExit):  # Salt makes the latter of Ctrl-C
            tell("stopping: what is at work on the servers is ended there; what is whole stays")
            stopping.set()
            raise
    problems = [error for it in under_way if isinstance(error := it.exception(), IdrError)]
    for it in under_way:
        if it.exception() and it.exception() not in problems:
            raise it.exception()
    if problems:
        raise Refused([line for error in problems for line in error.problems], STOPPED)
    return [it.result() for it in under_way]
