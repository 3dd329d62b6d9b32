"""
The analysis side as its users and its operators meet it: a real browser outside logs in at /jupyter, and what its
cells do is done in the user's own container.
"""

from __future__ import annotations

import json
import time

import pytest

from .browser import User
from .conftest import PUBLIC, until

pytestmark = [pytest.mark.lab, pytest.mark.hosts]

HOST = "idr-a-dockermanager"
CONTAINER = "jupyter-ada"
OMERO = """
import os
from omero.gateway import BlitzGateway
omero = BlitzGateway(os.environ["OMERO_USER"], os.environ["OMERO_PASSWORD"], host=os.environ["OMERO_HOST"], secure=True)
assert omero.connect()
"""

# What a cell may not reach, and a server from which it does answer: that there's something to be kept from.
FORBIDDEN = {
    ("192.168.2.10", 4505): "idr-a-omero",      # the Salt master
    ("192.168.2.10", 4506): "idr-a-omero",
    ("192.168.1.10", 4505): "idr-omero",
    ("192.168.1.10", 4506): "idr-omero",
    ("192.168.1.10", 9000): "idr-omero",        # cache refresh
    ("192.168.2.10", 9000): "idr-proxy",
    ("192.168.2.10", 22): "idr-a-omero",        # the proxy by its inside addresses
    ("192.168.2.10", 80): "idr-a-omero",
    ("192.168.2.10", 443): "idr-a-omero",
    ("192.168.1.10", 22): "idr-omero",
    ("192.168.1.12", 5432): "idr-omero",        # both databases
    ("192.168.2.12", 5432): "idr-a-omero",
    ("192.168.1.11", 80): "idr-proxy",          # production's OMERO
    ("192.168.1.11", 4063): "idr-proxy",
    ("192.168.1.11", 4064): "idr-proxy",
    ("192.168.1.11", 22): "idr-proxy",          # SSH of all servers
    ("192.168.2.11", 22): "idr-proxy",
    ("192.168.2.12", 22): "idr-proxy",
    ("192.168.2.13", 22): "idr-proxy",
    ("172.30.0.1", 22): HOST,                   # the Docker host as containers see it
    ("172.30.0.1", 8000): HOST,
    ("192.168.2.13", 8000): "idr-proxy",
    ("172.30.0.250", 8888): HOST,               # another user's container
}
NOWHERE = [("169.254.169.254", 80), ("172.30.0.1", 8001), ("172.17.0.1", 22), (PUBLIC, 9000), (PUBLIC, 4505)]
OMERO_HERE = [("192.168.2.11", port) for port in (80, 4063, 4064)]
ALLOWED = [*OMERO_HERE, ("172.30.0.1", 8081), ("198.51.100.3", 80)]   # the hub's API, and the world outside
REACH = """
import concurrent.futures, json, socket
def reach(place):
    try:
        socket.create_connection(place, SECONDS).close()
    except OSError as error:
        return str(error)
    return "open"
places = [tuple(place) for place in json.loads('''PLACES''')]
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    print(json.dumps(dict(zip((f"{host}:{port}" for host, port in places), pool.map(reach, places)))))
"""


@pytest.fixture(scope="module")
def ada(lab):
    """A user with a running server and a kernel; nothing of them is left at the end."""
    user = User("ada", lab.password_of_hub())
    try:
        user.log_in()
        user.wait_for_lab()
        yield user
    finally:
        user.close()
        lab.salt(HOST, "jupyterhub.undrain")
        lab.salt(HOST, "jupyterhub.stop", "ada")
        lab.sh(HOST, "rm -rf /data/notebooks/ada")


def container(lab) -> str:
    """The id of ada's container, or nothing."""
    return lab.sh(HOST, f"docker ps --quiet --no-trunc --filter name={CONTAINER}")


def running(lab) -> dict:
    return lab.salt(HOST, "jupyterhub.servers")[HOST]


# --- a user at work ---------------------------------------------------------------------------------------------------


def test_a_user_who_logs_in_has_a_lab_in_a_container_of_their_own(lab, ada, tmp_path):
    ada.shot(tmp_path / "lab.png")
    assert (tmp_path / "lab.png").stat().st_size > 20_000
    told = json.loads(lab.sh(HOST, f"docker inspect {CONTAINER}"))[0]
    assert told["Config"]["User"] == "1000:1000"
    assert told["HostConfig"]["CapDrop"] == ["ALL"]
    assert [mount["Destination"] for mount in told["Mounts"]] == ["/home/jovyan"]
    assert "ada" in running(lab)["servers"]


def test_the_cookies_of_a_login_travel_over_https_alone(ada):
    kept = ada.cookies()
    assert {"jupyterhub-session-id", "jupyterhub-user-ada"} <= kept.keys()
    assert all(kept[name]["secure"] for name in kept if name.startswith("jupyterhub-")), kept


