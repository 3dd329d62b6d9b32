"""
Single files of a backup set that are to be brought back into a new folder on the volume that they were on, beside what
is there and never over it: by which clone, on which server, and what keeps it from being done. Pure functions.

A clone says what it's for by its metadata, so that the next run finds what a killed one left.
"""

from dataclasses import dataclass
from pathlib import Path

from idr import topology
from idr.backup import manifest
from idr.backup.model import UNUSABLE
from idr.backup.preparing import without_record
from idr.cloud import checks, mark
from idr.cloud.model import Plan, Ref, Step, Thing
from idr.errors import Refused

FILES = "files"  # what such a clone is made for: its idr_temporary
MOUNT = topology.ROLES["omero"][1]  # where single files are of any use; Docker's volume is mounted there, too
DATABASE = topology.ROLES["database"][1]
USUAL = "omero-data"  # the volume that is meant where none is named: the others on MOUNT are clones of it, or Docker's


@dataclass(frozen=True)
class Files:
    """What is asked for: PATHS as they are on a server, on the volume of that USE of the SET with that id."""

    set: str
    paths: tuple[str, ...]
    use: str = USUAL


@dataclass(frozen=True)
class Coming:
    """
    Files that are to be brought back: PATHS below MOUNT, into FOLDER there. SERVER and LIVE are what the environment
    has there now, both None where PLAN has problems.
    """

    set: str
    paths: tuple[str, ...]
    folder: str
    server: Thing | None
    live: Thing | None
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
    problems += [f"file: {path}: {why}" for path in asked.paths if (why := _wrong(path))]
    problems += [] if asked.paths else ["file: say which"]
    piece, wrong = _piece(backup, asked.use)
    server, live, missing = _there(facts, name, asked.use) if piece else (None, None, [])
    problems += [*wrong, *missing, *without_record(facts, name)]
    folder = folder_of(backup.id, run)
    if problems:
        return Coming(backup.id, (), folder, None, None, Plan(name, (), problems=tuple(dict.fromkeys(problems))))
    paths = _outermost(str(Path(path).relative_to(MOUNT)) for path in asked.paths)
    steps = (*clearing(facts, name).steps, *_steps(name, backup, piece, server, run))
    notes = (
        *(f"{MOUNT}/{path}: to {server.name}, into {MOUNT}/{folder}" for path in paths),
        f"{backup.id} is of {backup.taken:%Y-%m-%d %H:%M} UTC, its {piece.use} {piece.consistency}. Whether these are "
        f"in it, and whether there's room, is looked at before anything is copied; the clone goes in the end",
        *([f"{backup.id} was disproved, {backup.disproved}"] if backup.disproved else []),
    )
    needed = {"volumes": 1, "gigabytes": piece.size_gb}
    short = tuple(checks.shortages(needed, facts))
    plan = Plan(name, steps, (), short, notes, needed, _free(needed, facts))
    return Coming(backup.id, paths, folder, server, live, plan)


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


def _wrong(path):
    """Why that can't be a file to bring back, "" if it can."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        return "has to be absolute, as it is on the server"
    if ".." in Path(path).parts:
        return "has to be said without `..`"
    if Path(path).is_relative_to(DATABASE):
        beside = "restore the set into another environment (into=look), and take rows from there by pg_dump"
        return f"no single file of a database is of any use: {beside}"
    if not Path(path).is_relative_to(MOUNT):
        return f"isn't on {MOUNT}, where the files are that can't be made again"
    if Path(path) == Path(MOUNT):
        return "is all of the volume: name what is in it, or restore the volume, without file="
    return ""


def mount_of(use):
    """Where a volume of that use is mounted; None where no role has such a volume."""
    role = use.rpartition("-")[0].removeprefix("a-").rstrip("0123456789")
    return topology.ROLES[role][1] if topology.ROLES.get(role) else None


def _piece(backup, use):
    """What the set has of a use, and what is wrong with that: ``(piece or None, problems)``."""
    has = ", ".join(it.use for it in backup.pieces if mount_of(it.use) == MOUNT) or "none with files"
    piece = next((it for it in backup.pieces if it.use == use), None)
    if piece is None or mount_of(use) != MOUNT:
        return None, [f"volumes: with file=, one that {backup.id} has: {has}; not {use}"]
    if piece.status != "available":
        return None, [f"{backup.id}: its snapshot of {use} is {piece.status}"]
    return piece, []


def _outermost(paths):
    """Paths without those that come with another one."""
    paths = list(dict.fromkeys(paths))
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


def _steps(name, backup, piece, server, run):
    """A clone made, attached, and removed again when all is copied."""
    clone = f"{name}-{piece.use}-{FILES}-{run}"
    metadata = mark.metadata(name, run, temporary=FILES, set=backup.id)
    what = {"name": clone, "size": piece.size_gb, "snapshot_id": piece.snapshot, "metadata": metadata}
    on = {"server_id": server.id, "volume_id": Ref("volume", clone)}
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
