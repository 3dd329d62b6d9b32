"""What a server says of itself once it was enrolled: said once, and again only where that failed."""

from types import SimpleNamespace

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.exceptions import HttpException

from idr.cloud import enrolled, making
from idr.errors import IdrError
from tests import clouds
from tests.unit.test_cloud_planning import BOTH

SERVERS = [server.id for server in BOTH.of("newidr", "server")]


class Killed(BaseException):
    """What ends a run without its being able to say or do anything more."""


class Nova:
    """Servers' metadata; the call of that number ends in an error, before it had its effect or after."""

    def __init__(self, at=None, error=None, moment=None):
        self.at, self.error, self.moment, self.told = at, error, moment, []

    def set_server_metadata(self, id_, idr_enrolled):
        assert idr_enrolled
        fails = len(self.told) == self.at
        if fails:
            self.at = None
        if not fails or self.moment == "after":
            self.told.append(id_)
        if fails:
            raise self.error


@pytest.fixture
def say(monkeypatch):
    monkeypatch.setattr(making, "PAUSES", (0.001,) * 2)

    def say(nova):
        facts = BOTH
        for id_ in set(nova.told):
            server = clouds.find_id(facts, "server", id_)
            facts = clouds.changed(facts, server, metadata={**server.what["metadata"], "idr_enrolled": "2026"})
        monkeypatch.setattr(enrolled, "facts", lambda cloud: facts)
        enrolled.say(SimpleNamespace(compute=nova), "newidr")

    return say


def test_every_server_of_the_environment_says_it_once(say):
    nova = Nova()
    say(nova)
    say(nova)
    assert nova.told == SERVERS


def _http(status):
    error = HttpException("spoiled")
    error.status_code = status
    return error


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [ConnectFailure("cut"), _http(500), _http(503), _http(429), _http(409)])
def test_what_passes_is_got_over_at_once(say, error, moment):
    nova = Nova(2, error, moment)
    say(nova)
    assert list(dict.fromkeys(nova.told)) == SERVERS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("error", "seen"), [(_http(413), IdrError), (_http(400), IdrError), (Killed(), Killed)])
def test_a_run_that_ended_under_way_is_gone_on_with_by_the_next(say, error, seen, moment):
    nova = Nova(2, error, moment)
    with pytest.raises(seen):
        say(nova)
    assert len(nova.told) == (3 if moment == "after" else 2)
    say(nova)
    assert nova.told == SERVERS
