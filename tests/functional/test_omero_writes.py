"""What was written to an OMERO since a moment: by its log in a real PostgreSQL, and by files on a disk."""

import os
import threading
import time
from datetime import datetime

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.conftest import own_pillar
from tests.functional.omero_fixtures import schema, sql

pytest_plugins = ["tests.functional.omero_fixtures"]

PEOPLE = """
insert into experimenter (id, omename, firstname, lastname) values (7, 'ada', 'A', 'L'), (8, 'public', 'P', 'U');
"""
EVENT = """
insert into event (id, "time", type, experimenter, experimentergroup, session)
values ({id}, '{at}', (select id from eventtype where value = '{type}'), {by}, 0, 0);
"""
LOG = "insert into eventlog (action, entityid, entitytype, event) values ('{action}', 1, 'ome.model.{what}', {id});"
SINCE, BEFORE, AFTER = "20261125T030000Z", "2026-11-25 02:59:59", "2026-11-25 03:00:01"


@pytest.fixture
def module(loaders, database, units, tmp_path):
    """The module of a server that is there, with its tables and a data volume without files."""
    sql(database, schema())
    sql(database, PEOPLE)
    units(tmp_path, database)
    host = loaders("idr-omero")
    volume = tmp_path / "data"
    (volume / "OMERO").mkdir(parents=True)
    with own_pillar(host) as pillar:
        pillar["omero"]["data"]["directory"] = str(volume / "OMERO")
        yield host.modules.omero


@pytest.fixture
def volume(tmp_path):
    return tmp_path / "data"


def stamp(seconds):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def event(database, id, at=AFTER, by=7, type="User", logs=()):
    text = EVENT.format(id=id, at=at, by=by, type=type)
    sql(database, text + "".join(LOG.format(action=action, what=what, id=id) for action, what in logs))


def written(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_rows_are_told_by_whom_what_and_how_many(module, database):
    event(database, 1, BEFORE, logs=[("INSERT", "core.Image")])
    event(database, 2, logs=[("INSERT", "annotations.MapAnnotation")] * 3 + [("UPDATE", "core.Image")])
    event(database, 3, "2026-11-25 03:10:00", logs=[("INSERT", "annotations.MapAnnotation")])
    event(database, 4, by=8, logs=[("DELETE", "display.RenderingDef")])

    found = module.writes_since(SINCE)

    assert found == {
        "rows": [
            {"by": "ada", "kind": "MapAnnotation", "action": "insert", "count": 4, "newest": "2026-11-25T03:10:00"},
            {"by": "ada", "kind": "Image", "action": "update", "count": 1, "newest": "2026-11-25T03:00:01"},
            {"by": "public", "kind": "RenderingDef", "action": "delete", "count": 1, "newest": "2026-11-25T03:00:01"},
        ],
        "files": [],
        "complete": True,
    }


NOTHING = {
    "a call that changed nothing": {},
    "a login": {"type": "Sessions", "logs": [("INSERT", "meta.Session")]},
    "a session by anything else": {"logs": [("UPDATE", "meta.Session")]},
    "a server that began": {"type": "Internal", "logs": [("INSERT", "meta.Node")]},
    "work for the indexer": {"logs": [("REINDEX", "core.Image")]},
    "work for pyramids": {"logs": [("PIXELDATA", "core.Pixels")]},
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_is_only_bookkeeping_isnt_told(module, database, what):
    event(database, 1, **NOTHING[what])

    assert module.writes_since(SINCE)["rows"] == []


def test_files_are_told_by_their_owner_and_place(module, volume):
    began = time.time() - 3600
    written(volume / "OMERO/ManagedRepository/ada_7/2026-11/a.tif", "12345")
    written(volume / "OMERO/ManagedRepository/ada_7/b.tif", "1")
    written(volume / "OMERO/Files/1")
    (volume / "OMERO/Files/2").symlink_to("/elsewhere")
    os.utime(volume / "OMERO/Files/1", (0, 0))  # as an upload with the times of what was uploaded

    found = module.writes_since(stamp(began))["files"]

    told = {(it["kind"], it["by"]): (it["count"], it["bytes"]) for it in found}
    assert told == {
        (f"{volume}/OMERO/ManagedRepository", "root"): (2, 6),
        (f"{volume}/OMERO/Files", "root"): (2, 1 + len("/elsewhere")),
    }
    assert began < datetime.fromisoformat(f"{found[0]['newest']}+00:00").timestamp() <= time.time()


def test_files_of_before_and_what_the_server_makes_for_itself_arent_told(module, volume):
    for path in (
        "OMERO/FullText/segments_1", "OMERO/BioFormatsCache/memo", "OMERO/Thumbnails/1", "OMERO/Pixels/1_pyramid",
        "OMERO/.omero/repository/lock", "OMERO/ManagedRepository/.omero/lock", "database-dumps/d.dump", "lost+found/1",
    ):  # fmt: skip
        written(volume / path)
    assert module.writes_since(stamp(time.time() - 3600))["files"] == []
    written(volume / "OMERO/Files/1")
    assert module.writes_since(stamp(time.time() + 3600))["files"] == []


def test_a_search_that_takes_too_long_says_that_it_isnt_all(module, tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.mkdir()
    said = slow / "said"
    found_one = f"printf '1764040000.5 7 ada OMERO/Files/1\\0'\ntouch {said}"
    (slow / "find").write_text(f"#!/bin/sh\n{found_one}\nexec sleep 3600\n")
    (slow / "find").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")

    class Timer(threading.Timer):
        def run(self):  # from when it has found one, however long that takes here
            until = time.monotonic() + 120
            while not said.exists() and time.monotonic() < until:
                time.sleep(0.05)
            super().run()

    monkeypatch.setattr(threading, "Timer", Timer)

    found = module.writes_since(SINCE, limit=1)

    assert found["complete"] is False and [it["count"] for it in found["files"]] == [1]


@pytest.mark.parametrize("moment", ["yesterday", 1764040000, "2026-11-25"])
def test_what_is_no_moment_is_refused(module, moment):
    with pytest.raises(CommandExecutionError, match="is no moment such as 20261125T030000Z"):
        module.writes_since(moment)


def test_a_volume_that_isnt_there_isnt_taken_for_one_without_files(module, volume):
    (volume / "OMERO").rmdir()
    with pytest.raises(CommandExecutionError, match="isn't there: is its volume mounted"):
        module.writes_since(SINCE)
