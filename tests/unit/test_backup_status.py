"""How backups stand: what an operator, a shell and Prometheus are told when all is well, late, failed or odd."""

import os
import stat
from dataclasses import replace
from datetime import timedelta

import pytest

from idr.backup import metrics, project, status
from idr.backup.model import CRASH, FAILED, GOING, PARTIAL, TAKING
from idr.errors import Refused
from tests import clouds
from tests.backups import NIGHT, backup_set, facts, snapshot
from tests.unit.test_backup_listing import OUTPUTTER, group

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def of(*sets, now=NIGHT + HOUR, more=(), hours=()):
    return status.of(project.of(facts(*sets, more=more)), "idr", now, hours)


@pytest.mark.parametrize(
    ("age", "state"),
    [(0, "ok"), (28, "ok"), (28.1, "warning"), (32, "warning"), (32.1, "critical"), (1000, "critical")],
)
def test_a_missed_run_shows_by_the_age_of_the_newest_good_set(age, state):
    now = of(backup_set(), backup_set(NIGHT - DAY), now=NIGHT + age * HOUR)

    assert now.state == state and now.good.id == "idr-20261125T030000Z"
    assert [line for line in now.problems if "idr-20261125T030000Z, is" in line] == list(now.problems)
    assert bool(now.problems) == (state != "ok")


def test_no_good_set_at_all():
    for sets in ([], [backup_set(environment="newidr")], [backup_set(phase=FAILED)]):
        now = of(*sets)
        assert now.state == "critical" and now.problems[0] == "idr has no good set"


@pytest.mark.parametrize(
    ("newest", "word"),
    [
        (backup_set(phase=FAILED), "failed"),
        (backup_set(phase=TAKING), "abandoned"),
        (replace(backup_set(), pieces=backup_set().pieces[:1]), "damaged"),
    ],
)
def test_a_failed_run_shows_at_once(newest, word):
    now = of(newest, backup_set(NIGHT - 20 * HOUR))

    assert now.state == "warning" and now.has_failed
    assert now.problems == (f"the newest attempt, {newest.id}, is {word}: salt-run backup.show {newest.id}",)
    assert now.good.id == "idr-20261124T070000Z"


def test_a_run_that_failed_before_it_left_anything_shows_by_the_environments_record():
    now = of(backup_set(NIGHT - DAY), more=[group(failed="2026-11-25T03:00:07.123Z")])
    assert now.state == "warning" and now.has_failed
    assert now.problems == (
        "a backup failed at 2026-11-25 03:00 UTC, and none was a success since: idr-proxy: /var/log/idr/actions.jsonl",
    )

    assert of(backup_set(), more=[group(failed="2026-11-24T03:00:07.123Z")]).state == "ok"
    assert of(backup_set(), more=[group(environment="newidr", failed="2026-11-25T03:00:07.123Z")]).state == "ok"
    assert of(more=[group(failed="2026-11-25T03:00:07.123Z")]).state == "critical"


def test_a_run_that_is_on_it_since_before_one_was_due_keeps_it_from_being_taken_and_that_shows():
    dead = group("root@idr-proxy:7")  # since 03:00
    now = of(backup_set(phase=TAKING), backup_set(NIGHT - HOUR), more=[dead], hours=[3, 4], now=NIGHT + 2 * HOUR)
    assert now.state == "warning" and now.has_failed
    assert now.problems == (
        "root@idr-proxy:7 is on idr since 2026-11-25T03:00:00.000Z, to back up: the set that was due at 2026-11-25 "
        "04:00 UTC couldn't be taken. Is that run dead? salt-run backup.create idr apply=True tells how its lock is "
        "broken",
    )

    for hours in ([3], [2], []):  # it's the one that was due, or none was since
        assert of(backup_set(NIGHT - HOUR), more=[dead], hours=hours, now=NIGHT + 2 * HOUR).state == "ok"


