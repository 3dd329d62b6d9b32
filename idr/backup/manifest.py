"""
What a set's snapshots say of it, read and written. Pure functions: of a cloud's Facts, and of a set.

Whoever reads is as careful as can be: a set that a run didn't end on each of its snapshots isn't ended, and a snapshot
with our mark that can't be understood is told of and left alone, with the whole set that it names.
"""

import re
from datetime import UTC, datetime

from idr import topology
from idr.backup.model import FAILED, GOING, GOOD, PARTIAL, TAKING, USABLE, BackupSet, Piece
from idr.cloud import mark
from idr.errors import IdrError

ID = re.compile(rf"(?P<environment>{topology.NAME})-(?P<stamp>\d{{8}}T\d{{6}}Z)")
PHASES = (GOING, FAILED, TAKING, PARTIAL, GOOD)  # of two, the first counts: a run died between two snapshots
FACTS = ("lsn", "database_patch", "omero_version", "commit", "by")
LONGEST = 255  # characters of a value of metadata in Cinder


def new_id(environment, now):
    """The id of a set that is begun NOW."""
    return f"{environment}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def environment_of(id_):
    """The environment whose set has that id; None if it's no set's."""
    found = ID.fullmatch(str(id_))
    return found and found["environment"]


def metadata(backup_set, piece):
    """The metadata of a piece's snapshot, with which it's known as ours, as this set's, and as that volume's."""
    said = {
        "set": backup_set.id,
        "volume": piece.use,
        "taken": _text(backup_set.taken),
        "phase": backup_set.phase,
        "required": "yes" if piece.required else "no",
        "consistency": piece.consistency,
        "uses": ",".join(backup_set.uses),
        "frozen": None if piece.frozen is None else f"{piece.frozen:.3f}",
        "pinned": backup_set.pinned,
        "verified": backup_set.verified and _text(backup_set.verified),
        "verified_figures": backup_set.figures,
        "disproved": backup_set.disproved,
        "copied": backup_set.copied,
    }
    said |= {key: backup_set.facts.get(key) for key in FACTS}
    if len(said["uses"]) > LONGEST:  # one that isn't in the list wouldn't be missed
        raise IdrError(f"{backup_set.id}: the names of its {len(backup_set.uses)} volumes don't go into a manifest")
    told = {key: str(value)[:LONGEST] for key, value in said.items() if value not in (None, "")}
    return mark.metadata(backup_set.environment, backup_set.run, **told)


def proof(verified=None, figures="", disproved=""):
    """What a verification writes on each snapshot of a set: when it passed and its figures, or what disproved it."""
    said = {"idr_verified": verified and _text(verified), "idr_verified_figures": figures, "idr_disproved": disproved}
    return {key: (text or "")[:LONGEST] for key, text in said.items()}


def sets(facts, environment=None):
    """The backup sets of a project, or of one environment in it, the newest first."""
    entries, garbled = _entries(facts, environment)
    found = []
    for id_ in dict.fromkeys(entry.id for entry in entries):
        of_it = [entry for entry in entries if entry.id == id_]
        found.append(_set(of_it, [line for named, line in garbled if named == id_]))
    return tuple(sorted(found, key=lambda it: (it.when, it.id), reverse=True))


def problems(facts, environment=None):
    """What an operator has to look at, a line each: snapshots with our mark whose manifest can't be understood."""
    return tuple(line for _, line in _entries(facts, environment)[1])


def moment(text):
    """The time that a text is, None if it's none; the cloud leaves out that it means UTC."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class _Garbled(Exception):
    """Why a snapshot's manifest isn't one."""


class _Entry:
    """One snapshot's word on its set and itself."""

    def __init__(self, thing):
        self.thing, self.said = thing, thing.what["metadata"]
        self.id = self._of("set", lambda text: environment_of(text) == thing.environment)
        self.taken = moment(self._of("taken", moment))
        self.phase = self._of("phase", PHASES.__contains__)
        self.uses = tuple(self._of("uses", bool).split(","))
        frozen = self.said.get("idr_frozen") or ""
        self.piece = Piece(
            use=self._of("volume", self.uses.__contains__),
            snapshot=thing.id,
            volume=thing.what["volume_id"],
            size_gb=thing.what["size"],
            status=thing.what["status"],
            consistency=self._of("consistency", bool),
            required=self._of("required", ("yes", "no").__contains__) == "yes",
            frozen=float(frozen) if re.fullmatch(r"\d+(\.\d+)?", frozen) else None,
        )

    def _of(self, key, fits):
        text = self.said.get(f"idr_{key}")
        if not text:
            raise _Garbled(f"no idr_{key}")
        if not fits(text):
            raise _Garbled(f"idr_{key} is {text!r}")
        return text

    @property
    def order(self):
        """The first that was made is the one which whoever asked for it looks at."""
        return self.thing.what["created_at"] or "", self.thing.id


def _entries(facts, environment):
    """What can be read, and of what can't ``(set id or None, line)``."""
    entries, garbled = [], []
    for thing in facts.all("snapshot"):
        if not thing.environment or thing.what["temporary"] or environment not in (None, thing.environment):
            continue
        try:
            entries.append(_Entry(thing))
        except _Garbled as why:
            line = (
                f"snapshot {thing.name} ({thing.id}) has the mark of {thing.environment} and no manifest that can be "
                f"read ({why}): nothing is done with it, nor with its set. Look at it: "
                f"{thing.what.get('looked_at_by', 'openstack volume snapshot show')} {thing.id}"
            )
            garbled.append((thing.what["metadata"].get("idr_set"), line))
    return entries, garbled


def _set(entries, unreadable):
    """The set that these snapshots are of; those that can't be read are its problems."""
    chosen, spare, wrong = [], [], list(unreadable)
    uses = tuple(dict.fromkeys(use for entry in entries for use in entry.uses))
    for use in uses:
        of_use = sorted((entry for entry in entries if entry.piece.use == use), key=lambda entry: entry.order)
        ended = [entry for entry in of_use if entry.phase in USABLE]
        if len(ended) > 1:
            ids = ", ".join(entry.thing.id for entry in ended)
            wrong.append(f"{use} is in it {len(ended)} times ({ids}): remove all but the one that you trust")
        chosen += (ended or of_use)[:1]
        spare += [entry for entry in of_use if entry not in chosen]
    first = chosen[0]
    ended = [entry for entry in spare if entry.phase != TAKING]  # a spare one that its run never knew of says nothing
    made = [moment(entry.thing.what["created_at"]) for entry in chosen]
    verified = [moment(entry.said.get("idr_verified")) for entry in chosen]
    return BackupSet(
        id=first.id,
        environment=first.thing.environment,
        taken=min(entry.taken for entry in chosen),
        phase=min((entry.phase for entry in (*chosen, *ended)), key=PHASES.index),
        uses=uses,
        pieces=tuple(entry.piece for entry in chosen),
        facts={key: text for key in FACTS if (text := _first(chosen, key))},
        pinned=_first(chosen, "pinned"),
        verified=min(verified) if all(verified) else None,
        figures=_first(chosen, "verified_figures"),
        disproved=_first(chosen, "disproved"),
        copied=_first(chosen, "copied"),
        run=first.thing.run or "",
        made=min(made) if all(made) else None,
        spare=tuple(entry.piece for entry in spare),
        problems=tuple(wrong),
    )


def _first(entries, key):
    """What the first snapshot that says anything of it says: a run may have died before it told all of them."""
    return next((text for entry in entries if (text := entry.said.get(f"idr_{key}"))), None)


def _text(at):
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
