"""What is read of sets on their snapshots, whatever became of these, and what is written there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from idr.backup import manifest
from idr.backup.model import GOOD, PARTIAL, Piece
from idr.cloud import inventory
from idr.cloud.model import Thing
from idr.errors import IdrError
from tests import backups, clouds
from tests.tables import cases

PLAIN = {
    "phase": GOOD, "lacks": [], "spare": [], "verified": None, "pinned": None, "problems": [], "is_usable": True,
}  # fmt: skip


@pytest.mark.parametrize("case", cases("backup_sets"))
def test_what_a_sets_snapshots_say_of_it(case):
    seen = _seen(case)

    found, problems = manifest.sets(seen), manifest.problems(seen)

    if "wrong" in case:
        assert problems and all(f"no manifest that can be read ({case['wrong']})" in line for line in problems)
        apart = {"lacks": ["database-db"]} if case.get("apart") else {"problems": list(problems)}
        wanted = PLAIN | {"lacks": ["database-db"], "is_usable": False} | apart
    else:
        assert not problems
        wanted = PLAIN | case.get("set", {})
    assert len(found) == case.get("sets", 1)
    for it in found:
        assert _shown(it, wanted) == wanted
        assert it.is_complete == wanted.get("is_complete", it.is_usable)


def _seen(case):
    seen = backups.facts(backups.backup_set())
    for it in seen.all("snapshot"):
        use = it.what["metadata"]["idr_volume"]
        if use in case.get("gone", []):
            seen = clouds.without(seen, lambda each, gone=it: each is gone)
            continue
        said = case.get("say", {}).get(use, {}) | ({"idr_uses": case["uses"]} if "uses" in case else {})
        if use in case.get("twice", {}):
            second = {**it.what["metadata"], **case["twice"][use]}
            seen = clouds.added(seen, backups.snapshot("second", second, created_at="2026-11-25T03:00:09.000000"))
        if use in case.get("status", {}):
            seen = clouds.changed(seen, it, status=case["status"][use])
            it = next(each for each in seen.all("snapshot") if each.id == it.id)
        seen = backups.told(seen, it, **said)
    return seen


def _shown(it, wanted):
    told = {key: getattr(it, key) for key in wanted}
    told |= {key: list(told[key]) for key in ("lacks", "problems")}
    told["spare"] = [piece.use for piece in it.spare]
    told["verified"] = it.verified and it.verified.isoformat()
    return told


def test_what_is_written_is_what_is_read():
    whole = backups.backup_set(
        uses=["omero-data", "database-db", "proxy-nginxcache"],
        phase=PARTIAL,
        facts={"lsn": "0/1A2B3C8", "database_patch": "OMERO5.4__0", "omero_version": "5.6.3", "commit": "0a1b2c3",
               "by": "root@idr-proxy"},
        pinned="ada@desk: before the upgrade; ask me",
        verified=datetime(2026, 11, 25, 5, tzinfo=UTC),
        figures="1200 files, 0 wrong",
    )  # fmt: skip

    assert manifest.sets(backups.facts(whole)) == (whole,)


def test_what_isnt_known_isnt_written():
    it = backups.backup_set()
    told = manifest.metadata(it, replace(it.pieces[0], frozen=None))

    assert {"idr_frozen", "idr_pinned", "idr_verified", "idr_lsn", "idr_temporary"}.isdisjoint(told)
    assert told["idr_environment"] == "idr" and told["idr_taken"] == "2026-11-25T03:00:00Z"


def test_everything_goes_into_what_the_cloud_takes():
    it = backups.backup_set(pinned="x" * 400, facts={"by": "é" * 300})
    assert all(len(text) <= 255 for text in manifest.metadata(it, it.pieces[0]).values())

    many = tuple(f"omero{number}-data" for number in range(30))
    with pytest.raises(IdrError, match="its 30 volumes"):
        manifest.metadata(replace(it, uses=many), it.pieces[0])


def test_sets_are_the_newest_first_by_the_clouds_clock():
    old = backups.backup_set()
    jumped = backups.backup_set(datetime(2020, 1, 1, tzinfo=UTC), made=backups.NIGHT + timedelta(days=1))
    other = backups.backup_set(backups.NIGHT + timedelta(hours=1), "newidr")
    seen = backups.facts(old, jumped, other)

    assert [it.id for it in manifest.sets(seen)] == [jumped.id, other.id, old.id]
    assert [it.id for it in manifest.sets(seen, "newidr")] == [other.id]


def test_where_the_cloud_tells_no_time_the_servers_counts():
    seen = backups.facts(backups.backup_set())
    for it in seen.all("snapshot"):
        seen = clouds.changed(seen, it, created_at=None)

    [found] = manifest.sets(seen)

    assert found.made is None and found.when == backups.NIGHT


def test_an_id_is_the_moment_in_utc_and_tells_whose_it_is():
    id_ = manifest.new_id("idr", datetime(2026, 11, 25, 4, 0, 7, tzinfo=timezone(timedelta(hours=1))))

    assert id_ == "idr-20261125T030007Z" and manifest.environment_of(id_) == "idr"
    assert [manifest.environment_of(text) for text in ("idr", "../idr-20261125T030007Z", "idr-a-20261125T030007Z", 7)] \
        == [None] * 4  # fmt: skip


def test_a_clouds_own_words_are_read():
    raw = {
        "id": "s-1", "name": "idr-omero-data-20261125T030000Z", "status": "available", "size": 500, "volume_id": "v-1",
        "created_at": "2026-11-25T03:00:01.123456",
        "metadata": manifest.metadata(one := backups.backup_set(uses=["omero-data"]), one.pieces[0]),
    }  # fmt: skip
    seen = clouds.added(clouds.blank(), inventory._snapshot(raw), Thing("snapshot", "x", "s-2", what=_foreign()))

    [found] = manifest.sets(seen)

    assert found.pieces == (Piece("omero-data", "s-1", "v-1", 500, "available", "quiesced", True, 3.2),)
    assert found.made == datetime(2026, 11, 25, 3, 0, 1, 123456, UTC)


def _foreign():
    return {"metadata": {}, "temporary": None, "status": "available", "size": 1, "volume_id": "v", "created_at": None}


def test_a_proof_and_a_disproof_are_read_as_they_are_written():
    it = backups.backup_set()
    now = datetime(2026, 11, 25, 5, tzinfo=UTC)

    def said(**proof):
        seen = backups.facts(replace(it, verified=backups.NIGHT, figures="old", disproved="old"))
        for thing in seen.all("snapshot"):
            seen = backups.told(seen, thing, **manifest.proof(**proof))
        [found] = manifest.sets(seen)
        return found.verified, found.figures, found.disproved

    assert said(verified=now, figures="3120 pages") == (now, "3120 pages", None)
    assert said(disproved="a page") == (None, None, "a page")
    assert all(len(text) <= manifest.LONGEST for text in manifest.proof(now, "x" * 999, "y" * 999).values())
    whole = replace(it, disproved="a page")
    assert manifest.sets(backups.facts(whole)) == (whole,)
