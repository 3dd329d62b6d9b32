"""The execution module `omero` with real processes, cgroups and ports; systemd is stood in for where there is none."""

import os
import pathlib
import shlex
import socket
import subprocess
import sys

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.privately import private_mounts, shadow

FAKE_SYSTEMCTL = """#!/bin/sh
echo "$@" >> {calls}
case "$1" in
    show) printf 'ActiveState=%s\\nMainPID=%s\\nControlGroup=%s\\n' {active} {pid} {cgroup} ;;
    --version) exec /usr/bin/systemctl --version ;;
    *) exit {code} ;;
esac
"""


@pytest.fixture
def module(loaders, tmp_path):
    """What it keeps of a failure is kept in the test's own /var/log."""
    with private_mounts():
        shadow(tmp_path / "shadow", "/var/log")
        yield loaders("idr-omero").modules.omero


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """Make `systemctl` and `journalctl` answer as told; returns what they were asked."""

    def make(active="active", pid=0, cgroup="/system.slice/omero-server.service", code=0, journal=""):
        calls = tmp_path / "calls"
        calls.touch()
        for name, text in {
            "systemctl": FAKE_SYSTEMCTL.format(calls=calls, active=active, pid=pid, cgroup=cgroup, code=code),
            "journalctl": f"#!/bin/sh\necho '{journal}'\n",
        }.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return lambda: [line for line in calls.read_text().splitlines() if not line.startswith(("show", "--version"))]

    return make


@pytest.fixture
def gunicorn():
    """A process that looks like gunicorn of OMERO.web, started by hand."""
    command = ["/opt/omero/web/venv3/bin/gunicorn", "-c", "import time; time.sleep(3600)"]
    process = subprocess.Popen(command, executable=sys.executable)
    yield process
    process.kill()
    process.wait()


def find(rogues, process):
    return [rogue for rogue in rogues if rogue["pid"] == process.pid]


def test_a_server_started_by_hand_is_a_rogue_and_nothing_is_started_beside_it(module, gunicorn, systemctl):
    asked = systemctl()

    status = module.status()
    assert find(status["rogue"], gunicorn)[0]["side"] == "web"
    assert not status["ready"]
    assert any(f"kill {gunicorn.pid}" in problem for problem in status["problems"])

    with pytest.raises(CommandExecutionError, match=f"`kill {gunicorn.pid}`, then omero.start web"):
        module.restart("web")
    assert asked() == []


@pytest.fixture
def cgroup():
    """A cgroup of this test's own, of the hierarchy that systemd would use here."""
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    if not points or not os.access(points[0], os.W_OK):
        pytest.skip("no cgroup2 that can be written to")
    made = pathlib.Path(points[0]) / f"omero-module-test-{os.getpid()}.slice" / "omero-web.service"
    made.mkdir(parents=True)
    yield made
    made.rmdir()
    made.parent.rmdir()


def test_a_process_of_the_unit_is_no_rogue(module, gunicorn, cgroup, systemctl):
    inside = "/" + str(cgroup.relative_to(cgroup.parents[1]))
    (cgroup / "cgroup.procs").write_text(str(gunicorn.pid))

    systemctl(pid=gunicorn.pid, cgroup=inside)
    status = module.status()
    assert find(status["rogue"], gunicorn) == []
    assert status["web"]["in_cgroup"] and status["web"]["main_pid"] == gunicorn.pid

    systemctl(pid=gunicorn.pid, cgroup="/system.slice/omero-web.service")
    status = module.status()
    assert len(find(status["rogue"], gunicorn)) == 1
    assert not status["web"]["in_cgroup"]
    assert any(f"main process {gunicorn.pid} isn't in its cgroup" in problem for problem in status["problems"])

    gunicorn.kill()
    gunicorn.wait()


def test_a_unit_that_is_down_is_named_with_what_starts_it(module, systemctl):
    systemctl(active="inactive", cgroup="")

    status = module.status()

    assert not status["ready"]
    assert "omero-server.service is inactive: start it with omero.start server" in status["problems"]
    assert "omero-web.service is inactive: start it with omero.start web" in status["problems"]


