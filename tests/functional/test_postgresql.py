"""A real PostgreSQL, set up by the very states of salt/postgresql: what it is like, and how it takes up changes."""

import glob
import os
from pathlib import Path

import pytest

from idr.analysis import refreshing
from lab.shell import wait_until
from tests.functional.postgresql_host import (
    DATA,
    OURS,
    READERS,
    UNIT,
    VOLUME,
    assert_good,
    changed,
    login,
    run,
    server,
    sql,
    volume,
)

__all__ = ["server", "volume"]  # fixtures


def test_a_new_cluster(server):
    rehearsed = server.apply(test=True)
    assert all(r["result"] is not False for r in rehearsed.values()), [r["comment"] for r in rehearsed.values()]
    assert rehearsed["there is a cluster on /var/lib/pgsql"]["result"] is None
    assert not os.listdir(VOLUME) and not os.path.exists("/etc/idr-postgresql")

    assert_good(server.apply())

    status = server.modules.pg_cluster.status()
    assert status["checksums"] and status["running"] and not status["refusal"]
    shown = dict(line.split("|") for line in sql("SELECT name, setting FROM pg_settings").splitlines() if "|" in line)
    assert (shown["config_file"], shown["data_directory"]) == ("/etc/idr-postgresql/postgresql.conf", DATA)
    assert shown["server_encoding"] == "UTF8" and shown["TimeZone"] == "UTC"
    assert (shown["shared_buffers"], shown["effective_cache_size"]) == (str(64 * 128), str(192 * 128))
    assert int(shown["max_connections"]) >= 3 * 25

    assert not changed(server.apply())
    assert not changed(server.apply(test=True))


def test_who_may_do_what(server):
    assert_good(server.apply())
    owned = login("omero", OURS, statement="CREATE TABLE image (name text); INSERT INTO image VALUES ('a'); SELECT 1")
    assert owned == "1", owned

    assert login("omeroreadonly", READERS, statement="SELECT name FROM image") == "a"
    assert login("omeroreadonly", READERS, statement="SHOW statement_timeout") == "1min"
    assert "permission denied" in login("omeroreadonly", READERS, statement="DELETE FROM image")
    assert "permission denied" in login("omeroreadonly", READERS, statement="CREATE TABLE mine (a int)")
    assert "authentication failed" in login("omero", "wrong")
    assert "no pg_hba.conf entry" in login("omero", OURS, address="192.168.2.12")
    assert "no pg_hba.conf entry" in login("omero", OURS, database="postgres")
    assert "no pg_hba.conf entry" in login("postgres", OURS, database="postgres")

    sql("CREATE ROLE stranger LOGIN")
    for privilege in ("CONNECT", "TEMPORARY"):
        assert sql(f"SELECT has_database_privilege('stranger', 'idr', '{privilege}')") == "f"


def test_passwords_of_two_sides_are_told_apart_without_telling_them(server):
    assert_good(server.apply())
    table = "CREATE TABLE password (experimenter_id bigint, hash text); INSERT INTO password VALUES (0, 'a'), (1, 'b')"
    login("omero", OURS, statement=table)
    sql("CREATE ROLE ada LOGIN PASSWORD 'of-production'")  # comes with a clone, and can't log in

    before = {row["name"]: row["digest"] for row in server.modules.pg_sql.query(refreshing.ROLES)}
    sql("ALTER ROLE omeroreadonly PASSWORD 'another'")
    after = {row["name"]: row["digest"] for row in server.modules.pg_sql.query(refreshing.ROLES)}

    assert before.keys() == after.keys() == {"omero", "omeroreadonly"}
    assert {name for name in before if before[name] == after[name]} == {"omero"}
    [root] = server.modules.pg_sql.query(refreshing.ROOT, database="idr")
    assert root["name"] == "root of OMERO" and root["digest"] not in ("a", "b")


def test_secrets_are_nowhere(server):
    results = server.apply()
    assert_good(results)
    seen = str(results)
    seen += Path(f"/etc/systemd/system/{UNIT}.log").read_text()
    seen += str(server.low())
    for path in glob.glob("/etc/idr-postgresql/*"):
        seen += Path(path).read_text()
    assert "not-a-secret" not in seen and "SCRAM-SHA-256$" not in seen


@pytest.mark.parametrize("test", [False, True])
def test_a_missing_secret_is_named(server, test):
    assert_good(server.apply())
    chunk = next(chunk for chunk in server.low() if chunk["name"] == "omero")
    failed = server.call({**chunk, "password_from": "secrets:forgotten"}, test=test)[chunk["__id__"]]
    assert failed["result"] is False and not failed["changes"]
    assert failed["comment"].startswith("idr-database: pillar secrets:forgotten is missing")
    assert login("omero", OURS) == "1"


