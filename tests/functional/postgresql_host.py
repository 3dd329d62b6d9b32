"""A server with an empty volume, on which the states of salt/postgresql set up a real PostgreSQL 15."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import salt.state

from lab.shell import wait_until
from tests.functional.privately import STAND_INS, private_mounts, private_network, run, shadow

BIN = "/usr/lib/postgresql/15/bin"
VOLUME = "/var/lib/pgsql"
DATA = f"{VOLUME}/15/data"
UNIT = "postgresql-15.service"
SOCKET = "/run/postgresql"
# of tests/functional/site
OURS = "not-a-secret-idr-omero"
READERS = "not-a-secret-idr-readonly"


def as_postgres(*command, **options):
    return run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command, cwd="/", **options)


def sql(statement, database="postgres"):
    return as_postgres(f"{BIN}/psql", "-XAtq", "-h", SOCKET, "-d", database, "-c", statement).strip()


class Server:
    """idr-database as the states see it. Its packages are this machine's, its systemd a stand-in."""

    def __init__(self, loaders):
        self.loaders = {test: loaders("idr-database", test=test) for test in (False, True)}
        self.modules = self.loaders[False].modules
        self.settings = {"memory_mb": 256}

    def low(self, sls="postgresql.running"):
        return self.modules.state.show_low_sls(sls, pillar={"postgresql": self.settings})

    def call(self, *chunks, test=False):
        """One state after another as in a highstate, without its requisites; results by ID, up to the first failure."""
        state = salt.state.State(self.loaders[test].opts.copy(), pillar_override={"postgresql": self.settings})
        results = {}
        for chunk in chunks:
            # systemd's own states need systemd
            if chunk["state"] == "service":
                if not test and not self.modules.pg_cluster.running():
                    run("systemctl", "start", chunk["name"])
                continue
            results[chunk["__id__"]] = result = state.call(chunk)
            if result["result"] is False:
                break
        return results

    def apply(self, test=False):
        """Every state of the role from the volume's check on, but packages."""
        before = ("storage.mounted", "postgresql.installed")
        return self.call(*(chunk for chunk in self.low() if chunk["__sls__"] not in before), test=test)

    def stop(self):
        if self.modules.pg_cluster.running():
            run("systemctl", "stop", UNIT)

    def kill(self):
        """As if the power had gone."""
        postmaster = int(Path(f"{DATA}/postmaster.pid").read_text().split()[0])
        family = [int(pid) for pid in run("pgrep", "-P", postmaster).split()]
        all_ = (postmaster, *family)
        for pid in all_:
            os.kill(pid, signal.SIGKILL)
        # those that are dead but not yet reaped have no working directory any more
        wait_until("all are dead", lambda: not any(os.path.exists(f"/proc/{pid}/cwd") for pid in all_), 120)
        for remains in os.listdir(SOCKET):
            os.unlink(f"{SOCKET}/{remains}")


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A mounted, empty volume, on a server that has nothing of PostgreSQL's but its programs."""
    if os.geteuid() != 0 or not os.path.exists(f"{BIN}/initdb"):
        pytest.skip("needs root and PostgreSQL 15")
    monkeypatch.setenv("PATH", f"{STAND_INS}:{os.environ['PATH']}")
    with private_network(), private_mounts():
        shadow(tmp_path / "shadow", "/etc", "/var/lib", "/run", "/usr/lib/locale")
        os.makedirs(VOLUME, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "volume", VOLUME)
        shutil.rmtree(SOCKET, ignore_errors=True)
        os.mkdir(SOCKET, 0o755)
        shutil.chown(SOCKET, "postgres", "postgres")
        run("ip", "link", "add", "inside", "type", "veth", "peer", "name", "outside")
        run("ip", "link", "set", "inside", "up")
        for address in ("192.168.1.12/24", "192.168.2.12/24"):
            run("ip", "address", "add", address, "dev", "inside")
        yield VOLUME


@pytest.fixture
def server(volume, loaders):
    made = Server(loaders)
    yield made
    made.stop()


def changed(results):
    return {name: result["changes"] for name, result in results.items() if result["changes"]}


def assert_good(results):
    assert all(r["result"] for r in results.values()), [r["comment"] for r in results.values() if not r["result"]]


def login(role, password, address="192.168.1.12", database="idr", statement="SELECT 1"):
    """What psql says to somebody who comes over the network, from the address that they go to."""
    done = subprocess.run(
        [f"{BIN}/psql", "-XAtq", "-h", address, "-U", role, "-d", database, "-w", "-c", statement],
        capture_output=True,
        text=True,
        env={"PGPASSWORD": password, "PATH": os.environ["PATH"]},
    )
    return done.stdout.strip() or done.stderr.strip()
