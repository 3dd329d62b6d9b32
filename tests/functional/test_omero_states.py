"""OMERO's states for both sides and families, and what OMERO's own command makes of their drop-ins."""

import configparser
import glob
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import zipfile

import pytest

from tests.functional.privately import private_mounts, run

STATES = ["redis.running", "omero_server.running", "omero_web.running", "omero_web.served"]
SIDES = {"idr-omero": "idr", "idr-a-omero": "idr-a"}
WHEELS = f"{os.environ.get('IDR_LAB_CACHE', '/var/cache/idr-lab')}/omero/zeroc_ice-*.whl"
NOBODY = 65534


def low(loaders, server, states=STATES, **kwargs):
    chunks = loaders(server, **kwargs).modules.state.show_low_sls(states)
    assert all(isinstance(chunk, dict) for chunk in chunks), chunks
    return chunks


def render(loaders, server, directory, paths):
    """The files that a server would get, rendered from their states' own sources and context."""
    host = loaders(server)
    rendered = {}
    for chunk in low(loaders, server):
        if chunk["name"] in paths or paths == "*" or chunk["name"].startswith(paths):
            target = directory / chunk["name"].replace("/", "_")
            if chunk["state"] == "file" and chunk["fun"] == "managed":
                if "contents" in chunk:
                    target.write_text(chunk["contents"] + "\n")
                else:
                    host.modules.cp.get_template(chunk["source"], str(target), **(chunk.get("context") or {}))
                rendered[chunk["name"]] = target
    return rendered


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
@pytest.mark.parametrize("server", SIDES)
def test_both_sides_differ_in_their_database_only_by_prefix(loaders, server, os_family):
    chunks = low(loaders, server, os_family=os_family)

    databases = {chunk["database"]["host"] for chunk in chunks if chunk["state"] == "omero"}
    assert databases == {f"{SIDES[server]}-database"}


def test_no_password_is_part_of_a_state(loaders):
    """Low data is logged, cached and sent as an event: passwords are in templates and in what the states look up."""
    told = json.dumps([low(loaders, server) for server in SIDES])

    assert "not-a-secret" not in told
    shown = [chunk for chunk in low(loaders, "idr-omero") if "secrets" in chunk.get("source", "")]
    assert shown and all(chunk["show_changes"] is False and chunk["mode"] == "0640" for chunk in shown)


def test_what_the_site_hasnt_given_is_told_in_one_line(loaders):
    given = loaders("idr-omero").modules.state.show_low_sls(
        "omero.given", pillar={"omero": {"server": {"source": ""}}, "secrets": {"omero": {"root_password": ""}}}
    )

    [state] = given
    assert (state["state"], state["fun"]) == ("test", "fail_without_changes")
    assert "idr-omero lacks omero:server:source (" in state["name"]
    assert "secrets:omero:root_password (" in state["name"] and "not-a-secret" not in state["name"]


def test_the_data_directories_have_the_idrs_modes_and_existing_ones_are_passed_over(loaders):
    made = {
        chunk["name"]: (chunk["user"], chunk["group"], chunk["mode"], chunk["unless"])
        for chunk in low(loaders, "idr-omero")
        if chunk["name"].startswith("/data/") and chunk["fun"] == "directory"
    }

    assert made.pop("/data/OMERO/ManagedRepository")[:3] == ("omero-server", "idr-data", "2775")
    assert {facts[:3] for facts in made.values()} == {("omero-server", "omero-server", "0755")}
    names = {"BioFormatsCache", "DropBox", "Files", "FullText", "Pixels", "Thumbnails"}
    assert set(made) == {"/data/OMERO"} | {f"/data/OMERO/{name}" for name in names}


