"""How minions are asked, by what Salt's own client says of them."""

import pytest
from salt.exceptions import SaltClientError

from idr import asking
from idr.errors import IdrError


def asked(monkeypatch, said, **named):
    """What `ask` makes of it when Salt says that; and the calls of Salt's client."""
    calls = []

    class Client:
        def __init__(self, mopts):
            assert mopts == {"idr_environment": "idr"}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def cmd(self, *given, full_return, **further):
            assert full_return
            calls.append((given, further))
            if isinstance(said, Exception):
                raise said
            return said

    monkeypatch.setattr(asking.salt.client, "LocalClient", Client)
    with asking.asking({"idr_environment": "idr"}) as ask:
        return ask(["idr-omero", "idr-database"], "data_volume.freeze", [20], 10, **named), calls


def test_what_salt_says_for_a_silent_minion_is_no_answer_of_its(monkeypatch):
    silent = {"out": "no_return", "ret": "Minion did not return. [No response]", "retcode": 1}
    failed = {"ret": "ERROR: it can't be frozen", "retcode": 1, "jid": "1"}
    answers, _ = asked(monkeypatch, {"idr-omero": failed, "idr-database": silent, "idr-gone": False})
    assert answers == {"idr-omero": "ERROR: it can't be frozen"}


def test_they_are_asked_by_name_and_who_is_at_work_is_waited_for(monkeypatch):
    _, [(given, further)] = asked(monkeypatch, {}, test=True)
    assert given == (["idr-omero", "idr-database"], "data_volume.freeze", [20])
    assert further == {"tgt_type": "list", "timeout": 10, "gather_job_timeout": 10, "kwarg": {"test": True}}


def test_a_master_that_cant_ask_its_minions_is_one_line(monkeypatch):
    with pytest.raises(IdrError, match="can't ask its minions: Salt request timed out"):
        asked(monkeypatch, SaltClientError("Salt request timed out"))