@pytest.mark.parametrize("what, units", [("all", ["server", "web"]), ("server", ["server"]), ("web", ["web"])])
def test_what_would_be_done_is_told_and_not_done(module, systemctl, what, units):
    asked = systemctl()

    assert module.start(what, test=True) == {"would": [f"systemctl start omero-{unit}.service" for unit in units]}
    # who asks is stopped before who answers
    stopped = module.stop(what, test=True)
    assert stopped["would"] == [f"systemctl stop omero-{unit}.service" for unit in reversed(units)]
    assert ("activity" in stopped) == ("server" in units)
    assert asked() == []


def test_a_state_run_in_test_mode_does_nothing_either(loaders, systemctl):
    asked = systemctl()

    assert "would" in loaders("idr-omero", test=True).modules.omero.restart()
    assert asked() == []


def test_a_start_that_fails_ends_with_the_last_log_lines(module, systemctl):
    asked = systemctl(active="failed", cgroup="", code=1, journal="Database idr has schema OMERO5.3 0")

    with pytest.raises(CommandExecutionError) as failure:
        module.start("server")

    *told, kept = str(failure.value).splitlines()
    assert told == [
        "systemctl start omero-server.service failed.",
        "omero-server.service: Database idr has schema OMERO5.3 0",
    ]
    directory = pathlib.Path(kept.removeprefix("Kept: "))
    assert directory.parent == pathlib.Path("/var/log/idr/omero")
    assert (directory / "journal").read_text() == "Database idr has schema OMERO5.3 0\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert asked() == ["start omero-server.service"]


def test_a_start_isnt_over_before_a_port_accepts(module, systemctl):
    """Type=forking calls a server active when its node runs, long before anybody can log in."""
    systemctl(active="active", pid=os.getpid(), cgroup="/elsewhere")

    with pytest.raises(CommandExecutionError, match="isn't in its cgroup"):
        module.start("server", limit=1)


def test_a_stop_isnt_over_while_something_listens(module, systemctl):
    systemctl(active="inactive", cgroup="")
    with socket.create_server(("127.0.0.1", 4063)), pytest.raises(CommandExecutionError, match="port 4063"):
        module.stop("server", limit=1)

    assert module.stop("server", limit=1)["did"] == ["systemctl stop omero-server.service"]


def test_a_slip_of_the_pen_is_one_line(module, systemctl):
    asked = systemctl()

    with pytest.raises(CommandExecutionError, match="There is no 'sever' to stop: all, server or web"):
        module.stop("sever")
    assert asked() == []


@pytest.mark.parametrize("even_if", ["idle", "", True, "BUSY"])
def test_only_what_is_protected_can_be_overridden(module, systemctl, even_if):
    asked = systemctl()

    for test in (True, False):
        with pytest.raises(CommandExecutionError, match="protects nothing: only busy"):
            module.restart("server", even_if=even_if, test=test)
    assert asked() == []


@pytest.fixture
def grid(tmp_path, cgroup, systemctl):
    """A server of the grid that tells its threads, one that wouldn't survive the question, and their log."""
    logs = pathlib.Path("/opt/omero/server/OMERO.server/var/log")
    shadow(tmp_path / "opt", "/opt")
    logs.mkdir(parents=True)
    (logs / "Blitz-0.log").write_bytes(b"x" * 300_000 + b"\nlast words\n")
    (logs / "master.err").write_text("from before\n")
    deaf = "import time; print(flush=True); time.sleep(3600)"
    asked = f"import faulthandler, signal; faulthandler.register(signal.SIGQUIT); {deaf}"
    made = []
    with open(logs / "master.err", "a") as err:
        for name, text in {"Blitz-0": asked, "Indexer-0": deaf, "Tables-0": deaf}.items():
            command = [sys.executable, "-c", text, f"--Ice.Config=/x/servers/{name}/config/config"]
            made.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err))
            made[-1].stdout.readline()
            (cgroup / "cgroup.procs").write_text(str(made[-1].pid))
    systemctl(cgroup="/" + str(cgroup.relative_to(cgroup.parents[1])))
    yield made
    for process in made:
        process.kill()
        process.wait()


def test_what_failed_is_kept_with_its_threads_and_goes_on(loaders, module, grid):
    rehearsed = module.keep_evidence("server", test=True)
    assert "threads" in rehearsed["would"][0] and not os.path.exists("/var/log/idr/omero")

    kept = pathlib.Path(module.keep_evidence("server")["directory"])

    threads = (kept / "threads").read_text()
    assert "most recent call first" in threads and "from before" not in threads
    assert [process.poll() for process in grid] == [None] * 3, "who was asked has died of it"
    processes = (kept / "processes").read_text()
    assert all(f" {process.pid} " in f" {processes.replace(chr(10), ' ')} " for process in grid)
    log = (kept / "Blitz-0.log").read_bytes()
    assert log.endswith(b"\nlast words\n") and len(log) == 256 * 1024


