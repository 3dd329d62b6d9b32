"""Planning is a pure function: what is there and what is wanted, in; steps, problems and notes, out."""

import base64
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idr.cloud import planning, telling
from idr.cloud.model import Thing
from tests import clouds
from tests.tables import cases


def planned(wanted, facts, run="run-2"):
    return planning.plan(wanted, facts, run)


def complete(name="idr", facts=None, **further):
    """The facts with that environment made, blank."""
    facts = facts or clouds.blank()
    plan = planned(clouds.wanted(name, **further), facts, "run-1")
    assert not plan.problems
    return clouds.after(facts, plan)


IDR = complete()
BOTH = complete("newidr", IDR, sources="sources:idr")


def names(plan, verb=None, kind=None):
    return [str(step) for step in plan.steps if verb in (None, step.verb) and kind in (None, step.kind)]


def test_an_environment_from_nothing_is_all_made_and_then_as_it_should_be():
    plan = planned(clouds.wanted(), clouds.blank())

    assert not plan.problems and not plan.kept
    assert {step.verb for step in plan.steps} == {"make", "tag"}
    assert plan.needed["volumes"] == 6 and plan.needed["gigabytes"] == 1610 and plan.needed["cores"] == 24
    again = planned(clouds.wanted(), clouds.after(clouds.blank(), plan))
    assert (again.steps, again.problems, again.needed) == ((), (), {})
    assert len(again.kept) == 2 + 2 + 1 + 2 + 4 + 13 + 1 + 7 + 6 + 6 + 6 + 1


def test_only_the_proxy_is_reachable_and_it_alone_is_on_both_sides():
    facts = IDR
    groups = {group.id: group.name for group in facts.all("group")}
    on = {port.name: sorted(groups[id_] for id_ in port.what["security_group_ids"]) for port in facts.all("port")}

    assert on.pop("idr-proxy-idr") == ["idr", "idr-bastion-external", "idr-web-external"]
    assert on.pop("idr-proxy-idr-a") == ["idr-a"]
    assert on == {
        "idr-omero-idr": ["idr"],
        "idr-database-idr": ["idr"],
        "idr-a-omero-idr-a": ["idr-a"],
        "idr-a-database-idr-a": ["idr-a"],
        "idr-a-dockermanager-idr-a": ["idr-a"],
    }
    into = {
        (groups[rule.what["security_group_id"]], rule.what["port_range_min"], groups.get(rule.what["remote_group_id"]))
        for rule in facts.all("rule")
        if rule.what["direction"] == "ingress"
    }
    assert into == {
        ("idr", None, "idr"),
        ("idr-a", None, "idr-a"),
        ("idr-web-external", 80, None),
        ("idr-web-external", 443, None),
        ("idr-bastion-external", 22, None),
    }


OTHER = (
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc0zQY0w8iKs1m1U1iFzGx5o0bQ8bW1m3v0fJ0XkQ8e ada\'s "desk": {runcmd: [reboot]}'
)


@pytest.mark.parametrize("keys", [(clouds.KEY,), (clouds.KEY, OTHER)])
def test_a_server_is_given_further_public_keys_and_nothing_else_that_anybody_could_read(keys):
    """Whoever is on a server can read its user data and its metadata: no secret, no credential, no command."""
    plan = planned(clouds.wanted(keys=keys), clouds.blank())
    made = [step for step in plan.steps if step.kind == "server"]

    assert len(made) == 6
    for step in made:
        given = dict(step.what)
        user_data = given.pop("user_data", None)
        assert set(given) == {"name", "image_id", "flavor_id", "key_name", "networks", "metadata"}
        assert set(given["metadata"]) == {"idr_environment", "idr_run", "idr_server", "idr_role"}
        if len(keys) == 1:
            assert user_data is None  # the key pair has it
            continue
        first, rest = base64.b64decode(user_data, validate=True).decode().split("\n", 1)
        assert first == "#cloud-config"
        assert yaml.safe_load(rest) == {"ssh_authorized_keys": list(keys)}


def test_clones_are_of_one_moment_both_sides_of_the_same_bytes_and_leave_nothing_behind():
    plan = planned(clouds.wanted(sources="sources:idr"), IDR)
    steps = {step.key: step for step in plan.steps}

    snapshots = [f"newidr-clone-of-idr-{use}" for use in
                 ("proxy-nginxcache", "omero-data", "database-db", "a-dockermanager-data")]  # fmt: skip
    assert [step.name for step in plan.steps if step.key[0] == "snapshot"] == snapshots
    for use, original in (("omero-data", "omero-data"), ("a-omero-data", "omero-data")):
        volume = steps["volume", f"newidr-{use}"]
        assert volume.what["snapshot_id"].name == f"newidr-clone-of-idr-{original}"
        assert {("snapshot", name) for name in snapshots} <= set(volume.needs)
    gone = steps["remove snapshot", "newidr-clone-of-idr-omero-data"]
    assert {("volume", "newidr-omero-data"), ("volume", "newidr-a-omero-data")} <= set(gone.needs)
    assert plan.needed["snapshots"] == 4 and plan.needed["gigabytes"] == 1610 + 860
    assert not BOTH.all("snapshot")
    assert not planned(clouds.wanted(sources="sources:idr"), BOTH).steps
    assert not planned(clouds.wanted("idr"), BOTH).steps


