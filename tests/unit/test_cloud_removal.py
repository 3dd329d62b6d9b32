"""What goes with an environment, and how carefully."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr.cloud import destroying, planning, removal
from tests import backups, clouds
from tests.runners import loaded
from tests.unit.test_cloud_planning import BOTH, IDR


def steps(facts, name, kind, run="run-5"):
    return [step for step in removal.plan(facts, name, run).steps if step.kind == kind]


def problems(facts, name="newidr"):
    return list(removal.plan(facts, name, "run-5").problems)


def test_an_address_goes_or_comes_off_only_as_it_was_looked_at():
    off, gone = steps(BOTH, "newidr", "address")

    assert (off.verb, dict(off.what)) == ("change", {"port_id": None, "if_revision": 0})
    assert gone.verb == "remove" and gone.needs == (off.key,) and gone.id == off.id


def test_an_address_that_was_there_before_comes_off_and_stays():
    what = {"port_id": None, "floating_network_id": "n-ext", "description": "", "tags": [], "revision_number": 3}
    there = clouds.added(IDR, clouds.Thing("address", "198.51.100.5", "a-5", what=what))
    facts = clouds.after(there, planning.plan(clouds.wanted(), there, "run-2"))

    [off] = steps(facts, "newidr", "address")

    assert (off.verb, off.id) == ("change", "a-5")
    assert off.what == {"port_id": None, "if_revision": 3, "description": ""}


def test_an_address_that_is_off_already_and_was_made_goes_too():
    address = next(it for it in BOTH.all("address") if it.environment == "newidr")

    off, gone = steps(clouds.changed(BOTH, address, port_id=None), "newidr", "address")

    assert (off.verb, gone.verb) == ("change", "remove")


def kept_snapshot(facts, volume):
    what = {"size": 500, "volume_id": volume.id, "status": "available", "metadata": {}, "temporary": None}
    return clouds.added(facts, clouds.Thing("snapshot", "a-set", "s-1", "newidr", what=what))


def test_a_volume_that_was_marked_as_retained_and_not_renamed_is_renamed():
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    said = {**volume.what["metadata"], "idr_retained": "run-4"}
    facts = clouds.changed(kept_snapshot(BOTH, volume), volume, metadata=said)

    [step] = [it for it in steps(facts, "newidr", "volume") if it.id == volume.id]

    renamed = {"name": "newidr-omero-data-retained-run-4", "metadata": {"idr_retained": "run-4"}}
    assert (step.verb, step.what) == ("change", renamed)
    volume = clouds.find(facts, "volume", volume.name)
    facts = clouds.changed(facts, volume, name=renamed["name"])
    assert not [it for it in steps(facts, "newidr", "volume") if it.id == volume.id]


def test_a_retained_volume_under_its_old_name_is_not_taken_for_the_environments_own():
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    facts = clouds.changed(BOTH, volume, metadata={**volume.what["metadata"], "idr_retained": "run-4"})

    plan = planning.plan(clouds.wanted(sources="sources:idr"), facts, "run-5")

    [problem] = plan.problems
    assert problem.endswith(f"openstack volume set --name newidr-omero-data-retained-run-4 {volume.id}")
    assert volume not in plan.kept


def test_a_volume_whose_snapshots_are_kept_is_let_go_marked_and_renamed_and_stays_with_them():
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    facts = kept_snapshot(BOTH, volume)

    plan = removal.plan(facts, "newidr", "run-5")

    [step] = [it for it in plan.steps if it.id == volume.id]
    named = "newidr-omero-data-retained-run-5"
    assert (step.verb, step.what) == ("change", {"name": named, "metadata": {"idr_retained": "run-5"}})
    assert ("remove server", "newidr-omero") in step.needs  # by which it comes off
    assert (
        f"volume newidr-omero-data is retained as {named}: it carries 1 snapshot that is kept (a-set), "
        "and goes with the last one"
    ) in plan.notes
    after = clouds.after(facts, plan)
    [stays] = after.of("newidr", "volume")
    assert (stays.id, stays.name, stays.what["attachments"]) == (volume.id, named, [])
    assert stays.what["metadata"]["idr_retained"] == "run-5"
    assert [it.name for it in after.of("newidr", "snapshot")] == ["a-set"]
    again = removal.plan(after, "newidr", "run-6")
    assert (again.steps, again.problems, again.notes) == ((), (), ())


def test_one_that_hangs_on_a_server_that_is_gone_comes_off_before_it_is_retained():
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    facts = kept_snapshot(BOTH, volume)
    for kind, name in (("server", "newidr-omero"), ("port", "newidr-omero-newidr")):
        thing = clouds.find(facts, kind, name)
        facts = clouds.without(facts, lambda it, thing=thing: it is thing)

    off = next(it for it in steps(facts, "newidr", "attachment") if it.name == volume.name)
    [step] = [it for it in steps(facts, "newidr", "volume") if it.id == volume.id]

    assert off.verb == "remove" and off.what["volume_id"] == volume.id
    assert step.verb == "change" and off.key in step.needs


# --- what keeps an environment from going -----------------------------------------------------------------------------


def test_nothing_keeps_one_that_nobody_else_uses():
    assert problems(BOTH) == []
    assert problems(BOTH, "idr") == []  # although newidr was cloned from it


def being_cloned(status, **source):
    """Both environments, and a volume of a third one in that status."""
    what = clouds.volume(500, "omero-data", {}, status=status, **source)
    return clouds.added(BOTH, clouds.Thing("volume", "prod3-omero-data", "v-3", "prod3", "run-3", what))


@pytest.mark.parametrize("status", ["creating", "downloading"])
def test_one_that_another_is_just_being_cloned_from(status):
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    said = [f"volume newidr-omero-data: prod3-omero-data is being cloned from it ({status}): wait until it is"]

    assert problems(being_cloned(status, source_volid=volume.id)) == said
    of_a_set = kept_snapshot(being_cloned(status, snapshot="s-1"), volume)
    assert problems(of_a_set) == said
    assert problems(of_a_set, "idr") == []  # it's nothing to others
    assert problems(kept_snapshot(being_cloned("available", snapshot="s-1"), volume)) == []


def test_one_that_a_run_has_taken_snapshots_of_and_made_no_volume_yet():
    plan = planning.plan(clouds.wanted("prod3", sources="sources:newidr"), BOTH, "run-3")
    taken = next(n for n, step in enumerate(plan.steps) if step.key[0] == "volume")
    facts = clouds.after(BOTH, replace(plan, steps=plan.steps[:taken]))

    found = problems(facts)

    assert len(found) == 4
    assert (
        "volume newidr-omero-data: prod3 is being made of it by prod3-clone-of-newidr-omero-data: "
        "let salt-run environment.apply prod3 end"
    ) in found
    assert problems(facts, "idr") == []
    assert problems(clouds.after(BOTH, plan)) == []


def verified(facts, environment, taken, moment="2026-11-26T01:00:00+00:00"):
    """The facts with a set of an environment's volumes; without a moment nobody verified it."""
    made = clouds.added(facts, *backups.things(backups.of_volumes(facts, environment, taken=taken)))
    for it in made.all("snapshot"):
        if moment and it not in facts.all("snapshot"):
            made = backups.told(made, it, idr_verified=moment)
    return made


