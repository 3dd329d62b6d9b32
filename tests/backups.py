"""Backup sets in a project, for tests: as their snapshots are in the Facts of a cloud."""

from dataclasses import replace
from datetime import UTC, datetime

from idr.backup import manifest
from idr.backup.model import GOOD, QUIESCED, BackupSet, Piece
from idr.cloud.model import Thing
from tests import clouds

USES = {"omero-data": 500, "database-db": 250}
NIGHT = datetime(2026, 11, 25, 3, tzinfo=UTC)


def backup_set(taken=NIGHT, environment="idr", phase=GOOD, uses=USES, status="available", **further):
    """A set of an environment, whole unless something else is said."""
    id_ = manifest.new_id(environment, taken)
    pieces = tuple(
        Piece(use, f"{id_}/{use}", f"v-{environment}-{use}", USES.get(use, 10), status, QUIESCED, use in USES, 3.2)
        for use in uses
    )
    given = {"uses": tuple(uses), "pieces": pieces, "run": f"run-{id_}", "made": taken}
    return BackupSet(**{"id": id_, "environment": environment, "taken": taken, "phase": phase} | given | further)


def of_volumes(facts, environment="idr", uses=USES, **further):
    """A set of the volumes that an environment has in FACTS."""
    volumes = {it.what["use"]: it for it in facts.of(environment, "volume")}
    it = backup_set(environment=environment, uses=uses, **further)
    pieces = tuple(
        replace(piece, volume=volumes[piece.use].id, size_gb=volumes[piece.use].what["size"]) for piece in it.pieces
    )
    return replace(it, pieces=pieces)


def things(*sets):
    """The snapshots of these sets."""
    return [
        snapshot(
            piece.snapshot,
            manifest.metadata(it, piece),
            size=piece.size_gb,
            volume_id=piece.volume,
            status=piece.status,
            created_at=it.when.strftime("%Y-%m-%dT%H:%M:%S.000000"),
        )
        for it in sets
        for piece in (*it.pieces, *it.spare)
    ]


def snapshot(id_, metadata, **what):
    """A snapshot with that metadata."""
    environment, stamp = metadata.get("idr_environment"), metadata.get("idr_set", "none").rpartition("-")[2]
    shown = {"metadata": metadata, "status": "available", "temporary": metadata.get("idr_temporary"), "size": 10}
    shown |= {"volume_id": "v-1", "created_at": "2026-11-25T03:00:00.000000"} | what
    name = f"{environment}-{metadata.get('idr_volume')}-{stamp}"
    return Thing("snapshot", name, id_, environment, metadata.get("idr_run"), shown)


def facts(*sets, more=()):
    """A project in which these sets are, and MORE things."""
    return clouds.added(clouds.blank(), *things(*sets), *more)


def told(facts, thing, **metadata):
    """The facts with other metadata of a snapshot; None takes a key away."""
    said = {**thing.what["metadata"], **metadata}
    said = {key: value for key, value in said.items() if value is not None}
    now = replace(thing, environment=said.get("idr_environment"), what={**thing.what, "metadata": said})
    now = replace(now, what={**now.what, "temporary": said.get("idr_temporary")})
    return replace(
        facts,
        things={**facts.things, "snapshot": tuple(now if it is thing else it for it in facts.all("snapshot"))},
    )
