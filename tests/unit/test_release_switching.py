"""A switch with all that belongs to it: told, moved, looked at, confirmed, or undone; gone on with where it died."""

import random
from contextlib import contextmanager

import pytest

from idr.cloud import lock
from idr.errors import IdrError, Refused
from idr.release import kinds, record, status, switching
from tests.neutron import Killed
from tests.releases import BEGAN, PUBLIC, SPARE, Project, quickly

AT_OLD, AT_NEW = ("idr", "newidr", ["idr"]), ("newidr", "idr", ["newidr"])
LIMITS = switching.Limits(300, 60)


@pytest.fixture
def project(monkeypatch):
    monkeypatch.setattr(lock, "_pauses", lambda: (random.uniform(0, 0.001) for _ in range(lock.TRIES)))
    project = Project()
    project.clock = quickly(monkeypatch)
    return project


def switch(project, named=PUBLIC, broken=None, **further):
    move = kinds.of_switch(project.now(), "newidr", named, "ada@desk")
    checked = (LIMITS, 23, "0a1b2c3d4e5f")
    return deed(project, move, lambda means: switching.begin(means, move, *checked, **further), broken)


def rollback(project, **further):
    move = kinds.of_rollback(project.now(), "newidr", "ada@desk")
    return deed(project, move, lambda means: switching.begin(means, move, LIMITS, **further))


def resume(project, back=False, broken=None):
    move = kinds.of_resume(project.now(), "newidr")

    def go_on(means):
        return switching.undo(means, move, [], LIMITS) if back else switching.go_on(means, move, LIMITS)

    return deed(project, move, go_on, broken)


def deed(project, move, what, broken=None):
    with switching.both_locks(lambda: project.cloud, move, "switch", broken, "release.switch newidr") as held:
        return what(switching.locked(project.means(), held))


def is_at_rest(project):
    now = project.now()
    assert not record.of_move(now.public.tags)
    assert not any(it.holders for it in now.records.values())
    return project.owners()


def test_it_is_confirmed_after_it_was_looked_at_and_watched(project):
    done = switch(project)

    assert is_at_rest(project) == AT_NEW
    assert done.why == () and done.notes == ()
    [entry] = project.now().history
    assert entry == done.moved
    assert (entry.kind, entry.source, entry.target, entry.end) == ("switch", "idr", "newidr", "confirmed")
    assert (entry.commit, entry.checks, entry.who, entry.gap) == ("0a1b2c3d4e5f", 23, "ada@desk", 0.0)
    assert LIMITS.bake <= entry.took < LIMITS.bake + 10
    assert project.did == ["drain idr", "undrain newidr"]


def test_back_and_there_again_with_the_same_care(project):
    switch(project)
    assert rollback(project).moved.end == "confirmed"
    assert is_at_rest(project) == AT_OLD
    switch(project)  # each in the same second by this test's clock, and each is known by a moment of its own
    history = project.now().history
    assert [it.kind for it in history] == ["switch", "rollback", "switch"] and len({it.began for it in history}) == 3
    assert is_at_rest(project) == AT_NEW
    assert project.did[2:4] == ["drain newidr", "undrain idr"]


def test_one_that_does_not_show_what_it_should_is_undone(project):
    project.broken.add("newidr")

    done = switch(project)

    assert is_at_rest(project) == AT_OLD
    assert done.why == (f"newidr, through {PUBLIC}: newidr is broken",)
    assert [it.end for it in project.now().history] == ["undone"]
    assert project.did == ["drain idr", "undrain idr"]


def test_one_that_dies_while_it_is_watched_is_undone(project, monkeypatch):
    whole = switching._watched

    def dies(*given):
        project.silent.add("newidr")
        return whole(*given)

    monkeypatch.setattr(switching, "_watched", dies)
    began = project.clock.now

    done = switch(project)

    assert is_at_rest(project) == AT_OLD and done.moved.end == "undone"
    assert "gave no answer" in done.why[0] and done.moved.gap > 0
    assert project.clock.now - began < 60