def test_no_data_directory_is_made_on_a_volume_that_is_being_restored_from_a_copy(loaders, tmp_path):
    host, chunks = loaders("idr-omero"), low(loaders, "idr-omero")
    [guard] = [chunk for chunk in chunks if chunk["name"] == "/data/.idr-restoring"]
    made = [chunk for chunk in chunks if chunk["name"].startswith("/data/OMERO") and chunk["fun"] == "directory"]
    assert len(made) == 8 and all({"file": guard["__id__"]} in chunk["require"] for chunk in made)

    where = tmp_path / ".idr-restoring"
    for there in (False, True):
        [done] = host.modules.state.single(f"file.{guard['fun']}", name=str(where)).raw.values()
        assert done["result"] is not there
        where.mkdir(exist_ok=True)
    assert where.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a volume")
def test_omero_does_not_start_on_data_that_is_half_restored(repo, tmp_path):
    def starts():
        words = [repo / "salt/omero_server/files/preflight", "data", tmp_path / "volume/data/OMERO"]
        return subprocess.run(words, capture_output=True, text=True)

    volume = tmp_path / "volume"
    volume.mkdir()
    with private_mounts():
        run("mount", "-t", "tmpfs", "volume", volume)
        (volume / "data/OMERO").mkdir(parents=True)
        assert starts().returncode == 0
        (volume / ".idr-restoring").mkdir()
        refused = starts()
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"{volume}: a restore from a copy hasn't ended, and not all data is there.")


def test_a_data_directory_of_another_installation_is_left_as_it_is(loaders, tmp_path):
    host = loaders("idr-omero")
    existing, missing = tmp_path / "existing", tmp_path / "missing"
    existing.mkdir(mode=0o700)
    os.chown(existing, 1234, 1234)
    [ours] = [chunk for chunk in low(loaders, "idr-omero") if chunk["name"] == "/data/OMERO"]
    [unless] = ours["unless"]

    for path in (existing, missing):
        [done] = host.modules.state.single(
            "file.directory", name=str(path), mode="0755", user="root", unless=[{**unless, "path": str(path)}]
        ).raw.values()
        assert done["result"] is True
        assert bool(done["changes"]) == (path is missing), done

    assert (existing.stat().st_uid, existing.stat().st_mode & 0o7777) == (1234, 0o700)


def test_a_first_highstate_can_be_looked_at_beforehand(loaders, tmp_path):
    """Nothing is there yet, and nothing fails: every state says what it would do."""
    offered = {}
    for name, key in (("OMERO.server-5.6.13-ice36.zip", "server"), ("zeroc_ice-3.6.5-cp311.whl", "ice_wheel")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"{name.removesuffix('.zip')}/etc/omero.properties", "")
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        offered[key] = {"source": str(tmp_path / name), "source_hash": f"sha256={digest}"}
    before = sorted(os.listdir("/opt"))

    applied = loaders("idr-omero", test=True).modules.state.sls(
        STATES, test=True, pillar={"server": {"volumes": []}, "omero": offered}
    )

    failed = {state["__id__"]: state["comment"] for state in applied.raw.values() if state["result"] is False}
    assert not failed, "\n".join(f"{name}: {reason}" for name, reason in failed.items())
    assert sorted(os.listdir("/opt")) == before


@pytest.mark.parametrize("name", ["omero-server", "omero-web"])
def test_the_units_alone_have_the_mark(loaders, tmp_path, name):
    path = f"/etc/systemd/system/{name}.service"
    text = render(loaders, "idr-omero", tmp_path, path)[path].read_text()
    unit = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes="#")
    unit.optionxform = str
    unit.read_string(text)

    assert "\nEnvironment=IDR_MANAGED_BY_SYSTEMD=1\n" in text
    assert unit["Service"]["Restart"] == "no" and unit["Service"]["LimitNOFILE"] == "16384"
    assert "network-online.target" in unit["Unit"]["After"]
    (tmp_path / f"{name}.service").write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / f"{name}.service")],
        capture_output=True,
        text=True,
    )
    # that what it runs isn't installed here is no fault of the unit
    wrong = [line for line in checked.stderr.splitlines() if name in line and "is not executable" not in line]
    assert not wrong


