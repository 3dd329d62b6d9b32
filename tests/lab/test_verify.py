"""
A backup set proved on a scratch server, and one of damaged volumes disproved; of the server nothing is left. And the
analysis side made anew of the one that was proved.
"""

from __future__ import annotations

import json

import pytest

from .conftest import Lab, until
from .environments import inventory, script
from .faulty import killed_once
from .test_backup import backup, kept, states
from .test_environments import FILES, Load, rows
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

IMPORTED = "find /data/OMERO/ManagedRepository -name '*.tif' | sort | head -n 1"
PSQL = ("runuser", "-u", "postgres", "--", "psql", "-qAtd", "idr", "-c")
# Nothing writes its page once more after that, which the server has in memory as it was.
TABLE = (
    "create table verify_test with (autovacuum_enabled = false) as select n from generate_series(1, 100) n",
    "vacuum (freeze) verify_test",
    "checkpoint",
)
FLIP = "printf '\\377\\377' | dd of={} bs=1 seek=8000 conv=notrunc,fsync status=none"
REFRESH = ("idr", "minutes=0", "apply=True")
MADE_ANEW = ("idr-a-omero", "idr-a-database", "idr-a-omero-data", "idr-a-database-db")
HUB, STAYING = "idr-a-dockermanager", ("idr-proxy", "idr-omero", "idr-database", "idr-a-dockermanager")
SERVING = "systemctl show -P MainPID nginx omero-server omero-web postgresql-15 docker-jupyterhub"
ASIDE = "said = [[it.id, it.name, it.status] for it in disk.volumes() if 'idr_aside' in it.metadata]"
# Of a volume that was put aside sets have snapshots, which go first.
TIDY = """
for each in [it for it in disk.snapshots() if it.metadata.get("idr_set")]:
    disk.delete_snapshot(each)
    disk.wait_for_delete(each)
for each in [it for it in disk.volumes() if "idr_aside" in it.metadata]:
    disk.delete_volume(each)
    disk.wait_for_delete(each)
"""


@pytest.fixture(scope="module", autouse=True)
def as_before(lab):
    """As it was before, at the end: nothing of backups, and of the analysis side other servers and volumes."""
    before = inventory(lab)
    yield
    script(lab, TIDY)
    until(lambda: but_for_what_is_made_anew(inventory(lab)) == but_for_what_is_made_anew(before))


def but_for_what_is_made_anew(things):
    """What is there, without the ids of what a refresh makes anew."""
    return {
        kind: sorted([name, "" if name in MADE_ANEW else id_, status] for name, id_, status in them)
        for kind, them in things.items()
    }


@pytest.fixture(scope="module")
def verified(lab):
    """A good set, and what its verification said."""
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    things = kept(inventory(lab))
    answer = backup(lab, "verify", id_, "apply=True", "sample=all")
    assert kept(inventory(lab)) == things
    return id_, answer


@pytest.fixture
def damaged(lab):
    """A file and a table with other bytes in them, for as long as a set is taken."""
    file = lab.sh("idr-omero", IMPORTED)
    lab.sh("idr-omero", f"cp -p {file} /root/whole; {FLIP.format(file)}")
    for statement in TABLE:
        lab.exec("idr-database", *PSQL, statement)
    where = lab.exec("idr-database", *PSQL, "select pg_relation_filepath('verify_test')").stdout.strip()
    lab.sh("idr-database", FLIP.format(f"/var/lib/pgsql/15/data/{where}"))
    yield file
    lab.sh("idr-omero", f"cp -p /root/whole {file}; rm /root/whole")
    lab.exec("idr-database", *PSQL, "drop table verify_test")


def test_a_good_set_is_verified_and_nothing_else_is_left_of_it(lab, verified):
    id_, answer = verified
    counted = answer["counted"]
    assert counted["checksums"] and counted["pages"] > 1000 and counted["rows_of"]["image"] >= 15, answer
    assert counted["hashed"] == counted["files"] >= 15, answer
    assert backup(lab, "status", "idr")["last_verified"]["set"] == id_
    assert backup(lab, "show", id_)["figures"] == answer["figures"]


