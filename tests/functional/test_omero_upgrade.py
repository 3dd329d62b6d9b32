"""omero.query and omero.upgrade_database on a real PostgreSQL with the tables of the lab's OMERO."""

import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError

from lab.shell import wait_until
from tests.functional.conftest import own_pillar
from tests.functional.omero_fixtures import environment, schema, sql

pytest_plugins = ["tests.functional.omero_fixtures"]

# in the shape of OMERO's own: one transaction, an assertion, the deed, a row of dbpatch
SCRIPT = """
BEGIN;
CREATE FUNCTION assert_from() RETURNS void AS $$
BEGIN
    IF (SELECT currentversion FROM dbpatch ORDER BY id DESC LIMIT 1) <> 'OMERO5.3' THEN
        RAISE EXCEPTION 'wrong OMERO database version for this upgrade script';
    END IF;
END;$$ LANGUAGE plpgsql;
SELECT assert_from();
DROP FUNCTION assert_from();
INSERT INTO dbpatch (currentversion, currentpatch, previousversion, previouspatch)
             VALUES ('OMERO5.4', 0, 'OMERO5.3', 1);
ALTER TABLE image ADD COLUMN upgraded bool;
-- here
COMMIT;
"""
BACKUP = time.strftime("idr-%Y%m%dT%H%M%SZ", time.gmtime())  # that it exists is for the runner to know
SLEEPER = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and pid <> pg_backend_pid()"
EXPORTER = "select 1 from pg_stat_activity where application_name = 'exporter' and state = 'active'"


class Installation:
    """As much of an OMERO.server as an upgrade looks at, and the database that it finds."""

    def __init__(self, root, repo, database, units, module, pillar):
        self.home = root / "OMERO.server"
        self.database, self.units, self.module = database, units, module
        (self.home / "etc").mkdir(parents=True)
        (self.home / "etc" / "omero.properties").write_text("omero.db.version=OMERO5.4\nomero.db.patch=0\n")
        self.script = self.home / "sql/psql/OMERO5.4__0/OMERO5.3__1.sql"
        self.script.parent.mkdir(parents=True)
        self.script.write_text(SCRIPT)
        (root / "bin").mkdir()
        shutil.copy(repo / "salt/omero_server/files/preflight", root / "bin")
        self.dumps = root / "database-dumps"
        pillar["omero"]["data"]["directory"] = str(root / "OMERO")
        pillar["omero"]["database"]["upgrade_allowed"] = True
        self.pillar = pillar
        sql(database, schema("OMERO5.3", 1))
        self.unit("failed")

    def unit(self, active):
        self.units(self.home, self.database, active=active)

    def version(self):
        return sql(self.database, "select currentversion || ' ' || currentpatch from dbpatch order by id desc limit 1")

    def is_untouched(self):
        columns = sql(self.database, "select 1 from information_schema.columns where column_name = 'upgraded'")
        return self.version() == ["OMERO5.3 1"] and not columns

    def refused(self, reason, backup=BACKUP):
        """Refused in both modes for this reason, the database and the disk as they were."""
        rehearsed = self.module.upgrade_database(backup, test=True)
        assert rehearsed["would"] == [] and reason in " ".join(rehearsed["refused"]), rehearsed
        with pytest.raises(CommandExecutionError) as failure:
            self.module.upgrade_database(backup)
        assert reason in str(failure.value)
        assert not self.dumps.exists()
        return str(failure.value)


@pytest.fixture
def server(tmp_path, repo, database, units, loaders):
    host = loaders("idr-omero")
    with own_pillar(host) as pillar:
        yield Installation(tmp_path, repo, database, units, host.modules.omero, pillar)


def test_the_installed_release_is_what_the_link_leads_to(server):
    home = server.home.rename(server.home.with_name("OMERO.server-5.6.13-ice36"))
    server.home.symlink_to(home)

    assert server.module.release() == "OMERO.server-5.6.13-ice36"


