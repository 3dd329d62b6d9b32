"""
Single files of a backup set that are to be brought back into a new folder on the volume that they were on, beside what
is there and never over it: which clones that takes, on which servers, what keeps it from being done. Pure functions.

A clone says what it's for by its metadata, so that the next run finds what a killed one left.
"""

from dataclasses import dataclass
from pathlib import Path

from idr import topology
from idr.backup import listing, manifest
from idr.backup.model import PRODUCTION, UNUSABLE, Piece
from idr.backup.preparing import without_record
from idr.cloud import checks, mark
from idr.cloud.model import Plan, Ref, Step, Thing
from idr.errors import Refused

FILES = "files"  # what such a clone is made for: its idr_temporary
MOUNTS = {topology.ROLES[role][1] for role in ("omero", "dockermanager")}  # where single files are of any use
DATABASE = topology.ROLES["database"][1]


@dataclass(frozen=True)
class Files:
    """What is asked for: PATHS as they are on a server, of the SET with that id; VOLUMES are those that are meant."""

    set: str
    paths: tuple[str, ...]
    volumes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Lot:
    """What is of one volume of the set: PATHS below MOUNT; SERVER and LIVE are what the environment has there now."""

    piece: Piece
    mount: str
    server: Thing
    live: Thing
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Coming:
    """Lots by the names of the clones that they come from, the FOLDER that each is brought into, the PLAN of it all."""

    set: str
    lots: dict[str, Lot]
    folder: str
    plan: Plan


def coming(asked, facts, name, run):
    """
    What a run would bring back, with all problems: a pure function. Refused where there's no such set.

    facts:  the cloud's
    """
    backup = next((it for it in manifest.sets(facts) if it.id == asked.set), None)
    if backup is None:
        raise Refused([f"{asked.set}: no backup set of this project; salt-run backup.list tells which there are"])
    problems = [f"{backup.id}: {why}" for why in backup.problems]
    problems += [f"{backup.id}: {UNUSABLE[backup.phase]}"] if backup.phase in UNUSABLE else []
    paths, wrong = _of_pieces(asked, backup)
    problems += wrong
    lots = []
    for piece, (mount, below) in paths.items():
        server, live, wrong = _there(facts, name, piece.use)
        problems += wrong
        lots += [] if wrong else [Lot(piece, mount, server, live, below)]
    problems += without_record(facts, name)
    folder = folder_of(backup.id, run)
    made = {f"{name}-{lot.piece.use}-{FILES}-{run}": lot for lot in lots}
    steps = [*clearing(facts, name).steps]
    for clone, lot in made.items():
        steps += _steps(clone, lot, mark.metadata(name, run, temporary=FILES, set=backup.id, files_of=lot.piece.use))
    needed = {"volumes": len(lots), "gigabytes": sum(lot.piece.size_gb for lot in lots)}
    notes = [
        f"{lot.mount}/{path}: to {lot.server.name}, into {lot.mount}/{folder}" for lot in lots for path in lot.paths
    ]
    notes.append(
        f"{backup.id} is of {backup.taken:%Y-%m-%d %H:%M} UTC, {listing.consistency(backup)}. Whether these are in it, "
        f"and whether there's room, is looked at before anything is copied; the clone goes in the end"
    )
    problems += checks.shortages(needed, facts)
    plan = Plan(name, tuple(steps), (), tuple(dict.fromkeys(problems)), tuple(notes), needed, _free(needed, facts))
    return Coming(backup.id, made, folder, plan)


def clones(facts, name):
    """An environment's volumes that single files are brought back from, or were by a run that is dead."""
    return [it for it in facts.of(name, "volume") if it.what["metadata"].get("idr_temporary") == FILES]


def folder_of(set_id, run):
    """The name of the folder that a run brings files of a set into."""
    return f"restored-{set_id}-{run}"


def clearing(facts, name):
    """The ``Plan`` by which those clones go."""
    return Plan(name, tuple(step for it in clones(facts, name) for step in _removing(facts, it)))


def _free(needed, facts):
    quotas = {name: facts.quotas.get(name, (-1, 0)) for name in needed}
    return {name: max(limit - used, 0) for name, (limit, used) in quotas.items() if limit >= 0}


