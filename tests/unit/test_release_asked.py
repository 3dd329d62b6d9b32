"""What a master asks its servers for a release, and how that is typed there and from outside."""

from contextlib import nullcontext

import pytest

from idr.errors import IdrError
from idr.release import asked
from tests.runners import loaded
from tests.tables import IDR


class Minions:
    """Minions that answer with what they were asked, but those that are silent; `calls` are all calls."""

    def __init__(self, silent=()):
        self.silent, self.calls = silent, []

    def ask(self, servers, function, arguments, timeout, **named):
        self.calls.append((function, tuple(servers)))
        return {it: [function, *arguments, *named] for it in servers if it not in self.silent}


def test_each_is_asked_what_it_can_tell_in_one_call_for_all():
    minions = Minions()

    found = asked.health(minions.ask, IDR)

    assert minions.calls == [
        ("omero.status", ("idr-omero", "idr-a-omero")),
        ("omero.activity", ("idr-omero", "idr-a-omero")),
        ("omero.query", ("idr-omero",)),
        ("maintenance.status", ("idr-proxy",)),
        ("jupyterhub.servers", ("idr-a-dockermanager",)),
    ]
    assert found["schema"] == {"idr-omero": ["omero.query", asked.SCHEMA]}


def test_who_is_silent_is_told_as_that():
    found = asked.health(Minions(["idr-omero", "idr-a-dockermanager"]).ask, IDR)

    assert found["status"] == {"idr-omero": None, "idr-a-omero": ["omero.status"]}
    assert (found["hub"], found["schema"]) == ({"idr-a-dockermanager": None}, {"idr-omero": None})


@pytest.fixture
def runner(tmp_path, monkeypatch):
    made = loaded("release", tmp_path)
    made.minions = Minions()
    monkeypatch.setattr(made.table, "of_master", lambda opts: IDR)
    monkeypatch.setattr(made, "asking", lambda opts: nullcontext(made.minions.ask))
    return made


def test_typed_on_the_master_it_asks_there(runner):
    runner.__opts__["idr_environment"] = "idr"

    assert runner.seen_("idr")["seen"]["site"] == {"idr-proxy": ["maintenance.status"]}
    answer = runner.writes("idr", "20261125T030000Z")
    assert answer["writes"] == {"idr-omero": ["omero.writes_since", "20261125T030000Z", "limit"]}
    assert answer["asked"] == ["idr-omero"]  # the analysis side's are nothing of the public's


@pytest.mark.parametrize("function", ["seen_", "writes"])
def test_a_master_tells_of_no_other_environment(runner, function):
    runner.__opts__["idr_environment"] = "idr"

    answer = getattr(runner, function)("newidr", **({"since": "20261125T030000Z"} if function == "writes" else {}))

    assert answer["result"] is False and "this is the master of idr" in answer["problems"][0]
    assert runner.minions.calls == []


def test_typed_at_a_seat_the_master_is_asked(runner, monkeypatch):
    typed = []

    def answer(name, folder, words, seconds=None):
        typed.append((name, words))
        raise IdrError("idr-proxy: unreachable by SSH: no route")

    monkeypatch.setattr(runner.at_master, "answer", answer)

    assert runner.seen_("idr")["comment"] == "idr-proxy: unreachable by SSH: no route"
    assert runner.writes("idr", "20261125T030000Z")["result"] is False
    assert typed == [
        ("idr", ["release.seen", "idr"]),
        ("idr", ["release.writes", "idr", "since=20261125T030000Z"]),
    ]
