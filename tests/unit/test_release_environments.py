"""What a switch leaves is as it should be for all else that looks at addresses: apply, replace, destroy, list."""

import socket
from types import SimpleNamespace

import pytest

from idr.cloud import anew, destroying, listing, live, mark, planning, removal
from idr.cloud.live import RELEASED
from idr.cloud.model import PRODUCTION_TAG
from idr.release import moves, record, seen
from tests import clouds
from tests.unit.test_cloud_planning import BOTH

PORTS = {name: clouds.find(BOTH, "port", f"{name}-proxy-{name}").id for name in ("idr", "newidr")}
ON = {it.what["port_id"]: it for it in BOTH.all("address")}
PUBLIC, SPARE = (ON[PORTS[name]] for name in ("idr", "newidr"))
MOVE = record.Move(record.SWITCH, "idr", "newidr", SPARE.name, "20261124T050000Z", "ada@desk")


def neutron(facts):
    """The facts as the SDK's lists have them."""

    def thing(it, **more):
        return SimpleNamespace(**{"id": it.id, "name": it.name, "description": _whose(it), **it.what, **more})

    network = SimpleNamespace(
        ips=lambda project_id: [thing(it, floating_ip_address=it.name) for it in facts.all("address")],
        ports=lambda project_id: [thing(it) for it in facts.all("port")],
        security_groups=lambda project_id, fields: [thing(it) for it in facts.all("group")],
    )
    return SimpleNamespace(network=network, session=SimpleNamespace(get_project_id=lambda: "p"))


def _whose(it):
    return mark.description(it.environment, it.run) if it.environment else it.what.get("description", "")


def after(facts, move, count=None):
    """The facts when so many of a move's own steps were taken; all of them, unless it's said."""
    taken = 0
    while taken != count and (steps := moves.left(seen.look(neutron(facts)), move)):
        facts, taken = _one(facts, steps[0]), taken + 1
    return facts


def _one(facts, step):
    if isinstance(step, moves.Tag):
        group = clouds.find_id(facts, "group", step.group)
        tags = [*group.what["tags"], step.tag] if step.is_on else [it for it in group.what["tags"] if it != step.tag]
        return clouds.changed(facts, group, tags=tags)
    address = clouds.find_id(facts, "address", step.address.id)
    what = {"port_id": step.port} | ({"description": step.description} if step.description else {})
    return _marked(clouds.changed(facts, address, **what), address.id)


def _marked(facts, id_):
    """The facts with an address whose owner and run are what its description says, as an inventory reads them."""
    address = clouds.find_id(facts, "address", id_)
    environment, run = mark.of(address.what["description"])
    now = clouds.replace(address, environment=environment, run=run)
    return clouds.added(clouds.without(facts, lambda it: it is address), now)


SWITCHED = after(BOTH, MOVE)
BACK = after(SWITCHED, MOVE.back)


def nowhere(_):
    raise socket.gaierror("Name or service not known")


def address(facts, name):
    return clouds.find(facts, "address", name)


def test_it_is_the_switch_that_is_looked_at():
    assert PRODUCTION_TAG in address(SWITCHED, PUBLIC.name).what["tags"]
    assert address(SWITCHED, PUBLIC.name).what["port_id"] == PORTS["newidr"]
    assert address(SWITCHED, SPARE.name).what["port_id"] == PORTS["idr"]


@pytest.mark.parametrize("facts", [SWITCHED, BACK], ids=["switched", "back"])
@pytest.mark.parametrize("name", ["idr", "newidr"])
def test_neither_has_anything_to_change(facts, name):
    plan = planning.plan(clouds.wanted(name, sources="sources:idr"), facts, "run-9")
    assert (plan.steps, plan.problems) == ((), ())


@pytest.mark.parametrize(("facts", "name"), [(SWITCHED, "newidr"), (BACK, "idr")], ids=["switched", "back"])
def test_the_one_that_has_it_is_live_by_its_three_signs_and_the_other_by_none(facts, name):
    public = {PUBLIC.name}
    signs, _ = live.signs(facts, name, "idr.example.org", lambda _: public)
    assert [any(word in sign for sign in signs) for word in ("it holds", "leads to", "released")] == [True] * 3
    other = "idr" if name == "newidr" else "newidr"
    assert live.signs(facts, other, "idr.example.org", lambda _: public)[0] == []
    for without in (nowhere, lambda _: {"203.0.113.1"}):
        assert len(live.signs(facts, name, "idr.example.org", without)[0]) == 2


