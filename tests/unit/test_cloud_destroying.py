"""What an unfinished run made is taken back: never what is live, and no volume without its being said."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from idr.cloud import destroying, planning
from idr.cloud.making import Outcome
from idr.cloud.model import PRODUCTION_TAG
from idr.errors import Refused
from idr.release import record
from tests import clouds
from tests.unit.test_cloud_credential import Cloud, there
from tests.unit.test_cloud_planning import IDR

NAME = "newidr"
UNTAG = "openstack floating ip unset --tag idr-production"


def begun(facts, made_by, unfinished="run-2", first_steps=None, **further):
    """The facts after (some of) the steps of a run, with the record that it's unfinished."""
    plan = planning.plan(clouds.wanted(**further), facts, "run-2")
    steps = SimpleNamespace(steps=plan.steps[:first_steps], environment=NAME)
    facts = clouds.after(facts, steps)
    for group in facts.of(NAME, "group"):
        if group.name == NAME:
            facts = clouds.without(facts, lambda it, group=group: it is group)
    said = f"IDR environment {NAME}, made by {made_by}; unfinished {unfinished}"
    what = {"description": said, "tags": [], "created_at": "2026"}
    return clouds.added(facts, clouds.Thing("group", NAME, "g-base", NAME, made_by, what))


@pytest.fixture
def roll_back(monkeypatch):
    done = []

    @contextmanager
    def held(*_):
        yield SimpleNamespace(remove=lambda: done.append("gone"), finish=lambda: done.append("finished"))

    def carry_out(cloud, plan, *_, **__):
        done.extend(str(step) for step in plan.steps)
        return Outcome(list(plan.steps))

    monkeypatch.setattr(destroying.wanted, "read", lambda name: clouds.wanted(name))
    monkeypatch.setattr(destroying, "connect", lambda name: None)
    monkeypatch.setattr(destroying.lock, "held", held)
    monkeypatch.setattr(destroying, "carry_out", carry_out)
    monkeypatch.setattr(destroying.host_keys, "forget", lambda *_: None)
    monkeypatch.setattr(destroying.live, "addresses_of", lambda name: set())

    def roll_back(facts, confirm=None, apply=True):
        monkeypatch.setattr(destroying, "facts", lambda cloud: facts)
        return destroying.roll_back(NAME, confirm, apply, None, None, print), done

    return roll_back


def test_a_scratch_environment_is_taken_away_by_the_keys_and_from_the_cloud_of_the_one_that_it_is_for(monkeypatch):
    monkeypatch.setattr(destroying.wanted, "read", lambda name: clouds.wanted(name, cloud=f"of {name}"))

    asked = destroying._asked("idrscratch")

    assert (asked.name, asked.cloud, asked.keys) == ("idrscratch", "of idr", (clouds.KEY,))
    assert destroying._asked("idr") == clouds.wanted("idr", cloud="of idr")


def problems(roll_back, *given):
    with pytest.raises(Refused) as refused:
        roll_back(*given)
    return refused.value.problems


def test_volumes_go_only_where_that_is_confirmed(roll_back):
    facts = begun(IDR, "run-2")

    plan, _ = roll_back(facts, None, False)
    assert destroying.loses_data(plan)
    for wrong in (None, "idr"):
        [problem] = problems(roll_back, facts, wrong)
        assert "newidr-omero-data" in problem and problem.endswith("confirm=newidr")
    _, done = roll_back(facts, NAME)
    assert "remove volume newidr-omero-data" in done and done[-1] == "gone"


def test_without_volumes_nothing_has_to_be_confirmed(roll_back):
    plan = planning.plan(clouds.wanted(), IDR, "run-2")
    first = next(n for n, step in enumerate(plan.steps) if step.kind in ("volume", "snapshot"))

    _, done = roll_back(begun(IDR, "run-2", first_steps=first))

    assert done[-1] == "gone" and not [step for step in done if "volume" in step]


def test_the_first_environments_own_production_tag_has_to_come_off_first(roll_back):
    facts = begun(clouds.blank(), "run-2")

    live, line = problems(roll_back, facts, NAME)

    assert live.startswith("newidr is live: ") and line.endswith(f"{UNTAG} 198.51.100.10")
    address = clouds.find(facts, "address", "198.51.100.10")
    assert roll_back(clouds.changed(facts, address, tags=[]), NAME)[1][-1] == "gone"


def test_a_later_run_on_what_is_live_is_not_taken_back_wherever_it_made_something(roll_back):
    facts = begun(clouds.blank(), "run-1")

    found = problems(roll_back, facts, NAME)

    assert found[0].startswith("newidr is live: ") and "gone on with" in found[1]
    assert not [line for line in found if UNTAG in line]


def test_released_is_live_on_a_first_run_too(roll_back):
    facts = begun(IDR, "run-2")
    facts = clouds.changed(facts, clouds.find(facts, "group", NAME), tags=["idr-released"])

    [problem] = problems(roll_back, facts, NAME)

    assert "it was released" in problem


@pytest.mark.parametrize("name, is_in_it", [("idr", True), (NAME, True), ("other", False)])
def test_neither_end_of_a_move_that_is_under_way_is_removed(monkeypatch, name, is_in_it):
    """Cut off in the middle, one of them may not be live by any sign: it's the way back, or the way on."""
    tag = record.moving_tag(record.Move("switch", "idr", NAME, "198.51.100.11", "20261124T050000Z", "ada@desk"))
    address = clouds.find(IDR, "address", "198.51.100.10")
    facts = clouds.changed(IDR, address, tags=[PRODUCTION_TAG, tag])
    monkeypatch.setattr(destroying, "facts", lambda cloud: facts)
    monkeypatch.setattr(destroying.live, "signs", lambda *_: ([], []))
    monkeypatch.setattr(destroying, "_credential", lambda *_: [])
    plan, _ = destroying._plan(None, clouds.wanted(name), "run-2")
    told = [line for line in plan.problems if "a switch from idr to newidr is under way" in line]
    assert len(told) == is_in_it and all(line.endswith("salt-run release.status") for line in told)


@pytest.mark.parametrize(
    "other", [{"project_id": "another"}, {"description": "IDR environment idr; …"}, {"description": None}]
)
def test_the_masters_credential_goes_and_no_other_of_its_name(other):
    assert [step.id for step in destroying._credential(Cloud(there("c-1")), NAME)] == ["c-1"]
    assert destroying._credential(Cloud(there("c-2", **other)), NAME) == []
