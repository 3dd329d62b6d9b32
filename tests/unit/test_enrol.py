"""What enrolment and updates take along from the operator's directory and the cloud."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import yaml

from idr import commits, enrol, enrolment, table, values, wheelhouse
from idr.cloud import credential, enrolled
from idr.errors import Refused
from tests.tables import BY_HAND, IDR

TABLE = "/etc/idr/pillar/environment.sls"
SITE = "/etc/idr/pillar/site.sls"


@pytest.fixture
def looked_at(tmp_path, monkeypatch):
    """What is decided on of an environment whose master has the files THERE."""
    monkeypatch.setattr(values, "problems", lambda *_: [])
    monkeypatch.setattr(wheelhouse, "problems", lambda: [])
    monkeypatch.setattr(commits, "here", lambda: ("c0ffee", []))
    monkeypatch.setattr(commits, "fence", lambda *_: [])
    monkeypatch.setattr(enrolment, "problems", lambda *_: [])
    monkeypatch.setattr(enrol, "connections", lambda *_: nullcontext())
    monkeypatch.setattr(credential, "giver", lambda name: None)
    tmp_path.chmod(0o700)

    def look(there):
        master = {"release": "c0ffee", "deploy": None, "files": dict.fromkeys((TABLE, SITE)) | there, "secrets": {}}
        master["unfit_credential"] = ""
        monkeypatch.setattr(enrol, "_look", lambda *_: ({"idr-proxy": master}, []))
        return enrol.looked_at("idr", (), None, tmp_path, lambda _: None)

    return look


def state(text):
    return enrolment._state(text, 0o600)


def test_the_table_of_servers_made_by_hand_is_brought_as_site_sls_is(looked_at, tmp_path):
    (tmp_path / "environment.sls").write_text(BY_HAND.read_text())
    (tmp_path / "site.sls").write_text("base: {}\n")

    with looked_at({}) as seen:
        assert seen.environment == IDR
        assert enrolment.candidate(IDR, seen.facts, seen.wanted)["site"] == {
            TABLE: BY_HAND.read_text(),
            SITE: "base: {}\n",
        }


def test_what_the_cloud_says_is_brought_when_it_says_something_else(looked_at, monkeypatch):
    described = yaml.safe_load(BY_HAND.read_text())
    monkeypatch.setattr(table, "_in_the_cloud", lambda name: described)
    with looked_at({}) as seen:
        text = seen.wanted.site[TABLE]
        assert yaml.safe_load(text) == described

    with looked_at({TABLE: state(text)}) as seen:
        assert enrolment.candidate(IDR, seen.facts, seen.wanted)["site"] == {}

    described["environment"]["servers"]["idr-omero"]["addresses"]["idr"] = "192.168.1.77"
    with looked_at({TABLE: state(text)}) as seen:
        assert "192.168.1.77" in enrolment.candidate(IDR, seen.facts, seen.wanted)["site"][TABLE]


@pytest.mark.parametrize("new", [(), ("idr-omero", "idr-proxy")])
def test_servers_that_were_just_made_are_waited_for_where_one_is_not_seen(looked_at, tmp_path, monkeypatch, new):
    (tmp_path / "environment.sls").write_text(BY_HAND.read_text())
    looked_at({})
    ways, waited = iter([["idr-proxy: no route"], []]), []
    master = {"release": "c0ffee", "deploy": None, "files": {}, "secrets": {}, "unfit_credential": ""}
    monkeypatch.setattr(enrol, "_look", lambda *_: ({"idr-proxy": master}, next(ways)))
    monkeypatch.setattr(
        enrol, "connections", lambda *_: nullcontext(SimpleNamespace(wait_for=lambda it, _: waited.append(it.id)))
    )
    look = enrol.looked_at("idr", new, None, tmp_path, lambda _: None)

    with nullcontext() if new else pytest.raises(Refused, match="refused"), look:
        pass

    assert waited == (["idr-proxy", "idr-omero"] if new else [])


def test_where_all_are_seen_the_cloud_is_not_asked_who_is_new(looked_at, monkeypatch):
    monkeypatch.setattr(table, "_in_the_cloud", lambda name: yaml.safe_load(BY_HAND.read_text()))
    monkeypatch.setattr(enrolled, "not_yet", pytest.fail)

    with looked_at({}) as seen:
        assert seen.environment == IDR
