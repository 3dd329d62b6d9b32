"""OMERO as its administrators meet it: systemctl and nothing else, logins on idr-omero and nowhere else."""

from __future__ import annotations

import pytest

from .conftest import PUBLIC

pytestmark = pytest.mark.lab

BY_HAND = ("omero admin restart", "omero admin stop", "omero admin start", "omero web restart", "omero web stop")


def main_pids(lab) -> str:
    return lab.sh("idr-omero", "systemctl show -P MainPID omero-server omero-web")


@pytest.mark.parametrize("command", BY_HAND)
def test_by_hand_it_is_refused_with_the_right_command(lab, command):
    before = main_pids(lab)
    user = "omero-web" if "web" in command else "omero-server"
    done = lab.exec("idr-omero", "su", "-", user, "-s", "/bin/bash", "-c", command, check=False)
    assert done.returncode != 0
    assert "systemctl" in done.stdout + done.stderr
    assert main_pids(lab) == before


def test_from_the_master_it_is_refused_too(lab):
    before = main_pids(lab)
    said = lab.exec(
        "idr-proxy", "salt", "idr-omero", "cmd.run", "omero admin restart", "runas=omero-server", check=False
    )
    assert said.returncode != 0
    assert "systemctl" in said.stdout + said.stderr
    assert main_pids(lab) == before


def test_restart_through_the_module_makes_new_processes_that_answer(lab, image):
    before = main_pids(lab)
    result = lab.salt("idr-omero", "omero.restart")["idr-omero"]
    assert main_pids(lab) != before, result
    assert lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=2").status == 200


def test_a_killed_server_shows_in_status(lab):
    assert lab.salt("idr-omero", "omero.status")["idr-omero"]["ready"]
    lab.sh("idr-omero", "kill -9 $(systemctl show -P MainPID omero-server)")
    try:
        status = lab.salt("idr-omero", "omero.status")["idr-omero"]
        assert not status["ready"]
    finally:
        lab.salt("idr-omero", "omero.restart", "server")
    assert lab.salt("idr-omero", "omero.status")["idr-omero"]["ready"]


def test_an_administrator_logs_in_on_idr_omero_through_the_proxy(lab):
    password = lab.secrets("idr")["omero"]["root_password"]
    script = f"ssh -J root@{PUBLIC} root@idr-omero omero login -s localhost -u root -w {password} -C"
    said = lab.outside("bash", "-c", script + " 2>&1", check=False)
    assert "Created session" in said.stdout, said.stdout


def test_web_login_through_a_tunnel_works_and_leaves_nothing_in_the_cache(lab):
    password = lab.secrets("idr")["omero"]["root_password"]
    script = f"""
        jar=$(mktemp); trap 'rm -f $jar; ssh -q -S /tmp/web -O exit root@{PUBLIC} 2>/dev/null' EXIT
        ssh -fN -o ExitOnForwardFailure=yes -M -S /tmp/web -L 8080:idr-omero:80 root@{PUBLIC}
        curl -sS -c $jar -o /dev/null http://localhost:8080/webclient/login/
        token=$(awk '$6 == "csrftoken" {{print $7}}' $jar)
        curl -sS -b $jar -c $jar -o /dev/null -w '%{{http_code}} ' -H 'Referer: http://localhost:8080/' \
            -d csrfmiddlewaretoken=$token -d server=1 -d username=root --data-urlencode password@- \
            http://localhost:8080/webclient/login/
        grep -o 'sessionid[^[:space:]]*[[:space:]]*[^[:space:]]*' $jar"""
    said = lab.outside("bash", "-ec", script, stdin=password).stdout
    assert said.startswith("302"), said
    assert "sessionid_idr" in said
    session = said.split()[-1]
    stored = lab.exec("idr-proxy", "grep", "-rlE", f"{session}|^Set-Cookie:", "/var/cache/nginx", check=False)
    assert stored.stdout == "", "a private answer is in the public cache"
