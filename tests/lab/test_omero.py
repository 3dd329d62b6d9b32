"""OMERO as its administrators meet it: systemctl and nothing else, logins on idr-omero and nowhere else."""

from __future__ import annotations

import json

import pytest

from .conftest import until

pytestmark = [pytest.mark.lab, pytest.mark.hosts]

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
    script = f"ssh idr-omero omero login -s localhost -u root -w {password} -C"
    said = lab.outside("bash", "-c", script + " 2>&1", check=False)
    assert "Created session" in said.stdout, said.stdout


def test_web_login_through_a_tunnel_works_and_leaves_nothing_in_the_cache(lab):
    password = lab.secrets("idr")["omero"]["root_password"]
    script = """
        jar=$(mktemp); trap 'rm -f $jar; ssh -q -S /tmp/web -O exit idr-proxy 2>/dev/null' EXIT
        ssh -fN -o ExitOnForwardFailure=yes -M -S /tmp/web -L 8080:idr-omero:80 idr-proxy
        curl -sS -c $jar -o /dev/null http://localhost:8080/webclient/login/
        token=$(awk '$6 == "csrftoken" {print $7}' $jar)
        curl -sS -b $jar -c $jar -o /dev/null -w '%{http_code} ' -H 'Referer: http://localhost:8080/' \
            -d csrfmiddlewaretoken=$token -d server=1 -d username=root --data-urlencode password@- \
            http://localhost:8080/webclient/login/
        grep -o 'sessionid[^[:space:]]*[[:space:]]*[^[:space:]]*' $jar"""
    said = lab.outside("bash", "-ec", script, stdin=password).stdout
    assert said.startswith("302"), said
    assert "sessionid_idr" in said
    session = said.split()[-1]
    stored = lab.exec("idr-proxy", "grep", "-rlE", f"{session}|^Set-Cookie:", "/var/cache/nginx", check=False)
    assert stored.stdout == "", "a private answer is in the public cache"


SIDE = "idr-a-omero"  # nobody outside notices when that one is down
IMPORTER = """
import time, omero
client = omero.client("127.0.0.1", 4064)
client.setAgent("OMERO.importer")
client.createSession("root", open("/dev/stdin").read())
print("open", flush=True)
time.sleep(300)
"""


def on_server(lab, function, *arguments, check=True):
    said = lab.exec(SIDE, "salt-call", "--out=json", f"omero.{function}", *arguments, check=False, seconds=400)
    if check:
        assert said.stdout, said.stderr
        return json.loads(said.stdout)["local"]
    return said


@pytest.fixture
def importer(lab):
    """A client with the importer's name that has really logged in on the analysis side."""
    password = lab.secrets("idr-a")["omero"]["root_password"]
    start = f"""
        cat > /run/importer.py <<'END'
{IMPORTER}END
        chmod 644 /run/importer.py; umask 077; cat > /run/importer.in; chown omero-server /run/importer.in
        systemd-run --quiet --unit=lab-importer --uid=omero-server -p StandardInput=file:/run/importer.in \
            -p StandardOutput=file:/run/importer.out /opt/omero/server/venv3/bin/python /run/importer.py
        for i in $(seq 300); do grep -q open /run/importer.out && exit 0; sleep 1; done; exit 1"""
    lab.sh(SIDE, start, stdin=password)
    yield
    lab.sh(SIDE, "systemctl stop lab-importer; rm -f /run/importer.*")


def test_an_import_holds_a_restart_until_it_is_named(lab, importer):
    before = lab.sh(SIDE, "systemctl show -P MainPID omero-server")

    refused = on_server(lab, "restart", "server", check=False)

    assert refused.returncode != 0
    assert "An import runs: root since" in refused.stderr and "even_if=busy" in refused.stderr
    assert lab.sh(SIDE, "systemctl show -P MainPID omero-server") == before
    done = on_server(lab, "restart", "server", "even_if=busy")
    assert "An import runs: root since" in done["even_if"]["busy"]
    assert any(one["agent"] == "OMERO.importer" for one in done["activity"]["sessions"])
    assert lab.sh(SIDE, "systemctl show -P MainPID omero-server") != before
    assert on_server(lab, "status")["ready"]


def test_what_was_set_by_hand_shows_and_is_gone_after_a_restart(lab):
    lab.sh(SIDE, "OMERODIR=/opt/omero/web/OMERO.web omero config set omero.web.wsgi_timeout 61")
    try:
        said = on_server(lab, "config_diff", check=False)
        assert said.returncode == 1
        changed = json.loads(said.stdout)["local"]["web"]["changed"]
        assert changed == {"omero.web.wsgi_timeout": {"written": "60", "loaded": "61"}}
    finally:
        on_server(lab, "restart", "web")
    assert on_server(lab, "config_diff", check=False).returncode == 0


KILL = "systemctl kill -s KILL omero-server"
# Who dies, while the unit is in which state, and whether OMERO is there afterwards. Where systemd itself has the job it
# goes on with it, and starts what was killed while it stopped.
CUT_OFF = {
    "the job while it stops": ("deactivating", "kill -KILL -- -$job", True),
    "the job while it starts": ("activating", "kill -KILL -- -$job", True),
    "what starts it": (
        "activating",
        f"while [ $(systemctl show -P ActiveState omero-server) = activating ]; do {KILL}; done",
        False,
    ),
    "what stops it": ("deactivating", KILL, True),
}


@pytest.mark.parametrize("who", CUT_OFF)
def test_a_restart_cut_off_is_told_truly_and_mended_by_another(lab, who):
    state, deed, comes_back = CUT_OFF[who]
    lab.sh(
        SIDE,
        f"""caught=
        for i in $(seq 5); do
            setsid salt-call omero.restart server > /dev/null 2>&1 & job=$!
            while [ -z "$caught" ] && kill -0 $job 2>/dev/null; do   # the state may have been missed
                [ $(systemctl show -P ActiveState omero-server) != {state} ] && sleep 0.1 || caught=yes
            done
            [ -z "$caught" ] || break
            wait || true
        done
        [ "$caught" ]; {deed}; wait || true
        for i in $(seq 900); do
            case $(systemctl show -P ActiveState omero-server) in active|inactive|failed) break ;; esac; sleep 0.1
        done""",
        seconds=900,
    )
    until(lambda: on_server(lab, "status")["ready"] is comes_back)
    told = on_server(lab, "status")
    assert told["server"]["active"] == lab.sh(SIDE, "systemctl show -P ActiveState omero-server")
    page = "curl -s -o /dev/null -w '%{http_code}' 'http://127.0.0.1/webclient/userdata/?experimenter=-1' || true"
    assert (lab.sh(SIDE, page) == "200") is comes_back, told
    assert comes_back or told["problems"], told

    on_server(lab, "restart", "server")

    assert on_server(lab, "status")["ready"]


def test_evidence_is_kept_of_a_server_that_goes_on(lab):
    before = lab.sh(SIDE, "systemctl show -P MainPID omero-server")

    kept = on_server(lab, "keep_evidence", "server")

    threads = lab.sh(SIDE, f"cat {kept['directory']}/threads")
    assert "Thread 0x" in threads and "close_idle_sessions" in threads
    assert kept["files"]["Blitz-0.log"] > 0 and kept["files"]["journal"] > 0
    assert lab.sh(SIDE, "systemctl show -P MainPID omero-server") == before
    assert on_server(lab, "status")["ready"]
