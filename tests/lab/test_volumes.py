"""A data volume held still under a database at work: nothing is written meanwhile or lost, and it always ends."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from .conftest import until

pytestmark = [pytest.mark.lab, pytest.mark.hosts]

SERVER, VOLUME, MOUNT = "idr-a-database", "a-database-db", "/var/lib/pgsql"
UNIT = f"idr-freeze-{VOLUME}.service"
STAMPS = f"{MOUNT}/freeze-test"
# rows as fast as PostgreSQL commits them, and beside it the plainest of writers
WRITERS = f"""
systemd-run --quiet --unit=freeze-test-file bash -c 'while :; do date +%s.%N >> {STAMPS}; sleep 0.02; done'
su postgres -c 'psql -q -c "create table freeze_test (at timestamptz default clock_timestamp())"'
systemd-run --quiet --unit=freeze-test-rows --uid=postgres bash -c \
    'while psql -q -c "insert into freeze_test default values"; do echo >> /tmp/freeze-test-committed; done'
"""
TIDY = f"""
systemctl stop {UNIT} freeze-test-file freeze-test-rows 2>/dev/null || true
systemctl reset-failed {UNIT} 2>/dev/null || true
su postgres -c 'psql -q -c "drop table if exists freeze_test"'
rm -f {STAMPS} /tmp/freeze-test-committed
systemctl is-active --quiet salt-minion || systemctl start salt-minion
"""


def call(lab, function, *arguments, check=True):
    """On the server itself, which also works while its minion is dead."""
    said = lab.exec(SERVER, "salt-call", "--out=json", f"data_volume.{function}", *arguments, check=check)
    return json.loads(said.stdout)["local"] if check else said


def longest_silence(lab):
    stamps = [float(line) for line in lab.sh(SERVER, f"cat {STAMPS}").splitlines()]
    return max(later - earlier for earlier, later in itertools.pairwise(stamps))


def last_stamp(lab):
    return float(lab.sh(SERVER, f"tail -n 1 {STAMPS}"))


def is_frozen(lab):
    """By what an operator would see: a file that is written to all the time isn't. On a busy machine it may seem so."""
    sizes = lab.sh(SERVER, f"stat -c %s {STAMPS}; sleep 1; stat -c %s {STAMPS}").split()
    return sizes[0] == sizes[1]


@pytest.fixture
def writers(lab):
    lab.sh(SERVER, TIDY + WRITERS)
    yield
    lab.sh(SERVER, TIDY)


def test_writers_wait_and_lose_nothing(lab, writers):
    asked = call(lab, "freeze", "60")[VOLUME]
    assert asked["mount"] == MOUNT
    before = last_stamp(lab)
    time.sleep(2)
    assert last_stamp(lab) == before, "something was written to a frozen volume"
    frozen = call(lab, "status")[VOLUME]["frozen"]
    assert frozen["since"] < frozen["until"]

    refused = call(lab, "freeze", check=False)
    assert refused.returncode != 0
    assert "is frozen already until" in refused.stderr and "data_volume.thaw" in refused.stderr

    assert call(lab, "thaw", "test=True") == {"would": [f"thaw {VOLUME}"]}
    assert last_stamp(lab) == before and call(lab, "status")[VOLUME]["frozen"]
    thawed = call(lab, "thaw")[VOLUME]
    assert thawed["quiesced"] is True and 2 < thawed["seconds"] < 60, thawed
    until(lambda: last_stamp(lab) > before)
    assert longest_silence(lab) >= 2
    assert call(lab, "status")[VOLUME]["frozen"] is None
    lab.sh(SERVER, "systemctl stop freeze-test-rows")
    committed = lab.sh(SERVER, "wc -c < /tmp/freeze-test-committed")
    kept = lab.sh(SERVER, "su postgres -c 'psql -Atc \"select count(*) from freeze_test\"'")
    assert int(kept) >= int(committed) > 0


KILLED = {
    "nobody": ("true", "timeout"),
    "the minion": ("systemctl kill --kill-who=all --signal=KILL salt-minion", "timeout"),
    "the freezing process": (f"systemctl kill --signal=KILL {UNIT}", "signal"),
    "the freezing process is stopped": (f"systemctl kill --signal=STOP {UNIT}", "timeout"),
}


@pytest.mark.parametrize("who", KILLED)
def test_whoever_dies_it_is_thawed_and_told(lab, writers, who):
    deed, ended = KILLED[who]
    call(lab, "freeze", "8" if ended == "timeout" else "60")

    lab.sh(SERVER, deed)
    until(lambda: not is_frozen(lab))

    assert ended != "timeout" or longest_silence(lab) >= 7, "it was thawed before its time"
    told = call(lab, "thaw")[VOLUME]
    assert told["quiesced"] is False, "a snapshot taken now would be called clean"
    assert told["ended"] == ended and told["seconds"] < 60, told


def test_a_job_killed_while_it_freezes_leaves_nothing_frozen(lab, writers):
    """At moments before systemd was asked, about when it is, and after."""
    script = """
        for pause in 0.5 1.5 1.8 2.1 2.5 3; do
            setsid salt-call data_volume.freeze 3 > /dev/null 2>&1 & sleep $pause; kill -KILL -- -$! || true; wait
        done"""
    lab.sh(SERVER, script)

    until(lambda: not is_frozen(lab))
    time.sleep(4)  # nor is it by one that had only been asked for
    until(lambda: not is_frozen(lab))
    assert longest_silence(lab) < 60


def test_somebody_elses_freeze_is_neither_ours_nor_ended(lab, writers):
    try:
        lab.sh(SERVER, f"fsfreeze --freeze {MOUNT}")
        refused = call(lab, "freeze", check=False)
        assert refused.returncode != 0 and f"{MOUNT} couldn't be frozen" in refused.stderr
        assert is_frozen(lab)
    finally:
        lab.sh(SERVER, f"fsfreeze --unfreeze {MOUNT}")


def test_thawed_by_hand_isnt_called_quiet(lab, writers):
    call(lab, "freeze", "60")
    lab.sh(SERVER, f"fsfreeze --unfreeze {MOUNT}")

    told = call(lab, "thaw")[VOLUME]

    assert told["quiesced"] is False


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["0"], "lasts 1 to 60 seconds, not 0"),
        (["61"], "lasts 1 to 60 seconds, not 61"),
        (["5", "volume=omero-data"], f"has no volume omero-data: {VOLUME}"),
    ],
)
def test_what_makes_no_sense_is_refused(lab, arguments, reason):
    refused = call(lab, "freeze", *arguments, check=False)
    assert refused.returncode != 0 and reason in refused.stderr and "Traceback" not in refused.stderr


def test_a_thaw_of_nothing_is_refused(lab):
    refused = call(lab, "thaw", check=False)
    assert refused.returncode != 0 and "no volume is frozen" in refused.stderr
