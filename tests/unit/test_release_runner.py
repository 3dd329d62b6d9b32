"""Switch, rollback and resume as they're typed: plans, refusals with nothing changed, and what is answered."""

import random
from types import SimpleNamespace

import pytest

from idr.cloud import lock
from idr.errors import IdrError, Refused
from idr.release import record, seat
from tests.outputters import outputter
from tests.releases import PUBLIC, SPARE, Project, quickly
from tests.runners import loaded

PASSED = ("every server answers", "its certificate is valid")


@pytest.fixture
def project(monkeypatch):
    monkeypatch.setattr(lock, "_pauses", lambda: (random.uniform(0, 0.001) for _ in range(lock.TRIES)))
    project = Project()
    project.clock = quickly(monkeypatch)
    project.problems, project.asked, means = (), [], project.means()

    def check(new, old, **given):
        project.asked.append((new, old, given["address"], given["even_if"], given["broken"]))
        return SimpleNamespace(passed=PASSED, problems=project.problems, writes=(), commit="0a1b2c3d4e5f" * 3)

    monkeypatch.setattr(seat, "connect", lambda name: project.cloud)
    monkeypatch.setattr(seat.wanted, "cloud_of", lambda name: "idr")
    monkeypatch.setattr(seat.wanted, "public_name_of", lambda name: "idr.example.org")
    monkeypatch.setattr(seat.wanted, "release_expectations", lambda name, folder: name)
    monkeypatch.setattr(seat.checking, "check", check)
    monkeypatch.setattr(seat.checking, "writes_since", lambda *_: (["3 annotations, by ada"], []))
    monkeypatch.setattr(seat.smoke, "problems", lambda name, address, expected: means.smoke(expected, address))
    monkeypatch.setattr(seat.smoke, "answers", lambda name, address, seconds: means.answers(address))
    monkeypatch.setattr(
        seat,
        "_hub",
        lambda name, folders: SimpleNamespace(
            drain=lambda minutes, tell: means.drain(name), undrain=lambda tell, whosever: means.undrain(name)
        ),
    )
    return project


@pytest.fixture
def runner(project, tmp_path):
    return loaded("release", tmp_path)


def test_the_plan_shows_before_and_after_and_what_every_guard_says(runner, project):
    before = project.now()
    plan = runner.switch("newidr", even_if="writes,undrained")["data"]

    assert plan["result"] and project.now() == before
    assert plan["addresses_now"]["public"] == {"address": PUBLIC, "on": "idr-proxy-idr"}
    assert plan["addresses_then"] == {
        "public": {"address": PUBLIC, "on": "newidr-proxy-newidr"},
        "spare": {"address": SPARE, "on": "idr-proxy-idr"},
    }
    assert plan["passed"] == list(PASSED)
    typed = f"salt-run release.switch newidr production={PUBLIC} even_if=writes,undrained apply=True"
    assert plan["comment"].endswith(typed)
    assert project.asked == [("newidr", "idr", PUBLIC, ("writes",), None)]  # the other is no guard of a check's
    shown = outputter("release").output(plan).splitlines()
    assert f"public address {PUBLIC}: idr-proxy-idr -> newidr-proxy-newidr" in shown and "  ok  " + PASSED[0] in shown


def test_it_is_done_where_it_is_said_to_be_done_here(runner, project):
    answer = runner.switch("newidr", production=PUBLIC, apply=True, here=True)

    assert answer["result"] is True and answer["comment"].endswith("newidr is live") and answer["checks"] == 2
    assert project.owners() == ("newidr", "idr", ["newidr"])
    assert project.now().history[0].commit == "0a1b2c3d4e5f"
    answer = runner.rollback("newidr", apply=True, here=True)
    assert answer["result"] is True and answer["comment"].endswith("idr is live")


def test_it_is_done_in_a_process_of_its_own_otherwise(runner, project, monkeypatch):
    ran = []

    def run(new, words, tell):
        ran.append((new, words))
        return {"result": False, "comment": "undone"}

    monkeypatch.setattr(runner.detached, "run", run)
    answer = runner.switch("newidr", production=PUBLIC, bake=5, break_lock="ada@desk:1", apply=True)
    runner.rollback("newidr", apply=True)
    runner.resume("newidr", back=True, apply=True)

    assert answer["retcode"] == 1 and runner.__context__["retcode"] == 1
    assert [" ".join(words) for _, words in ran] == [
        f"release.switch newidr production={PUBLIC} bake=5 apply=True here=True break_lock=ada@desk:1",
        "release.rollback newidr apply=True here=True",
        "release.resume newidr back=True apply=True here=True",
    ]
    assert project.owners()[0] == "idr" and not project.asked


