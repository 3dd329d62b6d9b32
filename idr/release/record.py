"""
What is known of releases, as tags in Neutron: the only place where their form is known.

On the base security group of the new environment: the release that it's of, and that it's ready. On the public's
address, which outlives every environment and every master: the move that is under way, put there before its first
change and taken off last, and a tag for each one that ended. A tag is put on or taken off by one call, so nothing of it
can be half done.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from openstack.exceptions import raise_from_response

from idr.cloud.answers import is_missing
from idr.cloud.connection import ERRORS
from idr.errors import IdrError

RELEASE, READY, MOVING, MOVED = "idr-release", "idr-ready", "idr-moving", "idr-moved"
BACK = "idr-back"  # beside MOVING: the move is being undone
SWITCH, ROLLBACK, FINISH = "switch", "rollback", "finish"  # kinds of what a history has
CONFIRMED, UNDONE, FAILED = "confirmed", "undone", "failed"  # how a move ended
LONGEST = 255  # characters of a tag in Neutron
NO_SET = "none"  # of a release whose backup set isn't there yet
KEPT = 30  # entries of the history; a resource has at most 50 tags
GROUPS, ADDRESSES = "security-groups", "floatingips"  # what has tags, as Neutron's paths have it


@dataclass(frozen=True)
class Release:
    """
    A release in preparation, or prepared: the environment that it follows, the backup set and the commit it's made of.
    """

    source: str
    set: str
    commit: str
    began: str
    ready: str | None = None  # since when; None: it's being prepared


@dataclass(frozen=True)
class Move:
    """The public's address under way from one environment's proxy to another's, which gives the first SPARE for it."""

    kind: str
    source: str
    target: str
    spare: str | None  # a floating IP; None: the target had none
    began: str
    who: str
    is_undone: bool = False  # it's on its way back

    @property
    def back(self):
        """The same the other way, which undoes it."""
        return replace(self, source=self.target, target=self.source)

    @property
    def new(self):
        """The new environment of the release that it's of, which is how it's named in commands."""
        return self.source if self.kind == ROLLBACK else self.target

    @property
    def in_the_way(self):
        """Why something else may not be done now, in a line."""
        under_way = f"a {self.kind} from {self.source} to {self.target} is under way, by {self.who} since {self.began}"
        return f"{under_way}: salt-run release.status"


@dataclass(frozen=True)
class Moved:
    """A move that ended, or another end of a release. Times in seconds; what isn't known is None."""

    kind: str
    source: str
    target: str
    began: str
    end: str
    commit: str | None = None  # of the environment that has the address since
    took: int | None = None
    gap: float | None = None  # seconds without an answer, as the machine saw it that moved it
    checks: int | None = None  # how many were passed
    who: str | None = None


