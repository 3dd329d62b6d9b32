"""What prune removes is what its plan says: whole sets, ours, in an order that may be cut off anywhere."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idr.backup import manifest, project, pruning, retention, turn
from idr.backup.model import FAILED, GOING, GOOD, TAKING
from idr.cloud.making import Outcome
from idr.cloud.model import Thing
from idr.errors import Refused
from tests import clouds
from tests.backups import NIGHT, USES, backup_set, facts, snapshot, things
from tests.unit.test_backup_listing import group

ONE = dict.fromkeys(retention.RULES, 0) | {"daily": 1}
DAY = timedelta(days=1)


def nights(count, **further):
    return [backup_set(NIGHT - number * DAY, **further) for number in range(count)]


def volume(use, environment="idr", retained="run-9", **what):
    """A data volume whose snapshots the sets are of; retained, unless RETAINED is None."""
    metadata = {"idr_environment": environment, "idr_run": "run-1", "idr_volume": use}
    metadata |= {"idr_retained": retained} if retained else {}
    shown = clouds.volume(USES.get(use, 10), use, metadata) | what
    return Thing(
        "volume", f"{environment}-{use}-retained-{retained}", f"v-{environment}-{use}", environment, "run-1", shown
    )


def server(environment="idr"):
    return Thing("server", f"{environment}-omero", f"s-{environment}", environment, None, {"status": "ACTIVE"})


def planned(seen, environment="idr", **further):
    keep = {it.environment: ONE for it in manifest.sets(seen)}
    [found] = pruning.prunings(project.of(seen), keep, NIGHT, environment, **further)
    return found


def names(plan):
    return [str(step) for step in plan.steps]


def test_every_snapshot_of_a_set_is_told_before_the_first_one_goes():
    sets = nights(2)

    plan = planned(facts(*sets)).plan

    assert names(plan) == [
        "change snapshot idr-omero-data-20261124T030000Z",
        "change snapshot idr-database-db-20261124T030000Z",
        "remove snapshot idr-omero-data-20261124T030000Z",
        "remove snapshot idr-database-db-20261124T030000Z",
    ]
    told = {step.key for step in plan.steps[:2]}
    assert all(step.what == {"metadata": {"idr_phase": "going"}} for step in plan.steps[:2])
    assert all(told <= set(step.needs) for step in plan.steps[2:])


def test_nothing_to_remove():
    assert planned(facts(*nights(1))).plan.steps == ()
    assert planned(facts(), "nosuch").plan.steps == ()


def test_what_is_not_ours_or_not_understood_stays():
    foreign = snapshot("s-1", {})
    riddle = snapshot("s-2", {"idr_environment": "idr"})
    clone = snapshot("s-3", {"idr_environment": "idr", "idr_temporary": "yes"})
    seen = facts(*nights(2), more=[foreign, riddle, clone])

    found = planned(seen)

    left = clouds.after(seen, found.plan).all("snapshot")
    assert {it.id for it in left} == {"s-1", "s-2", "s-3", *(it.id for it in things(*nights(1)))}
    assert [note for note in found.plan.notes if "(s-2) has the mark of idr" in note]


def test_a_set_with_a_snapshot_that_is_not_understood_stays_whole():
    sets = nights(2)
    riddle = snapshot("s-2", {"idr_environment": "idr", "idr_set": sets[1].id, "idr_volume": "database-db"})

    assert planned(facts(*sets, more=[riddle])).plan.steps == ()


def test_what_an_earlier_prune_began_is_gone_on_with():
    old = replace(nights(2)[1], phase=GOING)
    old = replace(old, pieces=old.pieces[1:])

    plan = planned(facts(nights(1)[0], old)).plan

    assert names(plan) == ["remove snapshot idr-database-db-20261124T030000Z"]


def test_second_snapshots_of_a_lost_answer_go_with_their_set():
    old = nights(2)[1]
    spare = replace(old.pieces[1], snapshot="second")
    seen = facts(nights(1)[0], replace(old, phase=FAILED, spare=(spare,)))

    after = clouds.after(seen, planned(seen).plan)

    assert [it.id for it in manifest.sets(after)] == [nights(1)[0].id] and len(after.all("snapshot")) == 2


def test_a_retained_volume_goes_with_its_last_set_and_is_told_so_before():
    sets = [*nights(1, environment="newidr"), *nights(1)]
    seen = facts(*sets, more=[volume(use) for use in USES])

    plan = planned(seen, retired=True).plan

    assert names(plan)[:2] == ["change volume idr-database-db-retained-run-9",
                               "change volume idr-omero-data-retained-run-9"]  # fmt: skip
    assert names(plan)[-2:] == ["remove volume idr-omero-data-retained-run-9",
                                "remove volume idr-database-db-retained-run-9"]  # fmt: skip
    for step in plan.steps:
        if step.key[0] == "remove snapshot":
            use = "database-db" if "database" in step.name else "omero-data"
            assert ("volume", f"idr-{use}-retained-run-9") in step.needs
    assert not clouds.after(seen, plan).of("idr", "volume")


STAYS = {
    "another set is on it": (lambda: facts(*nights(2), more=[volume("omero-data")]), []),
    "somebody's own snapshot is on it": (
        lambda: facts(backup_set(phase=FAILED), more=[
            volume("omero-data"), snapshot("s-1", {}, volume_id="v-idr-omero-data")]),
        [],
    ),
    "the environment uses it": (
        lambda: facts(backup_set(phase=FAILED), more=[volume("omero-data", retained=None)]), [],
    ),
    "it is attached again": (
        lambda: facts(backup_set(phase=FAILED), more=[
            volume("omero-data", attachments=[{"server_id": "s-1", "attachment_id": "a", "device": "/dev/vdb"}])]),
        ["volume idr-omero-data-retained-run-9 stays: it was retained, and is attached again"],
    ),
    "no set was ever on it": (
        lambda: facts(more=[volume("omero-data")]),
        ["volume idr-omero-data-retained-run-9 is retained, and no snapshot is on it: it's yours to remove"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", STAYS)
def test_a_volume_stays_where(why):
    make, notes = STAYS[why]
    plan = planned(make()).plan

    assert [line for line in names(plan) if "volume" in line] == [] and list(plan.notes) == notes


def test_a_volume_that_is_being_cloned_blocks():
    clone = Thing("volume", "newidr-omero-data", "v-9", "newidr", None,
                  clouds.volume(500, source_volid="v-idr-omero-data", status="creating"))  # fmt: skip
    seen = facts(backup_set(phase=FAILED), more=[volume("omero-data"), clone])

    assert planned(seen).plan.problems == (
        "volume idr-omero-data-retained-run-9: newidr-omero-data is being cloned from it: wait until it is",
    )


def test_one_who_may_not_delete_is_told_so_where_there_is_something_to_delete():
    assert "an operator's clouds.yaml" in planned(facts(*nights(2)), may_delete=False).plan.problems[0]
    assert planned(facts(*nights(1)), may_delete=False).plan.problems == ()


def test_an_environment_that_stands_is_not_retired():
    plan = planned(facts(*nights(2), more=[server()]), retired=True).plan

    assert [line for line in plan.problems if "idr isn't retired: there are servers" in line]


def test_the_reader_is_told_why_each_goes_or_stays():
    sets = [backup_set(pinned="ada: for the paper"), *nights(2)[1:], backup_set(NIGHT - 2 * DAY, phase=FAILED)]

    assert list(planned(facts(*sets)).lines) == [
        "idr: 2 of 3 sets to remove, 1500 GB",
        "  - idr-20261124T030000Z: no rule keeps it",
        "  - idr-20261123T030000Z: it failed",
        "  = idr-20261125T030000Z: pinned: ada: for the paper, the newest good of all environments, the newest good, "
        "the newest complete, daily",
    ]


# Any project, and any moment at which a prune is cut off
@st.composite
def projects(draw):
    sets = {}
    for _ in range(draw(st.integers(1, 8))):
        it = backup_set(
            NIGHT - draw(st.integers(0, 40)) * DAY / 2,
            draw(st.sampled_from(["idr", "idr", "newidr"])),
            draw(st.sampled_from([GOOD, GOOD, GOOD, FAILED, TAKING, GOING])),
            draw(st.sampled_from([USES, [*USES, "proxy-nginxcache"]])),
            pinned=draw(st.sampled_from([None, None, None, "ada: why not"])),
        )
        if draw(st.booleans()):
            it = replace(it, spare=(replace(it.pieces[0], snapshot=f"{it.id}/second"),))
        sets[it.id] = it
    retained = [volume(use) for use in [*USES, "proxy-nginxcache"] if draw(st.booleans())]
    return facts(*sets.values(), more=[*retained, *(things_of_others())])


def things_of_others():
    return [snapshot("s-1", {}), snapshot("s-2", {"idr_environment": "idr", "idr_phase": "good"})]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(projects(), st.randoms(use_true_random=False))
def test_cut_off_anywhere_it_goes_on_and_never_leaves_a_good_set_that_is_none(seen, chance):
    found = planned(seen)
    whole = clouds.after(seen, found.plan)
    going = {it.set.id for it in found.verdicts if it.goes}

    cut = cut_off(seen, found.plan, chance)
    cut = cut_off(cut, planned(cut).plan, chance)  # and once more

    for it in manifest.sets(cut):
        before = next(each for each in manifest.sets(seen) if each.id == it.id)
        if it.id not in going:
            assert it == before
        elif len(it.pieces) + len(it.spare) < len(before.pieces) + len(before.spare):
            assert it.phase == GOING and not it.is_usable
    assert shown(clouds.after(cut, planned(cut).plan)) == shown(whole)
    assert planned(whole).plan.steps == ()
    assert {it.id for it in manifest.sets(whole)} == {it.id for it in manifest.sets(seen)} - going
    assert {"s-1", "s-2"} <= {it.id for it in whole.all("snapshot")}


def cut_off(seen, plan, chance):
    """The facts when some of the steps were taken, in an order that their needs allow, and the run was killed."""
    left, done = list(plan.steps), []
    for _ in range(chance.randint(0, len(left))):
        step = chance.choice([it for it in left if set(it.needs) <= {each.key for each in done}])
        left.remove(step)
        done.append(step)
    return clouds.after(seen, replace(plan, steps=tuple(done)))


def shown(seen):
    """What is there, whatever it's told."""
    return {(it.kind, it.id) for kind in ("snapshot", "volume") for it in seen.all(kind)}


