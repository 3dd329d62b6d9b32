"""A runner of an environment's master, typed elsewhere: begun once, followed over lost links, told as it ended."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from idr import at_master
from idr.errors import IdrError, Refused
from tests.tables import IDR

WORDS = ["backup.create", "idr", "apply=True"]
TAKEN = {"result": True, "comment": "idr-20261125T030000Z is good"}


class Link:
    """A master's answers, one after another; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def do(self, server, deed, asked, seconds=120):
        assert server == IDR.proxy
        self.asked.append((deed, asked))
        expected, answer = self.answers.pop(0)
        assert deed == expected
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def there(monkeypatch):
    """Let the way to the master be that link."""

    def make(*answers):
        link = Link(*answers)

        @contextmanager
        def connections(environment, known_hosts):
            yield link

        monkeypatch.setattr(at_master.table, "of_operator", lambda name, folder: (IDR, ""))
        monkeypatch.setattr(at_master.site, "read", lambda name, folder: (SimpleNamespace(known_hosts=()), []))
        monkeypatch.setattr(at_master, "connections", connections)
        monkeypatch.setattr(at_master.time, "sleep", lambda seconds: None)
        return link

    return make


def progress(*events, offset=0, report=None):
    return "progress", {"events": list(events), "offset": offset, "report": report}


def run(lines):
    return at_master.run("idr", "/folder", WORDS, "idr-backup.service", "backup/create", lines.append)


BEGAN = {"unit": "idr-backup.service", "action": "backup/create", "report": "/report", "offset": 10}


def test_it_is_begun_followed_over_a_lost_link_and_told_as_it_ended(there):
    ended = {"ended": "idr-omero", "states": 91, "changed": 2, "failed": 1}
    link = there(
        ("going_on", None),
        ("begin", BEGAN),
        progress({"said": "holding omero-data still"}, offset=20),
        ("progress", IdrError("idr-proxy: unreachable by SSH")),
        progress({"began": ["idr-omero", "idr-a-omero"]}, ended, offset=30, report="[  0.1 s] x\n" + json.dumps(TAKEN)),
    )
    lines = []

    assert run(lines) == TAKEN

    assert link.asked[1] == (
        "begin",
        {"unit": "idr-backup.service", "folder": "backup", "of": "create", "words": WORDS, "action": "backup/create"},
    )
    assert [asked["offset"] for deed, asked in link.asked if deed == "progress"] == [10, 20, 20]
    assert lines[1:] == [
        "holding omero-data still",
        "out of sight: idr-proxy: unreachable by SSH",
        "at work: idr-a-omero, idr-omero",
        "idr-omero: 2 of 91 states changed, 1 failed",
    ]


def test_typed_again_it_follows_the_one_that_goes_on_from_then_on(there):
    link = there(("going_on", "/report"), progress(report=json.dumps(TAKEN)))
    lines = []

    assert run(lines) == TAKEN

    assert [deed for deed, _ in link.asked] == ["going_on", "progress"]
    assert link.asked[1][1] == BEGAN | {"offset": None}
    assert lines == ["following the one that is going on"]


def test_a_master_that_stays_away_is_given_up_and_the_way_back_told(there, monkeypatch):
    lost = ("progress", IdrError("idr-proxy: unreachable"))
    there(("going_on", None), ("begin", BEGAN), *[lost] * 9)
    now = iter(range(0, 10_000, 200))
    monkeypatch.setattr(at_master.time, "monotonic", lambda: next(now))

    with pytest.raises(IdrError, match="goes on without you.*salt-run backup.create idr apply=True"):
        run([])

    there(("going_on", None), ("begin", BEGAN), *[lost] * 9)
    with pytest.raises(IdrError, match="To follow it again: salt-run release.prepare newidr from=idr apply=True"):
        at_master.run("idr", "/f", WORDS, "u", "a/b", print, "salt-run release.prepare newidr from=idr apply=True")


def test_what_only_looks_is_answered_at_once(there):
    link = there(("answer", json.dumps(TAKEN)))

    assert at_master.answer("idr", "/folder", ["backup.create", "idr"]) == TAKEN
    assert link.asked == [("answer", {"words": ["backup.create", "idr"]})]


@pytest.mark.parametrize("text", ["", "[ERROR ] killed\n", '{\n    "data": {\n'])
def test_one_that_was_killed_never_counts_as_done(there, text):
    there(("going_on", "/report"), progress(report=text))

    with pytest.raises(IdrError, match="it ended without a report: .*ssh idr-proxy journalctl -u idr-backup.service"):
        run([])


def test_a_site_that_others_may_look_into_asks_nobody(there, monkeypatch):
    link = there()
    monkeypatch.setattr(at_master.site, "read", lambda name, folder: (None, ["others may look into it"]))

    with pytest.raises(Refused):
        run([])
    assert not link.asked


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "idr-proxy: its minion doesn't answer"),
        ({"idr-omero": {}}, "idr-proxy: its minion doesn't answer"),
        ({"idr-proxy": "ERROR: no volume is mounted"}, "idr-proxy: a.b: ERROR: no volume is mounted"),
        ({"idr-proxy": "'a.b' is not available."}, "idr-proxy: a.b: 'a.b' is not available."),
        (
            {"idr-proxy": "The minion function caused an exception: Traceback\n  File\nKeyError: 'x'\n"},
            "idr-proxy: a.b: KeyError: 'x'",
        ),
    ],
)
def test_what_a_minion_could_not_do_is_an_error_in_one_line(said, why):
    with pytest.raises(IdrError) as error:
        at_master.executed(said, "idr-proxy", "a.b")
    assert str(error.value) == why


def test_a_minions_function_is_asked_by_its_master_with_its_arguments_by_name(there):
    link = there(("answer", json.dumps({"idr-proxy": ["/a", "/b"]})))

    assert at_master.execute("idr", "/folder", "idr-proxy", "nginx_cache.keys", regexes=["^/a"]) == ["/a", "/b"]

    words = ["salt.execute", "idr-proxy", "nginx_cache.keys", 'kwarg={"regexes": ["^/a"]}']
    assert link.asked == [("answer", {"words": words})]
