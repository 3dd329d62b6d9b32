"""
One run at a time on an environment, from any machine: a claim in the description of its base security group.

That group, which has the environment's name, is its record in the cloud: made before everything else and removed after
it. Who wants the lock first puts a tag of their own on it, then looks at all tags, and goes on only if theirs is the
only one: of two at once, at least one sees the other. Who is alone writes the claim into the description, for all to
read. A conditional update (Neutron's revision number, If-Match) isn't enough: when two meet in its database, Neutron
tries the later one again without the condition, so that both succeed (seen with two processes and 29.0).
Neutron lets two groups have one name, and two runs may both make it: all of them are looked at, the oldest counts.
"""

import getpass
import os
import random
import re
import socket
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from openstack.exceptions import raise_from_response

from idr.cloud import mark
from idr.cloud.answers import is_conflict, is_missing, is_stale, is_unclear
from idr.cloud.connection import ERRORS, told
from idr.errors import IdrError, Refused

TRIES = 10
CLAIM = "idr-claim-"  # how the tag of a claim begins
LONGEST = 255  # characters of a description in Neutron
# what is looked at of a group; with all its rules, Neutron takes three times as long
WITHOUT_RULES = ["id", "name", "description", "tags", "created_at", "revision_number"]
RECORD = re.compile(
    r"(?P<mark>[^;]*)(; unfinished (?P<unfinished>[^;]+))?(; backup failed (?P<failed>[^;\s]+))?"
    r"(; held by (?P<holder>\S+) since (?P<since>\S+) to (?P<purpose>.*))?"
)


class Lost(IdrError):
    """The lock isn't this run's any more; it must not go on."""


@dataclass(frozen=True)
class Record:
    """
    What the base group's description says: whose it is, the run that isn't finished, when the last backup failed (it
    may have left nothing else), and who holds the lock.
    """

    mark: str
    unfinished: str | None = None
    failed: str | None = None  # gone with the next good one
    holder: str | None = None  # user@host:pid
    since: str | None = None
    purpose: str | None = None

    def __str__(self):
        unfinished = f"; unfinished {self.unfinished}" if self.unfinished else ""
        failed = f"; backup failed {self.failed}" if self.failed else ""
        held = f"; held by {self.holder} since {self.since} to {self.purpose}" if self.holder else ""
        return f"{self.mark}{unfinished}{failed}{held}"[:LONGEST]

    @property
    def free(self):
        """The same, held by nobody."""
        return replace(self, holder=None, since=None, purpose=None)


def record(description):
    """The ``Record`` that is that description."""
    return Record(**RECORD.match(description).groupdict())


def record_id(cloud, environment):
    """The id of the base group that is an environment's record, None where it has none yet."""
    try:
        return next((group.id for group, _ in _groups(cloud, environment)), None)
    except ERRORS as error:
        raise IdrError(f"security group {environment}, which is the lock: {told(error)}") from error


def dead_holder(cloud, environment):
    """Who holds an environment's lock, or claims it, and is known to be dead: a process of this user, here. Or None."""
    found = [it for group, _ in _groups(cloud, environment) for it in holders(group.description, group.tags)]
    return next((it.holder for it in found if is_dead(it.holder)), None)


def holders(description, tags):
    """Who holds a lock, and who else claims it, as Records, by what is on its group."""
    said = record(description)
    claims = [_claimed(tag) for tag in tags or () if tag.startswith(CLAIM)]
    return [said] * bool(said.holder) + [it for it in claims if it.holder != said.holder]