def test_how_long_clones_take_is_told_from_earlier_ones():
    plan = planned(clouds.wanted(sources="sources:idr"), IDR)
    assert plan.notes[-2].endswith("how long that takes is unknown, as none was made here yet") or any(
        "unknown" in note for note in plan.notes
    )
    volume = clouds.find(IDR, "volume", "idr-omero-data")
    facts = clouds.changed(IDR, volume, metadata={**volume.what["metadata"], "idr_clone_seconds": "300"})

    notes = planned(clouds.wanted(sources="sources:idr"), facts).notes

    assert "6 volumes are cloned, 1610 GB together, side by side: at most about 5 min, as earlier ones took" in notes


def test_an_analysis_side_that_is_missing_is_cloned_from_its_own_production():
    gone = clouds.without(BOTH, lambda it: it.environment == "newidr" and "-a-omero" in it.name and it.kind != "port")
    port = clouds.find(gone, "port", "newidr-a-omero-newidr-a")
    plan = planned(clouds.wanted(sources="sources:idr"), clouds.changed(gone, port, device_id=""))

    assert not plan.problems
    assert names(plan) == [
        "make snapshot newidr-clone-of-newidr-omero-data",
        "make volume newidr-a-omero-data",
        "remove snapshot newidr-clone-of-newidr-omero-data",
        "make server newidr-a-omero",
        "make attachment newidr-a-omero-data",
    ]


def interrupted(plan, facts, count):
    return clouds.after(facts, replace(plan, steps=plan.steps[:count]))


@pytest.mark.parametrize(("there", "sources"), [(IDR, "sources:idr"), (clouds.blank(), "")], ids=["second", "first"])
def test_a_run_that_was_cut_off_at_any_step_is_gone_on_with_and_nothing_is_made_twice(there, sources):
    wanted = clouds.wanted(sources=sources)
    plan = planned(wanted, there)
    whole = clouds.after(there, plan)

    for count in range(len(plan.steps) + 1):
        facts = interrupted(plan, there, count)
        second = planned(wanted, facts, "run-3")
        assert not second.problems, (count, second.problems)
        done = clouds.after(facts, second)
        assert not planned(wanted, done).steps
        assert not done.all("snapshot")
        for kind in ("network", "subnet", "router", "group", "port", "server", "volume", "address", "interface"):
            assert sorted(it.name for it in done.all(kind)) == sorted(it.name for it in whole.all(kind)), count
        assert [it.what["tags"] for it in done.all("address")] == [it.what["tags"] for it in whole.all("address")]


def test_what_a_run_that_was_cut_off_left_in_the_making_is_waited_for():
    wanted = clouds.wanted(sources="sources:idr")
    plan = planned(wanted, IDR)

    for count in range(len(plan.steps) + 1):
        facts = interrupted(plan, IDR, count)
        on = {server.id for server in facts.of("newidr", "server")}
        for thing in (*facts.of("newidr", "volume"), *facts.of("newidr", "server"), *facts.of("newidr", "snapshot")):
            if not any(each["server_id"] in on for each in thing.what.get("attachments", [])):
                facts = clouds.changed(facts, thing, status="BUILD" if thing.kind == "server" else "creating")
        second = planned(wanted, facts, "run-3")
        assert not second.problems, (count, second.problems)
        done = clouds.after(facts, second)
        assert not planned(wanted, done).steps and not done.all("snapshot")


def test_a_set_of_which_a_volume_was_made_is_gone_on_with_and_one_of_which_none_was_is_taken_anew():
    wanted = clouds.wanted(sources="sources:idr")
    plan = planned(wanted, IDR, "run-2")
    first = next(n for n, step in enumerate(plan.steps) if step.key[0] == "volume")

    anew = planned(wanted, interrupted(plan, IDR, first), "run-3")
    on = planned(wanted, interrupted(plan, IDR, first + 2), "run-3")

    assert len(names(anew, "make", "snapshot")) == 4 and len(names(anew, "remove", "snapshot")) == 8
    assert len(names(on, "make", "snapshot")) == 1  # of the analysis side's: its production volume is there
    assert "make snapshot newidr-clone-of-newidr-omero-data" in names(on)


