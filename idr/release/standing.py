"""Where a release stands by one reading of the project: what preparing, finishing and aborting it are decided on."""

import time
from dataclasses import dataclass

from idr.backup import turn
from idr.cloud import inventory, live, mark
from idr.cloud.destroying import base
from idr.cloud.making import sent
from idr.cloud.model import PRODUCTION_TAG, Facts
from idr.release import record


@dataclass(frozen=True)
class Standing:
    """
    An environment NEW and the release that it's of, None where it's of none. LIVE are the signs that NEW is the
    public's, MOVE is what is under way, HISTORY what ended, the newest first.
    """

    facts: Facts
    new: str
    release: record.Release | None
    live: tuple[str, ...]
    unknown: tuple[str, ...]  # signs that couldn't be looked for
    move: record.Move | None
    history: tuple[record.Moved, ...]

    @property
    def is_there(self):
        """Whether there's anything of NEW that an apply makes."""
        volumes = [it for it in self.facts.of(self.new, "volume") if mark.is_current(it)]
        return turn.stands(self.facts, self.new) or bool(volumes)

    @property
    def under_way(self):
        """Why nothing else may be done now, a line at most."""
        return [self.move.in_the_way] if self.move else []


def look(cloud, new, public_name):
    """The ``Standing`` of an environment as the cloud tells it now."""
    return of(inventory.facts(cloud), new, public_name)


def of(facts, new, public_name):
    """The ``Standing`` by those Facts; it asks DNS, and nothing else."""
    tags = [tag for address in public(facts) for tag in address.what["tags"]]
    signs, unknown = live.signs(facts, new, public_name)
    return Standing(
        facts, new, release_of(facts, new), tuple(signs), tuple(unknown), record.moving(tags),
        tuple(record.history(tags)),
    )  # fmt: skip


def public(facts):
    """The floating IPs with the production tag: one, unless an operator has to look at that."""
    return [it for it in facts.all("address") if PRODUCTION_TAG in it.what["tags"]]


def group_tags(facts, name):
    """The tags of an environment's base group."""
    group = base(facts, name)
    return tuple(group.what["tags"] or ()) if group else ()


def release_of(facts, name):
    """The release that an environment is of, or None."""
    return record.release_of(group_tags(facts, name))


def write(cloud, facts, name, release):
    """Say on an environment's base group what release it's of, instead of what is said there."""
    group, wanted = base(facts, name).id, record.release_tag(release)
    put(cloud, group, wanted)
    for tag in group_tags(facts, name):
        if tag.startswith(f"{record.RELEASE}~") and tag != wanted:
            take(cloud, group, tag)


def forget(cloud, facts, name, what=(record.READY, record.RELEASE)):
    """Take off an environment's base group that it's ready, and that it's of a release; or what of these is given."""
    for tag in group_tags(facts, name):
        if tag.partition("~")[0] in what:
            take(cloud, base(facts, name).id, tag)


def took_over(history):
    """The switch by which the public's environment came to be that, if nothing was moved or finished since; or None."""
    last = next((it for it in history if it.end != record.UNDONE), None)
    return last if last and last.kind == record.SWITCH else None


def put(cloud, group, tag):
    """Put a tag on a base group, once more where its answer was lost."""
    sent(lambda: record.put(cloud, record.GROUPS, group, tag), lambda: None, time.sleep)


def take(cloud, group, tag):
    """Take a tag off a base group, once more where its answer was lost."""
    sent(lambda: record.take(cloud, record.GROUPS, group, tag), lambda: None, time.sleep)
