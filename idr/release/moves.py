"""
The public's address moved from one environment's proxy to another's, and the spare one the other way.

What is left to be done is a pure function of what Neutron says, and it's asked again before every call: so whoever
goes on from wherever another was cut off does the same as the other would have done. The public's address goes over in
one call; there is no moment at which it is nobody's, and none at which it isn't known whose. Where a cloud refuses that
call although nothing is in its way, it takes two, one right after the other.
"""

import time
from dataclasses import dataclass

from keystoneauth1.exceptions import DiscoveryFailure
from openstack.exceptions import NotSupported, ServiceDiscoveryException

from idr.cloud import mark
from idr.cloud.answers import is_conflict, is_missing, is_stale, is_unclear
from idr.cloud.connection import ERRORS, told
from idr.cloud.live import RELEASED
from idr.errors import IdrError, Refused
from idr.release import record, seen

PAUSES = (0.1, 0.3, 1, 2, 5)  # seconds before another try; the last one before each further one
UNDISCOVERED = (DiscoveryFailure, NotSupported, ServiceDiscoveryException)  # an API was away while it was looked for
REFUSALS = 2  # of the one call, after which two are made: one may have been a fault that passes


class OverLimit(IdrError):
    """It wasn't done in its time."""


@dataclass(frozen=True)
class Put:
    """An address put on a port, or with None off the one that it's on; told whose it is by the same call."""

    address: seen.Address
    port: str | None
    description: str | None
    text: str

    def __str__(self):
        return self.text


@dataclass(frozen=True)
class Tag:
    """A tag put on an environment's record, or taken off."""

    group: str
    tag: str
    is_on: bool
    text: str

    def __str__(self):
        return self.text


def left(now, move):
    """
    The calls that are left until the move's target has the public's address, and its source the spare one, in their
    order: ``Put`` and ``Tag``. None when it's done.

    now:   what Neutron says, as ``seen.look`` has it
    move:  the ``record.Move``

    Refused, with all reasons, where something is in the way that this move didn't put there. A spare address that was
    given away meanwhile isn't: whose the public's is counts more.
    """
    _unblocked(now, move)
    source, target = now.proxy(move.source), now.proxy(move.target)
    public, spare = now.public, now.named(move.spare)
    steps = []
    if public.port != target.id or public.whose != move.target:
        if spare and spare.port == target.id:
            steps.append(Put(spare, None, None, f"take {spare.ip} off {target.name}"))
        steps.append(
            Put(public, target.id, mark.description(move.target), f"move {public.ip} to {target.name}, in one call")
        )
    if spare and source and (spare.port != source.id or spare.whose != move.source):
        # what an apply made is given back when that environment goes, and it's told so by who made it
        whose = mark.description(move.source, spare.made)
        steps.append(Put(spare, source.id, whose, f"put {spare.ip} on {source.name}"))
    for name, is_on in ((move.target, True), (move.source, False)):  # for a moment both, and never none
        there = now.records.get(name)
        if there and (RELEASED in there.tags) != is_on:
            what = f"write on {name} that it is the public's" if is_on else f"take that off {name}"
            steps.append(Tag(there.id, RELEASED, is_on, what))
    return steps


def _unblocked(now, move):
    """Refused where there's something in the way."""
    source, target = now.proxy(move.source), now.proxy(move.target)
    public, spare = now.public, now.named(move.spare)
    known = {it.id for it in (public, spare) if it}
    problems = []
    if target is None:
        problems.append(f"{move.target} has no port of a proxy that the address could be on")
    for port in filter(None, (source, target)):
        problems += [
            f"{port.name} holds {it.ip} too, which isn't of this move: openstack floating ip unset --port {it.ip}"
            for it in now.on(port)
            if it.id not in known
        ]
    ends = {None, *(port.id for port in (source, target) if port)}
    problems += [
        f"{it.ip} is on {now.place(it)}, which is neither {move.source}'s proxy nor {move.target}'s: if that "
        f"isn't meant: openstack floating ip unset --port {it.ip}"
        for it in (public, spare)
        if it and it.port not in ends
    ]
    if problems:
        raise Refused(problems, "stopped, and nothing more was changed")


def carry_out(fresh, move, until, tell, tag=seen.PRODUCTION_TAG, allowed=lambda now: None):
    """
    Take the calls that are left, looking before each, until none is.

    fresh:    makes a connection to the cloud, for each look and call a new one: a move may cut those that were there
    until:    the moment, by ``time.monotonic``, at which it's given up
    tell:     is told one line for each
    tag:      what makes an address the public's
    allowed:  raises an error where by what Neutron says this run must not go on

    An answer that doesn't say whether a call had its effect is looked after. Raises ``OverLimit`` when its time is
    over.
    """
    refusals = 0

    def one():
        nonlocal refusals
        cloud = fresh()
        now = seen.look(cloud, tag)
        allowed(now)
        steps = left(now, move)
        if not steps:
            return True
        if time.monotonic() > until:
            raise OverLimit(f"the move to {move.target} wasn't done in its time: {steps[0]} is left")
        step = steps[0]
        try:
            _take(cloud, step, in_two=refusals >= REFUSALS)
        except ERRORS as error:
            refusals += _is_the_one_call(step) and is_conflict(error)
            raise
        tell(f"done: {step}")
        return False

    while not again(one, until, f"the move to {move.target}"):
        pass


def again(deed, until, what):
    """
    Do what may be done again, until it succeeds or its time is over; returns what it returns.

    deed:   raises an error of a cloud's where it failed
    until:  a moment by ``time.monotonic``
    what:   how it's called where it had to be given up
    """
    tried = 0
    while True:
        try:
            return deed()
        except (IdrError, *ERRORS) as error:
            cause = error.__cause__ if isinstance(error, IdrError) else error  # connecting tells it in its own line
            if not isinstance(cause, ERRORS) or not _passes(cause):
                raise
            pause = PAUSES[min(tried, len(PAUSES) - 1)]
            if time.monotonic() + pause > until:
                why = told(error) if isinstance(error, ERRORS) else error
                raise OverLimit(f"{what} wasn't done in its time: {why}") from error
            tried += 1
            time.sleep(pause)


def _passes(error):
    """Whether the same call may succeed a moment later, after another look."""
    if isinstance(error, UNDISCOVERED):
        return True
    return is_unclear(error) or is_stale(error) or is_conflict(error) or is_missing(error)


def _is_the_one_call(step):
    return isinstance(step, Put) and step.port is not None and step.address.port is not None


def _take(cloud, step, in_two):
    if isinstance(step, Tag):
        (record.put if step.is_on else record.take)(cloud, record.GROUPS, step.group, step.tag)
        return
    revision = step.address.revision
    if in_two and _is_the_one_call(step):
        revision = cloud.network.update_ip(step.address.id, if_revision=revision, port_id=None).revision_number
    what = {"port_id": step.port} | ({} if step.description is None else {"description": step.description})
    cloud.network.update_ip(step.address.id, if_revision=revision, **what)
