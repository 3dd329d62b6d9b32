"""
A backup set before it's taken: the volumes that it's to have, and what keeps it from being taken. Pure functions.

An apply goes by the same plan that was shown; it's made once more when the lock is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from idr import topology
from idr.backup import manifest
from idr.backup.holding import reason
from idr.backup.model import TAKING
from idr.cloud import checks, lock, mark
from idr.cloud.destroying import base

READY = ("available", "in-use")  # of a volume that can be snapshotted
SILENT = "silent"


@dataclass(frozen=True)
class Part:
    """One volume that a set is to have. NAME is its snapshot's to be, VOLUME the cloud's id of what is snapshotted."""

    use: str
    name: str
    volume: str
    server: str
    size_gb: int
    required: bool


@dataclass(frozen=True)
class Coming:
    """A set that is to be taken; PROBLEMS block it."""

    id: str
    environment: str
    taken: datetime
    parts: tuple[Part, ...]
    left_out: Mapping[str, str]  # optional volumes that can't be in it, each with why
    silent: tuple[str, ...]  # servers of required volumes that can't be asked for a freeze
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def uses(self):
        """All volumes that it's to have, those that can't be in it too."""
        return (*(part.use for part in self.parts), *self.left_out)

    @property
    def needed(self):
        """What it takes of the project's quotas."""
        return {"snapshots": len(self.parts), "gigabytes": sum(part.size_gb for part in self.parts)}


def holders(environment):
    """The servers of an environment that have what can't be made again, each with the use of its volume."""
    return {
        server.id: topology.volume_of(server.id, server.role, environment.name)[0]
        for server in environment.servers.values()
        if server.role in topology.REQUIRED and server.prefix == environment.name
    }


def prepare(facts, environment, answers, now, even_if=None, leave_out=()):
    """
    The set of an environment that would be taken NOW.

    environment:  its table
    answers:      what each of its `holders` said to ``data_volume.status``
    even_if:      ``silent`` where it's to be taken although such a server doesn't answer
    leave_out:    uses of volumes that it isn't to have, though they're there
    """
    required = holders(environment)
    taken, id_ = _free_id(facts, environment.name, now)
    parts, left_out, unwanted, problems = [], {}, [], []
    for server in environment.servers.values():
        own = topology.volume_of(server.id, server.role, environment.name)
        if not own:
            continue
        if own[0] in leave_out and server.id not in required:
            unwanted.append(own[0])
            continue
        volume, wrong = _volume(facts, environment.name, server.id, own[0], server.id in required)
        if wrong and server.id in required:
            problems.append(wrong)
        elif wrong:
            left_out[own[0]] = wrong
        elif volume:
            name = f"{environment.name}-{own[0]}{id_.removeprefix(environment.name)}"
            size, is_required = volume.what["size"], server.id in required
            parts.append(Part(own[0], name, volume.id, server.id, size, is_required))
    parts.sort(key=lambda part: not part.required)  # they are asked for in this order
    silent, said = _silent(required, answers)
    if even_if != SILENT:
        problems += [f"{why}. To take it all the same, crash-consistent: even_if={SILENT}" for why in said]
    problems += _frozen(required, answers) + without_record(facts, environment.name)
    notes = [f"not in it: {why}" for why in left_out.values()] + _left_over(facts, environment.name)
    notes += said if even_if == SILENT else []
    notes += [f"not in it, as pillar has it (backup_leave_out): {', '.join(unwanted)}"] if unwanted else []
    coming = Coming(id_, environment.name, taken, tuple(parts), left_out, silent, tuple(problems), tuple(notes))
    return replace(coming, problems=(*problems, *checks.shortages(coming.needed, facts)))


def _free_id(facts, name, now):
    """The moment and the id of a new set: a second or more later where a clock that jumped back makes it one of old."""
    ids = {snapshot.what["metadata"].get("idr_set") for snapshot in facts.all("snapshot")}
    while manifest.new_id(name, now) in ids:
        now += timedelta(seconds=1)
    return now, manifest.new_id(name, now)


def _volume(facts, name, server, use, required):
    """The volume of that use on that server and what is wrong with it: ``(volume or None, problem)``."""
    servers = {it.id: it.name for it in facts.of(name, "server")}
    volumes = [it for it in facts.of(name, "volume") if it.what["use"] == use and mark.is_current(it)]
    on = [it for it in volumes if server in [servers.get(each["server_id"]) for each in it.what["attachments"]]]
    if len(on) > 1 or (len(volumes) > 1 and not on):
        ids = ", ".join(it.id for it in on or volumes)
        return None, f"volume {use} is there more than once ({ids}): detach or rename those that aren't to be backed up"
    if required and not on:
        where = f"isn't attached to {server} ({volumes[0].id})" if volumes else f"isn't in the cloud {facts.cloud}"
        return None, f"volume {use} {where}: salt-run environment.plan {name}"
    found = next(iter(on or volumes), None)
    if found and found.what["status"] not in READY:
        return None, f"volume {found.name} ({found.id}) is {found.what['status']}: see openstack volume show {found.id}"
    return found, ""


def _silent(required, answers):
    """The servers that can't be asked to hold their volumes still, and why, a line each."""
    silent, said = [], []
    for server, use in required.items():
        answer = answers.get(server)
        if not isinstance(answer, dict) or use not in answer:
            silent.append(server)
            said.append(f"{server}: {reason(answer)}")
    return tuple(silent), said


def _frozen(required, answers):
    found = []
    for server, use in required.items():
        answer = answers.get(server)
        frozen = answer.get(use, {}).get("frozen") if isinstance(answer, dict) else None
        if frozen:
            found.append(
                f"{server}: {use} is frozen until {frozen['until']} by something else, and thawed then by itself. "
                f"Once more after that; or end it: salt {server} data_volume.thaw"
            )
    return found


def without_record(facts, name):
    """What there is to say of an environment that has no record in the cloud, and so no lock."""
    if base(facts, name):
        return []
    return [f"{name}: its security group {name}, which is the lock, isn't there: salt-run environment.apply {name}"]


def _left_over(facts, name):
    """What is to be told of sets that were never ended, unless it's another run that is at one."""
    group = base(facts, name)
    holder = lock.record(group.what["description"]).holder if group else None
    told = list(manifest.problems(facts, name))
    if holder in (None, lock.this_process()):
        told += [
            f"{it.id} is abandoned: its run was killed, so it counts for nothing, and goes with the next "
            f"salt-run backup.prune {name} apply=True"
            for it in manifest.sets(facts, name)
            if it.phase == TAKING
        ]
    return told
