"""
The moves of a release in the lab's own Neutron, with two ports and two floating IPs that have no servers: killed before
and after each of their calls, and each kind of call spoiled in each way, there's one owner at the end, the right one.
"""

from __future__ import annotations

import pytest

from lab.cloud import faults

from .environments import inventory, script
from .faulty import rules
from .typist import by_the_other_door

__all__ = ["by_the_other_door"]  # a fixture
pytestmark = [pytest.mark.lab, pytest.mark.trial]

# Two environments, as far as a move knows of them, in a network of their own; the tag is not that of the public's.
THERE = """
from idr.cloud import live, mark
from idr.release import record
outside = next(net.networks(is_router_external=True))
network = net.create_network(name="of-moves")
subnet = net.create_subnet(network_id=network.id, name="of-moves", ip_version=4, cidr="10.9.9.0/24")
router = net.create_router(name="of-moves", external_gateway_info={"network_id": outside.id})
net.add_interface_to_router(router, subnet_id=subnet.id)
release = record.Release("mova", "mova-20261124T030000Z", "0a1b2c3d4e5f", "20261124T050000Z")
tags = {"mova": [live.RELEASED], "movb": [record.release_tag(release), record.ready_tag(release.began)]}
said = []
for name in ("mova", "movb"):
    group = net.create_security_group(name=name, description=mark.description(name, "run-of-moves"))
    for tag in tags[name]:
        record.put(cloud, record.GROUPS, group.id, tag)
    port = net.create_port(
        network_id=network.id, name=f"{name}-proxy-{name}", description=mark.description(name, "run-of-moves")
    )
    address = net.create_ip(
        floating_network_id=outside.id, port_id=port.id, description=mark.description(name, "run-of-moves")
    )
    said.append(address.floating_ip_address)
    if name == "mova":
        net.put(f"/floatingips/{address.id}/tags/idr-of-moves")
"""
GONE = """
for port in [it for it in net.ports() if it.name in ("mova-proxy-mova", "movb-proxy-movb")]:
    for address in net.ips(port_id=port.id):
        net.update_ip(address, port_id=None)
for address in [it for it in net.ips() if (it.description or "").startswith("IDR environment mov")]:
    net.delete_ip(address)
for port in [it for it in net.ports() if it.name in ("mova-proxy-mova", "movb-proxy-movb")]:
    net.delete_port(port)
for router in net.routers(name="of-moves"):
    for subnet in net.subnets(name="of-moves"):
        net.remove_interface_from_router(router, subnet_id=subnet.id)
    net.delete_router(router)
for network in net.networks(name="of-moves"):
    net.delete_network(network)
for group in [it for it in net.security_groups() if it.name in ("mova", "movb")]:
    net.delete_security_group(group)
"""
# What a script of these tests begins with: a move's deeds, with nobody to drain and no site to look at.
MEANS = """
import os, time
from idr.cloud import connection, lock
from idr.errors import IdrError, Refused
from idr.release import kinds, moves, record, seen, status, switching
moves.PAUSES = (0.1,) * 5
limits, switching.PATIENCE = switching.Limits(1000, 0), 600  # on a busy machine it's the faults that take long
ours = connection.connect("idr")
def means_by(one):
    nothing = lambda *_: None
    return switching.Means(lambda: one, lambda *_: [], lambda ip: True, nothing, nothing, nothing, tag="idr-of-moves")
def now():
    return moves.again(lambda: seen.look(ours, "idr-of-moves"), time.monotonic() + 600, "looking")
def move_of(kind):
    if kind == "switch":
        return kinds.of_switch(now(), "movb", now().public.ip, "of@moves")
    return kinds.of_rollback(now(), "movb", "of@moves")
def owners():
    it = now()
    [spare] = [one for one in it.addresses if one.ip in both and one is not it.public]
    return [it.holder(it.public), it.holder(spare), it.released, it.moving is not None]
DONE = {"switch": ["movb", "mova", ["movb"], False], "rollback": ["mova", "movb", ["mova"], False]}
"""
# A process for each call that it dies at, until it comes to its end; what is left another one does.
KILLED = (
    MEANS
    + """
whole = connection._Patient.send
def dying(at, how):
    count = [-1]
    def send(adapter, request, **further):
        if request.method == "GET" or "/auth/tokens" in request.url:
            return whole(adapter, request, **further)
        count[0] += 1
        if count[0] == at and how == "before":
            os._exit(9)
        answer = whole(adapter, request, **further)
        if count[0] == at:
            os._exit(9)
        return answer
    return send
def killed(kind, at, how):
    move, child = move_of(kind), os.fork()
    if not child:
        try:
            connection._Patient.send = dying(at, how)
            switching.begin(means_by(connection.connect("idr")), move, limits)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
import sys
said = {}
for how in ("before", "after"):
    at, ends = 0, []
    while at < 30 and ends != [0, 0]:
        ends = []
        for kind in ("switch", "rollback"):
            ends.append(killed(kind, at, how))
            assert ends[-1] in (0, 9), ends
            left = now()
            assert left.holder(left.public) in ("mova", "movb"), left
            if left.moving:
                assert status.of(left, "movb")["next"] == "salt-run release.resume movb apply=True"
                switching.go_on(means_by(ours), left.moving, limits)
            elif owners() != DONE[kind]:
                switching.begin(means_by(ours), move_of(kind), limits)
            assert owners() == DONE[kind], (kind, at, how, owners())
        at += 1
    said[how] = at - 1
"""
)
BOTH_WAYS = (
    MEANS
    + """
said = []
for kind in ("switch", "rollback"):
    done = switching.begin(means_by(ours), move_of(kind), limits)
    assert owners() == DONE[kind], (kind, owners())
    said.append(done.moved.end)
"""
)
UNDONE = (
    MEANS
    + """
from dataclasses import replace
broken = replace(means_by(ours), smoke=lambda name, ip: ["broken"] if name == "movb" else [])
switching.BETWEEN = 0.1
done = switching.begin(broken, move_of("switch"), limits)
assert owners() == DONE["rollback"], owners()
said = [done.moved.end, list(done.why)]
"""
)
# Two operators type the same at the same time.
RIVALS = (
    MEANS
    + """
import sys
def rival(name):
    lock.this_process = lambda: f"{name}@seat:{os.getpid()}"
    mine = connection.connect("idr")
    try:
        with switching.both_locks(lambda: mine, move_of("switch"), "switch", None, "release.switch movb") as held:
            switching.begin(switching.locked(means_by(mine), held), move_of("switch"), limits)
        return 0
    except Refused:
        return 3
children = []
for name in ("ada", "ben"):
    child = os.fork()
    if not child:
        ours = connection.connect("idr")
        try:
            os._exit(rival(name))
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    children.append(child)
said = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
assert owners() == DONE["switch"], owners()
assert not any(now().records[name].holders for name in ("mova", "movb"))
switching.begin(means_by(ours), move_of("rollback"), limits)
"""
)
OF_A_MOVE = [
    ("neutron", "GET", r"/floatingips\?"),
    ("neutron", "GET", r"/ports\?"),
    ("neutron", "GET", r"/security-groups\?"),
    ("neutron", "PUT", r"/floatingips/[0-9a-f-]+$"),
    ("neutron", "PUT", r"/floatingips/[0-9a-f-]+/tags/"),
    ("neutron", "DELETE", r"/floatingips/[0-9a-f-]+/tags/"),
    ("neutron", "PUT", r"/security-groups/[0-9a-f-]+/tags/"),
    ("neutron", "DELETE", r"/security-groups/[0-9a-f-]+/tags/"),
]
ONE_BY_ONE = ("reset", 500, 503, 409, 429, "refused", "lost")  # what was lost had its effect, and isn't done again


