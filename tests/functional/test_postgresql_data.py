"""Data of other installations under the states of salt/postgresql: taken as they are, or refused untouched."""

import glob
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.functional.postgresql_host import (
    BIN,
    DATA,
    OURS,
    SOCKET,
    VOLUME,
    as_postgres,
    assert_good,
    changed,
    login,
    run,
    server,
    sql,
    volume,
)

__all__ = ["server", "volume"]  # fixtures
CLUSTER = "there is a cluster on /var/lib/pgsql"
FIT = "the volume is fit for PostgreSQL 15"
COLLATED = "the cluster's indexes are in the order of this server's collations"


def fill(rows=2000):
    """Another installation's data: a database idr with indexes, in the hands of its own role."""
    sql("CREATE ROLE omero LOGIN SUPERUSER PASSWORD 'another-password' VALID UNTIL '2030-01-01'")
    sql("CREATE DATABASE idr OWNER omero")
    sql(
        f"SET ROLE omero; CREATE TABLE image (id int PRIMARY KEY, name text); CREATE INDEX ON image (name);"
        f"INSERT INTO image SELECT n, md5(n::text) FROM generate_series(1, {rows}) n;"
        f"CREATE TABLE event (id serial PRIMARY KEY, note text)",
        database="idr",
    )


def content():
    return sql("SELECT count(*), md5(string_agg(image::text, ',' ORDER BY id)) FROM image", database="idr")


def identifier():
    for line in run(f"{BIN}/pg_controldata", DATA).splitlines():
        if line.startswith("Database system identifier"):
            return line.split(":")[1].strip()


@pytest.fixture
def foreign(server):
    """The running cluster of another installation: other configuration, other settings, no checksums."""
    os.makedirs(f"{VOLUME}/15", exist_ok=True)
    shutil.chown(f"{VOLUME}/15", "postgres", "postgres")
    shutil.chown(VOLUME, "postgres", "postgres")
    as_postgres(f"{BIN}/initdb", "-D", DATA, "--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust")
    as_postgres(f"{BIN}/pg_ctl", "-w", "-D", DATA, "-l", f"{VOLUME}/log", "-o", f"-k {SOCKET}", "start")
    sql("ALTER SYSTEM SET work_mem = '5MB'")
    sql("ALTER SYSTEM SET port = 5555")
    fill()
    sql("GRANT pg_execute_server_program TO omero")
    sql("ALTER ROLE omero SET search_path = 'elsewhere'")
    sql("ALTER ROLE omero IN DATABASE idr SET work_mem = '1MB'")
    sql("ALTER DATABASE idr SET work_mem = '2MB'")
    return server


def stop_cleanly(server):
    as_postgres(f"{BIN}/pg_ctl", "-w", "-D", DATA, "-m", "fast", "stop")


def kill(server):
    sql("INSERT INTO event (note) SELECT 'acknowledged' FROM generate_series(1, 500)", database="idr")
    server.kill()
    assert os.path.exists(f"{DATA}/postmaster.pid")


