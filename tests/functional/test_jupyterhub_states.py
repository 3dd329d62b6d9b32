"""JupyterHub's states: what they refuse, the hub's configuration run as Python, Docker's states beside a stand-in."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import types

import pytest

PINNED = {"name": "registry.test/hub", "digest": "sha256:" + 64 * "1"}
LOADED = {"name": "hub:1", "id": "sha256:" + 64 * "2", "source": "http://x.test/hub.tar", "source_hash": "sha256=00"}
GITHUB = {"class": "github", "config": {"GitHubOAuthenticator": {"client_id": "it's", "allowed_users": ["ada"]}}}
HOST = "idr-a-dockermanager"


def given(**values):
    return {"jupyterhub": {"hub_image": PINNED, "user_image": LOADED, "authenticator": GITHUB, **values}}


def low(loaders, pillar, os_family="Debian"):
    return loaders(HOST, os_family=os_family).modules.state.show_low_sls("jupyterhub.running", pillar=pillar)


# --- what is applied, and what refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
def test_images_come_before_anything_of_the_hub_changes_and_the_firewall_before_it_starts(loaders, os_family):
    chunks = {chunk["__id__"]: chunk for chunk in low(loaders, given(), os_family)}

    needed = [next(iter(each.values())) for each in chunks["JupyterHub is configured"]["require"]]
    assert {"JupyterHub's image is here", "the image of users' containers is here"} <= set(needed)
    assert "users' containers can be limited" in needed
    before = [next(iter(each.values())) for each in chunks["JupyterHub runs"]["require"]]
    assert "the rules are in force" in before
    watched = [next(iter(each.values())) for each in chunks["JupyterHub runs"]["watch"]]
    assert {"JupyterHub is configured", "JupyterHub's unit is in place"} <= set(watched)
    config = chunks["JupyterHub is configured"]
    assert (config["mode"], config["show_changes"]) == ("0600", False)
    assert "not-a-secret" not in json.dumps(list(chunks.values()))


def test_without_images_there_is_no_hub(loaders):
    [chunk] = low(loaders, {})
    assert (chunk["state"], chunk["fun"], chunk["name"]) == ("service", "dead", "docker-jupyterhub")


@pytest.mark.parametrize("kind", ["dummy", "Dummy", "jupyterhub.auth.DummyAuthenticator"])
def test_an_authenticator_that_lets_in_anyone_is_refused(loaders, kind):
    assert f"jupyterhub:authenticator:class is {kind}, which lets in anyone" in refused(
        loaders, given(authenticator={"class": kind})
    )


def test_a_hub_without_authenticator_is_refused(loaders):
    assert "jupyterhub:authenticator:class is empty" in refused(loaders, given(authenticator={"class": ""}))


@pytest.mark.parametrize("image", [{}, {"name": "hub:1"}, {"name": "hub:1", "id": "sha256:2", "source": "x"}])
def test_an_image_that_is_not_pinned_is_refused(loaders, image):
    assert "Pillar jupyterhub:user_image pins no image" in refused(loaders, given(user_image=image))


def refused(loaders, pillar):
    """Why nothing of the hub is touched; what there is to do waits for it."""
    chunks = {chunk["__id__"]: chunk for chunk in low(loaders, pillar)}
    given = chunks["the site has said which JupyterHub, and who may log in"]
    for name in ("JupyterHub's image is here", "the image of users' containers is here", "JupyterHub can be drained"):
        assert {"sls": "jupyterhub.given"} in chunks[name]["require"]
    assert given["fun"] == "fail_without_changes" and "\n" not in given["name"]
    return given["name"]


# --- the hub's configuration, run -------------------------------------------------------------------------------------


class Settings(types.SimpleNamespace):
    """JupyterHub's `c`: whatever class is named is there."""

    def __getattr__(self, name):
        made = types.SimpleNamespace()
        setattr(self, name, made)
        return made


@pytest.fixture
def configured(loaders, repo, tmp_path, monkeypatch):
    """Run the configuration that a pillar makes; returns its `c` and its names."""
    monkeypatch.syspath_prepend(str(repo / "salt/jupyterhub/files"))

    def run(pillar):
        host = loaders(HOST)
        before = host.modules.pillar.items(unmask=True)
        merged = {**before, "jupyterhub": {**before["jupyterhub"], **pillar["jupyterhub"]}}
        target = tmp_path / "jupyterhub_config.py"
        source = "salt://jupyterhub/files/jupyterhub_config.py.j2"
        host.modules.cp.get_template(source, str(target), pillar=merged)
        names = {"c": Settings()}
        exec(compile(target.read_text(), str(target), "exec"), names)
        return names["c"], names

    yield run
    sys.modules.pop("draining", None)


