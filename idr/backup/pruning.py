"""
Sets that nothing keeps any more, removed whole: planned, refused, carried out.

Before the first snapshot of a set goes, each of them is told that it's going, so that a set which a cut-off run left in
part never looks like a good one; the next run goes on with it. A volume that an environment left behind for the sake of
its snapshots goes with the last of them, and is told so before, too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from idr.backup import manifest, project, retention, turn
from idr.backup.model import GOING
from idr.cloud import credential, wanted
from idr.cloud.connection import ERRORS, told
from idr.cloud.making import carry_out
from idr.cloud.model import Plan, Step
from idr.cloud.removal import IN_FLIGHT
from idr.errors import IdrError, Refused

GOES_ON = "stopped; what was removed is gone, and the next run goes on from there"
MAY_NOT = (
    "this credential may not delete, as a master's own mayn't: type it at a workstation, with an operator's clouds.yaml"
)


@dataclass(frozen=True)
class Pruning:
    """What is to be removed of one environment's backups, and the verdicts from which that follows."""

    plan: Plan
    verdicts: tuple[retention.Verdict, ...]

    @property
    def lines(self):
        """The plan for its reader: every set, with why it goes or stays."""
        going = [it for it in self.verdicts if it.goes]
        freed = sum(it.set.size_gb for it in going)
        yield f"{self.plan.environment}: {len(going)} of {len(self.verdicts)} sets to remove, {freed} GB"
        yield from (f"  - {it.set.id}: {it.why}" for it in going)
        yield from (f"  = {it.set.id}: {', '.join(it.reasons)}" for it in self.verdicts if not it.goes)
        yield from (f"  - volume {it.name}" for it in self.plan.steps if it.key[0] == "remove volume")
        named = [it.set.id for it in going]
        yield from (f"  - {it}" for it in self.plan.steps if it.kind in ("copy", "set") and it.name not in named)
        yield from (f"note: {note}" for note in self.plan.notes)
        yield from (f"BLOCKED: {problem}" for problem in self.plan.problems)


def plan(cloud, environment, retired):
    """
    What is to be removed, a ``Pruning`` for each environment that has sets.

    environment:  the only one, which needn't be there any more; None: all of the project
    retired:      whether nothing of it is needed any more, as it's gone for good
    """
    try:
        return _look(cloud, environment, retired)[1]
    except ERRORS as error:
        raise IdrError(told(error)) from error


def prune(cloud, environment, retired, broken, tell):
    """
    Remove what `plan` says, each environment's under its lock; returns the ``Pruning`` of each as it was carried out.

    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time

    Refused with every problem at once; what an environment is refused for keeps no other's from being removed.
    """
    done, problems, begun = [], [], False
    try:
        seen, shown = _look(cloud, environment, retired)
        for it in shown:
            name = it.plan.environment
            problems += it.plan.problems
            # where a dead run's lock is to be broken, what it left is only known to be left when it is
            if it.plan.problems or not (it.plan.steps or (broken and name in seen.held)):
                continue
            try:
                with turn.held(cloud, seen.facts, name, "prune", broken) as held:
                    begun = True
                    done.append(_one(cloud, name, retired, held, tell))
            except IdrError as error:
                problems += error.problems
            except ERRORS as error:
                problems.append(f"{name}: {told(error)}")
    except ERRORS as error:
        raise IdrError(told(error)) from error
    if problems:
        raise Refused(problems, GOES_ON if begun else "refused, nothing was removed")
    return tuple(done)


def _one(cloud, name, retired, held, tell):
    [pruning] = _look(cloud, name, retired)[1]
    if pruning.plan.problems:
        raise Refused(pruning.plan.problems)
    outcome = carry_out(cloud, pruning.plan, tell, held, go_on=True)
    if outcome.problems:
        raise Refused(outcome.problems)
    [after] = _look(cloud, name, retired)[1]
    if after.plan.steps:
        raise Refused([f"{step}: done, and still to be done" for step in after.plan.steps])
    return pruning


def _look(cloud, environment, retired):
    seen = project.look(cloud)
    keep, problems = {}, []
    for name in {it.environment for it in seen.sets}:
        try:
            keep[name] = wanted.backup_keep(name)
        except Refused as refused:
            problems += refused.problems
    if problems:
        raise Refused(dict.fromkeys(problems))
    may_delete = credential.may(cloud, "DELETE", "/snapshots/")
    return seen, prunings(seen, keep, datetime.now(UTC), environment, retired, may_delete)


