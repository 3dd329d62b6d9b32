"""
What the cloud itself says of releases: tags, which outlive every master. A release in preparation, and that it's ready,
on the base security group of the environment that it makes; a move under way, and those that ended, on the production
address.

A tag is a word and then ``key=value``, with ``~`` between them. Neutron puts on and takes off one at a time.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from openstack.exceptions import raise_from_response

from idr.cloud.answers import is_missing
from idr.cloud.connection import ERRORS
from idr.cloud.destroying import base
from idr.cloud.making import sent
from idr.cloud.model import PRODUCTION_TAG

RELEASE, READY, MOVING, MOVED = "idr-release", "idr-ready", "idr-moving", "idr-moved"
SWITCH, FINISH, CONFIRMED = "switch", "finish", "confirmed"
STAMP = "%Y%m%dT%H%M%SZ"
SHOWN = 12  # characters of a commit's name
KEPT = 30  # moves that ended


@dataclass(frozen=True)
class Release:
    """A release in preparation: the environment it's from, the backup set, "" until there's one, and the commit."""

    old: str
    set: str
    commit: str
    began: datetime

    def __str__(self):
        said = {"from": self.old, "set": self.set, "commit": self.commit[:SHOWN], "began": f"{self.began:{STAMP}}"}
        return _tag(RELEASE, said)


@dataclass(frozen=True)
class Moved:
    """A move that ended."""

    kind: str
    old: str
    new: str
    began: datetime
    end: str
    took: int = 0  # seconds
    commit: str = ""
    who: str = ""

    @property
    def ended(self):
        return self.began + timedelta(seconds=self.took)

    def __str__(self):
        said = {"kind": self.kind, "from": self.old, "to": self.new, "began": f"{self.began:{STAMP}}", "end": self.end}
        return _tag(MOVED, said | {"commit": self.commit[:SHOWN], "took": self.took, "who": self.who})


def release(seen, name):
    """The ``Release`` by which an environment is made, or None. Of two tags, one was left when its set was had."""
    found = [
        Release(said["from"], said.get("set", ""), said["commit"], _moment(said["began"]))
        for said in _said(_group_tags(seen, name), RELEASE)
    ]
    return max(found, key=lambda it: (bool(it.set), it.began), default=None)


def ready_since(seen, name):
    """Since when an environment is ready to be switched to; None where it isn't."""
    return max((_moment(tag.split("~")[1]) for tag in _group_tags(seen, name) if _is(tag, READY)), default=None)


def moving(seen):
    """What is said of the move under way, as ``{"kind": …, "from": …, "to": …}``, or None."""
    return next((said for address in production(seen) for said in _said(address.what["tags"], MOVING)), None)


def history(seen):
    """What ended, the newest first: a ``Moved`` each."""
    found = [
        Moved(
            said["kind"], said["from"], said["to"], _moment(said["began"]), said["end"],
            int(float(said.get("took") or 0)), said.get("commit", ""), said.get("who", ""),
        )
        for address in production(seen)
        for said in _said(address.what["tags"], MOVED)
    ]  # fmt: skip
    return sorted(found, key=lambda it: it.began, reverse=True)


def production(seen):
    """The floating IPs with the production tag: one, unless an operator has to look at that."""
    return [it for it in seen.all("address") if PRODUCTION_TAG in it.what["tags"]]


def write_release(cloud, seen, name, wanted):
    """Put down on an environment's base group what release it's of, in the place of what was said before."""
    group = base(seen, name)
    _put(cloud, "security-groups", group.id, str(wanted))
    for tag in group.what["tags"]:
        if _is(tag, RELEASE) and tag != str(wanted):
            _take_off(cloud, "security-groups", group.id, tag)


def write_ready(cloud, seen, name, now):
    """Put down that an environment is ready since NOW."""
    _put(cloud, "security-groups", base(seen, name).id, f"{READY}~{now:{STAMP}}")


def forget_release(cloud, seen, name):
    """Take off an environment's base group that it's of a release, and that it's ready."""
    group = base(seen, name)
    for tag in group.what["tags"] if group else ():
        if _is(tag, RELEASE) or _is(tag, READY):
            _take_off(cloud, "security-groups", group.id, tag)


def write_history(cloud, seen, moved):
    """Put down on the production address what ended; of more than the newest 30 the oldest go."""
    [address] = production(seen)
    _put(cloud, "floatingips", address.id, str(moved))
    tags = sorted((tag for tag in address.what["tags"] if _is(tag, MOVED)), key=_began)
    for tag in tags[: max(len(tags) + 1 - KEPT, 0)]:
        _take_off(cloud, "floatingips", address.id, tag)


def _group_tags(seen, name):
    group = base(seen, name)
    return group.what["tags"] or () if group else ()


def _said(tags, word):
    return [_fields(tag) for tag in tags if _is(tag, word)]


def _fields(tag):
    return dict(field.split("=", 1) for field in tag.split("~")[1:] if "=" in field)


def _began(tag):
    return _fields(tag)["began"]


def _is(tag, word):
    return tag.startswith(f"{word}~")


def _tag(word, said):
    return "~".join([word, *(f"{key}={value}" for key, value in said.items())])


def _moment(text):
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def _put(cloud, kind, id_, tag):
    sent(lambda: raise_from_response(cloud.network.put(_path(kind, id_, tag))), lambda: None, time.sleep)


def _take_off(cloud, kind, id_, tag):
    try:
        sent(lambda: raise_from_response(cloud.network.delete(_path(kind, id_, tag))), lambda: None, time.sleep)
    except ERRORS as error:
        if not is_missing(error):
            raise


def _path(kind, id_, tag):
    return f"/{kind}/{id_}/tags/{quote(tag, safe='')}"
