"""Single files are brought back beside: of which volume, to which server, and what keeps them from it."""

from dataclasses import replace

import pytest

from idr.backup import files, preparing
from idr.backup.files import Files
from idr.backup.model import FAILED, GOING
from idr.cloud import mark, planning, removal, telling
from idr.errors import Refused
from tests import clouds
from tests.backups import USES, of_volumes, things
from tests.unit.test_cloud_planning import IDR, complete

SET = of_volumes(IDR, uses=[*USES, "proxy-nginxcache", "a-omero-data", "a-dockermanager-data"])
BACKED_UP = clouds.added(IDR, *things(SET))
ONE = "/data/OMERO/Files/12"


def coming(*paths, facts=BACKED_UP, use=files.USUAL, name="idr", run="run-2"):
    return files.coming(Files(SET.id, paths, use), facts, name, run)


def problems(*paths, **further):
    return list(coming(*paths, **further).plan.problems)


def names(plan):
    return [str(step) for step in plan.steps]


def test_a_clone_comes_to_the_server_that_has_the_volume_now_and_goes_again():
    it = coming(ONE, "/data/OMERO/ManagedRepository/demo")

    clone = "idr-omero-data-files-run-2"
    assert not it.plan.problems
    assert names(it.plan) == [
        f"make volume {clone}", f"make attachment {clone}", f"remove attachment {clone}", f"remove volume {clone}",
    ]  # fmt: skip
    assert (it.server.name, it.live.name) == ("idr-omero", "idr-omero-data")
    assert it.paths == ("OMERO/Files/12", "OMERO/ManagedRepository/demo")
    made = clouds.after(BACKED_UP, replace(it.plan, steps=it.plan.steps[:2]))
    there = clouds.find(made, "volume", clone)
    assert there.what["snapshot_id"] == f"{SET.id}/omero-data" and there.what["size"] == 500
    omero = clouds.find(BACKED_UP, "server", "idr-omero")
    assert [each["server_id"] for each in there.what["attachments"]] == [omero.id]
    assert clouds.after(BACKED_UP, it.plan).all("volume") == BACKED_UP.all("volume")


def test_the_plan_says_where_to_and_what_is_not_known_yet():
    lines = telling.lines(coming(ONE).plan)

    assert "  + idr-omero-data-files-run-2: 500 GB, a clone by snapshot " + f"{SET.id}/omero-data" in lines
    assert f"note: {ONE}: to idr-omero, into /data/restored-{SET.id}-run-2" in lines
    assert lines[-1].startswith(
        f"note: {SET.id} is of 2026-11-25 03:00 UTC, its omero-data quiesced. Whether these are in it"
    )


def test_that_the_set_was_disproved_is_told():
    spoilt = replace(SET, disproved="2026-11-26 03:00 UTC: pixels 1: it isn't there")
    plan = coming(ONE, facts=clouds.added(IDR, *things(spoilt))).plan
    assert f"{SET.id} was disproved, {spoilt.disproved}" in plan.notes and not plan.problems


@pytest.mark.parametrize(
    ("use", "server"), [("a-omero-data", "idr-a-omero"), ("a-dockermanager-data", "idr-a-dockermanager")]
)
def test_another_volume_of_files_can_be_named(use, server):
    it = coming("/data/notebooks/x", use=use)

    assert not it.plan.problems and (it.server.name, it.live.name) == (server, f"idr-{use}")
    assert it.plan.steps[0].what["snapshot_id"] == f"{SET.id}/{use}"


def test_what_comes_with_a_folder_is_not_brought_twice():
    assert coming(ONE, "/data/OMERO/Files", "/data/OMERO/Files/", "/data//OMERO/Pixels/1").paths == (
        "OMERO/Files",
        "OMERO/Pixels/1",
    )


def test_everything_that_is_asked_wrongly_is_said_at_once():
    asked = ("OMERO/1", "/data/../etc/shadow", "/etc/shadow", "/data", "/data/", "/var/lib/pgsql/15/PG_VERSION",
             "/var/cache/nginx/x", "/database/x")  # fmt: skip

    told = problems(*asked, use="ftp-data")

    others = "isn't on /data, where the files are that can't be made again"
    whole = "is all of the volume: name what is in it, or restore the volume, without file="
    has = "omero-data, a-omero-data, a-dockermanager-data"
    assert told == [
        "file: OMERO/1: has to be absolute, as it is on the server",
        "file: /data/../etc/shadow: has to be said without `..`",
        f"file: /etc/shadow: {others}",
        f"file: /data: {whole}",
        f"file: /data/: {whole}",
        "file: /var/lib/pgsql/15/PG_VERSION: no single file of a database is of any use: restore the set into another "
        "environment (into=look), and take rows from there by pg_dump",
        f"file: /var/cache/nginx/x: {others}",
        f"file: /database/x: {others}",
        f"volumes: with file=, one that {SET.id} has: {has}; not ftp-data",
    ]
    assert problems() == ["file: say which"]
    assert problems(ONE, use="database-db") == [f"volumes: with file=, one that {SET.id} has: {has}; not database-db"]


