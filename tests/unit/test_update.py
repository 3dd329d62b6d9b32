"""An update's own decisions: what is made of rehearsals and of a deploy's report."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from idr import update
from tests.tables import IDR


def step(number, result=True, comment="fine", **changes):
    return {"__id__": f"step {number}", "__run_num__": number, "result": result, "comment": comment, "changes": changes}


def state(number, result=True, comment="fine", changes=None):
    return {"__id__": f"state {number}", "__run_num__": number, "result": result, "comment": comment,
            "changes": changes or {}}  # fmt: skip


def report(*steps, retcode=0, before=""):
    return before + json.dumps(
        {"data": {"idr-proxy": {str(one["__run_num__"]): one for one in steps}}, "retcode": retcode}, indent=4
    )


def test_a_rehearsal_is_sorted_by_what_would_change_and_what_fails():
    def one(id_, would="", fails="", name=""):
        return {"id": id_, "name": name, "would": would, "fails": fails}

    found = {
        "idr-proxy": [one("a", "+1"), one("b", fails="no"), one("a", "+2", name="/etc/second")],
        "idr-omero": [],
    }

    said = update.sorted_out(found, new=["idr-database"])

    assert said.would == {"idr-proxy": {"a": "+1", "a (/etc/second)": "+2"}}
    assert said.fails == {"idr-proxy": {"b": "no"}}
    assert not said.is_empty and update.sorted_out({"idr-omero": []}).is_empty


def test_a_deploy_that_went_well_tells_which_states_changed():
    answers = {"idr-omero": {"x": state(2, changes={"diff": "+"}), "y": state(1)}, "idr-database": {"x": state(1)}}
    text = report(step(0), step(1, ret=answers), step(2, ret={"idr-proxy": {"fresh": 1}}), before="[ERROR ] noise\n")

    done = update.outcome("/report", text)

    assert (done.changed, done.failed) == ({"idr-omero": ["state 2"]}, [])


def test_a_deploy_that_failed_tells_the_states_that_did_by_server_and_not_what_followed():
    answers = {
        "idr-omero": {
            "x": state(2, False, "No such file"),
            "y": state(3, False, "One or more requisite failed: x"),
        }
    }
    text = report(
        step(1, False, "Run failed on minions: idr-omero", ret=answers),
        step(2, False, "One or more requisite failed: orch.deploy"),
        retcode=1,
    )

    assert update.outcome("/report", text).failed == ["idr-omero: state 2: No such file"]


def test_a_check_that_failed_tells_its_problems_and_a_silent_step_itself():
    refused = {"result": False, "problems": ["idr-omero: its minion doesn't answer"]}
    text = report(step(0, False, "Runner function failed", **{"return": refused}), retcode=1)
    assert update.outcome("/report", text).failed == refused["problems"]

    text = report(step(0, False, "No minions responded"), retcode=1)
    assert update.outcome("/report", text).failed == ["step 0: No minions responded"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it ended without a report: no output (journalctl -u idr-deploy)"),
        ("[ERROR ] killed\n", "it ended without a report: [ERROR ] killed (journalctl -u idr-deploy)"),
        ('{\n    "data": {\n', 'it ended without a report: "data": { (journalctl -u idr-deploy)'),
        (json.dumps({"data": {"idr-proxy": ["Rendering failed"]}, "retcode": 1}), "Rendering failed"),
        (json.dumps({"data": {}, "retcode": 3}), "it ended with 3"),
    ],
    ids=["nothing", "noise", "half", "not rendered", "only a code"],
)
def test_a_deploy_that_came_to_no_steps_never_counts_as_done(text, said):
    assert update.outcome("/report", text).failed == [said]


def test_a_deploy_that_goes_on_is_followed_from_now_on_and_its_outcome_told(monkeypatch):
    asked = []

    def follow(ssh, proxy, began, again, tell):
        asked.append((began, again))
        return report(step(0))

    monkeypatch.setattr(update.at_master, "follow", follow)
    monkeypatch.setattr(update, "looked_at", lambda *_: nullcontext(SimpleNamespace(
        ssh=None, environment=IDR, deploying="/var/log/idr/deploys/1.json",
    )))  # fmt: skip

    done = update.update("idr", True, None, None, None, lambda line: None)

    assert done.deployed == update.Deployed("/var/log/idr/deploys/1.json", {}, [])
    [(began, again)] = asked
    assert (began["unit"], began["report"], began["offset"]) == ("idr-deploy.service", done.deployed.report, None)
    assert again == "salt-run environment.update idr apply=True"
