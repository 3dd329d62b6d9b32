"""A release finished or given up: what goes, what stays, and what keeps it from being done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from idr.cloud import destroying, lock
from idr.cloud.making import Outcome
from idr.errors import Refused
from idr.release import aborting, finishing, preparing, record, standing
from tests import clouds
from tests.backups import of_volumes, things
from tests.prepared import SPARE, World, folders
from tests.unit.test_release_preparing import ASKED, SOON, prepare

NOW = datetime.now(UTC).replace(microsecond=0)


ROLLING_BACK = record.moving_tag(record.Move("rollback", "newidr", "idr", SPARE, record.moment(), "ada@desk"))


def moved(kind=record.SWITCH, source="idr", target="newidr", days=15, end=record.CONFIRMED):
    return record.moved_tag(record.Moved(kind, source, target, record.moment(NOW - timedelta(days=days)), end, took=40))


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, SOON)


@pytest.fixture
def switched(world):
    """A project in which newidr took over from idr 15 days ago."""
    prepare()
    world.switch("idr", "newidr")
    world.tell_public(moved())
    world.done = []
    return world


def release_of(new, old, world):
    """Another release, prepared to its end."""
    world.taken = [SOON + timedelta(days=1)]
    preparing.prepare(preparing.Prepare(new, old), None, folders, lambda line: None)


def finish(confirm="idr", even_if=None):
    return finishing.finish("newidr", confirm, even_if, None, folders, lambda line: None)


def why_not(even_if=None):
    found = list(finishing.plan("newidr", even_if, folders, print).problems)
    with pytest.raises(Refused) as refused:
        finish(even_if=even_if)
    assert refused.value.problems == found
    return found


def environments(world):
    return {it.environment for it in world.facts.of("idr", "server") + world.facts.of("newidr", "server")}


def test_the_old_one_goes_there_is_no_way_back_and_it_is_written_down(switched):
    ending = finishing.plan("newidr", None, folders, print)
    assert ending.problems == () and switched.done == []
    assert "remove server idr-omero" in [str(step) for step in ending.plan.steps]

    finish()

    assert environments(switched) == {"newidr"}
    assert not [tag for tag in switched.tags("newidr") if tag.startswith(("idr-release", "idr-ready"))]
    last = record.history(switched.public.what["tags"])[0]
    assert (last.kind, last.source, last.target, last.end) == ("finish", "idr", "newidr", "confirmed")
    assert SPARE not in {it.name for it in switched.facts.all("address")}  # it was made for the release
    before, switched.done = switched.facts, []
    assert finish().is_over and switched.facts == before and switched.done == []


def test_the_name_of_what_goes_has_to_be_typed(switched):
    for wrong in (None, "newidr"):
        with pytest.raises(Refused) as refused:
            finish(wrong)
        assert refused.value.problems == ["idr goes with all its data: to have that, confirm=idr"]
    assert switched.done == []


def test_the_old_one_is_kept_for_its_time_unless_that_is_said(switched):
    public = switched.public
    switched.facts = clouds.changed(switched.facts, public, tags=["idr-production", moved(days=13)])
    until = NOW + timedelta(days=1, seconds=40)

    assert why_not() == [
        f"idr is kept until {until:%Y-%m-%d %H:%M} UTC, for a way back (release_keep_days). If it's to go all the "
        f"same: even_if=early"
    ]
    assert finishing.plan("newidr", "early", folders, print).problems == ()
    assert why_not("late")[0] == "even_if: only `early` can be said, not late"


@pytest.mark.parametrize(
    "last",
    [moved(record.ROLLBACK, "newidr", "idr", 1), moved(target="third", days=1), moved(source="x", target="y", days=0)],
)
def test_only_after_a_switch_that_was_the_last_move(switched, last):
    switched.tell_public(last)

    assert why_not() == ["newidr: the last move that is written down is no switch to it: salt-run release.history"]


def test_a_switch_that_was_undone_is_none(switched):
    public = switched.public
    switched.facts = clouds.changed(switched.facts, public, tags=["idr-production", moved(end=record.UNDONE)])

    assert "is no switch to it" in why_not()[0]


def test_what_is_not_live_replaces_nothing_and_a_move_is_waited_for(switched):
    switched.switch("newidr", "idr")
    switched.tell_public(ROLLING_BACK)

    lines = why_not()

    assert lines[0] == "newidr isn't live, so what it replaces stays: salt-run release.status"
    assert lines[1].startswith("a rollback from newidr to idr is under way, by ada@desk since ")


def test_what_removal_refuses_is_told_and_nothing_is_changed(switched):
    verified = replace(of_volumes(switched.facts, taken=SOON + timedelta(hours=1)), verified=NOW)
    switched.facts = clouds.added(switched.facts, *things(verified))

    lines = why_not()

    assert lines == [f"idr holds the newest verified backup set, {verified.id}: make and verify another one first"]
    assert [tag for tag in switched.tags("newidr") if tag.startswith("idr-ready")]


def test_a_removal_that_failed_is_gone_on_with(switched, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(destroying, "carry_out", lambda *_, **__: Outcome([], [("a step", "HTTP 500")]))
        with pytest.raises(Refused):
            finish()
    assert environments(switched) == {"idr", "newidr"} and not record.release_of(switched.tags("newidr"))

    finish()

    assert environments(switched) == {"newidr"}
    assert record.history(switched.public.what["tags"])[0].kind == "finish"


def test_the_name_of_the_old_one_may_be_a_new_ones_by_now(switched):
    finish()
    release_of("idr", "newidr", switched)
    switched.done = []

    assert finishing.plan("newidr", None, folders, print).is_over
    assert finish().is_over and environments(switched) == {"idr", "newidr"} and switched.done == []


def test_an_old_one_that_was_removed_and_is_prepared_anew_stays(switched):
    destroying.destroy("idr", "idr", True, None, folders("idr"), print)
    release_of("idr", "newidr", switched)
    began = record.release_of(switched.tags("idr")).began

    assert why_not("early") == [
        f"idr isn't the one from before any more: it's of a release that was begun {began}: salt-run release.status idr"
    ]
    assert environments(switched) == {"idr", "newidr"}


def test_somebody_on_the_old_one_is_told_before_anything_is_changed(switched, monkeypatch):
    free = lock.held

    def held(cloud, environment, *given, **named):
        if environment == "idr":
            raise Refused([named["typed"]])
        return free(cloud, environment, *given, **named)

    monkeypatch.setattr(lock, "held", held)
    before = switched.facts

    with pytest.raises(Refused) as refused:
        finish()

    assert refused.value.problems == ["release.finish newidr confirm=idr"]
    assert switched.facts == before


def test_of_two_at_once_the_later_one_does_nothing(switched, monkeypatch):
    free = lock.held

    def held(cloud, environment, *given, **named):
        monkeypatch.setattr(lock, "held", free)
        finish()
        switched.done = []
        return free(cloud, environment, *given, **named)

    monkeypatch.setattr(lock, "held", held)

    assert finish().is_over

    assert {it.partition(" ")[0] for it in switched.done} == {"lock"}
    assert [it.kind for it in record.history(switched.public.what["tags"])] == ["finish", "switch"]


def test_a_switch_that_failed_but_could_not_be_undone_is_one(switched):
    public = switched.public
    switched.facts = clouds.changed(switched.facts, public, tags=["idr-production", moved(end=record.FAILED)])

    finish()

    assert environments(switched) == {"newidr"}


# --- abort ------------------------------------------------------------------------------------------------------------


def abort(confirm="newidr"):
    return aborting.abort("newidr", confirm, None, folders("newidr"), lambda line: None)


def ids(facts):
    """All that is there, but for sets and for rules, which go with their groups."""
    return {it.id for kind in facts.things if kind not in ("snapshot", "rule") for it in facts.all(kind)}


def why_not_abort():
    found = list(aborting.plan("newidr", folders("newidr"), print).problems)
    with pytest.raises(Refused) as refused:
        abort()
    assert refused.value.problems == found
    return found


def test_wherever_preparing_was_cut_off_aborting_leaves_nothing_but_the_set(monkeypatch):
    first = World(monkeypatch)
    first.taken = [SOON]
    prepare()

    for spare in (True, False):
        for number in range(1, len(first.done) + 1):
            world = World(monkeypatch)
            world.taken, world.dies = [SOON], number
            if spare:
                world.spare()
            before = world.facts
            try:
                prepare()
            except KeyboardInterrupt:
                if standing.of(world.facts, "newidr", "idr.example.org").release is None:
                    continue  # nothing but the lock's group, as with every run that died so early
            world.dies = None
            abort()
            assert ids(world.facts) == ids(before), number
            free = [it for it in world.facts.all("address") if it.name == SPARE]
            assert [(it.what["port_id"], it.what["description"]) for it in free] == ([(None, "")] if spare else [])


def test_what_is_half_gone_is_not_ready(world, monkeypatch):
    prepare()
    with monkeypatch.context() as failing:
        failing.setattr(destroying, "carry_out", lambda *_, **__: Outcome([], [("a step", "HTTP 500")]))
        with pytest.raises(Refused):
            abort()

    at = standing.of(world.facts, "newidr", "idr.example.org")
    assert at.release and not at.release.ready  # or what is half gone would be switched to next

    abort()
    assert environments(world) == {"idr"}


def test_the_set_stays_and_that_is_told(world):
    prepare()
    set_ = record.release_of(world.tags("newidr")).set

    plan = aborting.plan("newidr", folders("newidr"), print)

    assert f"{set_} stays, as the rules for backup sets have it: salt-run backup.prune idr" in plan.plan.notes
    with pytest.raises(Refused) as refused:
        abort(None)
    assert refused.value.problems == ["newidr goes with all its data: to have that, confirm=newidr"]


def test_what_is_live_or_of_no_release_or_being_moved_is_not_given_up(switched):
    switched.tell_public(ROLLING_BACK)

    live, moving = why_not_abort()

    assert live.startswith("newidr is live, and what is live is never removed: it holds 198.51.100.10")
    assert moving.startswith("a rollback from newidr to idr is under way")
    standing.forget(switched, switched.facts, "newidr")
    assert why_not_abort()[-1] == "newidr is of no release: remove it: salt-run environment.destroy newidr"


def test_one_that_was_replaced_by_a_later_release_is_the_way_back_and_not_given_up(switched):
    switched.switch("newidr", "idr")
    switched.tell_public(moved(source="newidr", target="third", days=1))
    [line] = why_not_abort()
    assert line == "third took over from newidr, which goes with that release: salt-run release.finish third"
    switched.tell_public(moved(record.ROLLBACK, "newidr", "idr", 0))
    assert aborting.plan("newidr", folders("newidr"), print).problems == ()


def test_where_nothing_was_begun_there_is_nothing_to_give_up(world):
    assert why_not_abort() == ["newidr is of no release: there's nothing to abort"]
    assert preparing.plan(ASKED, folders).problems == ()
