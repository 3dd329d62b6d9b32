"""What is typed about the analysis side: the plan with the command that does it, and what was done and is kept."""

import json

import pytest

from idr.analysis import refreshing
from idr.analysis.refreshing import Aside, Coming, Refreshed
from idr.cloud.applying import Applied
from idr.cloud.model import Plan, Step
from idr.errors import Refused
from tests.runners import loaded

SET = "idr-20261125T030000Z"
STEPS = (Step("make", "volume", "idr-a-omero-data", {"size": 500}),)


@pytest.fixture
def runner(tmp_path):
    module = loaded("analysis", tmp_path)
    module.record = lambda: json.loads((tmp_path / "actions.jsonl").read_text().splitlines()[-1])
    return module


def planned(monkeypatch, steps=STEPS, drained=(), problems=()):
    on = {"idr-a-dockermanager": ["ada", "bob"]}
    coming = Coming(SET, Plan("idr", steps), on, drained, problems)
    monkeypatch.setattr(refreshing, "plan", lambda *_: coming)


def test_a_plan_says_of_which_set_who_is_on_and_what_is_typed_to_do_it(runner, monkeypatch, tmp_path):
    planned(monkeypatch)

    told = runner.refresh("idr", minutes=30, even_if="drift,again", site=str(tmp_path))["data"]

    assert told["lines"][:2] == [f"the analysis side of idr is made of {SET}", "on are ada, bob"]
    assert told["comment"] == (
        f"a plan, nothing was changed. To do it: salt-run analysis.refresh idr minutes=30 even_if=again,drift "
        f"site={tmp_path} apply=True"
    )


def test_where_nothing_is_to_be_swapped_a_hub_that_is_drained_yet_is_told_of(runner, monkeypatch):
    planned(monkeypatch, steps=())
    assert runner.refresh("idr")["data"]["comment"] == f"the analysis side of idr is of {SET}: nothing to change"

    planned(monkeypatch, steps=(), drained=("idr-a-dockermanager",))

    assert runner.refresh("idr")["data"]["comment"] == (
        f"the analysis side of idr is of {SET}: it has yet to be looked at, and idr-a-dockermanager opened: salt-run "
        f"analysis.refresh idr apply=True"
    )


def test_a_plan_that_is_blocked_says_why_and_exits_with_1(runner, monkeypatch):
    planned(monkeypatch, problems=("idr-omero: a deploy would change 1 of its states",))

    told = runner.refresh("idr")["data"]

    assert told["lines"] == ["BLOCKED: idr-omero: a deploy would change 1 of its states"]
    assert (told["result"], told["retcode"], runner.__context__["retcode"]) == (False, 1, 1)


def test_what_is_kept_is_told_with_what_removes_it_and_what_keeps_the_cloud_from_that(runner, monkeypatch):
    aside = Aside("idr-a-omero-data-before-run-1", "v-1", 0), Aside("idr-a-database-db-before-run-1", "v-2", 3)
    done = Refreshed(SET, Applied(Plan("idr", STEPS), 40), aside)
    monkeypatch.setattr(refreshing, "refresh", lambda *_: done)

    told = runner.refresh("idr", apply=True)

    assert told["comment"] == runner.record()["comment"] == f"the analysis side of idr is of {SET}, and well"
    assert (told["set"], told["done"]) == (SET, ["make volume idr-a-omero-data"])
    assert told["kept"] == [
        "idr-a-omero-data-before-run-1, until nobody needs it: openstack volume delete v-1",
        "idr-a-database-db-before-run-1, until nobody needs it: openstack volume delete v-2, once the 3 snapshots of "
        "it are gone, which backup sets have",
    ]


def test_what_stops_it_is_recorded_with_how_it_is_gone_on_with(runner, monkeypatch):
    def refresh(*_):
        raise Refused(["idr-a-omero: OMERO.web answers 502"], "stopped: the hub stays drained")

    monkeypatch.setattr(refreshing, "refresh", refresh)

    assert runner.refresh("idr", apply=True)["retcode"] == 1

    record = runner.record()
    assert (record["what"], record["result"], record["comment"], record["problems"]) == (
        "analysis.refresh", False, "stopped: the hub stays drained", ["idr-a-omero: OMERO.web answers 502"],
    )  # fmt: skip
