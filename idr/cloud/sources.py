"""Where a volume's first content comes from, and what speaks against it."""

import re

from idr import topology
from idr.backup import manifest
from idr.backup.model import UNUSABLE
from idr.cloud import mark
from idr.cloud.model import Source

READY = ("available", "in-use")  # of a volume
USE = re.compile(rf"(a-)?(?P<role>{'|'.join(topology.ROLES)})\d*-\w+")


def find(draft, volume, zone):
    """
    The Source of a volume that is to be made; None is blank. What speaks against it is a problem of the draft.

    zone:  the availability zone of the volumes, None if it doesn't matter
    """
    thing = _content(draft, volume)
    if thing is None:
        return None
    if not _is_checked_with_another(draft, volume):
        _check(draft, volume, thing, zone)
    backup = _set_of(draft, thing)
    return Source(thing.kind, thing.id, thing.name, thing.what["size"], backup.id if backup else "")


def zone(draft):
    """Where volumes are made: as asked, where the environment's own are, or the only one; None: the cloud's choice."""
    zones = [each.name for each in draft.facts.all("zone")]
    asked = draft.wanted.zone
    if asked and asked not in zones:
        draft.problems.append(f"idr_availability_zone: volumes can't be made in {asked}, but in {', '.join(zones)}")
    own = [each.what["availability_zone"] for each in draft.facts.of(draft.environment, "volume")]
    return asked or next(iter(own), zones[0] if len(zones) == 1 else None)


def _content(draft, volume):
    """The volume or snapshot that a volume is to be made of; None where there's none, which may be a problem."""
    if not volume.source:
        return None
    how, _, name = volume.source.rpartition(":")
    if how == "use":  # what is there, or else what that one will be made of, too: the same bytes
        other = next(each for each in draft.wanted.volumes if each.use == name)
        return draft.own("volume", other.name) or _content(draft, other)
    if how == "sources":
        of = _of_set if manifest.environment_of(name) else _of_environment
        return of(draft, volume, name, f"sources={name}", may_lack=not _required(draft, volume))
    return _as_typed(draft, volume, volume.source)


def _is_checked_with_another(draft, volume):
    """Whether it's made of what another volume of this plan is made of, too, to the same size."""
    how, _, use = volume.source.rpartition(":")
    other = next((each for each in draft.wanted.volumes if how == "use" and each.use == use), None)
    return bool(other) and draft.own("volume", other.name) is None and other.size_gb == volume.size_gb


def _required(draft, volume):
    """Whether it holds what can't be made again: production's rows and files."""
    server = next(each for each in draft.wanted.servers if each.name == volume.server)
    return server.role in topology.REQUIRED and server.networks == (draft.environment,)


def _of_environment(draft, volume, name, place, may_lack=False):
    """The volume of that use that an environment has."""
    volumes = draft.facts.of(name, "volume")
    found = [each for each in volumes if each.what["use"] == volume.use]
    found = [each for each in found if "idr_aside" not in each.what["metadata"]]
    found = [each for each in found if mark.is_current(each)] or found
    if name == draft.environment:
        draft.problems.append(f"{place}: is the target itself")
    elif not volumes:
        draft.problems.append(f"{place}: this project has no volume of an environment {name}")
    elif len(found) > 1:
        draft.problems.append(f"{place}: {name} has {volume.use} {len(found)} times; say one of them by its id")
    elif not found and may_lack:
        draft.notes.append(f"{name} has no {volume.use}: {volume.name} will be blank")
    elif not found:
        draft.problems.append(f"{place}: {name} has no {volume.use}, which can't be made again")
    else:
        return found[0]
    return None


def _of_set(draft, volume, id_, place, may_lack=False):
    """The snapshot of that use that a backup set has."""
    backup = _the_set(draft, id_)
    piece = next((each for each in backup.pieces if each.use == volume.use), None) if backup else None
    if backup is None:
        draft.problems.append(f"{place}: no backup set of this project; salt-run backup.list tells which there are")
    elif not backup.is_usable:
        draft.problems.extend(f"{place}: can't be restored: {why}" for why in backup.why_not)
    elif piece is None and may_lack:
        draft.notes.append(f"{id_} has no {volume.use}: {volume.name} will be blank")
    elif piece is None:
        needed = ", which can't be made again" if _required(draft, volume) else ""
        draft.problems.append(f"{place}: has no {volume.use}{needed}")
    else:
        return next(each for each in draft.facts.all("snapshot") if each.id == piece.snapshot)
    return None