def test_a_cell_reads_an_object_of_the_analysis_omero(ada):
    assert ada.run(OMERO + 'print(omero.getObject("Screen", 1).getName()); omero.close()') == "idr0001-lab/screenA\n"


def test_heavy_queries_reach_the_analysis_database_and_not_the_public_one(lab, ada):
    ask = OMERO + "for _ in range(300): list(omero.getObjects('Image'))\nomero.close()"
    before = {server: transactions(lab, server) for server in ("idr-database", "idr-a-database")}
    ada.run(ask)
    # a session that pauses writes its counters after ten seconds
    until(lambda: transactions(lab, "idr-a-database") - before["idr-a-database"] > 500)
    heavy = transactions(lab, "idr-a-database") - before["idr-a-database"]
    assert transactions(lab, "idr-database") - before["idr-database"] < heavy / 5
    strangers = "select count(*) from pg_stat_activity where not client_addr <<= '192.168.1.0/24'"
    assert sql(lab, "idr-database", strangers) == "0"


def transactions(lab, server: str) -> int:
    """How many there were in OMERO's database so far."""
    return int(sql(lab, server, "select xact_commit from pg_stat_database where datname = 'idr'"))


def sql(lab, server: str, query: str) -> str:
    return lab.exec(server, "runuser", "-u", "postgres", "--", "psql", "-XAtc", query, "postgres").stdout.strip()


# --- what strangers' code can't do ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reached(lab, ada) -> dict[str, str]:
    """What became of a connection from a cell to each place, while another container listens beside."""
    image = lab.sh(HOST, f"docker inspect --format '{{{{.Image}}}}' {CONTAINER}")
    run = f"docker run --rm --detach --network jupyter --ip 172.30.0.250 {image} python -m http.server 8888"
    neighbour = lab.sh(HOST, run)
    try:
        until(lambda: answers_at(lab, HOST, [("172.30.0.250", 8888)]) == {"172.30.0.250:8888": "open"})
        closed, open_ = reach([*FORBIDDEN, *NOWHERE], seconds=3), reach(ALLOWED)
        yield json.loads(ada.run(closed)) | json.loads(ada.run(open_))
    finally:
        lab.sh(HOST, f"docker rm --force {neighbour}")


def reach(places, seconds=60) -> str:
    """A program that tells what becomes of a connection to each place, within so many seconds."""
    return REACH.replace("PLACES", json.dumps(places)).replace("SECONDS", str(seconds))


def answers_at(lab, server: str, places) -> dict[str, str]:
    return json.loads(lab.exec(server, "python3", "-", stdin=reach(places)).stdout)


def test_what_is_forbidden_is_there_but_not_for_a_cell(lab, reached):
    for server in sorted(set(FORBIDDEN.values())):
        seen = answers_at(lab, server, [place for place, whence in FORBIDDEN.items() if whence == server])
        assert set(seen.values()) == {"open"}, f"from {server}"
    for host, port in [*FORBIDDEN, *NOWHERE]:
        assert reached[f"{host}:{port}"] != "open"


@pytest.mark.parametrize("place", [f"{host}:{port}" for host, port in ALLOWED])
def test_what_a_cell_needs_it_reaches(reached, place):
    assert reached[place] == "open"


def test_memory_processes_and_processors_are_limited(ada):
    code = """
import os, subprocess, sys, time
eats = subprocess.run([sys.executable, "-c", "eaten = b'x' * (1536 << 20)"])
print(eats.returncode)
children = []
try:
    for _ in range(600):
        children.append(subprocess.Popen(["sleep", "60"]))
except OSError as error:
    print(error.strerror, len(children) > 400)
for child in children:
    child.kill()
    child.wait()
began = time.monotonic()
spin = "import time\\nend = time.monotonic() + 4\\nwhile time.monotonic() < end: pass\\nprint(time.process_time())"
spinning = [subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE, text=True) for _ in range(2)]
used = sum(float(each.communicate()[0]) for each in spinning)
print(used < 1.3 * (time.monotonic() - began))
"""
    assert ada.run(code).splitlines() == ["-9", "Resource temporarily unavailable True", "True"]


def test_the_container_has_no_way_to_docker_or_to_other_users_files(ada):
    code = """
import glob, os
print(os.path.exists("/var/run/docker.sock"), os.getuid(), os.listdir("/home"), glob.glob("/data/*"))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd", "NoNewPrivs"))])
"""
    assert ada.run(code).splitlines() == ["False 1000 ['jovyan'] []", "['0000000000000000', '0000000000000000', '1']"]


# --- the hub: restarts, other images ----------------------------------------------------------------------------------