def test_not_more_than_ten_are_kept(module, systemctl):
    systemctl()
    for number in range(12):
        os.makedirs(f"/var/log/idr/omero/20200101T0000{number:02}Z-web")

    kept = module.keep_evidence("web")["directory"]

    left = sorted(os.listdir("/var/log/idr/omero"))
    assert len(left) == 10 and left[-1] == os.path.basename(kept) and left[0] == "20200101T000003Z-web"


OMERO = """#!/bin/sh
[ "$1 $2 $3" = "config get --show-password" ] || exit 1
case "$OMERODIR" in */OMERO.web) cat /opt/omero/web/loaded ;; *) cat /opt/omero/server/loaded ;; esac
"""


@pytest.fixture
def configured(module, tmp_path):
    """Both sides' drop-ins, as the deployment writes them, and exactly that loaded."""
    shadow(tmp_path / "opt", "/opt", "/usr/local")
    pathlib.Path("/usr/local/bin/omero").write_text(OMERO)
    os.chmod("/usr/local/bin/omero", 0o755)
    values = {
        "server": {"10-server": {"omero.db.poolsize": "25", "omero.client.ui.x": "IDR's \"y\""},
                   "20-secrets": {"omero.db.pass": "a b'c"}},
        "web": {"10-web": {"omero.web.caches": '{"a": 1}'}, "20-apps": {"omero.web.apps": "[]"},
                "30-secrets": {"omero.web.public.password": "p"}},
    }  # fmt: skip
    for side, files in values.items():
        directory = pathlib.Path(f"/opt/omero/{side}/config")
        directory.mkdir(parents=True)
        (directory / "00-drop.omero").write_text("config drop default\n")
        for name, pairs in files.items():
            lines = [f"config set -- {key} {shlex.quote(value)}\n" for key, value in pairs.items()]
            (directory / f"{name}.omero").write_text("# Managed by Salt: it's a comment\n" + "".join(lines))
        loaded = {key: value for pairs in files.values() for key, value in pairs.items()}
        (directory.parent / "loaded").write_text("".join(f"{key}={value}\n" for key, value in loaded.items()))
    return module


def load(side, *lines):
    with open(f"/opt/omero/{side}/loaded", "a") as loaded:
        loaded.writelines(f"{line}\n" for line in lines)


NOTHING = {"foreign": {}, "changed": {}, "missing": {}, "foreign_files": []}


def test_what_is_loaded_as_written_doesnt_differ(configured):
    pathlib.Path("/opt/omero/server/config/pgpass").touch()
    load("server", "omero.glacier2.IceSSL.CertFile=server.p12")  # by `omero certificates`, at every start

    assert configured.config_diff() == {"server": NOTHING, "web": NOTHING}


def test_what_was_set_by_hand_shows_without_its_secrets(loaders, configured):
    secret = loaders("idr-omero").modules.pillar.get("secrets:omero:root_password", unmask=True)
    load(
        "server", "omero.db.poolsize=50", "omero.db.pass=of-somebody", "omero.mail.token=t0ken", "omero.x=1",
        f"omero.y=before {secret} after",
    )  # fmt: skip
    text = pathlib.Path("/opt/omero/web/loaded").read_text()
    pathlib.Path("/opt/omero/web/loaded").write_text(text.replace("omero.web.apps=[]\n", ""))
    pathlib.Path("/opt/omero/web/config/99-hand.omero").touch()

    found = configured.config_diff()

    assert found["server"] == {
        "foreign": {"omero.mail.token": "********", "omero.x": "1", "omero.y": "********"},
        "changed": {
            "omero.db.pass": {"written": "********", "loaded": "********"},
            "omero.db.poolsize": {"written": "25", "loaded": "50"},
        },
        "missing": {},
        "foreign_files": [],
    }
    assert found["web"] == {**NOTHING, "missing": {"omero.web.apps": "[]"}, "foreign_files": ["99-hand.omero"]}
    assert configured.config_diff("web") == {"web": found["web"]}