def prunings(seen, keep, now, environment=None, retired=False, may_delete=True):
    """
    The ``Pruning`` of each environment that has sets or what they left behind, or of the one: a pure function.

    seen:  the Project
    keep:  the rules by environment
    """
    given_up = (environment,) if retired else ()
    verdicts = retention.verdicts(seen.sets, keep, now, seen.used, seen.held, given_up)
    left = [volume.environment for volume in seen.facts.all("volume") if _is_retained(volume)]
    names = sorted({*(it.environment for it in seen.sets), *left}) if environment is None else [environment]
    return tuple(
        _pruning(seen, name, [it for it in verdicts if it.set.environment == name], retired, may_delete)
        for name in names
    )


def _pruning(seen, name, verdicts, retired, may_delete):
    removal = _Removal(seen.facts, name)
    for verdict in reversed(verdicts):  # the oldest first
        if verdict.goes:
            removal.of(verdict.set)
    removal.of_volumes()
    problems = list(removal.problems)
    if removal.steps and not may_delete:
        problems.append(MAY_NOT)
    if retired and turn.stands(seen.facts, name):
        problems.append(f"{name} isn't retired: there are servers or networks of it, see salt-run environment.list")
    notes = (*removal.notes, *manifest.problems(seen.facts, name))
    return Pruning(Plan(name, removal.ordered(), problems=tuple(problems), notes=notes), tuple(verdicts))


def _is_retained(volume):
    return bool(volume.environment and volume.what["metadata"].get("idr_retained"))


class _Removal:
    """The steps by which an environment's sets go, and what they leave behind."""

    def __init__(self, facts, name):
        self.facts, self.name = facts, name
        self.things = {it.id: it for it in facts.all("snapshot")}
        self.steps, self.problems, self.notes = [], [], []
        self.going = {}  # snapshots, by id, each with the key of the step that removes it
        self.last = {}  # snapshots, by id, before which their volume is told that it goes, each with that step's key

    def of(self, it):
        """A set goes."""
        snapshots = [self.things[piece.snapshot] for piece in (*it.pieces, *it.spare)]
        told = [
            Step("change", "snapshot", self._named(each), {"metadata": {"idr_phase": GOING}}, id=each.id)
            for each in snapshots
            if each.what["metadata"]["idr_phase"] != GOING
        ]
        needs = tuple(step.key for step in told)
        removed = [Step("remove", "snapshot", self._named(each), needs=needs, id=each.id) for each in snapshots]
        self.going |= {step.id: step.key for step in removed}
        self.steps += [*told, *removed]

    def of_volumes(self):
        """Those that were retained go with their last snapshot."""
        for volume in self.facts.of(self.name, "volume"):
            on = [it.id for it in self.things.values() if it.what["volume_id"] == volume.id]
            if _is_retained(volume) and set(on) <= set(self.going):
                self._of_volume(volume, on)

    def _of_volume(self, volume, on):
        told = volume.what["metadata"].get("idr_phase") == GOING
        if not on and not told:  # it may be kept for itself
            self.notes.append(f"volume {volume.name} is retained, and no snapshot is on it: it's yours to remove")
            return
        if volume.what["attachments"]:
            self.notes.append(f"volume {volume.name} stays: it was retained, and is attached again")
            return
        clones = [it.name for it in self.facts.all("volume") if it.what["source_volid"] == volume.id
                  and it.what["status"] in IN_FLIGHT]  # fmt: skip
        if clones:
            self.problems.append(f"volume {volume.name}: {clones[0]} is being cloned from it: wait until it is")
        name = self._named(volume)
        needs = [self.going[id_] for id_ in on]
        if not told:
            change = Step("change", "volume", name, {"metadata": {"idr_phase": GOING}}, id=volume.id)
            self.last |= dict.fromkeys(on, change.key)
            self.steps.insert(0, change)
            needs.append(change.key)
        self.steps.append(Step("remove", "volume", name, needs=tuple(needs), id=volume.id))

    def ordered(self):
        """The steps; a snapshot whose volume goes with it goes after that was told."""
        return tuple(
            Step(step.verb, step.kind, step.name, step.what, (*step.needs, self.last[step.id]), step.id)
            if step.key == self.going.get(step.id) and step.id in self.last
            else step
            for step in self.steps
        )

    def _named(self, thing):
        """Its name; with its id where a second one is called so."""
        twice = [it.name for it in self.facts.of(self.name, thing.kind)].count(thing.name) > 1
        return f"{thing.name} ({thing.id})" if twice else thing.name
