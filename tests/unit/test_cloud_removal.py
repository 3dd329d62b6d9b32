"""What goes with an environment, and how carefully."""

from idr.cloud import planning, removal
from tests import clouds
from tests.unit.test_cloud_planning import BOTH, IDR


def steps(facts, name, kind, run="run-5"):
    return [step for step in removal.plan(facts, name, run).steps if step.kind == kind]


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