def test_a_query_gives_rows_and_changes_nothing(server):
    assert server.module.query("select currentversion, currentpatch from dbpatch;"[:-1]) == [
        {"currentversion": "OMERO5.3", "currentpatch": 1}
    ]
    for attempt in (
        "with gone as (delete from dbpatch returning id) select * from gone",
        "select 1) x; delete from dbpatch; select * from (select 1 as y",
    ):
        with pytest.raises(CommandExecutionError, match="Database test_a_query"):
            server.module.query(attempt)
    with pytest.raises(CommandExecutionError, match="statement timeout"):
        server.module.query("select pg_sleep(5)", limit=1)
    assert server.is_untouched()


def test_a_schema_is_upgraded_once_with_a_dump_of_what_it_was(server, database):
    planned = server.module.upgrade_database(BACKUP, test=True)
    assert planned["refused"] == []
    assert [step.split()[0] for step in planned["would"]] == ["pg_dump", str(server.script), "check"]
    assert server.is_untouched() and not server.dumps.exists()

    done = server.module.upgrade_database(BACKUP)

    assert (done["from"], done["to"], done["backup"]) == ("OMERO5.3 1", "OMERO5.4 0", BACKUP)
    assert server.version() == ["OMERO5.4 0"] and not server.is_untouched()
    assert os.stat(done["dump"]).st_size == done["dump_bytes"] > 0
    assert os.stat(done["dump"]).st_mode & 0o777 == 0o600 and os.stat(server.dumps).st_mode & 0o777 == 0o700
    # what it was can be had back
    sql(database, "create schema before; drop schema public cascade; create schema public")
    subprocess.run(["pg_restore", "-w", "-d", database["name"], done["dump"]], env=environment(database), check=True)
    assert server.is_untouched()

    sql(database, "drop schema public cascade; create schema public")
    sql(database, schema())
    assert server.module.upgrade_database(BACKUP, test=True) == {"would": []}
    assert server.module.upgrade_database(BACKUP)["did"] == []
    assert len(list(server.dumps.iterdir())) == 1


def test_the_releases_own_check_comes_first(server):
    check = server.script.with_name("OMERO5.3__1-precheck.sql")
    check.write_text("BEGIN; SELECT 1/0; COMMIT;")

    with pytest.raises(CommandExecutionError, match="precheck.sql failed and changed nothing: .*division by zero"):
        server.module.upgrade_database(BACKUP)
    assert server.is_untouched()

    check.write_text("BEGIN; SELECT 1; COMMIT;")
    assert server.module.upgrade_database(BACKUP)["to"] == "OMERO5.4 0"


def test_it_isnt_done_without_being_allowed(server):
    for value in (None, False, "True", 1):
        server.pillar["omero"]["database"]["upgrade_allowed"] = value
        server.refused("Whether this environment is live isn't known here")


def test_it_isnt_done_by_hand_without_a_fresh_set_of_this_environment(server):
    then = time.strftime("idr-%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 40 * 3600))
    for backup, why in (
        (None, "No backup set stands for it"),
        ("", "No backup set stands for it"),
        (True, "True is no backup set of idr"),
        ("idr-yesterday", "idr-yesterday is no backup set of idr"),
        (BACKUP.replace("idr", "newidr"), f"new{BACKUP} is no backup set of idr"),
        ("idr-20269999T030000Z", "idr-20269999T030000Z is no backup set of idr"),
        (then, f"{then} is 40 h old by this server's clock, and has to be at most 28 h"),
        ("idr-29991231T030000Z", "idr-29991231T030000Z is -"),
    ):
        told = server.refused(why, backup)
        assert told.endswith("type it there: salt-run omero.upgrade_database idr apply=True")
    assert server.is_untouched()


def test_it_isnt_done_to_a_server_that_runs(server):
    server.unit("active")
    server.refused("omero-server.service is active. Stop it: omero.stop server")


def test_it_isnt_done_while_somebody_is_in_the_database(server, database):
    aside = database | {"name": "postgres"}
    other = subprocess.Popen(
        ["psql", "-X", "-w", "-c", "select pg_sleep(3600)"], env={**environment(database), "PGAPPNAME": "exporter"}
    )
    try:
        wait_until("it is in there", lambda: sql(aside, EXPORTER), 120, every=0.1)
        server.refused("is in use by exporter from its own server. Stop that first")
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    "there, reason",
    [
        (("OMERO5.5", 0), "which is older: set pillar omero:server:version to a release for OMERO5.5 0"),
        (("OMERO5.4", 1), "which is older"),
        (("OMERO5.2", 0), "which has no script from there: upgrade by way of a release that has"),
        (("OMERO5.4DEV", 3), "which has no script from there"),
    ],
)
def test_there_is_no_way_back_and_no_way_unknown(server, database, there, reason):
    sql(database, f"update dbpatch set currentversion = '{there[0]}', currentpatch = {there[1]}")
    server.refused(reason)


