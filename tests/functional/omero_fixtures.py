"""A PostgreSQL for OMERO's states and modules, and a systemctl that says what the test wants of OMERO's units."""

import os
import pathlib
import subprocess
import tempfile

import pytest

from tests.tables import REPO

BIN = "/usr/lib/postgresql/15/bin"
SCHEMA = REPO / "lab/omero/server/sql/psql/OMERO5.4__0"


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL on a socket of its own that wants a password, and one database after another on it."""
    if not os.path.exists(f"{BIN}/initdb"):
        pytest.skip("no PostgreSQL 15 here")
    with tempfile.TemporaryDirectory(prefix="omero-pg-") as made:
        directory = pathlib.Path(made)
        os.chown(directory, *_postgres())
        directory.chmod(0o755)
        password = directory / "password"
        password.write_text("a:secret\n")
        passfile = directory / "pgpass"
        passfile.write_text("*:*:*:omero:a\\:secret\n")
        passfile.chmod(0o600)
        password.chmod(0o644)
        _as_postgres(
            f"{BIN}/initdb", "-D", f"{made}/data", "-U", "omero", "-A", "scram-sha-256", f"--pwfile={password}"
        )
        control = [
            f"{BIN}/pg_ctl",
            "-D",
            f"{made}/data",
            "-o",
            f"-k {made} -c listen_addresses=",
            "-l",
            f"{made}/log",
            "-w",
        ]
        _as_postgres(*control, "start")
        yield {"host": made, "port": 5432, "user": "omero", "passfile": str(passfile)}
        _as_postgres(*control, "-m", "immediate", "stop")


def _postgres():
    entry = subprocess.run(["id", "-u", "postgres"], capture_output=True, text=True, check=True).stdout.strip()
    return int(entry), int(entry)


def _as_postgres(*command):
    subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command], check=True, cwd="/",
                   stdout=subprocess.DEVNULL)  # fmt: skip


@pytest.fixture
def database(cluster, request):
    name = request.node.originalname[-60:]
    made = {**cluster, "name": name}
    sql({**cluster, "name": "postgres"}, f'create database "{name}"')
    yield made
    # first, since `with (force)` waits no longer than five seconds for those that it ends
    others = f"from pg_stat_activity where datname = '{name}'"
    sql({**cluster, "name": "postgres"}, f"select pg_terminate_backend(pid, 120000) {others}")
    sql({**cluster, "name": "postgres"}, f'drop database "{name}" with (force)')


def environment(database):
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": database["host"],
        "PGPORT": "5432",
        "PGDATABASE": database["name"],
        "PGUSER": database["user"],
        "PGPASSFILE": database["passfile"],
    }


def sql(database, text):
    done = subprocess.run(
        ["psql", "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text],
        env=environment(database),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def schema(version="OMERO5.4", patch=0):
    """What makes the tables of the lab's OMERO, as if they were of any version."""
    text = "".join((SCHEMA / name).read_text() for name in ("psql-header.sql", "schema.sql", "psql-footer.sql"))
    for word, value in {"DBVERSION": version, "DBPATCH": str(patch), "ROOTPASS": ""}.items():
        text = text.replace(f"@{word}@", value)
    return text


SYSTEMCTL = """#!/bin/sh
case "$*" in
    "show -P Environment"*) echo "{environment}" ;;
    "show -P ActiveState"*) echo "{active}" ;;
    "show -P ControlGroup"*) echo "{cgroup}" ;;
    show*) printf 'ActiveState=%s\\nMainPID=0\\nControlGroup=%s\\n' "{active}" "{cgroup}" ;;
    *) echo "$@" >> {calls} ;;
esac
"""


@pytest.fixture
def units(tmp_path, monkeypatch):
    """Make OMERO.server's unit be as told: its installation, its database, its state; returns what was asked of it."""

    def make(omerodir, database, active="active", cgroup=""):
        directory = tmp_path / "units"
        directory.mkdir(exist_ok=True)
        calls = directory / "calls"
        calls.touch()
        names = {"OMERODIR": omerodir, "PATH": os.environ["PATH"], **environment(database)}
        text = SYSTEMCTL.format(
            environment=" ".join(f"{key}={value}" for key, value in names.items()), active=active, cgroup=cgroup,
            calls=calls,
        )  # fmt: skip
        for name, content in {"systemctl": text, "journalctl": "#!/bin/sh\necho the journal\n"}.items():
            (directory / name).write_text(content)
            (directory / name).chmod(0o755)
        if str(directory) not in os.environ["PATH"]:
            monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return lambda: calls.read_text().splitlines()

    return make
