"""The guarded `omero` command, run for real: what it refuses by hand, and what it hands on to which installation."""

import os
import subprocess

import pytest

MARK = {"IDR_MANAGED_BY_SYSTEMD": "1"}
# stands in for both installations, in a mount namespace of its own: says which one was asked, as whom, for what
INSTALLATION = """
mount -t tmpfs none /opt
for side in server web; do
    mkdir -p /opt/omero/$side/venv3/guarded /opt/omero/$side/OMERO.$side
    printf '#!/bin/sh\\necho %s $OMERODIR $(id -u) "$*"\\n' $side > /opt/omero/$side/venv3/guarded/omero
    chmod 755 /opt/omero/$side/venv3/guarded/omero
done
exec "$@"
"""


@pytest.fixture
def omero(repo):
    def run(*arguments, **environment):
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = [*as_nobody, str(repo / "salt/omero/files/omero"), *arguments]
        return subprocess.run(
            ["unshare", "-m", "sh", "-ec", INSTALLATION, "sh", *command],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(
    "arguments, instead",
    [
        (["admin", "start"], "start omero-server"),
        (["admin", "stop"], "stop omero-server"),
        (["admin", "restart"], "restart omero-server"),
        (["admin", "restartasync"], "restart omero-server"),
        (["-q", "admin", "restart", "--foreground"], "restart omero-server"),
        (["--debug", "1", "-u", "root", "admin", "--wait", "10", "stop"], "stop omero-server"),
        (["web", "start"], "start omero-web"),
        (["web", "stop"], "stop omero-web"),
        (["web", "restart", "--no-wait"], "restart omero-web"),
    ],
)
def test_systemd_alone_starts_and_stops(omero, arguments, instead):
    # a service's INVOCATION_ID, as any child of salt-minion.service has it, is no pass
    by_hand = omero(*arguments, INVOCATION_ID="0123456789abcdef0123456789abcdef")

    assert by_hand.returncode == 112
    assert by_hand.stdout == ""
    assert by_hand.stderr.endswith(f"Use: sudo systemctl {instead}\n") and by_hand.stderr.count("\n") == 1

    in_the_unit = omero(*arguments, **MARK)
    assert in_the_unit.returncode == 0
    assert in_the_unit.stdout.endswith(" ".join(arguments) + "\n")


@pytest.mark.parametrize(
    "arguments, side",
    [
        (["login", "-u", "root"], "server"),
        (["admin", "status"], "server"),
        (["config", "set", "restart", "stop"], "server"),
        (["user", "add", "web", "restart", "stop"], "server"),
        (["web", "status"], "web"),
        (["web", "diagnostics"], "web"),
        ([], "server"),
    ],
)
def test_everything_else_goes_to_the_installation_that_is_meant(omero, arguments, side):
    done = omero(*arguments)

    assert done.stdout.split() == [side, f"/opt/omero/{side}/OMERO.{side}", "65534", *arguments], done.stderr


def test_the_callers_own_choice_of_installation_stands(omero):
    done = omero("config", "get", OMERODIR="/opt/omero/web/OMERO.web")

    assert done.stdout.split()[:2] == ["web", "/opt/omero/web/OMERO.web"]