def _the_set(draft, id_):
    return next((each for each in manifest.sets(draft.facts) if each.id == id_), None)


def _set_of(draft, thing):
    """The backup set that a snapshot is of, None where it's of none or can't be understood."""
    id_ = thing.what["metadata"].get("idr_set") if thing.kind == "snapshot" else None
    backup = _the_set(draft, id_) if id_ else None
    ids = [piece.snapshot for piece in (*backup.pieces, *backup.spare)] if backup else []
    return backup if thing.id in ids else None


def _as_typed(draft, volume, source):
    """A volume, a snapshot, an environment or a backup set by its name or id."""
    place = f"source of {volume.use}: {source}"
    if manifest.environment_of(source):
        return _of_set(draft, volume, source, place)
    if source == draft.environment or draft.facts.of(source, "volume"):
        return _of_environment(draft, volume, source, place)
    snapshots = [each for each in draft.facts.all("snapshot") if not each.what["temporary"]]
    things = (*draft.facts.all("volume"), *snapshots)
    found = [each for each in things if each.id == source] or [each for each in things if each.name == source]
    if not found:
        draft.problems.append(f"{place}: this project has no volume, snapshot, environment or backup set of that name")
    elif len(found) > 1:
        ids = ", ".join(f"{each.kind} {each.id}" for each in found)
        draft.problems.append(f"{place}: is several ({ids}); say one by its id")
    else:
        return found[0]
    return None


def _check(draft, volume, thing, zone):
    """Everything that speaks against making that volume of that thing."""
    place = f"source of {volume.use}: {thing.kind} {thing.name} ({thing.id})"
    is_volume = thing.kind == "volume"
    original = thing if is_volume else _volume_of(draft, thing)
    wrong = []
    if is_volume and thing.name == volume.name:
        wrong.append("is the target itself")
    if thing.what["status"] not in (*READY, "creating", "attaching", "reserved"):
        wrong.append(f"is {thing.what['status']}")
    backup = _set_of(draft, thing)
    if backup and backup.disproved:
        draft.notes.append(f"{backup.id} was disproved, {backup.disproved}")
    if backup and backup.phase in UNUSABLE:
        wrong.append(f"is of the backup set {backup.id}: {UNUSABLE[backup.phase]}")
    if thing.what["size"] > volume.size_gb:
        wrong.append(f"has {thing.what['size']} GB, which don't go into {volume.size_gb} (size_gb)")
    if thing.what["size"] < volume.size_gb:
        wrong.append(f"is smaller than asked: {thing.what['size']} GB, not {volume.size_gb} (size_gb)")
    role, needed = _role(thing, original), _role_of_use(volume.use)
    if role and role != needed:
        wrong.append(f"is of a server of the role {role}, not {needed}")
    if original:
        default = next((each.name for each in draft.facts.all("volume type")), None)
        wanted = draft.wanted.volume_type or default
        if wanted and original.what["volume_type"] != wanted:
            wrong.append(f"is of the type {original.what['volume_type']}, not {wanted} (idr_volume_type)")
        if zone and original.what["availability_zone"] != zone:
            wrong.append(f"is in the zone {original.what['availability_zone']}, not {zone} (idr_availability_zone)")
    draft.problems.extend(f"{place} {what}" for what in wrong)


def _volume_of(draft, snapshot):
    return next((each for each in draft.facts.all("volume") if each.id == snapshot.what["volume_id"]), None)


def _role(thing, original):
    """The role of the server whose data that is, by its mark; None where it has none."""
    marks = [each.what["metadata"].get("idr_volume") for each in (thing, original) if each]
    return next((_role_of_use(use) for use in marks if use), None)


def _role_of_use(use):
    found = USE.fullmatch(use)
    return found and found["role"]
