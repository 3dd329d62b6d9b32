"""A plan carried out against a Cinder in which a removal takes its time, is under way already, or has no effect."""

import re
import threading
from types import SimpleNamespace

import pytest
from openstack import exceptions

from idr.cloud import making
from idr.cloud.lock import Lost
from idr.cloud.model import Plan, Step

PAUSE, WAIT = making._Run._pause, making.wait


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


# --- what is told meanwhile, and an interrupt -------------------------------------------------------------------------


class Slow:
    """Snapshots in a state each; a removal lasts until something is told that begins with UNTIL."""

    def __init__(self, states, until=None):
        self.states, self.until, self.removed = dict(states), until, []
        self.told, self.heard = [], threading.Event()

    delete_volume = None

    def tell(self, line):
        self.told.append(line)
        if self.until and line.startswith(self.until):
            self.heard.set()

    def get_snapshot(self, id_):
        if self.states[id_] == "gone":
            raise _answer(exceptions.NotFoundException, "no such snapshot", 404)
        return SimpleNamespace(status=self.states[id_])

    def delete_snapshot(self, id_, ignore_missing):
        self.removed.append(id_)
        assert not self.until or self.heard.wait(120), f"nobody said {self.until!r}"
        self.states[id_] = "gone"


@pytest.fixture
def carried_out(monkeypatch):
    """Remove those snapshots, side by side or one AFTER the other; the run looks up often, and finds these ERRORS."""
    monkeypatch.setattr(making._Run, "_pause", PAUSE)
    monkeypatch.setattr(making, "LIMITS", {"snapshot": 600})
    monkeypatch.setattr(making, "WORD", 600)

    def carried_out(cinder, after=False, errors=()):
        left = list(errors)

        def wait(under_way, timeout, return_when):
            if left:
                raise left.pop(0)
            return WAIT(under_way, 0.01, return_when)

        monkeypatch.setattr(making, "wait", wait)
        steps = []
        for id_ in cinder.states:
            needs = (steps[-1].key,) if steps and after else ()
            steps.append(Step("remove", "snapshot", id_, needs=needs, id=id_))
        compute = SimpleNamespace(delete_keypair=None, delete_server=None)
        cloud = SimpleNamespace(network=None, compute=compute, block_storage=cinder)
        return making.carry_out(cloud, Plan("idr", tuple(steps)), cinder.tell, SimpleNamespace(check=lambda: None))

    return carried_out


def test_what_takes_longer_is_told_with_its_state_and_for_how_long_until_it_is_done(carried_out, monkeypatch):
    monkeypatch.setattr(making, "WORD", 0.1)
    both = r"waiting: s-a: creating for \d+ s; s-b: creating for \d+ s"
    one = r"waiting: s-b: creating for \d+ s"

    class Cinder(Slow):
        def tell(self, line):
            super().tell(line)
            done = "s-a" if re.fullmatch(both, line) else "s-b" if re.fullmatch(one, line) else None
            if done and self.states[done] == "creating" and (done == "s-a" or self.removed == ["s-a"]):
                self.states[done] = "available"

    cinder = Cinder({"s-b": "creating", "s-a": "creating"})

    assert carried_out(cinder).problems == []
    assert cinder.removed == ["s-a", "s-b"]


def test_what_does_not_is_told_when_it_is_done_and_only_then(carried_out):
    class Cinder(Slow):
        def get_snapshot(self, id_):
            seen = super().get_snapshot(id_)
            self.states[id_] = "available"
            return seen

    cinder = Cinder({"s-a": "creating", "s-b": "available"})

    assert carried_out(cinder).problems == []
    assert sorted(re.sub(r"\d+\.\d s", "N s", line) for line in cinder.told) == [
        "removed snapshot s-a (N s)",
        "removed snapshot s-b (N s)",
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_it_ends_the_call_that_is_under_way_begins_no_other_and_says_so(carried_out, error):
    cinder = Slow({"s-a": "available", "s-b": "available"}, until="stopping: ")

    outcome = carried_out(cinder, after=True, errors=[error])

    stopping, removed = cinder.told
    assert stopping == "stopping: no further step is begun; what is under way is ended"
    assert removed.startswith("removed snapshot s-a (")
    assert outcome.interrupted and cinder.removed == ["s-a"]
    assert ([step.name for step in outcome.done], [step.name for step in outcome.left]) == (["s-a"], ["s-b"])
    assert outcome.problems == ["not begun: remove snapshot s-b"]


def test_interrupted_it_does_not_wait_for_what_the_cloud_still_has_to_do(carried_out):
    cinder = Slow({"s-a": "deleting"})

    outcome = carried_out(cinder, errors=[KeyboardInterrupt])

    assert outcome.problems == ["remove snapshot s-a: begun, and not waited for"] and not cinder.removed
    assert cinder.told == ["stopping: no further step is begun; what is under way is ended"]  # it's no failure


def test_interrupted_once_more_it_is_over(carried_out):
    cinder = Slow({"s-a": "available"}, until="stopping: ")

    with pytest.raises(KeyboardInterrupt):
        carried_out(cinder, errors=[KeyboardInterrupt, KeyboardInterrupt])