def postmaster():
    return run("head", "-1", f"{DATA}/postmaster.pid")


IN_FORCE = "PostgreSQL's settings are in force"


def test_a_setting_is_taken_up_by_a_reload(server):
    assert_good(server.apply())
    before = postmaster()
    server.settings["settings"] = {"work_mem": "7MB"}

    assert changed(server.apply())[IN_FORCE] == {UNIT: {"old": "", "new": "reloaded"}}
    assert sql("SHOW work_mem") == "7MB"
    assert postmaster() == before
    assert not changed(server.apply())


def test_only_a_setting_that_needs_it_restarts(server):
    assert_good(server.apply())
    before = postmaster()
    server.settings["settings"] = {"max_connections": 120, "work_mem": "7MB"}
    # written, but not yet taken up, as after a run that broke off here
    server.call(next(chunk for chunk in server.low() if chunk["name"] == "/etc/idr-postgresql/postgresql.conf"))

    rehearsed = server.apply(test=True)[IN_FORCE]
    assert rehearsed["result"] is None and rehearsed["comment"] == "PostgreSQL would be restarted for max_connections"
    assert postmaster() == before

    assert changed(server.apply())[IN_FORCE] == {UNIT: {"old": "", "new": "restarted for max_connections"}}
    assert sql("SHOW max_connections") == "120"
    assert not changed(server.apply())


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"max_connections": "many"}, 'invalid value for parameter "max_connections": "many"'),
        ({"work_mem": "much"}, 'invalid value for parameter "work_mem": "much"'),
        ({"no_such_setting": 1}, "unrecognized configuration parameter"),
    ],
)
def test_a_file_with_a_mistake_changes_nothing(server, settings, reason):
    assert_good(server.apply())
    server.settings["settings"] = settings
    failed = server.apply()[IN_FORCE]
    assert failed["result"] is False and not failed["changes"]
    assert reason in failed["comment"] and "keeps its present settings" in failed["comment"], failed["comment"]
    assert sql("SHOW work_mem") == "16MB"


def test_alter_system_does_not_last(server):
    assert_good(server.apply())
    sql("ALTER SYSTEM SET work_mem = '9MB'")
    sql("SELECT pg_reload_conf()")
    wait_until("it is in force", lambda: sql("SHOW work_mem") == "9MB", 120)
    before = postmaster()
    results = server.apply()
    assert results["there is a cluster on /var/lib/pgsql"]["changes"][DATA]["old"] == {"own_settings": ["work_mem"]}
    assert changed(results)[IN_FORCE][UNIT]["new"] == "reloaded"
    assert sql("SHOW work_mem") == "16MB"
    assert postmaster() == before


def test_a_database_in_another_encoding_is_refused(server):
    assert_good(server.apply())
    sql("ALTER DATABASE idr RENAME TO other")
    sql("CREATE DATABASE idr ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    refused = server.apply()["OMERO's database is OMERO's alone"]
    assert refused["result"] is False and "LATIN1" in refused["comment"] and not refused["changes"]


@pytest.mark.parametrize("family", ["Debian", "RedHat"])
@pytest.mark.parametrize("minion, cidr", [("idr-database", "192.168.1.0/24"), ("idr-a-database", "192.168.2.0/24")])
def test_files_are_those_of_the_family_and_side(loaders, tmp_path, minion, cidr, family):
    modules = loaders(minion, os_family=family).modules
    low = modules.state.show_low_sls("postgresql.running")
    rendered = {}
    for chunk in low:
        if chunk["state"] == "file" and str(chunk.get("source", "")).startswith("salt://postgresql"):
            target = tmp_path / os.path.basename(chunk["name"])
            modules.cp.get_template(chunk["source"], str(target), **chunk["context"])
            rendered[target.name] = target.read_text()
    directory = {"Debian": "/usr/lib/postgresql/15/bin", "RedHat": "/usr/pgsql-15/bin"}[family]
    assert f"ExecStart={directory}/postgres " in rendered[UNIT]
    remote = [line.split()[3] for line in rendered["pg_hba.conf"].splitlines() if line.startswith("host")]
    assert remote == [cidr, "127.0.0.1/32", "::1/128"]
    assert ("createcluster.conf" in str(low)) == (family == "Debian")


def test_packages_come_from_where_the_site_says(loaders):
    repository = {"name": "pgdg", "baseurl": "https://packages.test/15", "gpgcheck": 1}
    low = loaders("idr-database", os_family="RedHat").modules.state.show_low_sls(
        "postgresql.installed", pillar={"postgresql": {"repository": repository}}
    )
    source = next(chunk for chunk in low if chunk["state"] == "pkgrepo")
    assert {key: source[key] for key in repository} == repository
    assert source["require_in"] == [{"pkg": "PostgreSQL is installed"}]
