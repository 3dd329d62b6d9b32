"""Jupyter's users are told and drained through their environment's own master, and who can't be isn't passed over."""

import pytest

from idr.errors import IdrError
from idr.release import draining
from tests.tables import IDR

HUB = "idr-a-dockermanager"
TOLD = {"until": "2026-11-24T05:00:00Z", "notice": draining.NOTICE, "on": ["ada"]}


@pytest.fixture
def master(monkeypatch):
    """A master that answers as `said` says; what it's asked is kept, and waits are none."""
    asked, clock = [], [0.0]

    class Master:
        said = {HUB: TOLD}

    def answer(name, folder, words):
        asked.append(words)
        return Master.said

    monkeypatch.setattr(draining.at_master, "answer", answer)
    monkeypatch.setattr(draining.table, "of_operator", lambda name, folder: (IDR, ""))
    monkeypatch.setattr(draining.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(draining.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    Master.asked, Master.clock = asked, clock
    return Master


def test_now(master):
    told = []
    draining.drain("idr", None, 0, told.append)
    [words] = master.asked
    assert words[:3] == ["salt.execute", HUB, "jupyterhub.drain"] and "arg=[0]" in words
    assert told == [f"{HUB}: drained by 2026-11-24T05:00:00Z, on it: ada"]


def test_after_minutes_it_is_seen_that_all_have_gone(master):
    draining.drain("idr", None, 10, lambda line: None)
    assert [words[4] for words in master.asked] == ["arg=[10]", "arg=[0]"] and master.clock[0] == 600


BUG = "The minion function caused an exception: Traceback (most recent call last):\n  File …\nKeyError: 'users'\n"


@pytest.mark.parametrize("said", [{}, {HUB: "ERROR: JupyterHub doesn't answer"}, {HUB: False}, {HUB: BUG}])
def test_who_cannot_be_told_is_an_error_in_a_line(master, said):
    master.said = said
    with pytest.raises(IdrError, match=f"^{HUB}: .+") as error:
        draining.drain("idr", None, 0, lambda line: None)
    assert "\n" not in str(error.value)


def test_the_other_way(master):
    master.said = {HUB: {"did": "end the drain"}}
    told = []
    draining.undrain("idr", None, told.append)
    assert master.asked[0][2] == "jupyterhub.undrain" and told == [f"{HUB}: end the drain"]
