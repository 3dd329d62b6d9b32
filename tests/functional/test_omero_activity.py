"""Who works in OMERO.server, by its own tables in a real PostgreSQL, and what that protects."""

import socket
import subprocess
import time

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.omero_fixtures import environment, schema, sql
from tests.functional.privately import private_mounts, private_network, shadow

pytest_plugins = ["tests.functional.omero_fixtures"]
NODES = """
insert into node (id, conn, uuid, up, down) values (5, 'Blitz-0', 'fell', now() - interval '2 days', now()),
                                                   (6, 'Blitz-0', 'now', now() - interval '1 day', null);
insert into experimenter (id, omename, firstname, lastname) values (7, 'public', 'P', 'U'), (8, 'importer', 'I', 'M');
"""
SESSION = """
insert into session (id, uuid, owner, node, started, closed, timetoidle, timetolive, defaulteventtype, useragent)
values ({id}, '{id}', {owner}, {node}, timezone('utc', now()) - interval '3 hours', {closed}, 0, 0, 'User', '{agent}');
insert into event (id, "time", type, experimenter, experimentergroup, session)
values ({id}, timezone('utc', now()) - interval '2 hours', 1, {owner}, 0, {id});
"""
FILESET = """
insert into fileset (id, creation_id, update_id, owner_id, group_id, templateprefix)
values ({id}, {id}, {id}, 8, 0, 'importer_8/');
"""
IMAGE = """
insert into image (creation_id, update_id, owner_id, group_id, name, fileset) values ({id}, {id}, 8, 0, 'i', {id});
"""


@pytest.fixture
def server(loaders, database, units, tmp_path):
    """A server that is up, as far as its port tells, with the lab's tables."""
    sql(database, schema())
    sql(database, NODES)
    with private_mounts(), private_network():
        shadow(tmp_path / "shadow", "/var/log")
        asked = units(tmp_path, database, active="active")
        module = loaders("idr-omero").modules.omero
        with socket.create_server(("127.0.0.1", 4064)) as port:
            yield module, asked, port


def add(database, id, owner=8, node=6, closed="null", agent="OMERO.cli", fileset=False, image=False):
    text = SESSION.format(id=id, owner=owner, node=node, closed=closed, agent=agent)
    sql(database, text + (FILESET if fileset else "").format(id=id) + (IMAGE if image else "").format(id=id))


def test_open_sessions_are_told_by_user_and_agent(server, database):
    module, _, _ = server
    add(database, 11, owner=7, agent="OMERO.web")
    add(database, 12, owner=7, agent="OMERO.web")
    add(database, 13, owner=0, agent="OMERO.cli")
    add(database, 14, owner=0, closed="now()")
    add(database, 15, owner=0, node=5)  # of the server that fell: open in the table for ever

    told = module.activity()

    assert {(one["user"], one["agent"]): one["sessions"] for one in told["sessions"]} == {
        ("public", "OMERO.web"): 2,
        ("root", "OMERO.cli"): 1,
    }
    assert told["imports"] == []


def test_long_queries_are_told_with_what_they_ask(server, database):
    module, _, _ = server
    asking = subprocess.Popen(
        ["psql", "-X", "-w", "-c", "select pg_sleep(3600)\n, 'a long   query'"],
        env={**environment(database), "PGAPPNAME": "Blitz-0"},
    )
    try:
        until = time.monotonic() + 120
        while not (queries := module.activity(queries_over=1)["queries"]):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert [(one["of"], one["query"], one["state"]) for one in queries] == [
            ("Blitz-0", "select pg_sleep(3600) , 'a long query'", "active")
        ]
        assert queries[0]["seconds"] >= 1
        assert module.activity(queries_over=3600)["queries"] == []
    finally:
        asking.kill()
        asking.wait()


RUNNING = {
    "an importer's session": {"agent": "OMERO.importer"},
    "a fileset of an open session": {"fileset": True},
    "a fileset whose client has left": {"fileset": True, "closed": "timezone('utc', now()) - interval '10 minutes'"},
}
OVER = {
    "its images are there": {"fileset": True, "image": True},
    "it failed long ago": {"fileset": True, "closed": "timezone('utc', now()) - interval '90 minutes'"},
    "its server fell": {"fileset": True, "agent": "OMERO.importer", "node": 5},
    "the importer has gone": {"agent": "OMERO.importer", "closed": "now()"},
}


@pytest.mark.parametrize("verb", ["stop", "restart"])
@pytest.mark.parametrize("sign", RUNNING)
def test_a_server_with_an_import_isnt_stopped(server, database, sign, verb):
    module, asked, _ = server
    add(database, 21, **RUNNING[sign])

    rehearsed = getattr(module, verb)("server", test=True)
    assert rehearsed["would"] == [] and "An import runs: importer since" in rehearsed["refused"]
    assert rehearsed["activity"]["imports"][0]["user"] == "importer"
    with pytest.raises(CommandExecutionError) as refused:
        getattr(module, verb)("server")
    assert str(refused.value) == rehearsed["refused"]
    assert f"omero.{verb} server even_if=busy" in str(refused.value)
    assert asked() == []


@pytest.mark.parametrize("sign", OVER)
def test_what_is_over_stops_nobody(server, database, sign):
    module, asked, _ = server
    add(database, 21, **OVER[sign])

    assert module.restart("server", test=True)["would"] == ["systemctl restart omero-server.service"]
    assert asked() == []


def test_it_is_stopped_when_named_and_that_is_recorded(server, database):
    module, asked, port = server
    add(database, 21, agent="OMERO.importer")

    rehearsed = module.stop("server", even_if="busy", test=True)
    assert rehearsed["would"] == ["systemctl stop omero-server.service"]

    # the unit goes on saying that it's active, so that this stop fails: what counts is that it was asked
    with pytest.raises(CommandExecutionError, match="is still active"):
        module.stop("server", even_if="busy", limit=1)
    assert asked() == ["stop omero-server.service"]


def test_web_alone_concerns_no_import(server, database):
    module, _, _ = server
    add(database, 21, agent="OMERO.importer")

    assert module.restart("web", test=True) == {"would": ["systemctl restart omero-web.service"]}


def test_who_cant_look_doesnt_stop_it_either(server, database, units, tmp_path):
    module, _, _ = server
    asked = units(tmp_path, {**database, "name": "gone"})

    with pytest.raises(CommandExecutionError, match="Whether an import runs isn't known .*does not exist"):
        module.restart("server")
    assert asked() == []


def test_a_server_that_is_down_is_started_without_its_database(server, database, units, tmp_path):
    module, _, port = server
    port.close()
    units(tmp_path, {**database, "name": "gone"})

    assert module.restart("server", test=True)["would"] == ["systemctl restart omero-server.service"]