def _of_pieces(asked, backup):
    """Which of the set's volumes each path is on: ``({piece: (mount, paths below it)}, problems)``."""
    found, problems = {}, []
    pieces = {piece.use: piece for piece in backup.pieces}
    for use in asked.volumes or ():
        if use not in pieces:
            problems.append(f"volumes: {backup.id} has no {use}; it has {', '.join(pieces)}")
    for path in dict.fromkeys(asked.paths):
        wrong, mount = _wrong(path), _mount_above(path)
        if not wrong:
            of = [it for it in pieces.values() if mount_of(it.use) == mount]
            of = [it for it in of if it.use in asked.volumes] if asked.volumes else _meant(of)
            uses = ", ".join(it.use for it in of)
            if not of:
                wrong = f"no volume of {mount} is among {', '.join(asked.volumes or pieces)}"
            elif len(of) > 1:
                wrong = f"may be of {uses}: say of which, volumes=…"
            elif of[0].status != "available":
                wrong = f"the snapshot of {uses} is {of[0].status}"
        if wrong:
            problems.append(f"file: {path}: {wrong}")
        else:
            found.setdefault(of[0], (mount, []))[1].append(str(Path(path).relative_to(mount)))
    return {piece: (mount, _outermost(below)) for piece, (mount, below) in found.items()}, problems


def _wrong(path):
    """Why that can't be a file to bring back, "" if it can."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        return "has to be absolute, as it is on the server"
    if ".." in Path(path).parts:
        return "has to be said without `..`"
    if Path(path).is_relative_to(DATABASE):
        beside = "restore the set into another environment (into=look), and take rows from there by pg_dump"
        return f"no single file of a database is of any use: {beside}"
    mount = _mount_above(path)
    if mount is None:
        return f"isn't on a volume of files that can't be made again: those are on {', '.join(sorted(MOUNTS))}"
    if Path(path) == Path(mount):
        return "is all of the volume: name what is in it, or restore the volume, without file="
    return ""


def _mount_above(path):
    return next((it for it in MOUNTS if Path(str(path)).is_relative_to(it)), None)


def mount_of(use):
    """Where a volume of that use is mounted; None where no role has such a volume."""
    role = use.rpartition("-")[0].removeprefix("a-").rstrip("0123456789")
    return topology.ROLES[role][1] if topology.ROLES.get(role) else None


def _meant(pieces):
    """Of volumes on the same mount point those of production, where there's one: the others are clones of it."""
    return [it for it in pieces if PRODUCTION.match(it.use)] or pieces


def _outermost(paths):
    """Paths without those that come with another one."""
    return tuple(it for it in paths if not any(Path(it).is_relative_to(other) for other in paths if other != it))


def _there(facts, name, use):
    """The server of an environment that has a volume of that use, and the volume: ``(server, volume, problems)``."""
    server_name = f"{name}-{use.rpartition('-')[0]}"
    server = next((it for it in facts.of(name, "server") if it.name == server_name), None)
    if server is None:
        return None, None, [f"{server_name} isn't there, to which {use} would come: salt-run environment.plan {name}"]
    if server.what["status"] != "ACTIVE":
        return None, None, [f"{server_name} is {server.what['status']}: openstack server start {server_name}"]
    own = [it for it in facts.of(name, "volume") if it.what["use"] == use and mark.is_current(it)]
    on = [it for it in own if server.id in [each["server_id"] for each in it.what["attachments"]]]
    if len(on) != 1:
        return None, None, [f"{server_name} has no volume {use}, or two: salt-run environment.plan {name}"]
    return server, on[0], []


def _steps(clone, lot, metadata):
    """A clone made, attached, and removed again when all is copied."""
    what = {"name": clone, "size": lot.piece.size_gb, "snapshot_id": lot.piece.snapshot, "metadata": metadata}
    on = {"server_id": lot.server.id, "volume_id": Ref("volume", clone)}
    return [
        Step("make", "volume", clone, what),
        Step("make", "attachment", clone, on, (("volume", clone),)),
        Step("remove", "attachment", clone, on, (("attachment", clone),), Ref("attachment", clone)),
        Step("remove", "volume", clone, {}, (("remove attachment", clone),), Ref("volume", clone)),
    ]


def _removing(facts, clone):
    """The steps by which a clone goes that is there."""
    name = f"{clone.name} ({clone.id})"
    on = [it for it in facts.all("attachment") if it.what["volume_id"] == clone.id]
    off = [Step("remove", "attachment", name, dict(it.what), id=it.id) for it in on]
    return [*off, Step("remove", "volume", name, needs=tuple(step.key for step in off), id=clone.id)]
