"""The new cache is warmed on its own proxy, by what the expressions of pillar find in it."""

import json

import pytest

from idr import at_master
from idr.errors import IdrError, Refused
from idr.release import warming

AGAIN = "salt-run release.prepare newidr from=idr apply=True"
DONE = {"urls": 3, "refreshed": 3, "failed": {}, "left": 0, "stopped": None, "seconds": 1.0}


@pytest.fixture
def proxy(monkeypatch):
    """The answers of a proxy; `asked` is what was run there."""
    asked = []

    def make(done):
        monkeypatch.setattr(at_master, "answer", lambda *given: asked.append(given[2]) or {"newidr-proxy": {"urls": 3}})
        monkeypatch.setattr(at_master, "run", lambda *given: asked.append(given[2:]) or done)
        return asked

    return make


def warm():
    return warming.warm("newidr", "/folder", ("^/static/", "^/mapr/"), AGAIN, print)


def test_what_the_expressions_find_is_fetched_anew_in_a_unit_of_the_master(proxy):
    asked = proxy({"newidr-proxy": DONE})

    assert warm() == DONE

    keys, (words, unit, action, _, again) = asked
    assert again == AGAIN  # no runner of this master's, typed where there is none
    assert keys[:3] == ["salt.execute", "newidr-proxy", "nginx_cache.keys"]
    assert json.loads(keys[3].removeprefix("kwarg=")) == {
        "regexes": ["^/static/", "^/mapr/"], "file": "/var/lib/idr/warm.urls",
    }  # fmt: skip
    assert words[:4] == [
        "salt.execute", "newidr-proxy", "nginx_cache.refresh", 'kwarg={"file": "/var/lib/idr/warm.urls"}',
    ]  # fmt: skip
    assert (unit, action) == ("idr-warm.service", "nginx_cache/refresh")


def test_what_omero_has_not_any_more_keeps_nothing_from_going_on_but_what_is_left_does(proxy):
    gone = {**DONE, "failed": {"/mapr/1/": "OMERO answered 404; an entry that was there stays"}}
    proxy({"newidr-proxy": gone})
    assert warm() == gone

    proxy({"newidr-proxy": {**DONE, "left": 2, "stopped": "the brake; the same command goes on from here"}})
    with pytest.raises(Refused) as refused:
        warm()
    assert refused.value.problems == [
        "newidr-proxy: the brake; the same command goes on from here (2 of 3 pages are left)"
    ]


def test_a_proxy_that_does_not_answer(proxy):
    proxy({})
    with pytest.raises(IdrError, match="newidr-proxy: its minion doesn't answer"):
        warm()