REFUSED = {
    "no address is named": ({"apply": True}, "production: say which address is the public's"),
    "another is named": ({"production": SPARE, "apply": True, "here": True}, f"production={SPARE}: the public's"),
    "a number that can't be meant": ({"limit": 5}, "limit=5: a number from 30 to 3600"),
    "a word": ({"bake": "long"}, "bake=long: a number from 0 to 3600"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_nothing_changed(runner, project, case):
    given, said = REFUSED[case]
    before = project.now()
    answer = runner.switch("newidr", **given)
    assert answer["retcode"] == 1 and any(said in line for line in answer["problems"]), answer
    assert project.now() == before


def test_it_needs_a_fresh_pass(runner, project):
    project.problems = ("newidr-omero: omero-web.service is failed",)
    before = project.now()

    plan = runner.switch("newidr")["data"]
    assert plan["retcode"] == 1 and f"BLOCKED: {project.problems[0]}" in plan["lines"]
    answer = runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    assert answer["problems"] == list(project.problems) and project.now() == before


def test_after_users_had_their_notice_it_is_checked_once_more(runner, project, monkeypatch):
    def drain(name):
        project.problems = ("idr-omero: an import runs",)

    monkeypatch.setattr(seat, "_hub", lambda name, folders: SimpleNamespace(
        drain=lambda minutes, tell: drain(name), undrain=lambda tell, whosever: project.did.append("undrain idr"),
    ))  # fmt: skip
    before = project.owners()
    answer = runner.switch("newidr", production=PUBLIC, drain=60, apply=True, here=True)

    assert answer["problems"] == list(project.problems) and len(project.asked) == 2
    assert project.owners() == before and project.did[-1] == "undrain idr"
    assert project.now().moving is None

    project.problems = ()
    runner.switch("newidr", production=PUBLIC, drain=0, apply=True, here=True)
    assert len(project.asked) == 3, "who was given no notice had no time for anything"


def test_whose_lock_is_to_be_broken_keeps_no_guard_from_passing(runner, project):
    plan = runner.switch("newidr", break_lock="ada@desk:4711")["data"]
    assert plan["comment"].endswith(f"production={PUBLIC} break_lock=ada@desk:4711 apply=True")
    project.group("idr").description += "; held by ada@desk:4711 since 2026-11-24T05:00:00.000Z to switch"
    answer = runner.switch("newidr", production=PUBLIC, apply=True, here=True, break_lock="ada@desk:4711")
    assert answer["result"] is True and [it[-1] for it in project.asked] == ["ada@desk:4711"] * 2


def test_one_that_is_undone_is_no_success_and_says_why(runner, project):
    project.broken.add("newidr")
    answer = runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    assert answer["retcode"] == 1 and answer["comment"].startswith("undone: ") and answer["problems"]
    assert project.owners()[0] == "idr"


def test_the_way_back_is_looked_at_first_and_says_what_is_lost(runner, project, monkeypatch):
    runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    plan = runner.rollback("newidr")["data"]
    assert plan["lost"] == ["3 annotations, by ada"] and plan["result"]
    plan = runner.rollback("newidr", even_if="undrained", break_lock="ada@desk:4711")["data"]
    assert plan["comment"].endswith("release.rollback newidr even_if=undrained break_lock=ada@desk:4711 apply=True")

    def refused(*_):
        raise Refused(["newidr: its master has no release.writes yet"])

    monkeypatch.setattr(seat.checking, "writes_since", refused)
    [line] = runner.rollback("newidr")["data"]["lost"]
    assert line.endswith("UTC isn't known: newidr: its master has no release.writes yet")

    project.broken.add("idr")
    before = project.now()
    answer = runner.rollback("newidr", apply=True, here=True)
    assert answer["problems"] == [f"idr, through {SPARE}: idr is broken", "to go back all the same: even_if=failing"]
    assert project.now() == before
    assert runner.rollback("newidr", even_if="quickly")["problems"] == [
        "even_if: only `failing` and `undrained` can be said, not quickly"
    ]


def test_the_way_back_to_one_that_is_known_to_fail_is_not_undone_for_that(runner, project):
    runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    project.broken.add("idr")
    answer = runner.rollback("newidr", even_if="failing", apply=True, here=True)
    assert answer["result"] is True and project.owners() == ("idr", "newidr", ["idr"])


def test_whoever_goes_back_does_not_wait_for_what_is_lost(runner, project, monkeypatch, capsys):
    runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    monkeypatch.setattr(seat.checking, "writes_since", None)
    assert runner.rollback("newidr", apply=True, here=True)["result"] is True
    [_, switched] = project.now().history
    told = f"lost by going back: what was written to newidr since {record.when(switched.began):%Y-%m-%d %H:%M} UTC: "
    assert f"{told}salt-run release.writes newidr since={switched.began}\n" in capsys.readouterr().err


def test_what_was_cut_off_is_ended_or_undone(runner, project, monkeypatch):
    assert "nothing is under way" in runner.resume("newidr")["problems"][0]
    move = record.Move(record.SWITCH, "idr", "newidr", SPARE, "20261124T050000Z", "ada@desk")
    project.address(PUBLIC).tags.append(record.moving_tag(move))
    assert "is a switch from idr to newidr, not of prod42" in runner.resume("prod42")["problems"][0]
    project.group("idr").description += "; held by ada@desk:4711 since 2026-11-24T05:00:00.000Z to switch"

    [held, how] = runner.resume("newidr", apply=True, here=True)["problems"]
    assert held.endswith("salt-run release.resume newidr apply=True break_lock=ada@desk:4711")
    assert how.endswith("salt-run release.status newidr")
    answer = runner.resume("newidr", apply=True, here=True, break_lock="ada@desk:4711")
    assert answer["result"] is True and project.owners()[0] == "newidr"
    project.address(PUBLIC).tags.append(record.moving_tag(move))
    plan = runner.resume("newidr", back=True, break_lock="ada@desk:4711")["data"]
    assert plan["steps"]
    assert plan["comment"].endswith("release.resume newidr back=True break_lock=ada@desk:4711 apply=True")
    answer = runner.resume("newidr", back=True, apply=True, here=True)
    assert answer["result"] is True and project.owners()[0] == "idr"


def test_what_was_given_up_or_finished_since_it_was_looked_at_is_not_moved(runner, project, monkeypatch):
    """By a run that had the lock meanwhile, and died before it had taken any address."""
    whole = seat.switching.both_locks

    def given_up(*given):
        project.group("newidr").tags = [it for it in project.group("newidr").tags if not it.startswith("idr-re")]
        return whole(*given)

    monkeypatch.setattr(seat.switching, "both_locks", given_up)
    answer = runner.switch("newidr", production=PUBLIC, apply=True, here=True)
    assert "it's otherwise by now" in answer["problems"][0] and project.owners()[0] == "idr"


def test_a_switch_that_another_ends_has_its_commit_in_the_history(runner, project):
    move = record.Move(record.SWITCH, "idr", "newidr", SPARE, "20261124T050000Z", "ada@desk")
    project.address(PUBLIC).tags.append(record.moving_tag(move))
    assert runner.resume("newidr", apply=True, here=True)["result"] is True
    assert project.now().history[0].commit == "0a1b2c3d4e5f"


def test_how_it_stands_has_an_exit_code(runner, project):
    assert "retcode" not in runner.status("newidr")["data"]
    project.address(PUBLIC).port_id = None
    assert runner.status()["data"]["retcode"] == 1 and runner.__context__["retcode"] == 1
    assert runner.history()["data"] == {"history": []}


def test_a_master_moves_no_address(runner, project):
    runner.__opts__["idr_environment"] = "idr"
    for function in (runner.switch, runner.rollback, runner.resume):
        assert "at a checkout, salt-run release." in function("newidr")["problems"][0]


def test_an_address_is_named_by_itself_or_by_a_name_that_leads_to_it(monkeypatch):
    def addresses_of(name):
        if name == "nowhere.example.org":
            raise OSError("no such name")
        return {"two.example.org": {PUBLIC, SPARE}}.get(name, {PUBLIC})

    monkeypatch.setattr(seat.live, "addresses_of", addresses_of)
    assert seat.address_named(PUBLIC) == seat.address_named("idr.example.org") == PUBLIC
    for name in ("two.example.org", "nowhere.example.org"):
        with pytest.raises(IdrError):
            seat.address_named(name)
