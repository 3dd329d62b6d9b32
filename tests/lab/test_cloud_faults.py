"""
Whatever goes wrong between an operator and the cloud, the same command typed again ends complete, and nothing leaks:
each kind of call of an apply and of a destroy is killed, cut, lost, refused, late or wrongly answered once, on an
environment of one server.
"""

from __future__ import annotations

import pytest

from lab.cloud import faults

from .environments import Small, inventory, script
from .faulty import KILLS, calls_of, changing, get_through, killed_at, rules
from .typist import by_the_other_door

__all__ = ["by_the_other_door"]  # a fixture
pytestmark = [pytest.mark.lab, pytest.mark.trial]

SMALL = Small("idr3", source="origin")
APPLY, DESTROY = SMALL.apply, SMALL.destroy
# What the project of `idr` has beside it: a volume to clone, and an address that is the public's.
BESIDE_IT = """
from idr.cloud.model import PRODUCTION_TAG
volume = disk.find_volume("origin") or disk.create_volume(name="origin", size=100)
disk.wait_for_status(volume, "available")
if not list(net.ips(tags=PRODUCTION_TAG)):
    net.set_tags(net.create_ip(floating_network_id=net.find_network("external").id), [PRODUCTION_TAG])
"""
GONE = """
from idr.cloud.model import PRODUCTION_TAG
disk.delete_volume(disk.find_volume("origin"))
for address in net.ips(tags=PRODUCTION_TAG):
    net.delete_ip(address)
"""


@pytest.fixture(scope="module")
def small(lab):
    script(lab, BESIDE_IT)
    yield SMALL
    script(lab, GONE)


@pytest.fixture(scope="module")
def calls(lab, before):
    """The kinds of calls of each command."""
    found = {command: calls_of(lab, command) for command in (APPLY, DESTROY)}
    assert inventory(lab) == before
    return found


# What a kind of call meets one after another in a run, of which the client waits twice as long before each further try:
# a closed port is two of them. An answer that got lost is the last, as its call is done; 409 ends a run for a read.
IN_A_ROW = [("refused", "late"), ("reset", 500), (503, 429), (409, "lost"), (413,)]


@pytest.mark.parametrize("faults_in_a_row", IN_A_ROW, ids=lambda row: "-".join(map(str, row)))
def test_every_kind_of_call_is_answered_wrongly(lab, before, calls, faults_in_a_row):
    for command, other in ((APPLY, DESTROY), (DESTROY, APPLY)):
        read = calls[APPLY] if command == DESTROY else []  # by both in the same way: apply has met it
        spoiled = [call for call in calls[command] if call[1] != "GET" or call not in read]
        if faults_in_a_row == (413,):  # a quota, so of making alone; it ends a run, and each is met in one of its own
            spoiled = [call for call in changing(spoiled) if call[1] == "POST"] if command == APPLY else []
        left = [(call, fault) for call in spoiled for fault in faults_in_a_row]
        for _ in range(4):  # a run that goes on from another one has no reason for some calls
            rules(left)
            get_through(lab, command)
            hits = faults.hits()
            faults.rules()
            left = [it for it, hit in zip(left, hits, strict=True) if not hit]
            if not left:
                break
            get_through(lab, other)
        assert left == []
        assert command == DESTROY or SMALL.steps(lab) == []
    assert inventory(lab) == before


@pytest.mark.parametrize("how", KILLS)
def test_killed_at_every_kind_of_call(lab, before, calls, how):
    for command, other in ((APPLY, DESTROY), (DESTROY, APPLY)):
        left, more = changing(calls[command]), []
        for _ in range(2 * len(left)):
            met, more = killed_at(lab, (*command, *more), left, how)
            left = [call for call in left if call not in met]
            if not left:
                break
            if not met and not more:  # it went through without these; once more from the beginning
                get_through(lab, other)
        assert left == []
        get_through(lab, command)
        assert command == DESTROY or SMALL.steps(lab) == []
    assert inventory(lab) == before
