"""What is typed about an environment in the cloud: plans with the command that does them, and what means nothing."""

import shlex

import pytest

from idr.cloud.model import Plan, Step
from idr.update import Rehearsal, Update
from tests.runners import loaded

PLAN = Plan("newidr", (Step("remove", "server", "newidr-omero", id="s-1"),))
WITH_A_VOLUME = Plan("newidr", (Step("remove", "volume", "newidr-omero-data", id="v-1"),))


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The runner, before a cloud in which everything comes to the same plan; what was asked for is in `asked`."""
    module = loaded("environment", tmp_path)
    module.plan_ = PLAN
    module.asked = []

    def planned(*asked):
        module.asked.append(asked)
        return module.plan_

    monkeypatch.setattr(module.applying, "plan", planned)
    monkeypatch.setattr(module.applying, "replacement", planned)
    update = Update([], ["idr-proxy: this commit"], Rehearsal())
    monkeypatch.setattr(module.enrolment, "enrol", lambda *_: (["idr-omero: install Salt"], False))
    monkeypatch.setattr(module.updating, "update", lambda *_: update)
    monkeypatch.setattr(module.destroying, "destroy", planned)
    monkeypatch.setattr(module.destroying, "roll_back", planned)
    return module


def shown(told):
    """The words of the command that a plan says would do it."""
    words = shlex.split(told["data"]["comment"].partition("To do it: ")[2])
    assert words[0] == "salt-run" and words[-1] == "apply=True"
    return words[1:-1]


def test_a_plan_is_told_with_the_very_command_that_does_it(runner, tmp_path):
    site = f"site={tmp_path}"
    given = {"sources": "idr", "vm_image": "Debian 12", "site": str(tmp_path), "even_if": "failing"}

    assert shown(runner.apply("newidr", deploy=False, **given)) == [
        "environment.apply", "newidr", "sources=idr", "vm_image=Debian 12", "deploy=False", "even_if=failing", site,
    ]  # fmt: skip
    assert shown(runner.apply("newidr", sources="idr")) == ["environment.apply", "newidr", "sources=idr"]
    assert shown(runner.plan("newidr", sources="idr")) == ["environment.apply", "newidr", "sources=idr"]
    replaced = runner.replace("idr", "idr-omero", even_if="running", commit="0a1b2c3", site=str(tmp_path))
    assert shown(replaced) == [
        "environment.replace", "idr", "server=idr-omero", "commit=0a1b2c3", "even_if=running", site,
    ]  # fmt: skip
    enrolled = runner.enrol("idr", replace="idr-omero,idr-proxy", site=str(tmp_path))
    assert shown({"data": enrolled}) == ["environment.enrol", "idr", "replace=idr-omero,idr-proxy", site]
    updated = runner.update("idr", commit="0a1b2c3", even_if="failing", site=str(tmp_path))
    assert shown({"data": updated}) == ["environment.update", "idr", "commit=0a1b2c3", "even_if=failing", site]
    assert shown(runner.destroy("newidr", site=str(tmp_path))) == [
        "environment.destroy", "newidr", "confirm=newidr", site,
    ]  # fmt: skip


def test_what_is_taken_back_has_to_be_confirmed_where_volumes_go(runner):
    assert shown(runner.apply("newidr", rollback=True)) == ["environment.apply", "newidr", "rollback=True"]
    runner.plan_ = WITH_A_VOLUME
    assert shown(runner.apply("newidr", rollback=True))[2:] == ["rollback=True", "confirm=newidr"]


@pytest.mark.parametrize("apply", [False, True])
def test_what_means_nothing_where_something_is_taken_back_is_refused_and_nothing_is_done(runner, apply):
    told = runner.apply("newidr", apply=apply, rollback=True, sources="idr", break_lok="ada@desk:1", deploy=False)

    assert told["problems"] == [
        "sources: means nothing with rollback=True",
        "break_lok: means nothing with rollback=True",
        "deploy: means nothing with rollback=True",
    ]
    assert (told["retcode"], runner.asked) == (1, [])
    assert runner.apply("newidr", even_if="busy")["problems"] == ["even_if: only `failing` can be said, not busy"]
    assert runner.apply("newidr", confirm="newidr")["problems"] == ["confirm: is for rollback=True alone"]