@pytest.mark.parametrize("steps", range(1, 5))
def test_in_the_middle_of_a_move_one_is_live_at_least_and_neither_takes_what_is_on_its_way(steps):
    facts = after(BOTH, MOVE, steps)
    signs = {name: live.signs(facts, name, "idr.example.org", nowhere)[0] for name in ("idr", "newidr")}
    assert any(signs.values())
    for name in ("idr", "newidr"):
        plan = planning.plan(clouds.wanted(name, sources="sources:idr"), facts, "run-9")
        assert not [step for step in plan.steps if step.id == PUBLIC.id]


def test_the_old_one_is_destroyed_with_the_spare_address_that_was_made_and_never_with_the_publics():
    plan = removal.plan(SWITCHED, "idr", "run-9")
    touched = {(step.verb, step.name) for step in plan.steps if step.kind == "address"}
    assert touched == {("change", SPARE.name), ("remove", SPARE.name)}
    left = clouds.after(SWITCHED, plan)
    assert address(left, PUBLIC.name).what["port_id"] == PORTS["newidr"]
    assert planning.plan(clouds.wanted("newidr", sources="sources:idr"), left, "run-9").steps == ()


def test_an_address_that_was_there_before_stays_the_projects():
    by_hand = clouds.changed(BOTH, address(BOTH, SPARE.name), None, description="")
    by_hand = clouds.changed(by_hand, address(by_hand, SPARE.name), description="IDR environment newidr")
    facts = after(_marked(by_hand, SPARE.id), MOVE)
    plan = removal.plan(facts, "idr", "run-9")
    assert [(step.verb, step.name) for step in plan.steps if step.kind == "address"] == [("change", SPARE.name)]


def test_what_was_live_before_is_destroyed_and_what_is_live_now_is_not(monkeypatch):
    monkeypatch.setattr(destroying, "facts", lambda cloud: SWITCHED)
    monkeypatch.setattr(destroying.credential, "named", lambda *_: [])
    monkeypatch.setattr(destroying.live, "addresses_of", lambda name: {PUBLIC.name})

    old, _ = destroying._plan(None, clouds.wanted("idr"), "run-9")
    new, _ = destroying._plan(None, clouds.wanted("newidr"), "run-9")

    assert old.problems == ()
    assert len([line for line in new.problems if line.startswith("newidr is live: ")]) == 3


def test_a_proxy_that_is_made_anew_keeps_the_publics_address():
    proxy = clouds.find(SWITCHED, "server", "newidr-proxy")
    wanted = clouds.wanted("newidr", sources="sources:idr")
    whole = planning.plan(wanted, anew.without(SWITCHED, [proxy]), "run-9")
    plan = anew.removing(anew.only(whole, "newidr-proxy"), [proxy])

    assert plan.steps and not [step for step in plan.steps if step.kind in ("address", "port")]
    made = clouds.after(SWITCHED, plan)
    assert address(made, PUBLIC.name).what["port_id"] == PORTS["newidr"]


def test_the_list_tells_which_is_live(monkeypatch):
    monkeypatch.setattr(listing, "connect", lambda name: None)
    monkeypatch.setattr(listing, "facts", lambda connection: SWITCHED)
    monkeypatch.setattr(listing.live, "addresses_of", lambda name: {PUBLIC.name})
    found = listing.environments("idr")
    assert {name: (bool(it["live"]), it["address"]) for name, it in found.items()} == {
        "idr": (False, SPARE.name),
        "newidr": (True, PUBLIC.name),
    }


def test_the_record_of_the_release_goes_over_too():
    def released(facts):
        groups = [it for name in ("idr", "newidr") for it in facts.of(name, "group")]
        return [it.name for it in groups if RELEASED in it.what["tags"]]

    assert (released(SWITCHED), released(BACK)) == (["newidr"], ["idr"])