@pytest.fixture
def cloud(monkeypatch):
    """A project that prune changes as it would a cloud's, FAILS are names of snapshots that can't be removed."""
    made = SimpleNamespace(seen=facts(), rules=None, locked=[], held_by=None, fails=(), appears=None)
    made.session = SimpleNamespace(auth=SimpleNamespace(get_access=lambda _: SimpleNamespace(
        application_credential_access_rules=made.rules)))  # fmt: skip

    @contextmanager
    def held(_, seen, environment, purpose, broken):
        if environment == made.held_by:
            raise Refused([f"{environment}: somebody is on it"])
        if made.appears:
            made.seen = made.appears(made.seen)
        made.locked.append((environment, purpose, broken))
        yield None

    def carry_out(_, plan, tell, lock, go_on):
        left = [step for step in plan.steps if step.verb == "remove" and step.name in made.fails]
        steps = [step for step in plan.steps if step not in left]
        made.seen = clouds.after(made.seen, replace(plan, steps=tuple(steps)))
        return Outcome(steps, [(step, "HTTP 500") for step in left])

    monkeypatch.setattr(turn, "held", held)
    monkeypatch.setattr(pruning, "carry_out", carry_out)
    monkeypatch.setattr(project, "look", lambda _: project.of(made.seen))
    monkeypatch.setattr(pruning.wanted, "backup_keep", lambda _: ONE)
    monkeypatch.setattr(pruning, "datetime", SimpleNamespace(now=lambda _: NIGHT))
    return made