def test_a_set_of_damaged_volumes_is_disproved_by_what_is_wrong_in_it(lab, damaged):
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    things = kept(inventory(lab))

    code, answer = backup(lab, "verify", id_, "apply=True", "sample=all", check=False)

    assert code == 1 and answer["marked"], answer
    assert any("table verify_test in idr" in line for line in answer["problems"]), answer
    assert any(damaged.removeprefix("/data/") in line and "its row says" in line for line in answer["problems"]), answer
    assert states(lab)[id_] == "disproved"
    assert kept(inventory(lab)) == things


def refresh(lab, *words):
    """`salt-run analysis.refresh …` at the seat: its exit code and its answer."""
    typed = (".venv/bin/salt-run", "--out=json", "analysis.refresh", *words)
    done = lab.outside(*typed, check=False, seconds=1800)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])


def opens(lab, password):
    """Whether the analysis side's database lets OMERO in with that password."""
    ask = f"PGPASSWORD={password} psql -wqAth idr-a-database -U omero idr -c 'select 1'"
    return lab.exec("idr-a-omero", "sh", "-c", ask, check=False).returncode == 0


def test_the_analysis_side_alone_is_made_anew_of_the_verified_set_also_after_a_run_that_was_killed(
    lab, verified, image
):
    id_, _ = verified
    lab.exec("idr-a-database", *PSQL, "create table if not exists of_the_old_side ()")
    lab.sh("idr-a-omero", "touch /data/of-the-old-side")
    before, first = inventory(lab), rows(lab, "idr")
    secrets = {side: lab.secrets(side) for side in ("idr", "idr-a")}
    serving = {server: lab.sh(server, SERVING) for server in STAYING}
    load = Load(lab, image)
    try:
        killed, said = killed_once(lab, "analysis.refresh", REFRESH, lambda: script(Lab(), ASIDE))
        assert killed, said
        code, answer = refresh(lab, *REFRESH, f"break_lock=operator@seat:{killed}")
    finally:
        answers = load.end()

    assert code == 0 and answer["set"] == id_, answer
    # the old side's place is taken by the set's rows and files, and OMERO serves them
    assert rows(lab, "idr-a") == rows(lab, "idr") == first
    assert lab.sh("idr-a-omero", FILES) == lab.sh("idr-omero", FILES)
    assert lab.exec("idr-a-database", *PSQL, "select to_regclass('of_the_old_side') is null").stdout.strip() == "t"
    assert lab.exec("idr-a-omero", "test", "-e", "/data/of-the-old-side", check=False).returncode == 1
    assert lab.salt("idr-a-omero", "omero.status")["idr-a-omero"]["ready"]
    # by the passwords that it had, which aren't production's
    assert {side: lab.secrets(side) for side in ("idr", "idr-a")} == secrets
    assert opens(lab, secrets["idr-a"]["database"]["password"])
    assert not opens(lab, secrets["idr"]["database"]["password"])
    # nobody of production noticed, nor did the hub, which takes users again
    assert set(answers) == {"200"}, answers
    assert {server: lab.sh(server, SERVING) for server in STAYING} == serving
    assert sorted(answer["changed"]) == ["idr-a-database", "idr-a-omero"], answer
    assert lab.salt(HUB, "jupyterhub.servers")[HUB]["draining"] is None
    # what was there is kept, and all else is what it was
    old = {name: volume for name, volume, _ in before["volume"] if name in MADE_ANEW}
    aside = script(lab, ASIDE)
    assert {it for it, *_ in aside} == set(old.values()) and {status for *_, status in aside} == {"available"}
    assert sorted(line.partition("-before-")[0] for line in answer["kept"]) == sorted(old)
    there = inventory(lab)
    left = {**there, "volume": [it for it in there["volume"] if it[1] not in old.values()]}
    assert but_for_what_is_made_anew(left) == but_for_what_is_made_anew(before)

    code, again = refresh(lab, "idr")
    assert (code, again["comment"]) == (0, f"the analysis side of idr is of {id_}: nothing to change"), again