def moment():
    """The time as it's written in records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def this_process():
    """The name under which this process holds locks: ``ada@workstation:4711``."""
    return f"{getpass.getuser()[:20]}@{socket.gethostname().split('.')[0][:30]}:{os.getpid()}"


class Lock:
    """A lock that is held; made with ``held``."""

    def __init__(self, cloud, environment, group, mine):
        self.cloud, self.environment, self.group, self.mine = cloud, environment, group, mine
        self.tag = f"{CLAIM}{mine.since}~{mine.holder}"

    @property
    def unfinished(self):
        """The run that began before and isn't finished, or None."""
        return self.mine.unfinished

    def check(self):
        """Raise ``Lost`` unless this run still holds it: before anything is removed that can't be made again."""
        self._now()

    def begin(self, run):
        """Write down that this run has begun to make things."""
        self._write(replace(self.mine, unfinished=run))

    def finish(self):
        """Write down that nothing is unfinished."""
        self._write(replace(self.mine, unfinished=None))

    def backed_up(self, failed=None):
        """Write down that a backup was a success, or that it FAILED and when."""
        self._write(replace(self.mine, failed=failed))

    def release(self):
        """
        Give it back; where it was lost there's nothing to give. Where that fails it's said, and no more: what this run
        did, or why it failed, is what its caller has to hear.
        """
        try:
            try:
                self._write(self.mine.free)
            except Gone:
                return  # and with it the claim; Neutron's answer to a tag of what isn't there is 500
            except Lost:
                pass
            _untag(self.cloud, self.group, self.tag)
        except (IdrError, *ERRORS) as error:
            why = told(error) if isinstance(error, ERRORS) else error
            print(f"{self.environment}: its lock couldn't be given back: {why}", file=sys.stderr, flush=True)

    def remove(self):
        """Remove the group, and so the lock itself: an environment's very end."""
        for pause in _pauses():
            try:
                group = self._now()
            except Gone:
                return
            _sent(
                lambda group=group: self.cloud.network.delete_security_group(group, if_revision=group.revision_number)
            )
            time.sleep(pause)
        raise IdrError(f"security group {self.environment}, which is the lock: not removed in {TRIES} tries")

    def _now(self):
        """The group as it is, if it's still this run's."""
        try:
            group = self.cloud.network.get_security_group(self.group)
        except ERRORS as error:
            if is_missing(error):
                raise Gone(f"{self.environment}: its base group, which is the lock, is gone: stopped") from error
            raise
        now = record(group.description)
        if (now.holder, now.since) != (self.mine.holder, self.mine.since):
            who = f"{now.holder} has it since {now.since}" if now.holder else "nobody has it"
            raise Lost(f"{self.environment}: the lock was taken away from this run, and {who}: stopped")
        return group

    def _write(self, wanted):
        for pause in _pauses():
            group = self._now()
            if record(group.description) == wanted or _sent(lambda group=group: _update(self.cloud, group, wanted)):
                self.mine = wanted
                return
            time.sleep(pause)
            if _is(self.cloud, self.group, wanted):
                self.mine = wanted
                return
        raise IdrError(f"security group {self.environment}, which is the lock: not written in {TRIES} tries")


class Gone(Lost):
    """The group itself isn't there any more."""


@contextmanager
def held(cloud, environment, run, purpose, broken=None, typed=None):
    """
    The environment's lock, a ``Lock``, for as long as the block lasts.

    run:      this run's id, which the base group gets if it has to be made
    purpose:  what for, which others are told: ``apply``
    broken:   the holder whose lock is to be broken, as the refusal shows it
    typed:    the command that was typed, where it isn't ``environment.<purpose> <environment>``

    Refused with who holds it, since when, and how it's broken.
    """
    lock = _acquire(cloud, environment, run, purpose, broken, typed or f"environment.{purpose} {environment}")
    try:
        yield lock
    finally:
        lock.release()


def _acquire(cloud, environment, run, purpose, broken, typed):
    since, claims = moment(), None
    for pause in _pauses():
        found = _groups(cloud, environment)
        if not found:
            text = str(Record(mark.description(environment, run), unfinished=run))  # an environment that has begun
            _sent(lambda text=text: cloud.network.create_security_group(name=environment, description=text))
            found = _groups(cloud, environment)
        others = [(group, said) for group, said in found if said.holder]
        dead = [(group, said) for group, said in others if said.holder == broken]
        for group, said in dead:
            _sent(lambda group=group, said=said: _update(cloud, group, said.free))
        if others and not dead:
            raise Refused(_held_by(environment, said, typed, broken) for _, said in others)
        for group, tag in _claims(found):
            if _claimed(tag).holder == broken:
                _untag(cloud, group.id, tag)
        if dead or not found:
            continue
        group, said = found[0]
        lock = Lock(cloud, environment, group.id, replace(said, holder=this_process(), since=since, purpose=purpose))
        try:
            claims = _others(cloud, lock)
            if claims == [] and _is_written(cloud, lock):
                return lock
        except BaseException:  # whatever it is, nobody would give it back
            lock.release()
            raise
        lock.release()
        time.sleep(pause)
    if claims:
        raise Refused(_held_by(environment, replace(it, purpose=purpose), typed, broken) for it in claims)
    raise Refused(
        [f"{environment}: its lock couldn't be had in {TRIES} tries, as others want it too. Once more, please"]
    )


