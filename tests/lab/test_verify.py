"""A backup set proved on a scratch server, and one of damaged volumes disproved; of the server nothing is left."""

from __future__ import annotations

import pytest

from .environments import inventory
from .test_backup import backup, forget_sets, kept, states

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


@pytest.fixture(scope="module", autouse=True)
def no_sets(lab):
    """As it was before, at the end: of backups nothing is left."""
    before = inventory(lab)
    yield
    forget_sets(lab, before)


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


def test_a_good_set_is_verified_and_nothing_else_is_left_of_it(lab):
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    things = kept(inventory(lab))

    answer = backup(lab, "verify", id_, "apply=True", "sample=all")

    counted = answer["counted"]
    assert counted["checksums"] and counted["pages"] > 1000 and counted["rows_of"]["image"] >= 15, answer
    assert counted["hashed"] == counted["files"] >= 15, answer
    assert backup(lab, "status", "idr")["last_verified"]["set"] == id_
    assert backup(lab, "show", id_)["figures"] == answer["figures"]
    assert kept(inventory(lab)) == things


def test_a_set_of_damaged_volumes_is_disproved_by_what_is_wrong_in_it(lab, damaged):
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    things = kept(inventory(lab))

    code, answer = backup(lab, "verify", id_, "apply=True", "sample=all", check=False)

    assert code == 1 and answer["marked"], answer
    assert any("table verify_test in idr" in line for line in answer["problems"]), answer
    assert any(damaged.removeprefix("/data/") in line and "its row says" in line for line in answer["problems"]), answer
    assert states(lab)[id_] == "disproved"
    assert kept(inventory(lab)) == things
