"""An update's own decisions: what is made of rehearsals and of a deploy's report, and how a deploy is followed."""

import json
from types import SimpleNamespace

import pytest

from idr import update
from idr.errors import IdrError
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
        ('{\n    "data": {\n', "it ended without a report: \"data\": { (journalctl -u idr-deploy)"),
        (json.dumps({"data": {"idr-proxy": ["Rendering failed"]}, "retcode": 1}), "Rendering failed"),
        (json.dumps({"data": {}, "retcode": 3}), "it ended with 3"),
    ],
    ids=["nothing", "noise", "half", "not rendered", "only a code"],
)
def test_a_deploy_that_came_to_no_steps_never_counts_as_done(text, said):
    assert update.outcome("/report", text).failed == [said]


class Link:
    """A master's answers to `progress`, one after another; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def do(self, _server, deed, asked, seconds):
        assert deed == "progress"
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow(link):
    lines = []
    seen = SimpleNamespace(ssh=link, environment=IDR)
    done = update.follow(seen, {"report": "/report", "offset": 10}, lines.append)
    return done, lines


def test_a_deploy_is_followed_to_its_end_and_over_a_lost_link(monkeypatch):
    monkeypatch.setattr(update.time, "sleep", lambda seconds: None)
    ended = {"ended": "idr-omero", "states": 91, "changed": 2, "failed": 1}
    link = Link(
        {"events": [{"began": ["idr-omero", "idr-a-omero"]}], "offset": 20, "report": None},
        IdrError("idr-proxy: unreachable by SSH"),
        {"events": [ended], "offset": 30, "report": report(step(0))},
    )

    done, lines = follow(link)

    assert done.failed == []
    assert [asked["offset"] for asked in link.asked] == [10, 20, 20]
    assert lines == [
        "at work: idr-a-omero, idr-omero",
        "out of sight: idr-proxy: unreachable by SSH",
        "idr-omero: 2 of 91 states changed, 1 failed",
    ]


def test_a_master_that_stays_away_is_given_up_and_the_way_back_told(monkeypatch):
    now = iter(range(0, 10_000, 200))
    monkeypatch.setattr(update.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(update.time, "sleep", lambda seconds: None)

    with pytest.raises(IdrError, match="the deploy goes on without you.*environment.update idr apply=True"):
        follow(Link(*[IdrError("idr-proxy: unreachable")] * 9))
