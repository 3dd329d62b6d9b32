"""What is typed about a release before and after its switch: plans with the command that does them, and exit codes."""

import shlex

import pytest

from idr.release import preparing, record
from tests.prepared import World
from tests.runners import loaded
from tests.unit.test_release_preparing import SOON


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, SOON)


@pytest.fixture
def runner(tmp_path, world):
    return loaded("release", tmp_path)


def typed(runner, told):
    """Type the command that a plan says would do it."""
    comment = told["data"]["comment"]
    words = shlex.split(comment.partition("To do it: ")[2])
    assert words[0] == "salt-run" and words[1].startswith("release.")
    given = dict(word.split("=", 1) for word in words[3:])
    given = {key: value == "True" if key == "apply" else value for key, value in given.items()}
    return getattr(runner, words[1].removeprefix("release."))(words[2], **given)


def test_the_command_that_a_plan_shows_does_it_and_then_there_is_nothing_to_change(runner, world):
    plan = runner.plan("newidr", **{"from": "idr"})

    again = runner.prepare("newidr", **{"from": "idr"})
    assert (plan["data"]["lines"], plan["data"]["comment"]) == (again["data"]["lines"], again["data"]["comment"])
    assert world.done == []
    assert plan["data"]["lines"][0] == "a backup set of idr is taken: omero-data"
    assert any("+ newidr-omero-data: 500 GB" in line for line in plan["data"]["lines"])
    done = typed(runner, plan)
    assert (done["result"], done["set"]) == (True, f"idr-{SOON:%Y%m%dT%H%M%SZ}")
    assert done["warmed"] == {"urls": 3} and done["comment"].endswith("salt-run release.check newidr")
    again = runner.prepare("newidr", **{"from": "idr"})
    assert again["data"]["comment"] == "nothing to change"

    gone = typed(runner, runner.abort("newidr"))
    assert gone["comment"] == "the release of newidr is given up" and "remove server newidr-proxy" in gone["done"]
    assert any(note.startswith(f"{done['set']} stays") for note in gone["notes"])
    assert "retcode" not in runner.__context__


def test_a_release_is_finished_by_the_command_that_its_plan_shows(runner, world):
    runner.prepare("newidr", apply=True, **{"from": "idr"})
    world.switch("idr", "newidr")
    world.tell_public(record.moved_tag(record.Moved("switch", "idr", "newidr", "20261101T000000Z", "confirmed")))

    plan = runner.finish("newidr", even_if="early")

    assert plan["data"]["lines"][0] == "newidr is of no release any more, and there's no way back to idr"
    assert "confirm=idr even_if=early apply=True" in plan["data"]["comment"]
    done = typed(runner, plan)
    assert done["comment"] == "the release of newidr is finished, idr is gone"
    assert "remove server idr-proxy" in done["done"]
    assert runner.finish("newidr", apply=True)["comment"] == "the release of newidr is finished: nothing to change"
    assert runner.finish("newidr")["data"]["comment"] == "nothing to change"


def test_what_is_blocked_is_told_with_all_reasons_and_exits_1(runner, world):
    world.unclean = ["README.md isn't committed"]

    told = runner.plan("newidr", commit="abcdef0", **{"from": "idr"})["data"]

    assert told["retcode"] == runner.__context__["retcode"] == 1
    assert [line for line in told["lines"] if line.startswith("BLOCKED: ")] == [
        f"BLOCKED: {problem}" for problem in told["problems"]
    ]
    assert len(told["problems"]) == 2 and world.done == []
    assert runner.abort("newidr")["data"]["problems"] == ["newidr is of no release: there's nothing to abort"]
    assert runner.finish("newidr")["data"]["problems"][0].startswith("newidr isn't live")


def test_which_environment_it_is_from_has_to_be_said_and_nothing_else_is_known(runner):
    for function in (runner.plan, runner.prepare):
        assert function("newidr", form="idr")["problems"] == [
            "form: unknown argument",
            "from: say which environment is live: from=idr",
        ]


def test_an_operators_directories_are_below_the_one_that_is_given(runner, world, tmp_path, monkeypatch):
    for name in ("idr", "newidr"):
        (tmp_path / name).mkdir()
    asked = []
    monkeypatch.setattr(preparing.restoring, "not_supplied", lambda plan, folder: asked.append(folder) or [])

    told = runner.prepare("newidr", site=str(tmp_path), **{"from": "idr"})

    assert asked == [tmp_path / "newidr"] and f"site={tmp_path}" in told["data"]["comment"]


@pytest.mark.parametrize(
    ("module", "function", "given"),
    [
        ("release", "plan", {"from": "idr"}),
        ("release", "prepare", {"from": "idr"}),
        ("release", "finish", {}),
        ("release", "abort", {}),
        ("analysis", "refresh", {}),
    ],
)
def test_a_master_does_none_of_it(tmp_path, module, function, given):
    runner = loaded(module, tmp_path)
    runner.__opts__["idr_environment"] = "idr"

    told = getattr(runner, function)("newidr", **given)

    assert told["retcode"] == 1 and "checkout" in told["problems"][0]