def test_one_that_answers_slowly_is_not_moved_back_for_one_question(project, monkeypatch):
    asked = []

    def answers(ip):
        asked.append(ip)
        return len(asked) != 5

    means = project.means()
    monkeypatch.setattr(project, "means", lambda: switching.replace(means, answers=answers))
    assert switch(project).moved.end == "confirmed"


def test_where_the_old_one_is_dead_nothing_is_better_by_going_back(project):
    project.broken.add("newidr")
    project.silent.add("idr")

    done = switch(project)

    assert is_at_rest(project) == AT_NEW
    assert done.why and [it.end for it in project.now().history] == ["failed"]


def test_an_old_one_whose_address_needs_a_moment_is_no_dead_one(project, monkeypatch):
    project.broken.add("newidr")
    means, asked = project.means(), []

    def answers(ip):
        asked.append(project.clock.now)
        return ip != SPARE or project.clock.now - next(iter(asked)) > 2

    monkeypatch.setattr(project, "means", lambda: switching.replace(means, answers=answers))
    monkeypatch.setattr(switching, "LOOKS", 2)
    monkeypatch.setattr(switching, "_looked_at", lambda *_: ["newidr is broken"])
    assert switch(project).moved.end == "undone" and is_at_rest(project) == AT_OLD


def test_over_its_limit_it_is_undone(project, monkeypatch):
    means = project.means()

    def slow(*given):
        project.clock.now += LIMITS.limit + 1
        return means.smoke(*given)

    monkeypatch.setattr(project, "means", lambda: switching.replace(means, smoke=slow))

    done = switch(project)

    assert done.why == ("moved and looked at, but not within the limit",)
    assert is_at_rest(project) == AT_OLD and [it.end for it in project.now().history] == ["undone"]


def test_what_the_old_one_lacks_after_going_back_is_told(project):
    project.broken |= {"newidr", "idr"}

    done = switch(project)

    assert is_at_rest(project) == AT_OLD
    assert done.why[-1] == f"idr has {PUBLIC} again, and: idr is broken"


def test_users_who_cannot_be_told_are_no_reason_only_where_that_is_said(project):
    project.undrainable = IdrError("idr-a-dockermanager: no answer")
    before = project.now()
    with pytest.raises(Refused) as refused:
        switch(project)
    [problem] = refused.value.problems
    assert problem.endswith("even_if=undrained") and "no answer" in problem
    assert project.did == ["undrain idr"]  # they may have been told
    assert project.now().public.tags == before.public.tags and is_at_rest(project) == AT_OLD

    assert switch(project, even_if=("undrained",)).moved.end == "confirmed"


def test_why_users_cannot_be_told_is_told_where_it_was_refused(project):
    project.undrainable = Refused(["known_hosts of idr: not there", "keys of idr: not there"])
    with pytest.raises(Refused) as refused:
        switch(project)
    [problem] = refused.value.problems
    assert "can't be drained: known_hosts of idr: not there; keys of idr: not there. " in problem


def test_one_that_dies_while_users_are_drained_is_known_and_back_lets_them_come_again(project, monkeypatch):
    def drain(environment):
        raise Killed

    means = project.means()
    monkeypatch.setattr(project, "means", lambda: switching.replace(means, drain=drain))
    with pytest.raises(Killed):
        switch(project)
    assert status.of(project.now())["next"] == "salt-run release.resume newidr apply=True"

    resume(project, back=True)
    assert is_at_rest(project) == AT_OLD and project.did == ["undrain idr"]


