"""
What a repository outside of the cloud has of backup sets: each volume of a set is a snapshot of restic's, and what the
cloud's snapshots say in their metadata these say in tags. So the repository and its password alone are enough to list
and restore, by the same reading (`manifest`).

A copy is *taking* until all of it is there and the repository was checked; one that was cut off stays so, and counts
for nothing.
"""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from idr.backup import listing, manifest, retention
from idr.backup.model import GOOD, TAKING
from idr.cloud.model import Facts, Thing
from idr.copies.deeds import UNFINISHED
from idr.copies.restic import Failed, Repository
from idr.errors import IdrError, Refused

CACHE = "~/.cache/idr/copies"
AT_WORK = timedelta(days=4)  # until then one that wasn't ended may be in the making: a unit ends after three
BEGUN, SIZE = "idr_begun", "idr_size_gb"  # tags beside the manifest's
PHASE = [[f"idr_phase={TAKING}"], [f"idr_phase={GOOD}"]]  # before and after the check


@contextmanager
def opened(destination, tell):
    """
    A destination's ``Repository``, from this machine, for as long as the block lasts. What restic fails at in it is an
    IdrError.
    """
    cache = Path(CACHE).expanduser()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="idr-copies-") as place:
        try:
            yield Repository(destination.opened_by, place, cache, tell)
        except Failed as error:
            raise IdrError(str(error)) from None


def tags(backup_set, piece, now):
    """
    What a volume's snapshot says of itself and of the set, as it's written: no comma may be in a tag. A pin isn't taken
    along: nobody could take it off there.
    """
    said = manifest.metadata(replace(backup_set, phase=TAKING, pinned=None, copied=None), piece)
    said |= {SIZE: str(piece.size_gb), BEGUN: now.isoformat(timespec="seconds")}
    return _written(said)


def places(backup_set):
    """The names of the destinations at which a set says that it is."""
    return [each.partition(" ")[0] for each in (backup_set.copied or "").split(", ") if each]


def pass_on(destination, id_, said, tell):
    """
    Have a set's copy say what a verification found of the set, whose bytes it has.

    said:  what the set's own snapshots say of that, by the keys of their metadata; "" takes away what was said
    """
    with opened(destination, tell) as repository:
        wanted = _written({key: text for key, text in said.items() if text})
        of_it = [it for it in repository.snapshots() if having(id_) in it["tags"]]
        before = {it["id"]: {tag for tag in it["tags"] if tag.partition("=")[0] in said} for it in of_it}
        other = [it for it in of_it if before[it["id"]] != {*wanted}]
        if other:
            tell(f"{destination.name}: {id_}'s copy says what was found")
            repository.retag(other, set().union(*before.values()), wanted)


def having(id_):
    """The tag by which a set's snapshots are found."""
    return f"idr_set={quote(id_)}"


def of(use):
    """The tag of the snapshots of a volume."""
    return f"idr_volume={quote(use)}"


def facts(snapshots):
    """What restic lists, as the Facts of which `manifest` reads sets."""
    return Facts("", "", {"snapshot": tuple(map(_thing, snapshots))}, {})


def sets(snapshots, environment=None):
    """The sets that are copied, or of one environment, the newest first."""
    return manifest.sets(facts(snapshots), environment)


def the(snapshots, id_, disproved=False):
    """
    The copy of the set with that id. Refused where there's none that can be restored, with why, and where the set was
    disproved, unless that is said.
    """
    found = next((it for it in sets(snapshots) if it.id == id_), None)
    if found is None:
        raise Refused([f"{id_}: no copy of it is there; there are {_ids(snapshots)}"])
    if not found.is_usable:
        raise Refused([f"{id_}: its copy can't be restored: {why}" for why in found.why_not])
    if found.disproved and not disproved:
        raise Refused([f"{id_} was disproved, {found.disproved}. If its copy is the best there is: even_if=disproved"])
    return found


def listed(destination, environment, part, tell):
    """
    The copies of an environment at a destination, as ``listing.sets`` tells those of a cloud.

    part:  of all that is there, how much is read and compared with its hashes: ``5%``, ``all``; None: nothing
    """
    with opened(destination, tell) as repository:
        snapshots = repository.snapshots()
        if part:
            tell(f"{destination.name}: reading {part} of what is there")
            repository.run("check", "--quiet", f"--read-data-subset={'100%' if part == 'all' else part}")
    held = in_the_making(snapshots, now())
    told = [listing.told(it, held) for it in sets(snapshots, environment)]
    return {"sets": told, "problems": list(manifest.problems(facts(snapshots), environment))}


def verdicts(snapshots, destination, environment, now):
    """
    Which copies of an environment stay by a destination's rules, and why: as for the cloud's own sets. One that may be
    in the making stays as long as a unit that makes it may run.
    """
    held = in_the_making(snapshots, now)
    return retention.verdicts(sets(snapshots, environment), {environment: destination.keep}, now, held=held)


def unfinished(snapshots, now):
    """The ids of snapshots of which nobody will know any more whether all was read: whoever wrote them is dead."""
    said = {it["id"]: dict(tag.partition("=")[::2] for tag in it["tags"]) for it in snapshots}
    begun = {id_: manifest.moment(tags.get(UNFINISHED)) for id_, tags in said.items()}
    return [id_ for id_, moment in begun.items() if moment and moment < now - AT_WORK]


def in_the_making(snapshots, now):
    """The environments of which a copy may be in the making, and since when: a unit that makes it runs for days."""
    found = {}
    for it in facts(snapshots).all("snapshot"):
        begun = manifest.moment(it.what["metadata"].get(BEGUN))
        if it.what["metadata"].get("idr_phase") == TAKING and begun and begun > now - AT_WORK:
            found[it.environment] = f"a copy was begun at {begun:%Y-%m-%d %H:%M} UTC"
    return found


def _written(said):
    """Tags, each with a key and what it says."""
    return [f"{key}={quote(text, safe=' /:@')}" for key, text in said.items()]


def _thing(snapshot):
    said = {key: unquote(text) for key, _, text in (tag.partition("=") for tag in snapshot["tags"])}
    size = said.get(SIZE, "")
    what = {
        "metadata": said,
        "status": "available",
        "temporary": None,
        "size": int(size) if size.isdecimal() else 0,
        "volume_id": "",
        "looked_at_by": "restic cat snapshot",
        # restic writes as many digits as there are, of which Python takes six
        "created_at": snapshot["time"][:19] + "Z",
    }
    environment = said.get("idr_environment")
    name = f"of {', '.join(snapshot['paths'])}"
    return Thing("snapshot", name, snapshot["id"], environment, said.get("idr_run"), what)


def _ids(snapshots):
    return ", ".join(it.id for it in sets(snapshots) if it.is_usable) or "none"


def now():
    """This moment, as a set and a snapshot tell it."""
    return datetime.now(UTC).replace(microsecond=0)