@pytest.mark.parametrize("server, logo", [("idr-omero", True), ("idr-a-omero", False)])
def test_nginx_accepts_its_configuration_and_the_logo_is_productions(loaders, tmp_path, server, logo):
    chunks = loaders(server).modules.state.show_low_sls(
        "omero_web.served",
        pillar={"omero": {"web": {"logo": {"source": "salt://logo.png", "source_hash": "sha256=0"}}}},
    )
    [conf] = [chunk for chunk in chunks if chunk["name"] == "/etc/nginx/nginx.conf"]
    target = tmp_path / "nginx.conf"
    loaders(server).modules.cp.get_template(conf["source"], str(target), **conf["context"])

    assert ("branding" in target.read_text()) == logo
    checked = subprocess.run(["nginx", "-t", "-q", "-c", str(target)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.fixture(scope="session")
def omero_made(repo):
    """Both virtual environments, as the servers make them, kept by the hash of what they are made from."""
    wheels = glob.glob(WHEELS)
    if not wheels:
        pytest.skip("no Ice wheel: `make lab` builds it")
    wheel, make_venv = pathlib.Path(wheels[0]), repo / "salt/omero/files/make-venv"
    made = {}
    for side in ("server", "web"):
        lock = repo / f"salt/omero_{side}/files/requirements.lock"
        key = hashlib.sha256(lock.read_bytes() + wheel.read_bytes() + make_venv.read_bytes()).hexdigest()[:12]
        venv = pathlib.Path(f"/var/cache/idr-lab/tests/omero-{side}-{key}")
        if not (venv / ".complete").exists():
            subprocess.run([make_venv, repo / ".venv/bin/uv", "/usr/bin/python3", venv, wheel, lock], check=True)
        made[side] = venv
    return made


def test_a_virtual_environment_holds_its_packages_compiled_and_not_what_made_it(omero_made):
    for venv in omero_made.values():
        assert list(venv.glob("lib/python3*/site-packages/omero/__pycache__/*.pyc"))
        assert not [name for name in (".lock", "bin/pip", "bin/uv") if (venv / name).exists()]
        assert [path for path in venv.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022] == []


@pytest.fixture
def installation():
    """A directory for OMERO's command, which refuses root; not pytest's own, which is closed to others."""
    with tempfile.TemporaryDirectory(prefix="omero-") as made:
        directory = pathlib.Path(made)
        directory.chmod(0o755)
        (directory / "etc" / "grid").mkdir(parents=True)
        (directory / "var").mkdir()
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        yield directory


@pytest.fixture
def omero(omero_made, installation):
    """OMERO's own command, without our guard before it."""

    def run(side, *arguments):
        return subprocess.run(
            [str(omero_made[side] / "guarded" / "omero"), *arguments],
            env={
                "PATH": f"{omero_made[side]}/bin:/usr/bin:/bin",
                "HOME": str(installation),
                "OMERODIR": str(installation),
            },
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def loaded(loaders, omero, installation, tmp_path):
    """What is in force after the unit's way of loading a side's drop-ins, also when a value was set by hand before."""

    def load(server, side):
        config = installation / "config"
        config.mkdir()
        for path, rendered in render(loaders, server, tmp_path, f"/opt/omero/{side}/config/").items():
            if path.endswith(".omero"):
                shutil.move(rendered, config / os.path.basename(path))
        for path in config.iterdir():
            path.chmod(0o644)
        for _ in range(2):
            done = omero(side, "load", "--glob", f"{config}/*.omero")
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            seen = omero(side, "config", "get", "--show-password")
            assert omero(side, "config", "set", "set.by.hand", "1").returncode == 0
        return dict(line.split("=", 1) for line in seen.stdout.splitlines())

    return load


@pytest.mark.parametrize("server", SIDES)
def test_omero_server_reads_its_configuration_and_forgets_what_was_set_by_hand(loaded, server):
    config = loaded(server, "server")

    assert config.pop("omero.db.pass").startswith("not-a-secret")
    assert config["omero.db.host"] == f"{SIDES[server]}-database"
    assert config["omero.db.poolsize"] == "25"
    assert config["omero.policy.binary_access"] == "+read,+write,-image,-plate"
    assert config["omero.server.servicemanager.checkenv"] == "IDR_MANAGED_BY_SYSTEMD"
    assert config["omero.fs.repo.path"] == "%user%_%userId%/%thread%//%year%-%month%/%day%/%time%"
    assert config["omero.client.ui.menu.dropdown.everyone.label"] == "Public data"
    assert "set.by.hand" not in config


@pytest.mark.parametrize("server", SIDES)
def test_omero_web_reads_its_configuration(loaded, omero, server):
    config = loaded(server, "web")

    assert config["omero.web.session_cookie_name"] == f"sessionid_{SIDES[server]}"
    assert json.loads(config["omero.web.apps"]) == ["omero_mapr", "omero_iviewer", "omero_figure", "idr_gallery"]
    assert json.loads(config["omero.web.server_list"]) == [["127.0.0.1", 4064, "omero"]]
    menus = json.loads(config["omero.web.mapr.config"])
    assert [menu["config"]["ns"] for menu in menus][0] == ["openmicroscopy.org/mapr/gene"] and len(menus) == 9
    panes = json.loads(config["omero.web.ui.metadata_panes"])
    assert [pane["name"] for pane in panes] == ["map", "table", "file", "comment", "tag", "rating", "other"]
    assert [pane["index"] for pane in panes] == list(range(7))
    assert "set.by.hand" not in config
    # OMERO.web itself takes every value, and the apps are there
    settings = omero("web", "web", "config", "nginx")
    assert settings.returncode == 0 and "/static" in settings.stdout, settings.stderr


@pytest.mark.parametrize(
    "password", ["simple", 'it\'s "quoted" $HOME \\ #no comment', "-looks --like=options", "é:ü\\:"]
)
def test_a_password_reaches_omero_and_psql_as_it_is(loaders, omero, installation, password):
    host = loaders("idr-omero")
    own = {key: host.modules.pillar.get(key, unmask=True) for key in ("omero", "server")}
    pillar = {**own, "secrets": {"database": {"password": password}}}
    for name in ("20-secrets.omero", "pgpass"):
        source = f"salt://omero_server/files/{name}.j2"
        host.modules.cp.get_template(source, str(installation / name), pillar=pillar)
        (installation / name).chmod(0o644)

    loaded = omero("server", "load", str(installation / "20-secrets.omero"))
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert omero("server", "config", "get", "omero.db.pass").stdout == password + "\n"
    line = (installation / "pgpass").read_text()
    fields = re.split(r"(?<!\\):", line.rstrip("\n"), maxsplit=4)
    assert fields[:4] == ["idr-database", "5432", "idr", "omero"]
    assert re.sub(r"\\(.)", r"\1", fields[4]) == password


@pytest.mark.parametrize(("test", "seconds"), [(True, "10"), (False, "300")])
def test_a_rehearsal_doesnt_wait_for_a_database_that_it_doesnt_start(repo, tmp_path, monkeypatch, test, seconds):
    spec = importlib.util.spec_from_file_location("state_omero", repo / "_states/omero.py")
    state, asked = importlib.util.module_from_spec(spec), []
    spec.loader.exec_module(state)
    monkeypatch.setattr(state, "__opts__", {"test": test}, raising=False)
    for installed in ("PREFLIGHT", "OMERODIR"):
        monkeypatch.setattr(state, installed, str(tmp_path))
    answer = subprocess.CompletedProcess((), 0)
    monkeypatch.setattr(state, "_as_omero", lambda words, *_, **__: asked.append(words) or answer)

    assert state.database_ready("it", {"name": "idr", "host": "idr-database"})["result"]
    assert asked == [[str(tmp_path), "database", "--wait", seconds]]
