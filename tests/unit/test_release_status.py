"""How a release stands, whatever a run was cut off at: what is where, and the one command to type."""

import subprocess

import pytest

from idr.cloud import lock
from idr.release import history, moves, record, status
from tests.outputters import outputter
from tests.releases import BEGAN, PUBLIC, SPARE, Project, quickly

MOVE = record.Move(record.SWITCH, "idr", "newidr", SPARE, BEGAN, "ada@desk")


@pytest.fixture
def project(monkeypatch):
    project = Project()
    project.clock = quickly(monkeypatch)
    return project


def move_all(project, move=MOVE):
    moves.carry_out(lambda: project.cloud, move, project.clock.now + 100, lambda line: None)


def begin(project, undone=False):
    project.address(PUBLIC).tags += [record.moving_tag(MOVE), *([record.back_tag(MOVE)] if undone else [])]


def end(project, kind, source, target, how="confirmed", began=BEGAN):
    moved = record.Moved(kind, source, target, began, how, "0a1b2c3d4e5f", 41, 0.3, 23, "ada@desk")
    project.address(PUBLIC).tags.append(record.moved_tag(moved))
    return moved


def stands(project, new=None):
    return status.of(project.now(), new)


def test_ready_and_all_is_where_it_should_be(project):
    found = stands(project)

    assert (found["live"], found["new"], found["problems"]) == ("idr", "newidr", [])
    assert found["next"] == f"salt-run release.switch newidr production={PUBLIC}"
    assert [(it["what"], it["address"], it["on"], it["right"]) for it in found["addresses"]] == [
        ("public", PUBLIC, "idr-proxy-idr", True),
        ("spare", SPARE, "newidr-proxy-newidr", True),
    ]


def test_one_that_is_being_prepared_is_to_be_prepared(project):
    project.group("newidr").tags.pop()
    assert stands(project)["next"] == "salt-run release.prepare newidr from=idr apply=True"


def test_without_a_release_it_says_who_is_live(project):
    project.group("newidr").tags.clear()
    found = stands(project)
    assert (found["live"], found["release"], found["problems"]) == ("idr", None, [])
    assert found["next"] == "salt-run release.prepare <new> from=idr"


def test_one_that_took_over_is_to_be_finished_and_may_go_back(project):
    move_all(project)
    end(project, "switch", "idr", "newidr")
    found = stands(project)
    assert (found["live"], found["problems"]) == ("newidr", [])
    assert found["next"] == "salt-run release.finish newidr"
    assert found["notes"] == ["until then the way back is: salt-run release.rollback newidr apply=True"]
    assert "took over from idr, 2026-11-24 05:00 UTC" in found["state"]


def test_one_that_was_undone_or_went_back_is_ready_again(project):
    for kind, source, target, how in (
        ("switch", "idr", "newidr", "undone"),
        ("rollback", "newidr", "idr", "confirmed"),
    ):
        project.address(PUBLIC).tags = ["idr-production"]
        end(project, kind, source, target, how)
        found = stands(project)
        assert found["problems"] == [] and found["next"].startswith("salt-run release.switch newidr ")


def test_one_whose_finish_was_cut_off_is_to_be_finished(project):
    move_all(project)
    end(project, "switch", "idr", "newidr")
    project.group("newidr").tags = ["idr-released"]  # there's no way back any more, and the old one is still there

    found = stands(project)

    assert found["next"] == "salt-run release.finish newidr"
    assert found["state"] == "newidr took over from idr, which goes"
    end(project, "finish", "idr", "newidr", began="20261209T050000Z")
    assert stands(project)["next"] == "salt-run release.prepare <new> from=newidr"


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("undone", [False, True])
def test_wherever_one_was_cut_off_it_says_where_all_should_be_and_how_it_gets_there(project, steps, undone):
    begin(project, undone)
    for step in moves.left(project.now(), MOVE)[:steps]:
        moves._take(project.cloud, moves.left(project.now(), MOVE)[0], False)
        assert step
    found = stands(project)

    assert found["next"] == "salt-run release.resume newidr apply=True"
    assert found["problems"][0].startswith("switch from idr to newidr under way")
    public, *_ = found["addresses"]
    assert public["should"] == ("idr-proxy-idr" if undone else "newidr-proxy-newidr")
    assert public["right"] == ((steps < 2) == undone)
    assert {it["address"] for it in found["addresses"]} == {PUBLIC, SPARE}


def hold(project, holder):
    project.group("idr").description = f"IDR environment idr; held by {holder} since 2026 to switch"


def test_a_dead_one_is_to_be_broken_by_name_a_living_one_waited_for(project):
    begin(project)
    me, _, pid = lock.this_process().rpartition(":")
    ended = subprocess.Popen("true")
    ended.wait()

    hold(project, f"{me}:{ended.pid}")
    assert stands(project)["next"] == f"salt-run release.resume newidr apply=True break_lock={me}:{ended.pid}"
    hold(project, f"{me}:{pid}")
    found = stands(project)
    assert found["next"] is None and "goes on with it" in found["notes"][0] and found["held"]
    hold(project, "ben@laptop:4711")
    found = stands(project)
    assert found["next"].endswith("break_lock=ben@laptop:4711") and "only once you're sure" in found["notes"][0]