def test_users_who_cannot_be_told_and_an_api_that_is_away_are_told_with_how_to_end_it(project, monkeypatch):
    def drain(environment):
        project.neutron.spoiled = dict.fromkeys(range(100_000), 503)
        raise IdrError("idr-a-dockermanager: no answer")

    means = project.means()
    monkeypatch.setattr(project, "means", lambda: switching.replace(means, drain=drain))
    with pytest.raises(Refused) as refused:
        switch(project)
    assert "can't be drained" in refused.value.problems[0]
    assert refused.value.problems[-1].endswith("salt-run release.resume newidr back=True apply=True")
    project.neutron.spoiled = {}
    resume(project, back=True, broken=project.now().records["idr"].holders[0].holder)
    assert is_at_rest(project) == AT_OLD


def test_an_api_that_is_away_once_users_are_drained_is_told_with_how_to_go_on(project, monkeypatch):
    def drain(environment):
        project.neutron.spoiled = dict.fromkeys(range(100_000), 503)

    means = project.means()
    monkeypatch.setattr(project, "means", lambda: switching.replace(means, drain=drain))
    with pytest.raises(Refused) as refused:
        switch(project)
    assert refused.value.problems[-1] == "to go on with it: salt-run release.resume newidr apply=True"
    project.neutron.spoiled = {}
    resume(project, broken=project.now().records["idr"].holders[0].holder)
    assert is_at_rest(project) == AT_NEW


@contextmanager
def away_from(project, monkeypatch, step, instead=None):
    """The API is away from that step of a move on, for as long as the block lasts; INSTEAD is done for the step."""
    whole = getattr(switching, step)

    def away(*given):
        project.neutron.spoiled = dict.fromkeys(range(100_000), 503)
        return (instead or whole)(*given)

    with monkeypatch.context() as patched:
        patched.setattr(switching, step, away)
        yield
    project.neutron.spoiled = {}


def test_what_may_not_have_begun_is_told_with_where_that_is_seen(project, monkeypatch):
    with away_from(project, monkeypatch, "_put"), pytest.raises(Refused) as refused:
        switch(project)
    assert refused.value.problems[-1].endswith("salt-run release.status newidr") and project.did == []


def test_an_api_that_is_away_leaves_what_is_moved_and_says_how_to_go_on(project, monkeypatch):
    broken = away_from(project, monkeypatch, "_looked_at", lambda *_: ["newidr is broken"])
    with broken, pytest.raises(Refused) as refused:
        switch(project)
    assert refused.value.problems[-1].endswith("salt-run release.resume newidr back=True apply=True")
    assert project.owners() == AT_NEW
    holder = project.now().records["idr"].holders[0].holder  # it couldn't be given back either
    resume(project, back=True, broken=holder)
    assert is_at_rest(project) == AT_OLD


def test_what_cannot_be_written_down_is_told_with_how_to_go_on(project, monkeypatch):
    with away_from(project, monkeypatch, "_undrained"), pytest.raises(Refused) as refused:
        switch(project)
    assert "is confirmed, which isn't written down" in refused.value.problems[0]
    assert refused.value.problems[1].endswith("salt-run release.resume newidr apply=True")
    resume(project, broken=project.now().records["idr"].holders[0].holder)
    assert is_at_rest(project) == AT_NEW and [it.end for it in project.now().history] == ["confirmed"]


def test_one_that_is_back_but_for_its_last_tag_is_told_as_back_and_ends_as_that(project, monkeypatch):
    project.broken.add("newidr")
    whole = record.take

    def dies(cloud, of, id_, tag):
        if tag.startswith("idr-moving"):
            raise Killed
        whole(cloud, of, id_, tag)

    monkeypatch.setattr(record, "take", dies)
    with pytest.raises(Killed):
        switch(project)
    monkeypatch.setattr(record, "take", whole)
    stands = status.of(project.now())
    assert stands["state"].endswith("on its way back to idr")
    assert all(it["right"] for it in stands["addresses"]), stands["addresses"]

    resume(project)
    assert is_at_rest(project) == AT_OLD and [it.end for it in project.now().history] == ["undone"]