@pytest.mark.parametrize("end", [stop_cleanly, kill], ids=lambda end: end.__name__)
def test_data_of_another_installation(foreign, end):
    before = content()
    end(foreign)
    lost_none = end is kill
    who = identifier()
    # a volume of another system brings its numbers
    for path in (*glob.glob(f"{VOLUME}/**", recursive=True), VOLUME):
        os.chown(path, 26, 26, follow_symlinks=False)
    os.chmod(DATA, 0o755)

    rehearsed = foreign.apply(test=True)[CLUSTER]
    assert rehearsed["result"] is None and rehearsed["changes"][DATA]["old"]["own_settings"] == ["work_mem", "port"]
    assert os.stat(DATA).st_uid == 26 and os.path.exists(f"{DATA}/postmaster.pid") == lost_none

    results = foreign.apply()

    assert_good(results)
    old = results[CLUSTER]["changes"][DATA]["old"]
    assert old["owner"] == 26 and ("lock" in old) == lost_none
    assert not run("find", VOLUME, "!", "-user", "postgres", "!", "-name", "log")
    assert identifier() == who
    assert content() == before
    assert sql("SELECT count(*) FROM event", database="idr") == ("500" if lost_none else "0")
    as_postgres(f"{BIN}/pg_amcheck", "-h", SOCKET, "--all", "--install-missing", "--heapallindexed")
    assert login("omero", OURS, statement="SHOW work_mem") == "16MB"
    assert sql("SELECT count(*) FROM pg_db_role_setting") == "1"
    assert sql("SELECT pg_has_role('omero', 'pg_execute_server_program', 'MEMBER')") == "f"
    assert glob.glob(f"{DATA}/postgresql.auto.conf.2*Z")
    assert sql("SELECT rolsuper, rolvaliduntil FROM pg_roles WHERE rolname = 'omero'") == "f|infinity"
    assert "authentication failed" in login("omero", "another-password")
    assert login("omero", OURS, statement="SELECT count(*) FROM image") == "2000"
    assert not changed(foreign.apply())


def test_a_lock_of_a_living_stranger_is_stale_too(foreign):
    kill(foreign)
    # on this server that number belongs to a process of postgres which has nothing to do with the cluster
    stranger = subprocess.Popen(["sleep", "3600"], user="postgres", cwd="/")
    try:
        lock = Path(f"{DATA}/postmaster.pid")
        lock.write_text(f"{stranger.pid}\n" + lock.read_text().split("\n", 1)[1])
        assert_good(foreign.apply())
        assert foreign.modules.pg_cluster.running() != stranger.pid
    finally:
        stranger.kill()
        stranger.wait()


def test_a_running_cluster_keeps_its_lock(server):
    assert_good(server.apply())
    lock = Path(f"{DATA}/postmaster.pid").read_text()
    server.modules.pg_cluster.adopt()
    assert Path(f"{DATA}/postmaster.pid").read_text() == lock


def test_an_initdb_that_was_killed_leaves_no_cluster(server):
    os.makedirs(f"{VOLUME}/15/data.incomplete/global")
    for path, content in (("PG_VERSION", "15\n"), ("global/pg_control", "")):
        Path(f"{VOLUME}/15/data.incomplete/{path}").write_text(content)
    assert_good(server.apply())
    assert os.listdir(f"{VOLUME}/15") == ["data"]


def fingerprint():
    digest = hashlib.sha256()
    for path in sorted(glob.glob(f"{VOLUME}/**", recursive=True)):
        status = os.lstat(path)
        digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns}".encode())
        if os.path.isfile(path):
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def cluster(path, version):
    os.makedirs(f"{path}/global")
    for name, text in (("PG_VERSION", f"{version}\n"), ("global/pg_control", "?"), ("base", "")):
        Path(f"{path}/{name}").write_text(text)


def linked(path, target):
    cluster(DATA, 15)
    os.makedirs(os.path.dirname(f"{DATA}/{path}"), exist_ok=True)
    os.symlink(target, f"{DATA}/{path}")