@pytest.mark.parametrize("case", cases("cloud_plans"))
def test_what_is_found_and_what_is_done_about_it(case):
    facts = BOTH if case.get("there", "both") == "both" else clouds.blank() if case["there"] == "nothing" else IDR
    for gone in case.get("without", []):
        facts = clouds.without(facts, lambda it, gone=gone: re.fullmatch(gone, f"{it.kind} {it.name}"))
    for change in case.get("change", []):
        kind, name = change.pop("of").split(" ", 1)
        facts = clouds.changed(facts, clouds.find(facts, kind, name), **_filled(facts, change))
    for new in case.get("add", []):
        new = {"environment": None, **new}
        facts = clouds.added(facts, Thing(**{**new, "what": _filled(facts, _like(new))}))
    facts = replace(facts, quotas={**facts.quotas, **{key: tuple(it) for key, it in case.get("quotas", {}).items()}})
    wanted = clouds.wanted(**{"sources": "sources:idr", **case.get("wanted", {})})
    for use, source in case.get("source", {}).items():
        volumes = tuple(replace(it, source=source) if it.use == use else it for it in wanted.volumes)
        wanted = replace(wanted, volumes=volumes)

    plan = planned(wanted, facts)

    assert list(plan.problems) == [_named(facts, line) for line in case.get("problems", [])]
    if "steps" in case:
        assert names(plan) == case["steps"]
    for note in case.get("notes", []):
        assert note in plan.notes
    if not plan.problems:
        assert not planned(wanted, clouds.after(facts, plan)).steps


def _filled(facts, raw):
    """RAW with the ids of what is named ``<id of KIND NAME>``."""
    if isinstance(raw, dict):
        return {key: _filled(facts, each) for key, each in raw.items()}
    if isinstance(raw, list):
        return [_filled(facts, each) for each in raw]
    return _named(facts, raw) if isinstance(raw, str) else raw


def _named(facts, text):
    def id_(named):
        there = (*facts.all(named[1]), *BOTH.all(named[1]))  # or was, before something was taken away
        return next(it.id for it in there if it.name == named[2])

    return re.sub(r"<id of (\S+) (\S+)>", id_, text)


def _like(new):
    """The attributes of a new thing over those that one of its kind has."""
    what = new.get("what", {})
    if new["kind"] == "volume":
        return clouds.volume(**{"size": 500, **what})
    if new["kind"] == "snapshot":
        return {"size": 500, "volume_id": None, "status": "available", "metadata": {}, "temporary": None, **what}
    if new["kind"] == "address":
        mine = {"port_id": None, "floating_network_id": "n-ext", "description": "", "tags": [], "revision_number": 3}
        return mine | what
    if new["kind"] == "port":
        return {"device_id": "", "security_group_ids": [], "fixed_ips": [], "network_id": None, **what}
    if new["kind"] == "network":
        return {"is_router_external": False, **what}
    return what


OWN = [thing for each in BOTH.things.values() for thing in each if thing.environment == "newidr"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(range(len(OWN)))))
def test_whatever_part_of_an_environment_is_there_a_plan_makes_it_whole(gone):
    lost = {id(OWN[number]) for number in gone}
    facts = _consistent(clouds.without(BOTH, lambda it: id(it) in lost))
    wanted = clouds.wanted(sources="sources:idr")

    plan = planned(wanted, facts)

    if plan.problems:  # a server that lost a port, or its address' port: a thing that can't be mended under way
        assert all(re.search("has no port|has lost its port|sources=idr", line) for line in plan.problems)
        return
    after = clouds.after(facts, plan)
    assert not planned(wanted, after).steps
    assert [it for it in after.all("volume") if it.environment == "idr"] == [
        it for it in BOTH.all("volume") if it.environment == "idr"
    ]


def _consistent(facts):
    """What a cloud doesn't allow to be there by itself is gone, too."""
    for _ in range(3):
        ids = {it.id for each in facts.things.values() for it in each}
        facts = clouds.without(
            facts,
            lambda it, ids=ids: (
                any(
                    it.what.get(key) not in (None, "", *ids)
                    for key in ("network_id", "subnet_id", "router_id", "security_group_id", "server_id", "volume_id")
                )
                or any(ip["subnet_id"] not in ids for ip in it.what.get("fixed_ips", []))
            ),
        )
        for port in facts.all("port"):
            facts = clouds.changed(
                facts,
                port,
                device_id=port.what["device_id"] if port.what["device_id"] in ids else "",
                security_group_ids=[id_ for id_ in port.what["security_group_ids"] if id_ in ids],
            )
        for volume in facts.all("volume"):
            left = [each for each in volume.what["attachments"] if each["attachment_id"] in ids]
            facts = clouds.changed(facts, volume, attachments=left, status="in-use" if left else "available")
        for address in facts.all("address"):
            if address.what["port_id"] not in ids:
                facts = clouds.changed(facts, address, port_id=None)
    return facts


def test_a_plan_is_told_in_lines_and_as_data():
    plan = planned(clouds.wanted(sources="sources:idr"), IDR)
    lines = telling.lines(plan)

    assert "volumes: 0 kept, 6 to make" in lines
    assert any(line.startswith("needed: cores 24 of 1000000 free, floatingip 1 of") for line in lines)
    assert "  + newidr-a-omero-data: 500 GB, a clone by newidr-clone-of-idr-omero-data" in lines
    data = telling.as_data(plan)
    volume = next(step for step in data["steps"] if step["name"] == "newidr-a-omero-data" and step["kind"] == "volume")
    assert volume["what"]["snapshot_id"] == {"made": ["snapshot", "newidr-clone-of-idr-omero-data"]}
    assert telling.lines(planned(clouds.wanted("idr"), IDR))[-1] == "idr is as it should be: nothing to do"