def prune(cloud, environment=None, retired=False, broken=None):
    return pruning.prune(cloud, environment, retired, broken, print)


def test_the_deed_is_the_plan_of_each_environment_under_its_own_lock(cloud):
    cloud.seen = facts(*nights(2), *nights(1, environment="newidr"), *nights(3, environment="third"))
    shown = pruning.plan(cloud, None, False)

    done = prune(cloud)

    assert [it.plan for it in done] == [it.plan for it in shown if it.plan.steps]
    assert [name for name, *_ in cloud.locked] == ["idr", "third"]
    assert len(manifest.sets(cloud.seen)) == 3 and prune(cloud) == ()


def test_only_the_environment_that_is_named(cloud):
    cloud.seen = facts(*nights(2), *nights(2, environment="newidr"))

    prune(cloud, "newidr")

    assert [it.environment for it in manifest.sets(cloud.seen)] == ["newidr", "idr", "idr"]


def test_what_was_pinned_after_the_plan_was_made_stays(cloud):
    sets = nights(3)
    cloud.seen = facts(*sets)
    cloud.appears = lambda _: facts(sets[0], replace(sets[1], pinned="ada: wait"), sets[2])

    prune(cloud, "idr")

    assert [it.id for it in manifest.sets(cloud.seen)] == [sets[0].id, sets[1].id]