@pytest.mark.parametrize(
    ("backup", "why"),
    [
        (replace(SET, phase=FAILED), f"{SET.id}: it failed"),
        (replace(SET, phase=GOING), f"{SET.id}: its removal was begun"),
        (
            replace(SET, pieces=(replace(SET.pieces[0], status="error"), *SET.pieces[1:])),
            f"{SET.id}: its snapshot of omero-data is error",
        ),
    ],
)
def test_of_a_set_that_counts_for_nothing_nothing_is_brought(backup, why):
    assert problems(ONE, facts=clouds.added(IDR, *things(backup))) == [why]


def test_a_set_that_lost_its_database_is_good_enough_for_files():
    damaged = replace(SET, pieces=tuple(piece for piece in SET.pieces if piece.use != "database-db"))

    assert not problems(ONE, facts=clouds.added(IDR, *things(damaged)))


def test_no_such_set():
    with pytest.raises(Refused) as refused:
        coming(ONE, facts=IDR)
    assert refused.value.problems == [
        f"{SET.id}: no backup set of this project; salt-run backup.list tells which there are"
    ]


def test_the_server_has_to_be_there_with_its_volume_and_room_for_the_clone():
    server = clouds.find(BACKED_UP, "server", "idr-omero")
    plan = "salt-run environment.plan idr"
    gone = clouds.without(BACKED_UP, lambda it: it is server)
    assert problems(ONE, facts=gone) == [f"idr-omero isn't there, to which omero-data would come: {plan}"]
    off = clouds.changed(BACKED_UP, server, status="SHUTOFF")
    assert problems(ONE, facts=off) == ["idr-omero is SHUTOFF: openstack server start idr-omero"]
    volume = clouds.find(BACKED_UP, "volume", "idr-omero-data")
    detached = clouds.changed(BACKED_UP, volume, attachments=[])
    assert problems(ONE, facts=detached) == [f"idr-omero has no volume omero-data, or two: {plan}"]
    full = replace(BACKED_UP, quotas={**BACKED_UP.quotas, "gigabytes": (1000, 600)})
    [why] = problems(ONE, facts=full)
    assert why.startswith("quota of gigabytes: 500 GB needed, 400 GB free")
    [why] = problems(ONE, facts=clouds.without(BACKED_UP, lambda it: it.kind == "group" and it.name == "idr"))
    assert why == "idr: its security group idr, which is the lock, isn't there: salt-run environment.apply idr"


def test_files_of_another_environments_set():
    it = coming(ONE, facts=complete("newidr", BACKED_UP), name="newidr")

    assert not it.plan.problems and it.server.name == "newidr-omero"
    assert names(it.plan)[0] == "make volume newidr-omero-data-files-run-2"


def test_what_a_killed_run_left_goes_first_and_is_nobodys_volume_meanwhile():
    left = clouds.after(
        BACKED_UP, replace(coming(ONE, run="run-1").plan, steps=coming(ONE, run="run-1").plan.steps[:2])
    )
    clone = clouds.find(left, "volume", "idr-omero-data-files-run-1")

    it = coming(ONE, facts=left)

    assert names(it.plan)[:2] == [
        f"remove attachment {clone.name} ({clone.id})",
        f"remove volume {clone.name} ({clone.id})",
    ]
    assert clouds.after(left, it.plan).all("volume") == BACKED_UP.all("volume")
    assert not mark.is_current(clone)
    assert preparing._volume(left, "idr", "idr-omero", "omero-data", True)[1] == ""
    plan = planning.plan(clouds.wanted("idr"), left, "run-9")
    assert not plan.steps and not plan.problems
    assert [note for note in plan.notes if clone.name in note] == [
        f"volume {clone.name} ({clone.id}) is a clone that single files are brought back from. Where no run is at that "
        f"any more, it goes with the next: salt-run backup.restore … into=idr file=…"
    ]
    assert f"remove volume {clone.name}" in names(removal.plan(left, "idr", "run-9"))