REFUSED = {
    "a newer major version": (lambda: cluster(f"{VOLUME}/16/data", "16"), "postgresql: {major: 16}"),
    "an older major version": (
        lambda: cluster(f"{VOLUME}/9.4/data", "9.4"),
        f"Upgrade it: pg_upgrade --old-datadir {VOLUME}/9.4/data --new-datadir {DATA}",
    ),
    "another version in our place": (lambda: cluster(DATA, "13"), f"mv {VOLUME}/15 {VOLUME}/13"),
    "our version at RHEL's place": (lambda: cluster(f"{VOLUME}/data", "15"), f"mv {VOLUME}/data {DATA}"),
    "our version at Debian's place": (lambda: cluster(f"{VOLUME}/15/main", "15"), f"mv {VOLUME}/15/main {DATA}"),
    "right in the volume": (lambda: cluster(VOLUME, "9.6"), f"{VOLUME} is a cluster of PostgreSQL 9.6"),
    "half a restore": (lambda: os.makedirs(f"{DATA}/base/1"), f"mv {DATA} {DATA}.before"),
    "no control file": (lambda: (cluster(DATA, 15), os.unlink(f"{DATA}/global/pg_control")), "from a backup"),
    "a standby": (lambda: (cluster(DATA, 15), Path(f"{DATA}/standby.signal").touch()), f"rm {DATA}/standby.signal"),
    "WAL elsewhere": (lambda: linked("pg_wal", "/srv/wal"), "leads to /srv/wal"),
    "tablespace elsewhere": (lambda: linked("pg_tblspc/16400", "/srv/space"), "leads to /srv/space"),
}


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(server, case, test):
    prepare, reason = REFUSED[case]
    prepare()
    before = fingerprint()

    results = server.apply(test=test)

    assert list(results) == [FIT]
    refused = results[FIT]
    assert refused["result"] is False and not refused["changes"]
    assert refused["comment"].startswith("idr-database: ") and "\n" not in refused["comment"]
    assert server.modules.pg_cluster.problems() == [refused["comment"]]
    assert reason in refused["comment"], refused["comment"]
    assert fingerprint() == before
    assert not os.path.exists("/etc/idr-postgresql")


def test_nothing_is_begun_without_the_volume(server):
    run("umount", VOLUME)
    refused = server.apply()[FIT]
    assert refused["result"] is False and "systemctl start var-lib-pgsql.mount" in refused["comment"]
    assert not os.listdir(VOLUME)
    assert server.modules.pg_cluster.problems() == []


def make_locale():
    run("localedef", "-i", "en_US", "-f", "UTF-8", "en_US.UTF-8")


@pytest.mark.skipif(not os.path.exists("/usr/share/i18n/locales/en_US"), reason="needs the sources of locales")
@pytest.mark.parametrize("runs", [False, True])
def test_indexes_of_another_glibc(server, runs):
    make_locale()
    assert_good(server.apply())
    sql("ALTER DATABASE idr RENAME TO other")
    sql("CREATE DATABASE idr OWNER omero LOCALE 'en_US.UTF-8' TEMPLATE template0")
    sql("UPDATE pg_database SET datcollversion = '2.17' WHERE datname = 'idr'")
    if not runs:
        server.stop()

    results = server.apply()
    refused = results[COLLATED]
    assert (
        refused["result"] is False and "database idr was indexed in version 2.17 of en_US.UTF-8" in refused["comment"]
    )
    assert "salt-call pg_cluster.reindex" in refused["comment"] and "REFRESH COLLATION VERSION" in refused["comment"]
    assert "PostgreSQL's settings are in force" not in results
    modules = server.modules
    assert bool(modules.pg_cluster.running()) is runs

    assert modules.pg_cluster.reindex(test=True) == ["idr"]
    assert [d["database"] for d in modules.pg_cluster.collations()] == ["idr"]
    assert modules.pg_cluster.reindex() == ["idr"]
    assert modules.pg_cluster.collations() == []
    assert_good(server.apply())


@pytest.mark.skipif(not os.path.exists("/usr/share/i18n/locales/en_US"), reason="needs the sources of locales")
def test_a_cluster_whose_locale_is_missing(server):
    make_locale()
    server.settings["locale"] = "en_US.UTF-8"
    assert_good(server.apply())
    server.stop()
    run("localedef", "--delete-from-archive", "en_US.utf8")

    refused = server.apply()[COLLATED]
    assert refused["result"] is False
    assert "en_US.UTF-8" in refused["comment"] and "postgresql:locales" in refused["comment"], refused["comment"]


def test_no_cluster_is_made_where_one_is_being_restored(server):
    staging = f"{VOLUME}/.idr-restoring"
    os.makedirs(f"{staging}{DATA}", mode=0o700)

    results = server.apply()

    assert results[FIT]["result"] is False
    assert "a restore from a copy hasn't ended, and a new cluster would be in its way" in results[FIT]["comment"]
    assert os.listdir(VOLUME) == [".idr-restoring"]