def test_an_environment_that_is_locked_keeps_no_other_from_being_pruned(cloud):
    cloud.seen, cloud.held_by = facts(*nights(2), *nights(2, environment="newidr")), "idr"

    with pytest.raises(Refused) as refused:
        prune(cloud)

    assert refused.value.problems == ["idr: somebody is on it"] and "goes on" in str(refused.value)
    assert [it.environment for it in manifest.sets(cloud.seen)] == ["newidr", "idr", "idr"]


def test_what_cannot_be_removed_is_told_and_tried_again(cloud):
    cloud.seen, cloud.fails = facts(*nights(2)), ["idr-database-db-20261124T030000Z"]

    with pytest.raises(Refused, match="what was removed is gone") as refused:
        prune(cloud)
    assert "remove snapshot idr-database-db-20261124T030000Z: HTTP 500" in refused.value.problems

    cloud.fails = ()
    prune(cloud)
    assert [it.id for it in manifest.sets(cloud.seen)] == [nights(1)[0].id]


def test_a_credential_that_may_not_delete_changes_nothing_and_takes_no_lock(cloud):
    cloud.seen = facts(*nights(2))
    cloud.rules = [{"service": "volume", "method": "GET", "path": "/**"}]

    with pytest.raises(Refused, match="nothing was removed"):
        prune(cloud)
    assert cloud.locked == [] and cloud.seen == facts(*nights(2))

    cloud.rules.append({"service": "volume", "method": "DELETE", "path": "/**/snapshots/*"})
    assert prune(cloud)


def test_what_a_dead_run_left_goes_when_its_lock_is_broken(cloud, monkeypatch):
    taking = backup_set(NIGHT - DAY, phase=TAKING)
    cloud.seen = facts(*nights(1), taking, more=[group("root@idr-proxy:7")])
    assert prune(cloud, "idr") == () and cloud.locked == []

    cloud.appears = lambda seen: clouds.changed(
        seen, clouds.find(seen, "group", "idr"), description="IDR environment idr"
    )
    prune(cloud, "idr", broken="root@idr-proxy:7")

    assert cloud.locked == [("idr", "prune", "root@idr-proxy:7")] and len(manifest.sets(cloud.seen)) == 1


def test_all_rules_that_are_wrong_are_told_at_once(cloud, monkeypatch):
    def wrong(name):
        raise Refused(["the defaults are wrong", f"{name}'s own are wrong"])

    monkeypatch.setattr(pruning.wanted, "backup_keep", wrong)
    cloud.seen = facts(*nights(2), *nights(2, environment="newidr"))

    with pytest.raises(Refused) as refused:
        prune(cloud)
    assert sorted(refused.value.problems) == ["idr's own are wrong", "newidr's own are wrong", "the defaults are wrong"]
