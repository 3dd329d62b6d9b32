"""A plan carried out against a Cinder in which a removal takes its time, is under way already, or has no effect."""

from types import SimpleNamespace

import pytest
from openstack import exceptions

from idr.cloud import making
from idr.cloud.lock import Lost
from idr.cloud.model import Plan, Step


class Cinder:
    """Snapshots, each with the states that it's seen in one after another; the last one stays. Gone is no state."""

    def __init__(self, states, lose=0):
        self.states, self.lose, self.removed = list(states), lose, 0

    delete_volume = None

    def get_snapshot(self, _):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "gone":
            raise _answer(exceptions.NotFoundException, "no such snapshot", 404)
        return SimpleNamespace(status=state)

    def delete_snapshot(self, _, ignore_missing):
        self.removed += 1
        if self.states[0] not in ("available", "error"):
            raise _answer(exceptions.BadRequestException, "Snapshot status must be available or error", 400)
        self.states.pop(0)
        if self.lose:
            self.lose -= 1
            raise _answer(exceptions.HttpException, "the answer got lost", 503)


def _answer(kind, text, status):
    error = kind(text)
    error.status_code = status
    return error


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(making, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(making._Run, "_pause", lambda *_: None)


def removal(cinder, check=lambda: None):
    """The outcome of removing one snapshot, with what looks at the lock."""
    compute = SimpleNamespace(delete_keypair=None, delete_server=None)
    cloud = SimpleNamespace(network=None, compute=compute, block_storage=cinder)
    plan = Plan("idr", (Step("remove", "snapshot", "idr-data", id="s-1"),))
    return making.carry_out(cloud, plan, lambda _: None, SimpleNamespace(check=check))


@pytest.mark.parametrize(
    "states",
    [
        ["available", "available", "deleting", "gone"],
        ["creating", "available", "available", "deleting", "gone"],
        ["error", "error", "gone"],
        ["gone"],
    ],
)
def test_a_snapshot_is_removed_in_whatever_state_it_is(states):
    cinder = Cinder(states)

    assert removal(cinder).problems == [] and cinder.states == ["gone"]


def test_one_that_is_being_removed_already_is_waited_for():
    cinder = Cinder(["deleting", "deleting", "gone"])

    assert removal(cinder).problems == [] and cinder.removed <= 1


def test_a_removal_whose_answer_got_lost_is_not_taken_for_a_failure():
    cinder = Cinder(["available", "available", "deleting", "deleting", "gone"], lose=1)

    assert removal(cinder).problems == [] and cinder.removed == 1


def test_a_cloud_that_keeps_it_since_something_was_made_of_it_is_told_and_not_waited_for():
    outcome = removal(Cinder(["available", "available", "deleting", "available"]))

    assert outcome.problems == [
        "remove snapshot idr-data: the cloud kept it, it is available again: something was made of it and needs it"
    ]


def test_a_run_that_lost_its_lock_while_it_waited_removes_nothing():
    cinder = Cinder(["creating", "creating", "available"])

    def lost():
        assert cinder.states == ["available"], "it was looked at before the wait, not after"
        raise Lost("ben has it")

    assert removal(cinder, lost).problems == ["remove snapshot idr-data: ben has it"] and not cinder.removed


def test_nor_does_it_change_what_holds_bytes():
    cloud = SimpleNamespace(network=None, compute=None, block_storage=None)
    plan = Plan("idr", (Step("change", "snapshot", "idr-data", {"metadata": {"idr_phase": "going"}}, id="s-1"),))

    def lost():
        raise Lost("ben has it")

    outcome = making.carry_out(cloud, plan, lambda _: None, SimpleNamespace(check=lost))
    assert outcome.problems == ["change snapshot idr-data: ben has it"]
