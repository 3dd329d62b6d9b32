"""
How an environment's backups stand, from the cloud alone.

A run that failed shows by the set that it left or by the environment's record, one that was missed by the age of the
newest good set: no machine of the environment has to be alive for that. One that couldn't say in the cloud that it
failed was missed, as far as can be told from here.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from idr.backup import listing, manifest
from idr.backup.model import GOING, TAKING, BackupSet
from idr.backup.retention import EARLY

LATE = timedelta(hours=28)  # of the newest good set, where one is taken every night
TOO_LATE = timedelta(hours=32)
BEGUN = timedelta(minutes=5)  # after which one that is due has left something in the cloud
OK, WARNING, CRITICAL = "ok", "warning", "critical"


@dataclass(frozen=True)
class Status:
    """An environment's backups at one moment. PROBLEMS are why STATE isn't ok; NOTES are of what is missing besides."""

    environment: str
    at: datetime
    state: str
    good: BackupSet | None  # the newest that can be restored, and that no verification has disproved
    verified: BackupSet | None  # the newest of those that was verified
    under_way: str | None  # the id of a set that is being taken
    due: datetime | None  # when the next one is, by itself
    has_failed: bool  # the newest attempt
    states: dict  # how many sets are in each, in a word
    size_gb: int  # of all its snapshots, as the project's quota counts them
    free_gb: int | None  # None where there's no limit
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def of(project, environment, now, hours=()):
    """
    The ``Status`` of an environment's backups NOW: a pure function of the ``Project``.

    hours:  of the day, UTC, at which a set is taken by itself

    A set from the future, by this machine's clock, is told of and is neither good nor an attempt.
    """
    sets = [it for it in project.sets if it.environment == environment]
    early = [it for it in sets if it.when > now + EARLY]
    past = [it for it in sets if it not in early]
    states = {it.id: listing.state(it, project.held) for it in sets}
    good = next((it for it in past if it.is_good), None)
    tried = [it for it in past if it.phase != GOING]
    under_way = next((it.id for it in tried if states[it.id] == TAKING), None)
    attempt = next((it for it in tried if states[it.id] != TAKING), None)
    state, problems = _age(environment, good, now)
    was_due = _was_due(hours, now)
    failures = _failures(project, environment, attempt, good, states) + _blocked(project, environment, was_due)
    if failures:
        state = CRITICAL if state == CRITICAL else WARNING
    notes = [f"{it.id} is from the future by this machine's clock, and counts for nothing" for it in early]
    notes += _untraced(project, environment, tried, was_due, now)
    notes += [
        *_missing(good),
        *(f"{it.id} was disproved, {it.disproved}" for it in sets if it.disproved),
        *manifest.problems(project.facts, environment),
        *(line for it in sets for line in it.problems),
    ]
    snapshots = project.facts.of(environment, "snapshot")
    limit, used = project.facts.quotas["gigabytes"]
    return Status(
        environment=environment,
        at=now,
        state=state,
        good=good,
        verified=next((it for it in past if it.is_good and it.verified), None),
        under_way=under_way,
        due=_due(hours, now),
        has_failed=bool(failures),
        states=dict(Counter(states.values())),
        size_gb=sum(it.what["size"] for it in snapshots if not it.what["temporary"]),
        free_gb=None if limit < 0 else max(limit - used, 0),
        problems=(*problems, *failures),
        notes=tuple(dict.fromkeys(notes)),
    )


def _failures(project, environment, attempt, good, states):
    """What the newest attempt left of a failure, in its set or in the environment's record."""
    found = []
    if attempt and not attempt.is_good:
        found.append(f"the newest attempt, {attempt.id}, is {states[attempt.id]}: salt-run backup.show {attempt.id}")
    failed = project.failed.get(environment)
    if failed and not (good and good.when > failed):
        where = f"{environment}-proxy: /var/log/idr/actions.jsonl"
        found.append(f"a backup failed at {failed:%Y-%m-%d %H:%M} UTC, and none was a success since: {where}")
    return found


def _blocked(project, environment, was_due):
    """What keeps sets from being taken, where it has kept one that was due."""
    since = project.held_since.get(environment)
    if not (since and was_due and since < was_due):
        return []
    return [
        f"{project.held[environment]}: the set that was due at {was_due:%Y-%m-%d %H:%M} UTC couldn't be taken. Is that "
        f"run dead? salt-run backup.create {environment} apply=True tells how its lock is broken"
    ]


def _untraced(project, environment, tried, was_due, now):
    """A word on a set that was due and of which nothing is in the cloud, no failure either."""
    failed = project.failed.get(environment)
    traces = [*(it.when for it in tried), *([failed] if failed else [])]
    if not was_due or now - was_due < BEGUN or environment in project.held:
        return []
    if any(at > was_due - EARLY for at in traces):
        return []
    return [
        f"nothing is in the cloud of a set that was due at {was_due:%Y-%m-%d %H:%M} UTC: see on {environment}-proxy, "
        f"journalctl -u salt-master -u idr-backup-scheduled and /var/log/idr/actions.jsonl"
    ]


def _age(environment, good, now):
    if good is None:
        return CRITICAL, [f"{environment} has no good set"]
    age = now - good.when
    if age <= LATE:
        return OK, []
    return CRITICAL if age > TOO_LATE else WARNING, [
        f"the newest good set, {good.id}, is {_hours(age)} old: no run since was a success, or none was begun"
    ]


def _due(hours, now):
    full = now.replace(minute=0, second=0, microsecond=0)
    return next((at for ahead in range(1, 25) if (at := full + timedelta(hours=ahead)).hour in hours), None)


def _was_due(hours, now):
    """When the last one was to be taken by itself; None where none is."""
    full = now.replace(minute=0, second=0, microsecond=0)
    return next((at for back in range(24) if (at := full - timedelta(hours=back)).hour in hours), None)


def _missing(good):
    """What the newest good set hasn't."""
    if good is None:
        return []
    told = listing.told(good, {})
    lacking = [f"{good.id} has no {', '.join(told['lacks'])}"] if told["lacks"] else []
    crashed = [f"{piece.use} is {piece.consistency}" for piece in good.pieces if piece.required]
    return lacking + ([f"{good.id}: {', '.join(crashed)}"] if told["consistency"] != "quiesced" else [])


def told(status):
    """The status as plain data."""
    return {
        "environment": status.environment,
        "state": status.state,
        "at": status.at.isoformat(timespec="seconds"),
        "last_good": _told(status.good, status.at),
        "last_verified": _told(status.verified, status.at),
        "under_way": status.under_way,
        "due": status.due and status.due.isoformat(timespec="minutes"),
        "states": status.states,
        "size_gb": status.size_gb,
        "free_gb": status.free_gb,
        "problems": list(status.problems),
        "notes": list(status.notes),
    }


def _told(it, now):
    return it and {"set": it.id, "taken": it.when.isoformat(timespec="seconds"), "age": _hours(now - it.when)}


def _hours(age):
    hours = max(age.total_seconds(), 0) / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:.0f} days"