def test_a_living_process_that_may_be_another_by_now_is_told_with_what_is_typed_then(project):
    begin(project)
    hold(project, lock.this_process())
    found = stands(project)
    pid = lock.this_process().rpartition(":")[2]
    assert found["next"] is None
    assert f"ps -p {pid}" in found["notes"][1]
    assert found["notes"][1].endswith(f"salt-run release.resume newidr apply=True break_lock={lock.this_process()}")


def test_one_that_was_to_follow_another_than_is_live_is_to_be_given_up(project):
    project.neutron.create_security_group("other", "IDR environment other, made by run-1")
    project.address(PUBLIC).port_id = project.neutron.add_port("other-proxy-other", "other")
    project.address(PUBLIC).description = "IDR environment other"
    for tags in (project.group("newidr").tags, project.group("newidr").tags[:1]):
        project.group("newidr").tags = tags
        found = stands(project, "newidr")
        assert found["next"] == "salt-run release.abort newidr"
        assert "was prepared to follow idr, and other is live" in found["notes"][0]


def test_one_that_was_replaced_itself_is_the_way_back_and_nothing_to_be_given_up(project):
    project.neutron.create_security_group("third", "IDR environment third, made by run-1")
    project.address(PUBLIC).port_id = project.neutron.add_port("third-proxy-third", "third")
    project.group("third").tags.append(record.release_tag(record.Release("newidr", "newidr-1", "0a1b2c3", BEGAN)))
    end(project, "switch", "newidr", "third")
    found = stands(project, "newidr")
    assert found["next"] == "salt-run release.status third"
    assert found["notes"][0] == "newidr is the way back from third"


def test_one_that_failed_and_stayed_is_to_be_looked_at(project):
    move_all(project)
    end(project, "switch", "idr", "newidr", "failed")
    found = stands(project)
    assert found["next"] == "salt-run environment.show newidr"  # a finish is refused
    assert "didn't answer at all" in found["notes"][0] and "release.rollback newidr" in found["notes"][1]


def test_what_was_moved_by_hand_is_told(project):
    move_all(project)
    end(project, "switch", "idr", "newidr")
    move_all(project, MOVE.back)  # and nobody wrote that down
    found = stands(project)
    assert f"the public's address {PUBLIC} is on idr-proxy-idr, and should be newidr's" in found["problems"]
    assert found["next"] == f"salt-run release.switch newidr production={PUBLIC}"


def test_what_was_moved_by_hand_after_a_rollback_goes_back_and_nothing_is_finished(project):
    end(project, "rollback", "newidr", "idr")
    move_all(project)
    found = stands(project)
    assert f"the public's address {PUBLIC} is on newidr-proxy-newidr, and should be idr's" in found["problems"]
    assert found["next"] == "salt-run release.rollback newidr"


@pytest.mark.parametrize("is_finished", [False, True])
def test_what_was_moved_by_hand_to_a_third_one_is_moved_back_by_hand(project, is_finished):
    move_all(project)
    end(project, "switch", "idr", "newidr")
    if is_finished:
        project.group("newidr").tags = ["idr-released"]
    project.neutron.create_security_group("other", "IDR environment other, made by run-1")
    project.address(PUBLIC).port_id = project.neutron.add_port("other-proxy-other", "other")
    assert stands(project, "newidr")["next"] == f"openstack floating ip set --port newidr-proxy-newidr {PUBLIC}"


def test_an_address_that_is_nobodys_is_to_be_put_back(project):
    project.address(PUBLIC).port_id = None
    found = stands(project)
    assert found["next"] == f"salt-run environment.apply idr address={PUBLIC} apply=True"
    assert found["problems"] == [f"the public's address {PUBLIC} is on nowhere, and should be idr's"]


def test_an_environment_that_nobody_knows_is_told(project):
    assert "nowhere" not in str(stands(project, "prod42"))
    assert stands(project, "prod42")["problems"] == [
        "prod42: no environment of this cloud: salt-run environment.list"
    ]


def test_a_record_that_says_otherwise_is_told(project):
    project.group("newidr").tags.append("idr-released")
    project.group("idr").tags.remove("idr-released")
    found = stands(project)
    how = "openstack security group set --tag idr-released idr, and unset --tag idr-released newidr"
    assert found["problems"] == [f"by its record newidr is the public's, and idr has to be: {how}"]


def test_both_are_shown_as_tables_and_lines(project):
    show = outputter("release")
    begin(project)
    told = show.output(stands(project)).splitlines()
    assert told[0] == "idr is live"
    assert f"public address {PUBLIC}: on idr-proxy-idr, and should be on newidr-proxy-newidr" in told
    assert told[-1] == "next: salt-run release.resume newidr apply=True"

    assert show.output({"history": history.of(project.now())}) == "nothing was moved yet"
    end(project, "switch", "idr", "newidr")
    end(project, "rollback", "newidr", "idr", began="20261124T060000Z")
    head, first, second = show.output({"history": history.of(project.now())}).splitlines()
    assert first.split()[:5] == ["2026-11-24T06:00:00+00:00", "rollback", "newidr", "idr", "confirmed"]
    assert second.split()[5:] == ["41", "0.3", "23", "0a1b2c3d4e5f", "ada@desk"]