def test_users_containers_are_locked_up_and_know_this_sides_omero(configured):
    c, _ = configured(given(limits={"memory": "2G", "cpus": 0.5, "pids": 99}))

    assert (c.DockerSpawner.image, c.DockerSpawner.pull_policy) == (LOADED["id"], "never")
    assert c.DockerSpawner.remove and not c.JupyterHub.cleanup_servers
    assert (c.DockerSpawner.mem_limit, c.DockerSpawner.cpu_limit) == ("2G", 0.5)
    host = c.DockerSpawner.extra_host_config
    assert (host["memswap_limit"], host["pids_limit"]) == ("2G", 99)
    assert (host["cap_drop"], host["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert c.DockerSpawner.environment["OMERO_HOST"] == "192.168.2.11"
    assert "docker.sock" not in json.dumps(c.DockerSpawner.__dict__)
    assert c.JupyterHub.hub_bind_url == "http://172.30.0.1:8081"


def test_who_may_log_in_is_pillars_word_for_word(configured):
    c, _ = configured(given(admins=["ada", 'o"hara']))

    assert c.JupyterHub.authenticator_class == "github"
    assert (c.GitHubOAuthenticator.client_id, c.GitHubOAuthenticator.allowed_users) == ("it's", ["ada"])
    assert c.Authenticator.admin_users == ["ada", 'o"hara']
    assert c.OAuthenticator.oauth_callback_url == "https://idr.example.org/jupyter/hub/oauth_callback"


def test_the_services_may_look_and_end_and_nothing_else(configured):
    c, _ = configured(given(cull={"idle_seconds": 60, "max_age_seconds": 120}))

    services = {service["name"]: service for service in c.JupyterHub.services}
    assert {"--timeout=60", "--max-age=120"} <= set(services["cull-idle"]["command"])
    assert services["operators"]["api_token"] == "not-a-secret-idr-a-jupyterhub"
    [role] = c.JupyterHub.load_roles
    assert set(role["services"]) == set(services)
    assert role["scopes"] == ["list:users", "read:users:activity", "read:servers", "delete:servers"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_user_gets_a_home_unless_there_is_a_drain(configured, tmp_path, monkeypatch):
    from tornado.web import HTTPError

    _, names = configured(given())
    monkeypatch.setattr(names["draining"], "DRAIN", tmp_path / "drain.json")
    monkeypatch.setattr(names["draining"], "NOTEBOOKS", tmp_path)
    spawner = types.SimpleNamespace(user=types.SimpleNamespace(name="ada"))

    names["before_spawn"](spawner)
    about = (tmp_path / "ada").stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (1000, 1000, 0o700)
    assert spawner.volumes == {str(tmp_path / "ada"): "/home/jovyan"}
    assert spawner.extra_create_kwargs["user"] == "1000:1000"
    os.chown(tmp_path / "ada", 1234, 1234)
    names["before_spawn"](spawner)
    assert (tmp_path / "ada").stat().st_uid == 1234     # data of before is taken as it is

    (tmp_path / "drain.json").write_text(json.dumps({"until": 0, "notice": "We move."}))
    with pytest.raises(HTTPError) as refusal:
        names["before_spawn"](spawner)
    assert refusal.value.status_code == 503 and refusal.value.jupyterhub_message.startswith("We move. ")


# --- Docker's states, beside a stand-in of its command ----------------------------------------------------------------

DOCKER = """#!{python}
import json, sys, hashlib, tarfile
from pathlib import Path
here = Path({here!r})
there = json.loads((here / "there").read_text())
command, *rest = sys.argv[1:]
with open(here / "calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if command in ("image", "network") and rest[0] == "inspect":
    if rest[1] not in there[command]:
        sys.exit(f"Error: No such {{command}}: {{rest[1]}}")
    print(json.dumps([there[command][rest[1]]]))
elif command == "info":
    print(json.dumps(there["info"]))
elif command == "pull":
    if rest[-1] not in there["registry"]:
        sys.exit("Error response from daemon: manifest unknown")
    there["image"][rest[-1]] = {{"Id": "x"}}
elif command == "load":
    with tarfile.open(rest[-1]) as tar:
        [entry] = json.load(tar.extractfile("manifest.json"))
        there["image"]["sha256:" + hashlib.sha256(tar.extractfile(entry["Config"]).read()).hexdigest()] = {{"Id": "x"}}
elif command == "network" and rest[0] == "rm":
    del there["network"][rest[1]]
elif command == "network" and rest[0] == "create":
    given = [each.split("=", 1) for each in rest[1:-1]]
    options = dict(value.split("=", 1) for key, value in given if key == "--opt")
    address = {{key[2:].capitalize(): value for key, value in given if key in ("--subnet", "--gateway")}}
    there["network"][rest[-1]] = {{"Options": options, "IPAM": {{"Config": [address]}}, "Containers": {{}}}}
(here / "there").write_text(json.dumps(there))
"""
NETWORK = {"network": "jupyter", "bridge": "jupyter0", "subnet": "172.30.0.0/16", "gateway": "172.30.0.1", "mtu": 1450}


class Docker:
    """What the stand-in has, and what it was asked to change."""

    def __init__(self, place):
        self.place = place
        self.there = {"image": {}, "network": {}, "registry": [], "info": {}}
        (place / "docker").write_text(DOCKER.format(python=sys.executable, here=str(place)))
        (place / "docker").chmod(0o755)

    @property
    def there(self):
        return json.loads((self.place / "there").read_text())

    @there.setter
    def there(self, there):
        (self.place / "there").write_text(json.dumps(there))

    def changes(self):
        calls = (self.place / "calls").read_text().splitlines() if (self.place / "calls").exists() else []
        return [call for call in calls if " inspect " not in call and not call.startswith("info")]


@pytest.fixture
def docker(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Docker(tmp_path / "bin")


@pytest.fixture
def archive(tmp_path):
    """An archive as `docker save` makes it, and the image that pins it."""
    described = b'{"os": "linux"}'
    digest = hashlib.sha256(described).hexdigest()
    path = tmp_path / "hub.tar"
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": ["hub:1"], "Layers": []}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in (("manifest.json", manifest), (f"{digest}.json", described)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    hashed = "sha256=" + hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": "hub:1", "id": f"sha256:{digest}", "source": f"file://{path}", "source_hash": hashed}


def present(loaders, image, test=False):
    return loaders(HOST, test=test).states.docker_engine.image_present(name="the image", image=image)


def left_over(loaders):
    cache = loaders(HOST).opts["cachedir"]
    return subprocess.run(["find", cache, "-name", "*.tar"], capture_output=True, text=True).stdout


def test_an_archive_is_loaded_once_and_nothing_of_it_stays(loaders, docker, archive):
    planned = present(loaders, archive, test=True)
    assert planned.result is None and docker.changes() == []
    done = present(loaders, archive)
    assert done.result is True and done.changes, done
    assert left_over(loaders) == ""
    again = present(loaders, archive)
    assert again.result is True and not again.changes
    assert len(docker.changes()) == 1


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"source_hash": "sha256=" + 64 * "0"}, "instead of 0000"),
        ({"id": "sha256:" + 64 * "0"}, "instead of sha256:0000"),
        ({"source": "file:///nowhere/hub.tar"}, "hub:1 can't be had"),
    ],
)
def test_an_archive_that_is_another_is_never_loaded(loaders, docker, archive, other, why):
    done = present(loaders, archive | other)
    assert done.result is False and why in done.comment and "\n" not in done.comment
    assert docker.changes() == [] and left_over(loaders) == ""