@pytest.fixture(scope="module")
def addresses(lab):
    """The numbers of the two floating IPs; all of it is gone again afterwards."""
    script(lab, GONE)  # of a run that was ended
    before = inventory(lab)
    yield script(lab, THERE)
    faults.rules()
    script(lab, GONE)
    assert inventory(lab) == before


def test_killed_before_and_after_each_call_another_run_ends_it(lab, addresses):
    calls = script(lab, KILLED, both=addresses)
    assert min(calls.values()) >= 8, calls  # three of addresses, three of tags on the one, two on the records


def test_each_kind_of_call_spoiled_in_each_way_is_got_over(lab, addresses):
    spoiled = [(call, fault) for call in OF_A_MOVE for fault in ONE_BY_ONE]
    rules(spoiled)
    try:
        assert script(lab, BOTH_WAYS, both=addresses) == ["confirmed", "confirmed"]
        assert [each for each, hit in zip(spoiled, faults.hits(), strict=True) if not hit] == []
    finally:
        faults.rules()


def test_a_cloud_that_refuses_the_one_call_gets_two(lab, addresses):
    call = {"service": "neutron", "method": "PUT", "path": r"/floatingips/[0-9a-f-]+$"}
    faults.rules({**call, "skip": 1, "times": 2, "answer": 409})  # the first is the spare one's
    try:
        assert script(lab, BOTH_WAYS, both=addresses) == ["confirmed", "confirmed"]
        [met] = faults.hits()
        assert met == 3  # what is used up isn't counted any more
    finally:
        faults.rules()


def test_one_that_does_not_show_what_it_should_is_undone(lab, addresses):
    end, [why] = script(lab, UNDONE, both=addresses)
    assert end == "undone" and why.endswith(": broken")


def test_of_two_operators_at_once_one_moves_it_and_the_other_is_told(lab, addresses):
    assert script(lab, RIVALS, both=addresses) == [0, 3]
