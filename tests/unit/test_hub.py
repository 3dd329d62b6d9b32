"""Jupyter's users are told and drained through their environment's own master, and who can't be isn't passed over."""

import pytest

from idr import hub
from idr.errors import IdrError
from idr.release import seat
from tests.tables import IDR

HUB = "idr-a-dockermanager"
OURS = {"until": "2026-11-24T05:00:00Z", "notice": seat.NOTICE}
THEIRS = {"until": "2026-11-24T08:00:00Z", "notice": "We mend it."}


class Master:
    """A hub as its master tells it, with ada on it for STAYS looks yet; what was asked for is kept, waits are none."""

    def __init__(self, monkeypatch):
        self.draining, self.stays, self.asked, self.clock, self.told = None, 0, [], 0, []
        monkeypatch.setattr(hub.at_master, "execute", self.execute)
        monkeypatch.setattr(seat.table, "of_operator", lambda name, folder: (IDR, ""))
        monkeypatch.setattr(hub.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(hub.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.clock += seconds
        self.stays -= 1

    def execute(self, env, folder, server, function, **values):
        assert (env, folder, server) == ("idr", "/sites/idr", HUB)
        if function == "jupyterhub.servers":
            return {"servers": {"ada": {}} if self.stays > 0 else {}, "draining": self.draining}
        self.asked.append((function.partition(".")[2], *values.values()))
        if function == "jupyterhub.drain":
            return {**OURS, "on": ["ada"] if self.stays > 0 else []}
        return {"did": "end the drain" if self.draining else None}

    @property
    def hub(self):
        return seat._hub("idr", "/sites/{}".format)


@pytest.fixture
def master(monkeypatch):
    return Master(monkeypatch)


def test_all_are_waited_for_and_who_is_still_on_is_told_once(master):
    master.stays = 3
    master.hub.drain(10, master.told.append)
    assert master.asked == [("drain", 10, seat.NOTICE)] and master.clock == 3 * hub.LOOK
    assert master.told == [f"{HUB} is drained until {OURS['until']}, on are ada", f"still on: {HUB}: ada"]


@pytest.mark.parametrize("there", [OURS, THEIRS])
def test_a_drain_that_is_there_is_gone_on_with_and_ended_where_nobody_is_to_be_waited_for(master, there):
    master.draining = there
    master.hub.drain(10, master.told.append)
    assert master.asked == []
    master.hub.drain(0, master.told.append)
    assert master.asked == [("drain", 0, there["notice"])]


def test_who_does_not_go_is_an_error(master):
    master.stays = 10_000
    with pytest.raises(IdrError, match=f"still on {hub.LATE} s after their time: {HUB}: ada"):
        master.hub.drain(10, master.told.append)
    assert 600 + hub.LATE <= master.clock <= 600 + hub.LATE + 2 * hub.LOOK


def test_one_that_somebody_else_ordered_stays_unless_all_are_to_end(master):
    master.draining = THEIRS
    master.hub.undrain(master.told.append)
    assert master.asked == [] and "as somebody ordered: We mend it." in master.told[0]
    master.hub.undrain(master.told.append, whosever=True)
    master.draining = OURS
    master.hub.undrain(master.told.append)
    assert master.asked == [("undrain",)] * 2 and master.told[1:] == [f"{HUB} takes users again"] * 2