def _others(cloud, lock):
    """Claim a lock by a tag: whose claims are beside it, as Records; None where the tag itself isn't there."""
    _sent(lambda: raise_from_response(cloud.network.put(f"/security-groups/{lock.group}/tags/{quote(lock.tag)}")))
    tags = [tag for _, tag in _claims(_groups(cloud, lock.environment))]
    return [_claimed(tag) for tag in tags if tag != lock.tag] if lock.tag in tags else None


def _is_written(cloud, lock):
    """Write a claim down that is the only one, and tell whether it's on the group that counts; all others go."""
    free = [(group, said) for group, said in _groups(cloud, lock.environment) if group.id == lock.group]
    if not free or free[0][1].holder:
        return False
    [(group, said)] = free  # as it is now: others may have had the lock since it was looked at first
    lock.mine = replace(said, holder=lock.mine.holder, since=lock.mine.since, purpose=lock.mine.purpose)
    _sent(lambda: _update(cloud, group, lock.mine))
    found = _groups(cloud, lock.environment)
    if (found[0][0].id, found[0][1]) != (lock.group, lock.mine):
        return False
    for other, _ in found[1:]:
        with suppress(*ERRORS):  # one that is in use stays, and never counts
            _sent(lambda other=other: cloud.network.delete_security_group(other, if_revision=other.revision_number))
    return True


def _claims(found):
    """The tags by which groups are claimed, each with its group."""
    return [(group, tag) for group, _ in found for tag in group.tags or () if tag.startswith(CLAIM)]


def _claimed(tag):
    """The Record of whose claim a tag is."""
    since, _, holder = tag.removeprefix(CLAIM).partition("~")
    return Record("", holder=holder, since=since)


def _untag(cloud, group, tag):
    """Take a claim off a group; it may be gone, and the group, too."""
    for pause in _pauses():
        try:
            raise_from_response(cloud.network.delete(f"/security-groups/{group}/tags/{quote(tag)}"))
            return
        except ERRORS as error:
            if is_missing(error):
                return
            if not (is_unclear(error) or is_stale(error) or is_conflict(error)):
                raise
        time.sleep(pause)
    raise IdrError(f"security group {group}: the claim {tag} couldn't be taken off in {TRIES} tries")


def _groups(cloud, environment):
    """The environment's base groups with their records, the one that counts first: one, or more for a moment."""
    project = cloud.session.get_project_id()  # an administrator would see other projects' too
    found = cloud.network.security_groups(name=environment, project_id=project, fields=WITHOUT_RULES)
    ours = [group for group in found if group.name == environment and mark.of(group.description)[0] == environment]
    return [(group, record(group.description)) for group in sorted(ours, key=lambda it: (it.created_at, it.id))]


def _held_by(environment, said, typed, broken):
    who, _, pid = said.holder.rpartition(":")
    dead = ", which doesn't run any more" if is_dead(said.holder) else ""
    wrong = f"break_lock={broken} doesn't name its holder. " if broken else ""
    return (
        f"{environment}: {who} (process {pid}{dead}) is on it since {said.since}, to {said.purpose}. {wrong}"
        f"Once you are sure that this run is dead: salt-run {typed} apply=True break_lock={said.holder}"
    )


def is_dead(holder):
    """Whether that is known to be a process of this user on this machine that has ended."""
    return _is_here(holder) and not os.path.exists(f"/proc/{holder.rpartition(':')[2]}")


def is_alive(holder):
    """Whether that is known to be a process of this user on this machine that goes on."""
    return _is_here(holder) and not is_dead(holder)


def _is_here(holder):
    return holder.rpartition(":")[0] == this_process().rpartition(":")[0]


def _pauses():
    """Seconds between tries, not the same for two who collide."""
    return (random.uniform(0.1, 0.3 * number) for number in range(1, TRIES + 1))


def _update(cloud, group, wanted):
    cloud.network.update_security_group(group.id, if_revision=group.revision_number, description=str(wanted))


def _is(cloud, id_, wanted):
    try:
        return record(cloud.network.get_security_group(id_).description) == wanted
    except ERRORS as error:
        if not is_missing(error):
            raise
        return False


def _sent(call):
    """Make a call that is conditional; False where it had no effect, or may have had it. What's refused is raised."""
    try:
        call()
        return True
    except ERRORS as error:
        if not (is_stale(error) or is_missing(error) or is_unclear(error)):
            raise
        return False
