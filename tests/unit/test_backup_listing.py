"""Backup sets as an operator gets them told: the state of each in a word, what is in use, and a table."""

import importlib.util
from dataclasses import replace
from datetime import timedelta

import pytest

from idr.backup import listing, project
from idr.backup.model import CRASH, FAILED, PARTIAL, TAKING
from idr.cloud import lock
from idr.cloud.model import Thing
from idr.errors import Refused
from tests import clouds
from tests.backups import NIGHT, backup_set, facts, snapshot
from tests.tables import REPO

SPEC = importlib.util.spec_from_file_location("outputter", REPO / "_output/backup.py")
OUTPUTTER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(OUTPUTTER)


def group(holder=None, environment="idr", failed=None):
    """An environment's record, held or not, with a backup that failed or none."""
    held = f"; held by {holder} since 2026-11-25T03:00:00.000Z to back up" if holder else ""
    failed = f"; backup failed {failed}" if failed else ""
    what = {
        "description": f"IDR environment {environment}{failed}{held}",
        "created_at": "2026-01-01T00:00:00Z",
        "tags": [],
    }
    return Thing("group", environment, f"g-{environment}", environment, None, what)


def test_a_word_tells_whether_a_set_can_be_restored():
    good = backup_set()
    lacking = replace(good, uses=(*good.uses, "a-dockermanager-data"))
    cut = replace(good, pieces=good.pieces[:1])
    sets = [good, lacking, replace(lacking, phase=PARTIAL), cut, backup_set(phase=TAKING), backup_set(phase=FAILED)]

    assert [listing.state(it, {}) for it in sets] == ["good", "partial", "partial", "damaged", "abandoned", "failed"]
    assert listing.state(sets[4], {"idr": "root@idr-proxy"}) == "taking"


def test_a_set_is_as_consistent_as_what_cannot_be_made_again():
    good = backup_set(uses=["omero-data", "database-db", "proxy-nginxcache"])
    data, rows, cache = good.pieces

    assert listing.consistency(replace(good, pieces=(data, rows, replace(cache, consistency=CRASH)))) == "quiesced"
    assert listing.consistency(replace(good, pieces=(data, replace(rows, consistency=CRASH)))) == CRASH


def test_who_else_is_on_an_environment_is_told_and_not_oneself():
    taking = backup_set(phase=TAKING)

    other = project.of(facts(taking, more=[group("root@idr-proxy:1")]))
    assert other.held == {"idr": "root@idr-proxy:1 is on idr since 2026-11-25T03:00:00.000Z, to back up"}
    assert other.failed == {}
    for free in ([], [group()], [group(lock.this_process())], [group("root@idr-proxy:1", "newidr")]):
        assert "idr" not in project.of(facts(taking, more=free)).held


@pytest.mark.parametrize(
    ("what", "is_used"),
    [
        ({"status": "in-use", "attachments": [{"server_id": "s-1"}]}, True),
        ({"status": "creating"}, True),
        ({"status": "attaching"}, True),
        ({"status": "available"}, False),
        ({"status": "error"}, False),
    ],
)
def test_what_was_made_of_a_set_uses_it_while_it_is_made_and_attached(what, is_used):
    it = backup_set()
    volume = clouds.volume(500, "omero-data", snapshot=it.pieces[0].snapshot) | what
    seen = project.of(facts(it, more=[Thing("volume", "newidr-omero-data", "v-1", "newidr", None, volume)]))

    assert list(seen.used) == [it.pieces[0].snapshot] * is_used


def test_all_sets_are_a_table():
    newest = backup_set(uses=["omero-data", "database-db", "a-dockermanager-data"])
    lacking = backup_set(NIGHT - timedelta(days=1), phase=PARTIAL, uses=["omero-data", "database-db"],
                         verified=NIGHT, pinned="ada: for the paper")  # fmt: skip
    lacking = replace(lacking, uses=(*lacking.uses, "a-dockermanager-data"))
    other = backup_set(NIGHT - timedelta(days=2), "newidr")
    riddle = snapshot("s-9", {"idr_environment": "idr"})

    told = listing.sets(project.of(facts(newest, lacking, other, more=[riddle])), "idr")

    lines = OUTPUTTER.output(told).splitlines()
    assert lines[:3] == [
        "set                   state    consistency  volumes  GB   verified    pinned",
        "idr-20261125T030000Z  good     quiesced     3        760",
        "idr-20261124T030000Z  partial  quiesced     2 of 3   750  2026-11-25  ada: for the paper",
    ]
    assert len(lines) == 4 and "snapshot idr-None-none (s-9) has the mark of idr and no manifest" in lines[3]
    assert OUTPUTTER.output(listing.sets(project.of(facts()))) == "no backup set"


def test_one_set_is_told_with_its_volumes():
    it = backup_set(facts={"lsn": "0/1A2B3C8", "omero_version": "5.6.3"}, pinned="ada: why not")
    seen = project.of(facts(it))

    lines = OUTPUTTER.output(listing.told(seen.the(it.id), seen.held)).splitlines()

    assert lines == [
        "idr-20261125T030000Z: good, quiesced, taken 2026-11-25T03:00:00+00:00, 750 GB",
        "lsn 0/1A2B3C8, omero version 5.6.3",
        "never verified",
        "pinned by ada: why not",
        "",
        "volume       GB   consistency  frozen  snapshot                          status",
        "omero-data   500  quiesced     3.2 s   idr-20261125T030000Z/omero-data   available",
        "database-db  250  quiesced     3.2 s   idr-20261125T030000Z/database-db  available",
    ]


def test_a_set_that_is_none_is_refused():
    with pytest.raises(Refused) as refused:
        project.of(facts(backup_set())).the("idr-20261125T030001Z")
    assert "no backup set of this project" in refused.value.problems[0]