def test_what_is_no_image_at_all_is_said_to_be_none(loaders, docker, archive, tmp_path):
    (tmp_path / "hub.tar").write_text("<html>")
    hashed = "sha256=" + hashlib.sha256(b"<html>").hexdigest()
    done = present(loaders, archive | {"source_hash": hashed})
    assert done.result is False and "is no archive of `docker save`" in done.comment


def test_an_image_is_pulled_by_its_digest(loaders, docker):
    reference = f"{PINNED['name']}@{PINNED['digest']}"
    failed = present(loaders, PINNED)
    assert failed.result is False and "manifest unknown" in failed.comment and "\n" not in failed.comment
    docker.there = docker.there | {"registry": [reference]}
    assert present(loaders, PINNED, test=True).result is None
    assert present(loaders, PINNED).changes == {PINNED["name"]: {"old": None, "new": reference}}
    assert not present(loaders, PINNED).changes


def network(loaders, test=False, **other):
    return loaders(HOST, test=test).states.docker_engine.network_present(name="the network", **(NETWORK | other))


def test_the_network_is_made_once_and_anew_only_when_nobody_is_on_it(loaders, docker):
    assert network(loaders, test=True).result is None and docker.changes() == []
    assert network(loaders).result is True
    assert not network(loaders).changes and len(docker.changes()) == 1

    assert network(loaders, test=True, mtu=1400).result is None
    there = docker.there
    there["network"]["jupyter"]["Containers"] = {"c1": {}}
    docker.there = there
    for test in (False, True):
        refused = network(loaders, test=test, mtu=1400)
        assert refused.result is False and "mtu 1450 instead of 1400" in refused.comment
    assert len(docker.changes()) == 1

    there["network"]["jupyter"]["Containers"] = {}
    docker.there = there
    changed = network(loaders, mtu=1400)
    assert changed.changes["jupyter"]["old"]["mtu"] == "1450" and changed.changes["jupyter"]["new"]["mtu"] == "1400"


@pytest.mark.parametrize("lacking", ["MemoryLimit", "CpuCfsQuota", "PidsLimit"])
def test_a_kernel_that_can_not_limit_is_refused(loaders, docker, lacking):
    limits = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
    docker.there = docker.there | {"info": limits}
    holds = loaders(HOST).states.docker_engine.limits_hold
    assert holds(name="limits").result is True
    docker.there = docker.there | {"info": limits | {lacking: False}}
    assert holds(name="limits").result is False