def test_one_that_was_due_and_of_which_nothing_is_in_the_cloud_is_told_of():
    yesterday, at = backup_set(NIGHT - DAY), NIGHT + timedelta(minutes=6)
    line = (
        "nothing is in the cloud of a set that was due at 2026-11-25 03:00 UTC: see on idr-proxy, journalctl -u "
        "salt-master -u idr-backup-scheduled and /var/log/idr/actions.jsonl"
    )

    now = of(yesterday, hours=[3], now=at)
    assert (now.state, now.notes) == ("ok", (line,))  # whether it is late is told by the age alone
    assert of(yesterday, hours=[3], now=NIGHT + 5 * HOUR).state == "warning"
    for sets, more, hours, when in (
        ([backup_set(), yesterday], [], [3], at),
        ([backup_set(NIGHT + timedelta(seconds=9), phase=FAILED), yesterday], [], [3], at),
        ([yesterday], [group(failed="2026-11-25T03:00:07.123Z")], [3], at),
        ([yesterday], [group("root@idr-proxy:7")], [3], at),
        ([yesterday], [], [3], NIGHT + timedelta(minutes=4)),
        ([yesterday], [], [], at),
    ):
        assert line not in of(*sets, more=more, hours=hours, now=when).notes


def test_one_that_succeeded_after_it_is_what_counts():
    assert of(backup_set(), backup_set(NIGHT - HOUR, phase=FAILED)).state == "ok"


def test_a_set_in_the_making_and_one_that_is_being_removed_are_no_failures():
    taking = backup_set(phase=TAKING)
    now = of(taking, backup_set(NIGHT - DAY), more=[group("root@idr-proxy:7")])
    assert (now.state, now.under_way, now.has_failed) == ("ok", taking.id, False)

    assert of(backup_set(phase=GOING), backup_set(NIGHT - HOUR)).state == "ok"


def test_a_partial_set_is_good_and_what_it_lacks_is_told():
    it = replace(backup_set(phase=PARTIAL), uses=("omero-data", "database-db", "a-dockermanager-data"))
    data, rows = it.pieces
    now = of(replace(it, pieces=(data, replace(rows, consistency=CRASH))))

    assert now.state == "ok"
    assert now.notes == (
        f"{it.id} has no a-dockermanager-data",
        f"{it.id}: omero-data is quiesced, database-db is crash-consistent",
    )


def test_a_set_from_the_future_is_told_of_and_hides_no_missed_run():
    future, old = backup_set(NIGHT + 900 * DAY), backup_set(NIGHT - 3 * DAY)

    now = of(future, old)

    assert now.state == "critical" and now.good.id == old.id
    assert now.notes == (f"{future.id} is from the future by this machine's clock, and counts for nothing",)


def test_what_cannot_be_understood_is_told_once():
    riddles = [snapshot("s-2", {"idr_environment": "idr", "idr_set": "idr-20261125T030000Z"}),
               snapshot("s-3", {"idr_environment": "newidr"})]  # fmt: skip
    now = of(backup_set(), backup_set(NIGHT - HOUR), more=riddles)

    assert len(now.notes) == 1 and "(s-2) has the mark of idr" in now.notes[0]


def test_space_is_all_that_the_quota_counts():
    sets = [backup_set(), backup_set(NIGHT - DAY, phase=FAILED), backup_set(environment="newidr")]
    clone = snapshot("s-9", {"idr_environment": "idr", "idr_temporary": "yes"}, size=500)
    seen = facts(*sets, more=[clone])

    now = status.of(project.of(replace(seen, quotas={"gigabytes": (4000, 2500)})), "idr", NIGHT)
    assert (now.size_gb, now.free_gb) == (1500, 1500)
    now = status.of(project.of(replace(seen, quotas={"gigabytes": (-1, 2500)})), "idr", NIGHT)
    assert now.free_gb is None