def test_every_reason_is_told_at_once(server, database):
    sql(database, "update dbpatch set currentversion = 'OMERO5.5'")
    server.pillar["omero"]["database"]["upgrade_allowed"] = False
    server.unit("active")

    told = server.refused("which is older")

    assert len(told.splitlines()) == 3 and "Stop it" in told and "isn't known here" in told


@pytest.mark.parametrize(
    "script, reason",
    [
        (SCRIPT.replace("-- here", "SELECT 1/0;"), "failed and changed nothing: .*division by zero"),
        (SCRIPT.replace("BEGIN;", "", 1).replace("COMMIT;", "SELECT 1/0;"), "changed nothing: .*division by zero"),
        (SCRIPT + "BEGIN; DROP TABLE image CASCADE; COMMIT;", "isn't one transaction. Nothing was run"),
        (SCRIPT.replace("INSERT", "-- ").replace("VALUES", "-- "), "has schema OMERO5.3 1 after .*, not OMERO5.4 0"),
    ],
    ids=["fails late", "has no transaction of its own", "has two", "forgets to say so"],
)
def test_a_script_that_goes_wrong_leaves_the_schema_or_says_so(server, script, reason):
    server.script.write_text(script)

    with pytest.raises(CommandExecutionError, match=reason) as failure:
        server.module.upgrade_database(BACKUP)

    assert server.version() == ["OMERO5.3 1"]
    if "not OMERO5.4 0" not in str(failure.value):
        assert server.is_untouched()
    assert len(list(server.dumps.iterdir())) == 1


def test_an_upgrade_killed_halfway_has_changed_nothing(server, database):
    server.script.write_text(SCRIPT.replace("-- here", "SELECT pg_sleep(3600);"))
    aside = database | {"name": "postgres"}  # a look from the database itself is one that uses it
    failures = []

    def upgrade():
        try:
            server.module.upgrade_database(BACKUP)
        except CommandExecutionError as failure:
            failures.append(str(failure))

    working = threading.Thread(target=upgrade)
    working.start()
    # a dump is made and read before
    wait_until("the script is at work", lambda: sql(aside, SLEEPER), 120, lambda: "; ".join(failures), every=0.1)
    psql = ["pgrep", "-f", "--", f"-f {server.script}"]
    os.kill(int(subprocess.run(psql, capture_output=True, text=True, check=True).stdout.split()[0]), signal.SIGKILL)
    working.join(timeout=120)

    sql(aside, SLEEPER.replace("select 1", "select pg_terminate_backend(pid)"))
    assert server.is_untouched()
    assert len(failures) == 1 and "changed nothing" in failures[0] and "A dump: " in failures[0]


@pytest.mark.parametrize("broken", ["#!/bin/sh\nexit 1\n", '#!/bin/sh\n/usr/bin/pg_dump "$@" | head -c -100\n'])
def test_without_a_dump_that_can_be_read_nothing_is_changed(server, tmp_path, broken):
    (tmp_path / "units" / "pg_dump").write_text(broken)
    (tmp_path / "units" / "pg_dump").chmod(0o755)
    server.unit("failed")

    with pytest.raises(CommandExecutionError, match="couldn't be dumped, nothing was changed"):
        server.module.upgrade_database(BACKUP)

    assert server.is_untouched() and list(server.dumps.iterdir()) == []