def moment(when=None):
    """A time as it's written here, this one unless another is given: ``20261124T050000Z``."""
    return (when or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")


def when(text):
    """The time that was written."""
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


# ---- texts


def release_tag(release):
    """The tag that says which release an environment is of."""
    return _text(
        RELEASE, {"from": release.source, "set": release.set, "commit": release.commit, "began": release.began}
    )


def ready_tag(since):
    """The tag that says that a release is ready."""
    return f"{READY}~{since}"


def moving_tag(move):
    """The tag that says what is under way."""
    said = {"kind": move.kind, "from": move.source, "to": move.target, "spare": move.spare or "none"}
    return _text(MOVING, said | {"began": move.began, "who": move.who})


def back_tag(move):
    """The tag that says, beside the other, that a move is being undone."""
    return f"{BACK}~{move.began}"


def of_move(tags):
    """The tags of the public's address that say that something is under way."""
    return [tag for tag in tags if tag.startswith((f"{MOVING}~", f"{BACK}~"))]


def moved_tag(moved):
    """The tag that says how a move ended."""
    said = {"kind": moved.kind, "from": moved.source, "to": moved.target, "began": moved.began, "end": moved.end}
    more = {"commit": moved.commit and moved.commit[:12], "took": moved.took, "gap": moved.gap, "checks": moved.checks}
    return _text(MOVED, said | {key: value for key, value in more.items() if value is not None} | {"who": moved.who})


def release_of(tags):
    """
    The ``Release`` that an environment is of, by the tags of its base group; None where it's of none. Of two, one is
    left of when its set wasn't known.
    """
    said = sorted(_found(RELEASE, tags, "from", "set", "commit", "began"), key=lambda it: it["set"] == NO_SET)
    ready = sorted(tag.partition("~")[2] for tag in tags if tag.startswith(f"{READY}~"))
    return next((Release(it["from"], it["set"], it["commit"], it["began"], *ready[:1]) for it in said), None)


def moving(tags):
    """
    The ``Move`` that is under way, by the tags of the public's address; None where none is.

    An IdrError where there are two, or one that can't be understood: whoever sees it must not move anything.
    """
    there = [tag for tag in tags if tag.startswith(f"{MOVING}~")]
    said = _found(MOVING, there, "kind", "from", "to", "spare", "began", "who")
    if len(there) > 1 or len(said) != len(there):
        raise IdrError(
            f"the public's address has tags that can't be understood: {', '.join(there)}: see where it is, and "
            f"take off what isn't so: openstack floating ip unset --tag <tag> <address>"
        )
    for it in said:
        spare = None if it["spare"] == "none" else it["spare"]
        move = Move(it["kind"], it["from"], it["to"], spare, it["began"], it["who"])
        is_written = any((it.kind, it.began, it.end) == (move.kind, move.began, UNDONE) for it in history(tags))
        return replace(move, is_undone=back_tag(move) in tags or is_written)
    return None


def history(tags):
    """What ended, each as ``Moved``, the newest first, by the tags of the public's address."""
    found = [
        Moved(
            it["kind"], it["from"], it["to"], it["began"], it["end"], it.get("commit"), _number(it.get("took")),
            _number(it.get("gap")), _number(it.get("checks")), it.get("who"),
        )
        for it in _found(MOVED, tags, "kind", "from", "to", "began", "end")
    ]  # fmt: skip
    return sorted(found, key=lambda it: it.began, reverse=True)


def _text(of, said):
    text = "~".join([of, *(f"{key}={_plain(value)}" for key, value in said.items() if value is not None)])
    return text[:LONGEST]  # who did it comes last, and is what is shortened


def _plain(value):
    """A value without what would end it, or what Neutron has no room for in a tag."""
    return str(value).translate(dict.fromkeys(map(ord, "~,/ "), "-"))


def _found(of, tags, *keys):
    """What tags of that kind say, those that have these keys."""
    parts = ([it.partition("=") for it in tag.split("~")[1:]] for tag in tags if tag.startswith(f"{of}~"))
    said = [{key: value for key, _, value in each} for each in parts]
    return [it for it in said if all(it.get(key) for key in keys)]


def _number(text):
    try:
        return None if text is None else float(text) if "." in text else int(text)
    except ValueError:
        return None


# ---- calls, each of which may be made again


def put(cloud, of, id_, tag):
    """Put a tag on a resource of Neutron; it may be there."""
    raise_from_response(cloud.network.put(f"/{of}/{id_}/tags/{quote(tag, safe='')}"))


def take(cloud, of, id_, tag):
    """Take a tag off a resource of Neutron; it may be gone."""
    try:
        raise_from_response(cloud.network.delete(f"/{of}/{id_}/tags/{quote(tag, safe='')}"))
    except ERRORS as error:
        if not is_missing(error):
            raise


def say_moved(cloud, address, tags, moved):
    """
    Write into the history how a move ended, instead of what was written of it before; the oldest entries go.

    address:  the id of the public's address
    tags:     what it has
    """
    tag = moved_tag(moved)
    put(cloud, ADDRESSES, address, tag)
    entries = {it: found for it in tags if it != tag for found in history([it])}
    same = [it for it, found in entries.items() if (found.kind, found.began) == (moved.kind, moved.began)]
    left = sorted((it for it in entries if it not in same), key=lambda it: entries[it].began, reverse=True)
    for old in (*same, *left[KEPT - 1 :]):
        take(cloud, ADDRESSES, address, old)