def test_a_kernel_is_there_again_after_a_restart_of_the_hub(lab, ada):
    ada.run("kept = 41")
    before = container(lab)
    lab.sh(HOST, "systemctl restart docker-jupyterhub")
    lab.salt(HOST, "state.apply", "jupyterhub.running")
    until(lambda: lab.get("/jupyter/user/ada/api").status == 200)  # its way is there after the hub
    assert ada.run("print(kept + 1)") == "42\n"
    assert container(lab) == before


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("http://198.51.100.3/no-such-image.tar", "404"),
        ("http://198.51.100.3/", "instead of"),
    ],
)
def test_an_image_that_cannot_be_had_leaves_the_old_hub_running(lab, source, why):
    before = lab.sh(HOST, "systemctl show -P MainPID docker-jupyterhub; docker ps -qf name=omero-jupyter")
    other = {"name": "hub:2", "id": "sha256:" + 64 * "2", "source": source, "source_hash": "sha256=" + 64 * "2"}
    pillar = json.dumps({"jupyterhub": {"hub_image": other}})
    said = lab.salt(HOST, "state.apply", "jupyterhub.running", f"pillar={pillar}")[HOST]
    failed = [state for state in said.values() if state["result"] is False and "requisite" not in state["comment"]]
    assert [state["__id__"] for state in failed] == ["JupyterHub's image is here"]
    assert why in failed[0]["comment"] and "\n" not in failed[0]["comment"]
    assert lab.sh(HOST, "systemctl show -P MainPID docker-jupyterhub; docker ps -qf name=omero-jupyter") == before
    assert lab.sh(HOST, "ls /var/cache/salt/minion | grep docker-image || true") == ""


# --- the end of a server ----------------------------------------------------------------------------------------------


def test_a_server_that_nobody_uses_ends(lab, ada):
    pillar = json.dumps({"jupyterhub": {"cull": {"idle_seconds": 10}}})
    try:
        lab.salt(HOST, "state.apply", "jupyterhub.running", f"pillar={pillar}")
        until(lambda: not running(lab)["servers"])
        assert not container(lab)
    finally:
        lab.salt(HOST, "state.apply", "jupyterhub.running")


def test_a_drain_tells_users_ends_their_servers_and_keeps_their_files(lab, ada, tmp_path):
    ada.page("/hub/spawn")
    ada.wait_for_lab()
    ada.run("open('results.csv', 'w').write('1,2')")
    assert lab.salt(HOST, "jupyterhub.drain", "1", "notice='We move to new servers.'", "test=True")[HOST]["would"]
    assert running(lab)["draining"] is None

    ordered = lab.salt(HOST, "jupyterhub.drain", "30", "notice='We move to new servers.'")[HOST]
    assert ordered["on"] == ["ada"]
    assert running(lab)["draining"] == {"until": ordered["until"], "notice": "We move to new servers."}
    # whoever is on reads it in their file browser, whoever comes in the hub's pages
    until(lambda: any("read me" in name for name in ada.files()))
    assert "We move to new servers." in ada.run("import glob; print(open(glob.glob('*read me*')[0]).read())")
    ada.shot(tmp_path / "notice.png")
    # it has been read, so it may be over sooner
    ordered = lab.salt(HOST, "jupyterhub.drain", "0.2", "notice='We move to new servers.'")[HOST]
    lab.sh(HOST, "systemctl restart docker-jupyterhub")    # the drain goes on
    until(lambda: not container(lab))
    assert time.time() > time.mktime(time.strptime(ordered["until"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    until(lambda: "We move to new servers." in ada.page("/hub/spawn"))  # once the hub is there again
    assert "Files in your home directory are kept" in ada.page("/hub/spawn")
    ada.shot(tmp_path / "refused.png")
    assert not container(lab)

    assert lab.salt(HOST, "jupyterhub.undrain")[HOST]["did"]
    ada.page("/hub/spawn")
    ada.wait_for_lab()
    assert ada.run("print(open('results.csv').read())") == "1,2\n"
    until(lambda: not any("read me" in name for name in ada.files()))


def test_a_drain_without_notice_is_over_when_the_call_returns(lab, ada):
    assert container(lab)
    try:
        assert lab.salt(HOST, "jupyterhub.drain", "0")[HOST]["on"] == ["ada"]
        assert not container(lab)
        assert running(lab)["servers"] == {}
    finally:
        lab.salt(HOST, "jupyterhub.undrain")


def test_one_server_is_stopped_by_its_users_name(lab, ada):
    ada.page("/hub/spawn")
    ada.wait_for_lab()
    assert "ada" in lab.salt(HOST, "jupyterhub.stop", "ada", "test=True")[HOST]["would"]
    assert container(lab)
    assert "ada" in lab.salt(HOST, "jupyterhub.stop", "ada")[HOST]["did"]
    assert not container(lab)
    assert "ada has no server. On now: nobody" in lab.salt(HOST, "jupyterhub.stop", "ada")[HOST]


def test_a_second_highstate_changes_nothing(lab):
    again = lab.salt(HOST, "state.highstate")[HOST]
    assert [state["__id__"] for state in again.values() if state["changes"] or not state["result"]] == []
