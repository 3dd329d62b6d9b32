"""
The database server of the cloud: a cluster on a unix socket, copied from one in the cache that has every schema.

Nothing in it names a path: services find the socket by PGHOST.
"""

import contextlib
import hashlib
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.cloud import config, processes, venv
from lab.cloud.settings import ADDRESS, API, CACHED, DATABASE, DATABASES, ETC, PORTS, PUBLIC_ADDRESS, REGION
from lab.shell import PATIENCE, LabError, run, succeeds, wait_until

NAME = "postgresql"
BIN = Path("/usr/lib/postgresql/15/bin")
USER = "cloud"
# PostgreSQL refuses to be root. In this namespace root passes for `postgres`, and needs no way into the lab's state.
NOT_ROOT = ("unshare", "--user", "--map-user=postgres", "--map-group=postgres")
# A lab that this machine dies under is made again; what a killed process wrote is in the machine's memory all the same.
OPTIONS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300",
           "shared_buffers=64MB", "jit=off")
NEUTRON = Path(__file__).with_name("neutron_schema.py")
SCHEMAS = (
    (("keystone-manage", "--config-file", "keystone.conf", "db_sync"),
     ("keystone-manage", "--config-file", "keystone.conf", "bootstrap", "--bootstrap-password", config.PASSWORD,
      "--bootstrap-region-id", REGION,
      "--bootstrap-public-url", f"http://{PUBLIC_ADDRESS}:{PORTS['keystone']}/v3",
      "--bootstrap-internal-url", f"http://{ADDRESS}:{PORTS['keystone']}/v3"),
     ("glance-manage", "--config-file", "glance-api.conf", "db_sync"),
     ("cinder-manage", "--config-file", "cinder.conf", "db", "sync")),
    (("nova-manage", "--config-file", "nova.conf", "api_db", "sync"),
     ("nova-manage", "--config-file", "nova.conf", "cell_v2", "map_cell0"),
     ("nova-manage", "--config-file", "nova.conf", "db", "sync"),
     ("nova-manage", "--config-file", "nova.conf", "cell_v2", "create_cell", "--name", "cell1"),
     ("placement-manage", "--config-file", "placement.conf", "db", "sync"),
     ("python", NEUTRON, "neutron.conf")),
)


def up(say):
    """Start the server; a cluster that isn't there is copied from the cache, and made there where that has none."""
    if is_up():
        return
    processes.end(NAME)
    if not (DATABASE / "data").exists():
        template = _template(say)
        unfinished = DATABASE / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        DATABASE.mkdir(parents=True, exist_ok=True)
        run("cp", "--archive", "--reflink=auto", template, unfinished)
        unfinished.rename(DATABASE / "data")
    _start(DATABASE)


def is_up():
    """Whether the server answers."""
    return succeeds(BIN / "pg_isready", "--quiet", "--host", DATABASE)


def down():
    """Stop the server, with all that was committed on its disk."""
    # the first process of the group is the server, and the others are its children
    for pid in processes.pids(NAME)[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    with contextlib.suppress(LabError):
        wait_until("PostgreSQL is down", lambda: not processes.is_on(NAME), PATIENCE)
    processes.end(NAME)


def environment(directory=DATABASE):
    """The environment of a service: it finds the database server, and is of native threads."""
    kept = ("HOME", "LANG", "PATH", "SSL_CERT_FILE", "IDR_LAB_STATE", "IDR_LAB_CACHE")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PGHOST": str(directory), "PGUSER": USER, "PYTHONWARNINGS": "ignore",
        "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1", "OS_CINDER_DISABLE_EVENTLET_PATCHING": "1",   # native threads
    }


def _start(directory):
    for left in (directory / "data/postmaster.pid", *directory.glob(".s.PGSQL.*")):   # of one that was killed
        left.unlink(missing_ok=True)
    options = [word for option in OPTIONS for word in ("-c", option)]
    processes.start(NAME, API, *NOT_ROOT, BIN / "postgres", "-D", directory / "data", "-k", directory, *options)
    wait_until("PostgreSQL answers", lambda: succeeds(BIN / "pg_isready", "--quiet", "--host", directory), PATIENCE,
               lambda: None if processes.is_on(NAME) else f"it ended: {processes.last_words(NAME)}")


def _template(say):
    """The data directory in the cache with all schemas; made if it isn't there."""
    commands = repr(SCHEMAS).replace(str(NEUTRON), NEUTRON.read_text())   # wherever this checkout is
    recipe = [run(BIN / "postgres", "--version"), venv.made_from(), commands, repr(DATABASES)]
    template = CACHED / f"database-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}"
    if template.exists():
        return template
    for other in CACHED.glob("database-*"):
        shutil.rmtree(other)
    say("making the schemas of the cloud's databases")
    making = CACHED / "database-unfinished"
    making.mkdir(parents=True)
    with open(CACHED / "database.log", "w") as log:
        run(*NOT_ROOT, BIN / "initdb", "-D", making / "data", "-U", USER, "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync", log=log)
        _start(making)
        for name in DATABASES:
            run(BIN / "createdb", name, env=environment(making), log=log)
        with ThreadPoolExecutor(len(SCHEMAS)) as pool:
            list(pool.map(lambda commands: _make_schemas(commands, making, log), SCHEMAS))
    down()
    (making / "data").rename(template)
    shutil.rmtree(making)
    return template


def _make_schemas(commands, directory, log):
    for command, *words in commands:
        run(venv.directory() / "bin" / command, *words, env=environment(directory), cwd=ETC, log=log)
