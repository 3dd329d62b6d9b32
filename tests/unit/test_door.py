"""Every way in which a runner can end, and what the shell, an orchestration and the reader get of it."""

import json
import stat

import pytest
from openstack.exceptions import HttpException

from idr import door as doors
from idr.cloud import connection  # noqa: F401  (as a runner that asks a cloud has imported it)
from idr.errors import IdrError, Refused

RUNNER = """
from idr.door import door
from idr.errors import IdrError, Refused

@door
def act(env, apply=False, limit=300, **kwargs):
    return OUTCOME()
"""


class Runner:
    """One runner function behind the door, with what Salt's loader gives to its module."""

    def __init__(self, tmp_path):
        self.record = tmp_path / "state" / "actions.jsonl"
        self.module = {
            "__name__": "salt.loaded.ext.runner.thing",
            "__context__": {},
            "__opts__": {"sock_dir": str(tmp_path), "idr_record": str(self.record)},
        }
        exec(RUNNER, self.module)
        self.ends_with(lambda: {"result": True, "comment": "done"})

    def ends_with(self, outcome):
        self.module["OUTCOME"] = outcome

    def __call__(self, *args, **kwargs):
        return self.module["act"](*args, **kwargs)

    @property
    def retcode(self):
        return self.module["__context__"].get("retcode", 0)

    @property
    def recorded(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def raising(error):
    def outcome():
        raise error

    return outcome


def test_what_went_well_is_returned_as_it_is(runner):
    assert runner("idr") == {"result": True, "comment": "done"}
    assert runner.retcode == 0


@pytest.mark.parametrize(
    ("outcome", "returned"),
    [
        (raising(IdrError("no")), {"result": False, "comment": "no"}),
        (raising(Refused(["a", "b"], "no")), {"result": False, "comment": "no", "problems": ["a", "b"]}),
        (lambda: {"result": False, "comment": "no"}, {"result": False, "comment": "no"}),
        (raising(HttpException("no\nway")), {"result": False, "comment": "no way"}),
    ],
)
def test_a_failure_has_its_code_in_both_places(runner, outcome, returned):
    runner.ends_with(outcome)

    assert runner("idr") == returned | {"retcode": 1}
    assert runner.retcode == 1


@pytest.mark.parametrize("failed", [{"result": False}, {"retcode": 1}], ids=str)
def test_so_has_one_that_an_outputter_shows(runner, failed):
    runner.ends_with(lambda: {"data": {**failed, "lines": []}, "outputter": "environment"})

    assert runner("idr") == {"data": {**failed, "lines": [], "retcode": 1}, "outputter": "environment"}
    assert runner.retcode == 1


def test_a_text_and_what_an_outputter_shows_of_a_success_are_none(runner):
    for outcome in ("Host idr-proxy", {"data": {"lines": []}, "outputter": "environment"}):
        runner.ends_with(lambda outcome=outcome: outcome)
        assert runner("idr") == outcome and runner.retcode == 0
        assert (runner.recorded[-1]["result"], runner.recorded[-1]["comment"]) == (True, "")


@pytest.mark.parametrize("bug", [TypeError("x"), ValueError("x"), KeyError("x"), SystemExit(0)])
def test_a_bug_is_raised_but_never_as_what_salt_takes_for_success(runner, bug):
    runner.ends_with(raising(bug))

    with pytest.raises(BaseException) as raised:
        runner("idr")

    assert not isinstance(raised.value, TypeError)
    assert runner.recorded[0]["result"] is False


@pytest.mark.parametrize(
    ("args", "kwargs", "problems"),
    [
        (["idr"], {"aply": True}, ["aply: unknown argument; it takes env, apply, limit"]),
        ([], {}, ["env: missing; it takes env, apply, limit"]),
        ([], {"x": 1, "y": 2}, [
            "x: unknown argument; it takes env, apply, limit",
            "y: unknown argument; it takes env, apply, limit",
            "env: missing; it takes env, apply, limit",
        ]),
        (["idr", True, 1, 2], {}, ["2: one argument too many; it takes env, apply, limit"]),
        (["idr"], {"env": "idr"}, ["env: given twice"]),
        (["idr"], {"apply": "yes"}, ["apply: True or False, not 'yes'"]),
        (["idr", 1], {}, ["apply: True or False, not 1"]),
    ],
)  # fmt: skip
def test_arguments_that_it_does_not_take(runner, args, kwargs, problems):
    runner.ends_with(raising(AssertionError("it ran")))

    assert runner(*args, **kwargs)["problems"] == problems
    assert runner.retcode == 1


def test_what_salt_adds_to_the_arguments_is_none_of_them(runner):
    assert runner("idr", __pub_user="root", __pub_jid="1")["result"] is True
    assert runner.recorded[0]["arguments"] == ["idr"]


def test_the_record_says_who_when_what_and_how_it_ended(runner):
    runner("idr", apply=True)
    runner.ends_with(raising(IdrError("no")))
    runner("idr")

    first, second = runner.recorded
    assert first.keys() == {"when", "who", "what", "arguments", "result", "comment", "seconds"}
    assert (first["what"], first["arguments"], first["result"]) == ("thing.act", ["idr", "apply=True"], True)
    assert (second["result"], second["comment"]) == (False, "no")
    assert stat.S_IMODE(runner.record.stat().st_mode) == 0o600
    assert stat.S_IMODE(runner.record.parent.stat().st_mode) == 0o700


def test_an_action_is_not_lost_with_its_record(runner, capsys):
    runner.record.parent.write_text("in the way")

    assert runner("idr")["result"] is True
    assert "not recorded" in capsys.readouterr().err


def test_milestones_are_lines_in_the_terminal(runner, capsys):
    doors.milestones(runner.module["__opts__"], "thing/act")("halfway")

    assert capsys.readouterr().err.endswith("s] halfway\n")
