"""The execution module `omero` with real processes, cgroups and ports; systemd is stood in for where there is none."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest
from salt.exceptions import CommandExecutionError

FAKE_SYSTEMCTL = """#!/bin/sh
echo "$@" >> {calls}
case "$1" in
    show) printf 'ActiveState=%s\\nMainPID=%s\\nControlGroup=%s\\n' {active} {pid} {cgroup} ;;
    --version) exec /usr/bin/systemctl --version ;;
    *) exit {code} ;;
esac
"""


@pytest.fixture
def module(loaders):
    return loaders("idr-omero").modules.omero


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
    command = ["/opt/omero/web/venv3/bin/gunicorn", "-c", "import time; time.sleep(60)"]
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
    made = pathlib.Path(points[0]) / "omero-module-test.slice" / "omero-web.service"
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
    assert module.stop(what, test=True) == {
        "would": [f"systemctl stop omero-{unit}.service" for unit in reversed(units)]
    }
    assert asked() == []


def test_a_state_run_in_test_mode_does_nothing_either(loaders, systemctl):
    asked = systemctl()

    assert "would" in loaders("idr-omero", test=True).modules.omero.restart()
    assert asked() == []


def test_a_start_that_fails_ends_with_the_last_log_lines(module, systemctl):
    asked = systemctl(active="failed", cgroup="", code=1, journal="Database idr has schema OMERO5.3 0")

    with pytest.raises(CommandExecutionError) as failure:
        module.start("server")

    assert str(failure.value).splitlines() == [
        "systemctl start omero-server.service failed.",
        "omero-server.service: Database idr has schema OMERO5.3 0",
    ]
    assert asked() == ["start omero-server.service"]


def test_a_start_isnt_over_before_a_port_accepts(module, systemctl):
    """Type=forking calls a server active when its node runs, long before anybody can log in."""
    systemctl(active="active", pid=os.getpid(), cgroup="/elsewhere")

    with pytest.raises(CommandExecutionError, match="isn't in its cgroup"):
        module.start("server", limit=1)


def test_a_stop_isnt_over_while_something_listens(module, systemctl):
    systemctl(active="inactive", cgroup="")
    with socket.create_server(("127.0.0.1", 4064)), pytest.raises(CommandExecutionError, match="port 4064"):
        module.stop("server", limit=1)

    assert module.stop("server", limit=1)["did"] == ["systemctl stop omero-server.service"]


def test_a_slip_of_the_pen_is_one_line(module, systemctl):
    asked = systemctl()

    with pytest.raises(CommandExecutionError, match="There is no 'sever' to stop: all, server or web"):
        module.stop("sever")
    assert asked() == []
