"""What one reading of a project says of its backups: the sets, what is in use of them, and who is on an environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from idr.backup import manifest
from idr.backup.model import BackupSet
from idr.cloud import lock, scratch
from idr.cloud.destroying import base
from idr.cloud.inventory import facts
from idr.cloud.model import Facts
from idr.errors import Refused

AT_REST = ("available", "error", "error_deleting", "error_restoring", "error_extending")  # of a volume


@dataclass(frozen=True)
class Project:
    """The backups of a project at one moment."""

    facts: Facts
    sets: tuple[BackupSet, ...]  # the newest first
    problems: tuple[str, ...]  # snapshots that are ours and can't be understood
    used: Mapping[str, str]  # snapshots that are in use, by id, and what uses each
    held: Mapping[str, str]  # environments that another run is on, and which
    held_since: Mapping[str, datetime]  # of the same, since when by that run's clock
    failed: Mapping[str, datetime]  # environments whose last backup failed, and when; it may have left no snapshot

    def the(self, id_):
        """The set with that id. Refused where there is none."""
        found = next((it for it in self.sets if it.id == id_), None)
        if found is None:
            raise Refused([f"{id_}: no backup set of this project; salt-run backup.list tells which there are"])
        return found


def look(cloud):
    """The ``Project`` as the cloud tells it now."""
    return of(facts(cloud))


def of(seen):
    """The ``Project`` of those Facts: a pure function, but that this process' own locks are left out."""
    names = {it.environment for it in seen.all("group") if it.environment}
    records = {name: lock.record(group.what["description"]) for name in names if (group := base(seen, name))}
    others = {name: record for name, record in records.items() if record.holder not in (None, lock.this_process())}
    return Project(
        seen,
        manifest.sets(seen),
        manifest.problems(seen),
        _used(seen),
        {
            name: f"{record.holder} is on {name} since {record.since}, to {record.purpose}"
            for name, record in others.items()
        },
        {name: moment for name, record in others.items() if (moment := manifest.moment(record.since))},
        {name: moment for name, record in records.items() if (moment := manifest.moment(record.failed))},
    )


def _used(seen):
    """
    A volume that was made of a snapshot may need it for as long as it's being made, and where it's attached. That of a
    scratch environment is there only to be looked at: until it's gone, its set is.
    """
    found = {}
    for volume in seen.all("volume"):
        status = volume.what["status"]
        used = volume.what["attachments"] or status not in AT_REST or scratch.is_scratch(volume.environment)
        if volume.what["snapshot_id"] and used:
            found[volume.what["snapshot_id"]] = f"volume {volume.name} was made of it and is {status}"
    return found