def test_one_that_was_confirmed_and_is_to_go_back_goes_back_though_it_dies_at_once(project, monkeypatch):
    whole = switching._end

    def written_only(means, move, moved):
        record.say_moved(project.cloud, project.public, project.now().public.tags, moved)

    monkeypatch.setattr(switching, "_end", written_only)
    switch(project)
    monkeypatch.setattr(switching, "_end", whole)
    project.address(PUBLIC).tags.append(record.back_tag(project.now().moving))

    resume(project)
    assert is_at_rest(project) == AT_OLD and [it.end for it in project.now().history] == ["undone"]


def test_an_old_one_that_cannot_be_looked_at_is_back_all_the_same(project, monkeypatch):
    project.broken.add("newidr")
    means = project.means()

    def smoke(environment, ip):
        if environment == "idr":
            raise Refused(["release_ca: has to be another"])
        return means.smoke(environment, ip)

    monkeypatch.setattr(project, "means", lambda: switching.replace(means, smoke=smoke))
    done = switch(project)
    assert is_at_rest(project) == AT_OLD and done.moved.end == "undone"
    assert done.why[-1] == f"idr has {PUBLIC} again, and: it can't be looked at: release_ca: has to be another"


@pytest.mark.parametrize("back", [False, True])
def test_a_spare_address_that_was_given_away_meanwhile_keeps_nobody_from_an_end(project, back):
    project.address(PUBLIC).tags.append(record.moving_tag(MOVE))
    del project.neutron.addresses[project.spare]

    resume(project, back)
    now = project.now()
    assert (now.holder(now.public), now.moving) == ("idr" if back else "newidr", None)
    assert f"{'newidr' if back else 'idr'}" in status.of(now)["problems"][0]


REFUSED = {
    "another address is meant": (lambda p: None, SPARE, f"production={SPARE}: the public's address is {PUBLIC}"),
    "it has it already": (lambda p: switch(p), PUBLIC, f"newidr has {PUBLIC} already"),
    "it has no spare one": (
        lambda p: setattr(p.address(SPARE), "port_id", None), PUBLIC, "newidr-proxy-newidr has no floating IP",
    ),
    "it was never prepared": (lambda p: p.group("newidr").tags.clear(), PUBLIC, "newidr is of no release"),
    "it isn't ready": (lambda p: p.group("newidr").tags.pop(), PUBLIC, "newidr isn't ready"),
    "nobody has the public's": (
        lambda p: setattr(p.address(PUBLIC), "port_id", None), PUBLIC,
        f"salt-run environment.apply idr address={PUBLIC}",
    ),
    "no address is the public's": (lambda p: p.address(PUBLIC).tags.clear(), PUBLIC, "carries the tag idr-production"),
    "two are the public's": (lambda p: p.address(SPARE).tags.append("idr-production"), PUBLIC, "both carry the tag"),
    "a move was begun": (
        lambda p: p.address(PUBLIC).tags.append(record.moving_tag(MOVE)), PUBLIC,
        "a switch from idr to newidr was begun",
    ),
}  # fmt: skip
MOVE = record.Move(record.SWITCH, "idr", "newidr", SPARE, BEGAN, "ben@laptop")


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_nothing_changed(project, case):
    change, named, said = REFUSED[case]
    change(project)
    before = project.now()

    with pytest.raises(Refused) as refused:
        switch(project, named)

    assert any(said in line for line in refused.value.problems), refused.value.problems
    assert project.now() == before


def test_there_is_a_way_back_until_it_is_finished_and_only_from_where_it_is(project):
    with pytest.raises(Refused, match="refused") as refused:
        rollback(project)
    assert refused.value.problems == [f"newidr hasn't {PUBLIC}, idr-proxy-idr has: there's nothing to go back from"]
    switch(project)
    project.group("newidr").tags = [it for it in project.group("newidr").tags if not it.startswith("idr-release~")]
    with pytest.raises(Refused) as refused:
        rollback(project)
    assert "finished" in refused.value.problems[0]


