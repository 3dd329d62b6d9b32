"""A release is prepared in an order that wastes no hours, goes on wherever it was cut off, and is never another's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from idr.errors import Refused
from idr.release import preparing, record, standing
from tests import clouds
from tests.backups import of_volumes, things
from tests.prepared import EVERY, HEAD, SPARE, World, folders

ASKED = preparing.Prepare("newidr", "idr")
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)  # after whatever begins in these tests
EARLIER = SOON - timedelta(days=2)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, SOON, SOON + timedelta(minutes=1))


def a_set(world, taken=EARLIER, uses=EVERY, **further):
    it = replace(of_volumes(world.facts, uses=uses, taken=taken), **further)
    world.facts = clouds.added(world.facts, *things(it))
    return it


def prepare(asked=ASKED):
    return preparing.prepare(asked, None, folders, lambda line: None)


def problems(asked=ASKED):
    found = list(preparing.plan(asked, folders).problems)
    with pytest.raises(Refused) as refused:
        prepare(asked)
    assert refused.value.problems == found
    return found


def volume(world, use):
    return clouds.find(world.facts, "volume", f"newidr-{use}")


def release(world):
    return standing.of(world.facts, "newidr", "idr.example.org").release


def test_the_plan_changes_nothing_and_has_all_of_it(world):
    before = world.facts

    coming = preparing.plan(ASKED, folders)

    assert (coming.problems, coming.set, world.facts, world.done) == ((), None, before, [])
    made = {step.name for step in coming.plan.steps if step.verb == "make" and step.kind in ("volume", "server")}
    assert {"newidr-proxy", "newidr-omero-data", "newidr-proxy-nginxcache"} <= made
    assert not [step for step in coming.plan.steps if step.kind == "snapshot"]  # they're of the set
    assert coming.address.verb == "make"


def test_an_address_comes_first_then_a_set_then_the_environment_and_ready_last(world):
    done = prepare()

    kinds = ["make address", "back up idr", "carry out newidr", "warm newidr", "tag idr-ready"]
    assert [it for it in world.done if it in kinds] == kinds
    assert done.set == f"idr-{SOON:%Y%m%dT%H%M%SZ}"
    assert volume(world, "omero-data").what["metadata"]["idr_set"] == done.set
    assert volume(world, "proxy-nginxcache").what["snapshot_id"] == f"{done.set}/proxy-nginxcache"
    port = clouds.find(world.facts, "port", "newidr-proxy-newidr")
    address = clouds.find(world.facts, "address", SPARE)
    assert (address.what["port_id"], address.environment) == (port.id, "newidr")
    it = release(world)
    assert (it.source, it.set, it.commit, it.ready) == ("idr", done.set, HEAD[:12], done.ready)
    assert sum(tag.startswith("idr-release~") for tag in world.tags("newidr")) == 1


def test_again_it_changes_nothing(world):
    first = prepare()
    facts, world.done = world.facts, []

    again = prepare()

    assert (again.set, again.ready, again.warmed) == (first.set, first.ready, None)
    assert world.facts == facts and world.done == []


def test_a_free_address_is_taken_with_its_mark_before_anything_else(world):
    world.spare()

    prepare()

    assert [it for it in world.done if "lock" not in it][:3] == ["tag idr-release", "change address", "back up idr"]
    assert clouds.find(world.facts, "address", SPARE).what["description"] == "IDR environment newidr"


def test_wherever_it_was_cut_off_it_goes_on_with_the_same_set(world, monkeypatch):
    prepare()
    steps = list(world.done)
    assert len(steps) > 8

    for number, step in enumerate(steps):
        fresh = World(monkeypatch)
        fresh.taken, fresh.dies = [SOON], number  # a second set can't be had
        with pytest.raises(KeyboardInterrupt):
            prepare()
        done = prepare()
        assert done.set == f"idr-{SOON:%Y%m%dT%H%M%SZ}", step
        assert release(fresh).ready and release(fresh).set == done.set
        assert len([it for it in fresh.facts.all("address")]) == 2
        assert sum(tag.startswith("idr-release~") for tag in fresh.tags("newidr")) == 1


def test_of_a_given_set_nothing_is_taken_and_the_old_master_is_not_asked(world):
    it = a_set(world)
    world.backup_problems = ["its minion doesn't answer"]

    done = prepare(replace(ASKED, set=it.id))

    assert done.set == it.id and "back up idr" not in world.done


def test_a_cache_that_the_set_has_not_is_the_old_ones(world):
    it = a_set(world, uses=["omero-data", "database-db"])

    done = prepare(replace(ASKED, set=it.id))

    old = clouds.find(world.facts, "volume", "idr-proxy-nginxcache")
    assert volume(world, "proxy-nginxcache").what["metadata"]["idr_source"] == old.id
    [note] = done.notes
    assert note == f"{it.id} has no proxy-nginxcache: the new cache is a clone of {old.name} as it is"


def test_what_is_begun_is_of_one_set_and_one_commit_until_it_is_aborted(world):
    first, other = a_set(world), a_set(world, EARLIER - timedelta(days=1))
    prepare(replace(ASKED, set=first.id))
    anew = "to begin anew: salt-run release.abort newidr"

    assert problems(replace(ASKED, set=other.id)) == [f"newidr was begun with {first.id}, not {other.id}; {anew}"]
    assert preparing.plan(replace(ASKED, set=first.id), folders).problems == ()
    world.commit = "f" * 40
    assert problems() == [
        f"newidr was begun at commit {HEAD[:12]}, and this checkout is at ffffffffffff: git checkout {HEAD[:12]}; "
        f"or {anew}"
    ]


def test_a_commit_that_is_not_this_checkouts_and_a_tree_that_is_not_clean(world):
    world.unclean = ["README.md isn't committed"]

    assert problems(replace(ASKED, commit="abcdef0")) == [
        "README.md isn't committed",
        f"commit=abcdef0: this checkout is at {HEAD[:12]}: git checkout abcdef0",
    ]
    world.unclean = []
    assert preparing.plan(replace(ASKED, commit=HEAD[:7]), folders).problems == ()


def test_what_is_live_is_not_made_anew_and_what_is_not_live_is_no_source_unless_said(world):
    prepare()
    world.switch("idr", "newidr")

    assert problems()[0].startswith("newidr is live, so it can't be made anew beside itself: it holds 198.51.100.10")
    asked = preparing.Prepare("third", "idr")
    assert problems(asked) == ["idr isn't live. If it's to be made from that all the same: even_if=not-live"]
    assert preparing.plan(replace(asked, even_if=frozenset(["not-live"])), folders).problems == ()


def test_an_environment_that_no_release_began_stays(world):
    prepare()
    group = world.base("newidr")
    world.facts = clouds.changed(world.facts, group, tags=[])

    assert problems() == [
        "newidr is there, and no release began it: take another name, or remove it: salt-run environment.destroy newidr"
    ]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"new": "idr"}, "idr: can't be made from itself: from= is the live one"),
        (
            {"set": "newidr-20261125T030000Z"},
            "set=newidr-20261125T030000Z: no id of a backup set of idr, which it's to be made from",
        ),
        ({"even_if": frozenset(["live"])}, "even_if: only not-live, failing can be said, not live"),
    ],
)
def test_what_cannot_be_meant(world, asked, why):
    for what in (preparing.plan, lambda asked, folders: preparing.prepare(asked, None, folders, print)):
        with pytest.raises(Refused) as refused:
            what(replace(ASKED, **asked), folders)
        assert refused.value.problems == [why]
    assert world.done == []


def test_nothing_is_begun_that_could_not_be_ended(world):
    world.backup_problems = ["idr-omero: its minion doesn't answer"]
    world.facts = replace(world.facts, quotas={**world.facts.quotas, "gigabytes": (5000, 2700)})

    found = problems()

    assert found[0] == "a set of idr: idr-omero: its minion doesn't answer"
    # 1610 GB for the set are counted, too
    assert found[1].startswith("quota of gigabytes: 1610 GB needed, 690 GB free")
    assert world.done == [] and world.base("newidr") is None


def test_without_a_public_address_nothing_could_be_switched(world):
    world.facts = clouds.changed(world.facts, world.public, tags=[])

    found = problems(replace(ASKED, even_if=frozenset(["not-live"])))

    assert any("nothing could be switched" in line for line in found)


def test_a_set_that_is_gone_disproved_or_not_whole(world):
    gone, bad = replace(ASKED, set="idr-20261101T030000Z"), a_set(world, disproved="2026-11-25: a page")

    assert problems(gone)[0].startswith("idr-20261101T030000Z: no backup set of this project")
    assert problems(replace(ASKED, set=bad.id)) == [f"{bad.id} was disproved, 2026-11-25: a page: take another one"]


def test_a_move_under_way_is_waited_for(world):
    move = record.Move("switch", "idr", "other", None, record.moment(), "ada@desk")
    world.tell_public(record.moving_tag(move))

    [line] = problems()

    assert line.startswith("a switch from idr to other is under way, by ada@desk since ")


@pytest.mark.parametrize("step", ["back up idr", "warm newidr"])
def test_a_release_that_somebody_gave_up_meanwhile_is_not_gone_on_with(world, step):
    plain = world.step

    def given_up(what):
        plain(what)
        if what == step:
            world.facts = clouds.changed(world.facts, world.base("newidr"), tags=[])

    world.step = given_up

    with pytest.raises(Refused) as refused:
        prepare()

    assert refused.value.problems == ["newidr is of no release any more: somebody ended it meanwhile"]
    assert world.tags("newidr") == []


def test_a_backup_that_failed_ends_it_before_anything_is_cloned(world, monkeypatch):
    failed = {"result": False, "comment": "idr-20261125T030000Z failed", "set": {"set": "x", "state": "failed"}}
    failed["problems"] = ["idr-omero-data: quota"]
    monkeypatch.setattr(preparing.remotely, "create", lambda *_: failed)

    with pytest.raises(Refused) as refused:
        prepare()

    assert refused.value.problems == ["a set of idr: idr-omero-data: quota"]
    assert "carry out newidr" not in world.done and release(world).set == "none"