def test_one_that_holds_the_newest_verified_backup():
    night = backups.NIGHT
    later, latest = night.replace(hour=4), night.replace(hour=5)
    facts = verified(BOTH, "newidr", night)
    said = "newidr holds the newest verified backup set, newidr-20261125T030000Z: make and verify another one first"

    assert problems(facts) == [said]
    assert problems(facts, "idr") == []
    assert problems(verified(facts, "idr", later, None)) == [said]  # a newer one that nobody verified is none
    facts = verified(facts, "idr", later)
    assert problems(facts) == []
    assert problems(verified(facts, "newidr", latest)) == [said.replace("T03", "T05")]


def test_one_whose_volume_is_on_somebody_elses_server():
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    on = next(it for it in BOTH.all("attachment") if it.what["volume_id"] == volume.id)
    server = clouds.find(BOTH, "server", "idr-omero")

    assert problems(clouds.changed(BOTH, on, server_id=server.id)) == [
        "volume newidr-omero-data: attached to idr-omero, which isn't newidr's: detach it there"
    ]
    # a stranger's machine has no mark at all
    assert problems(clouds.changed(BOTH, clouds.find(BOTH, "server", "newidr-omero"), environment=None)) == [
        "volume newidr-omero-data: attached to newidr-omero, which isn't newidr's: detach it there"
    ]


@pytest.mark.parametrize(("owner", "keeps"), [("compute:nova", True), ("", True), ("network:dhcp", False)])
def test_one_in_whose_network_somebody_else_has_a_port(owner, keeps):
    what = {
        "network_id": clouds.find(BOTH, "network", "newidr").id,
        "device_owner": owner,
        "device_id": "",
        "fixed_ips": [],
    }
    facts = clouds.added(BOTH, clouds.Thing("port", "", "p-1", None, what=what))

    said = "port p-1: in a network of newidr, and not its own: take it away"
    assert problems(facts) == ([said] if keeps else [])
    assert problems(facts, "idr") == []


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The runner `environment` as Salt's loader makes it, before a cloud that nothing can be asked or told."""
    module = loaded("environment", tmp_path)
    monkeypatch.setattr(destroying.wanted, "read", lambda name: clouds.wanted(name))
    monkeypatch.setattr(destroying, "connect", lambda name: SimpleNamespace())
    monkeypatch.setattr(destroying.credential, "named", lambda *_: [])
    monkeypatch.setattr(destroying.live, "addresses_of", lambda name: set())
    monkeypatch.setattr(destroying, "facts", lambda cloud: module.seen)
    return module


@pytest.mark.parametrize("given", [{}, {"confirm": "newidr"}, {"confirm": "newidr", "apply": True}])
def test_a_refusal_has_every_reason_and_an_exit_code_whether_it_is_planned_or_to_be_done(runner, tmp_path, given):
    volume = clouds.find(BOTH, "volume", "newidr-omero-data")
    runner.seen = verified(being_cloned("creating", source_volid=volume.id), "newidr", backups.NIGHT)

    told = runner.destroy("newidr", site=str(tmp_path), **given)

    assert [line.partition(":")[0] for line in told["problems"]] == [
        "volume newidr-omero-data",
        "newidr holds the newest verified backup set, newidr-20261125T030000Z",
    ]
    assert (told["result"], told["retcode"], runner.__context__["retcode"]) == (False, 1, 1)