@pytest.mark.parametrize(
    ("hours", "now", "due"),
    [
        ([3], NIGHT - timedelta(minutes=1), "2026-11-25T03:00+00:00"),
        ([3], NIGHT, "2026-11-26T03:00+00:00"),
        ([3, 15], NIGHT, "2026-11-25T15:00+00:00"),
        ([0], NIGHT, "2026-11-26T00:00+00:00"),
        ([], NIGHT, None),
    ],
)
def test_when_the_next_one_is_due(hours, now, due):
    assert status.told(of(now=now, hours=hours))["due"] == due


def test_the_reader_is_told_in_lines():
    sets = [backup_set(NIGHT - DAY, verified=NIGHT), backup_set(phase=FAILED), backup_set(NIGHT - 90 * DAY)]

    lines = OUTPUTTER.output(status.told(of(*sets, hours=[3]))).splitlines()

    assert lines == [
        "idr: warning",
        "the newest attempt, idr-20261125T030000Z, is failed: salt-run backup.show idr-20261125T030000Z",
        "newest good set: idr-20261124T030000Z, 25.0 h old",
        "newest verified set: idr-20261124T030000Z, 25.0 h old",
        "next one by itself: 2026-11-26T03:00+00:00",
        "sets: 1 failed, 2 good",
        "snapshots: 2250 GB, 1000000 GB are free",
    ]
    assert OUTPUTTER.output(status.told(of())).splitlines()[2:6] == [
        "newest good set: none",
        "newest verified set: none",
        "next one by itself: none, it is not live or has no backup_hours",
        "sets: none",
    ]


def test_prometheus_is_told_moments_that_alarm_by_themselves():
    lines = metrics.text(of(backup_set(), backup_set(NIGHT - DAY, phase=FAILED), hours=[3])).splitlines()

    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert told == {
        'idr_backup_last_good_timestamp_seconds{environment="idr"}': str(int(NIGHT.timestamp())),
        'idr_backup_last_verified_timestamp_seconds{environment="idr"}': "0",
        'idr_backup_last_attempt_failed{environment="idr"}': "0",
        'idr_backup_next_timestamp_seconds{environment="idr"}': str(int((NIGHT + DAY).timestamp())),
        'idr_backup_last_good_lacks{environment="idr"}': "0",
        'idr_backup_sets{environment="idr",state="failed"}': "1",
        'idr_backup_sets{environment="idr",state="good"}': "1",
        'idr_backup_snapshot_bytes{environment="idr"}': str(1500 * 2**30),
        'idr_backup_free_bytes{environment="idr"}': str(1000000 * 2**30),
        'idr_backup_status_timestamp_seconds{environment="idr"}': str(int((NIGHT + HOUR).timestamp())),
    }
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 9 and all(line.endswith("gauge") for line in lines if "# TYPE" in line)


def test_prometheus_is_told_what_the_newest_set_lacks_and_nothing_that_is_not_known():
    partial = backup_set(phase=PARTIAL, uses=["omero-data", "database-db", "proxy-nginxcache", "a-omero-data"])
    partial = replace(partial, pieces=partial.pieces[:3])
    assert 'idr_backup_last_good_lacks{environment="idr"} 1' in metrics.text(of(partial)).splitlines()

    none = metrics.text(replace(of(), free_gb=None))
    assert "last_good_lacks" not in none and "free_bytes" not in none
    assert 'idr_backup_next_timestamp_seconds{environment="idr"} 0' in none.splitlines()


def test_the_text_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "idr.prom"
    metrics.write("old\n", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Refused) as refused:
        metrics.write("new\n", path)
    assert refused.value.problems == [f"textfile: {path}: No space left on device"]
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["idr.prom", "/nosuch/idr.prom"])
def test_a_text_file_that_cannot_be(path):
    with pytest.raises(Refused, match="refused") as refused:
        metrics.write("text", path)
    assert path in refused.value.problems[0]


def test_another_environments_sets_are_not_told():
    seen = clouds.added(facts(backup_set(environment="newidr")))
    assert status.of(project.of(seen), "idr", NIGHT).states == {}