def test_the_second_operator_is_told_who_is_on_it(project):
    move = kinds.of_switch(project.now(), "newidr", PUBLIC, "ada@desk")
    with switching.both_locks(lambda: project.cloud, move, "switch", None, "release.switch newidr"):
        with pytest.raises(Refused) as refused:
            switch(project)
        assert " is on it since " in refused.value.problems[0]
        assert refused.value.problems[-1].endswith("salt-run release.status newidr")
    assert is_at_rest(project) == AT_OLD


def test_whose_lock_was_taken_moves_nothing_more_and_nothing_back(project, monkeypatch):
    whole, taken = switching.moves.left, []

    def steps(now, move):
        if not taken:
            taken.append(project.group("idr"))
            project.group("idr").description = "IDR environment idr; held by ben@laptop:1 since 2026 to switch"
        return whole(now, move)

    monkeypatch.setattr(switching.moves, "left", steps)
    with pytest.raises(lock.Lost):
        switch(project)
    assert project.owners()[0] == "idr" and project.now().moving is not None


def killed(project, deed, at, how):
    """Do it, and die at that call; whether it came to it, and who holds the locks."""
    with project.spoiled({at: how}):
        try:
            deed(project)
        except Killed:
            died = True
        else:
            died = False
    holders = [it.holder for each in project.now().records.values() for it in each.holders]
    return died, next(iter(holders), None)


@pytest.mark.parametrize("how", ["killed before", "killed after"])
@pytest.mark.parametrize("kind", ["switch", "rollback"])
@pytest.mark.parametrize("way", ["resume", "back", "rollback"])
def test_killed_at_any_call_another_machine_ends_it(project, monkeypatch, how, kind, way):
    deed, before, after = (switch, AT_OLD, AT_NEW) if kind == "switch" else (rollback, AT_NEW, AT_OLD)
    met = 0
    for at in range(1000):
        if project.owners() != before:  # as it was before the deed
            (rollback if before == AT_OLD else switch)(project)
        project.address(PUBLIC).tags = ["idr-production"]
        died, holder = killed(project, deed, at, how)
        if not died:
            break
        met += 1
        public, _, released = project.owners()
        assert public in ("idr", "newidr") and released
        if project.now().moving is None:  # nothing was moved yet, or all is over: only the locks are left
            assert project.owners() in (before, after)
            _free(project, holder)
            continue
        done = resume(project, back=way == "back", broken=holder)
        assert is_at_rest(project) == (before if way == "back" else after), (at, done)
        assert [it.end for it in project.now().history] == ["undone" if way == "back" else "confirmed"]
        if way == "rollback" and kind == "switch":
            rollback(project)
            assert is_at_rest(project) == AT_OLD
    assert met > 50  # calls, the locks' own among them


def _free(project, holder):
    """What the next command does with a dead one's locks."""
    with switching.both_locks(lambda: project.cloud, MOVE, "switch", holder, "release.switch newidr"):
        pass


def test_one_that_died_on_its_way_back_goes_on_back(project):
    project.broken.add("newidr")
    met = 0
    for at in range(1000):
        project.address(PUBLIC).tags = ["idr-production"]
        died, holder = killed(project, switch, at, "killed after")
        if not died:
            break
        if project.now().moving is None:
            _free(project, holder)
            continue
        was_back = project.now().moving.is_undone
        met += was_back
        resume(project, broken=holder)
        assert is_at_rest(project) == AT_OLD
        assert [it.end for it in project.now().history] == ["undone"]
    assert met > 10


@pytest.mark.parametrize("fault", ["lost", "reset", 500, 503, 409, 429])
def test_each_fault_of_each_call_after_the_locks_is_got_over(project, fault):
    with project.spoiled({}):
        switch(project)
        whole = list(project.neutron.calls)
        first = next(n for n, call in enumerate(whole) if call == "list addresses")
        last = max(n for n, call in enumerate(whole) if call == "list addresses")
    rollback(project)
    for at in range(first, last + 1):
        with project.spoiled({at: fault}):
            switch(project)
        assert is_at_rest(project) == AT_NEW, at
        rollback(project)
