"""
The lab's stand-in for OMERO.server, run as on a host: its own archive, the real `omero` command, icegridnode and
glacier2router, over a real PostgreSQL in a network of the test's own.
"""

import glob
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.functional.privately import private_network
from tests.tables import REPO

POSTGRESQL = "/usr/lib/postgresql/15/bin"
CACHE = Path(os.environ.get("IDR_LAB_CACHE", "/var/cache/idr-lab"))
OMERO = REPO / "lab" / "omero"
LOCK = REPO / "salt" / "omero_server" / "files" / "requirements.lock"
CONFIG = {
    "omero.client.icetransports": "ssl,tcp,ws",
    "omero.db.host": "127.0.0.1",
    "omero.db.name": "idr",
    "omero.db.pass": "omero",
    "omero.glacier2.IceSSL.Protocols": "TLS1_2,TLS1_3",
    "omero.jvmcfg.system_memory": "4000",
    "omero.server.nodedescriptors": "master:Blitz-0,Tables-0",
    "omero.server.servicemanager.checkenv": "IDR_MANAGED_BY_SYSTEMD",
}
# Asked with omero-py's own gateway, the way OMERO.web asks
ASK = """
import hashlib, io, json, sys
from omero.gateway import BlitzGateway
from PIL import Image
import omero, omero.sys
conn = BlitzGateway("public", "public", host="127.0.0.1", port=4064)
assert conn.connect(), conn.getLastError()
conn.SERVICE_OPTS.setOmeroGroup("-1")
import atexit; atexit.register(conn.close)
query = conn.getQueryService()
image = conn.getObject("Image", int(sys.argv[1]))
file = list(image.getFileset().listFiles())[0]
def refused(hql):
    try:
        query.findAllByQuery(hql, None)
    except omero.ApiUsageException as refusal:
        return refusal.message
def count(hql, **ids):
    parameters = omero.sys.ParametersI()
    for name, value in ids.items():
        parameters.addLongs(name, value) if isinstance(value, list) else parameters.addLong(name, value)
    return query.projection(hql, parameters)[0][0].val
print(json.dumps({
    "screens": [s.getName() for s in conn.listScreens()],
    "wells": sum(1 for s in conn.listScreens() for p in s.listChildren() for w in p.listChildren()),
    "name": image.getName(), "owner": image.getOwnerOmeName(), "editable": image.canEdit(),
    "rendered": len(image.renderJpeg(0, 0)), "size": Image.open(io.BytesIO(image.renderJpeg(0, 0))).size,
    "thumbnail": hashlib.sha1(image.getThumbnail((96,))).hexdigest(),
    "genes": [v for a in image.listAnnotations("openmicroscopy.org/mapr/gene") for v in a.getValue()],
    "files_match": hashlib.sha1(b"".join(file.getFileInChunks())).hexdigest() == file.getHash(),
    "counts": [
        count("select count(i) from Image i where exists (select s from WellSample s where s.image = i)"),
        count("select count(distinct w.id) from Well w join w.wellSamples s where s.image.id in (:ids)", ids=[1, 2, 3]),
        count("select count(i.id) from Image i where i.id in (:ids)", ids=[]),
        count("select count(*) from Image i where i.name like '%]' and i.details.owner.omeName != 'x'' or 1=1 --'"),
    ],
    "refused": [refused("select i from Image i where sleep(3) = 1"), refused("select i from Nothing i"),
                refused("select i from Image i; drop table image")],
}))
"""


def missing():
    """What this machine lacks for the stand-in, by name."""
    needs = {
        "root": os.geteuid() == 0,
        "PostgreSQL 15": os.path.exists(f"{POSTGRESQL}/initdb"),
        "zeroc-icegrid": os.path.exists("/usr/bin/icegridnode"),
        "zeroc-glacier2": os.path.exists("/usr/bin/glacier2router"),
        "zeroc-ice-utils": os.path.exists("/usr/bin/icegridadmin"),
        "the wheel of Ice (lab/ctl up builds it)": bool(wheels()),
    }
    return [name for name, there in needs.items() if not there]


def wheels():
    return sorted(glob.glob(f"{CACHE}/*/zeroc_ice-*.whl"))


def build(directory):
    spec = importlib.util.spec_from_file_location("standin_archive", OMERO / "archive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(directory)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The archive, its driver from the lab's cache where that has it."""
    directory = tmp_path_factory.mktemp("archive")
    for wheel in glob.glob(f"{CACHE}/*/psycopg2_binary-*.whl"):
        shutil.copy(wheel, directory)
    return build(directory)


@pytest.fixture(scope="module")
def venv():
    """omero-py by the server's own lock; kept, since it takes a while."""
    lacks = missing()
    if lacks:
        pytest.skip(f"the stand-in can't run here: no {', '.join(lacks)}")
    digest = hashlib.sha256(LOCK.read_bytes() + Path(wheels()[0]).name.encode()).hexdigest()[:12]
    directory = CACHE / f"standin-{digest}"
    if not (directory / "complete").exists():
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", directory], check=True)
        pip = [directory / "bin/pip", "-q", "--disable-pip-version-check", "install", "--no-deps"]
        subprocess.run([*pip, wheels()[0]], check=True)
        subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True)
        (directory / "complete").touch()
    return directory


class Server:
    """The stand-in and its database in a directory of their own, as the user postgres, since neither runs as root."""

    def __init__(self, directory, archive, venv):
        self.directory, self.venv = directory, venv
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(directory)
        self.home = next(directory.glob("OMERO.server-*"))
        for executable in ("bin/blitz", "bin/omero-python", "lab/seed"):
            (self.home / executable).chmod(0o755)
        for name in ("Pixels", "Files", "ManagedRepository"):
            (directory / "data" / name).mkdir(parents=True)
        subprocess.run(["chown", "-R", "postgres:", directory], check=True)
        self.config = CONFIG | {
            "omero.data.dir": directory / "data", "omero.glacier2.IceSSL.DefaultDir": directory / "certs",
        }  # fmt: skip
        # nothing but the shims, the venv and Debian, as in the unit
        self.environment = {
            "PATH": f"{OMERO / 'shims'}:{venv}/bin:{POSTGRESQL}:/usr/bin:/bin",
            "HOME": str(directory), "OMERODIR": str(self.home), "LANG": "C.UTF-8",
        }  # fmt: skip

    def run(self, *command, managed=False, check=True):
        environment = self.environment | ({"IDR_MANAGED_BY_SYSTEMD": "1"} if managed else {})
        done = subprocess.run(
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, command)],
            env=environment, cwd=self.directory, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    def database(self, action):
        self.run("pg_ctl", "-D", self.directory / "pg", "-w", "-m", "fast", "-l", self.directory / "pg.log", *(
            ["-o", f"-h 127.0.0.1 -k {self.directory}"] if action == "start" else []), action)

    def sql(self, *arguments):
        connection = ("-h", self.directory, "-U", "omero", "-v", "ON_ERROR_STOP=1")
        return self.run("psql", "-XAtq", *connection, *arguments).stdout

    def start(self):
        self.run("initdb", "-D", self.directory / "pg", "-U", "omero", "-A", "trust")
        self.database("start")
        self.sql("-d", "postgres", "-c", "create database idr")
        self.run("omero", "db", "script", "--password", "secret", "-f", self.directory / "schema.sql")
        self.sql("-d", "idr", "-f", self.directory / "schema.sql")
        drop_in = self.directory / "10-server.omero"
        drop_in.write_text("".join(f"config set -- {key} {value}\n" for key, value in self.config.items()))
        self.run("omero", "load", drop_in)
        self.run("omero", "certificates")
        self.run("omero", "admin", "start", managed=True)

    def login(self, user, password):
        return self.run("omero", "login", "-C", "-s", "127.0.0.1", "-u", user, "-w", password, check=False)

    def ask(self, image):
        return json.loads(self.run(self.venv / "bin/python", "-c", ASK, image).stdout)

    def seed(self, *arguments):
        return json.loads(self.run(self.home / "lab/seed", *arguments).stdout)

    def stop(self):
        self.run("omero", "admin", "stop", "--wait", 300, managed=True, check=False)
        self.database("stop")


@pytest.fixture(scope="module")
def server(archive, venv):
    """It runs, with the users and the study that a deployed one has."""
    directory = Path(tempfile.mkdtemp(prefix="standin-"))
    directory.chmod(0o755)
    with private_network():
        made = Server(directory, archive, venv)
        try:
            made.start()
            assert made.login("root", "secret").returncode == 0
            made.run("omero", "group", "add", "--type", "read-only", "demo")
            made.run("omero", "user", "add", "--group-name", "demo", "-P", "public", "public", "Public", "User")
            made.study = made.seed()
            yield made
        finally:
            made.stop()
            shutil.rmtree(directory)


def test_the_archive_is_the_same_every_time(archive):
    before = archive.read_bytes()
    assert build(archive.parent).read_bytes() == before
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename.split("/", 1)[1]: entry for entry in opened.infolist()}
    assert entries["bin/blitz"].external_attr >> 16 & 0o777 == 0o755
    assert {"etc/omero.properties", "sql/psql/OMERO5.4__0/schema.sql", "var/"} <= set(entries)
    assert not [name for name in entries if "__pycache__" in name]


def test_only_the_right_password_logs_in(server):
    assert "Created session for public@" in server.login("public", "public").stderr
    assert server.login("public", "wrong").returncode != 0
    assert server.login("nobody", "public").returncode != 0
    # as `omero db password` writes it, and at once
    update = server.run("omero", "db", "password", "--user-id", "2", "another").stdout
    server.sql("-d", "idr", "-c", update)
    try:
        assert server.login("public", "public").returncode != 0
        assert server.login("public", "another").returncode == 0
    finally:
        server.sql("-d", "idr", "-c", server.run("omero", "db", "password", "--user-id", "2", "public").stdout)


def test_omero_py_guards_it_as_the_real_one(server):
    refused = server.run("omero", "admin", "stop", check=False)
    assert refused.returncode == 112 and "IDR_MANAGED_BY_SYSTEMD" in refused.stderr
    assert server.run("omero", "admin", "status").returncode == 0
    assert "5.6.13-ice36" in server.run("omero", "admin", "diagnostics", "--no-logs").stdout


def test_a_visitor_sees_the_study(server):
    seen = server.ask(server.study["images"][0])
    assert seen["screens"] == ["idr0001-lab/screenA"] and seen["wells"] == 6
    assert seen["owner"] == "demo-importer" and not seen["editable"]
    assert seen["rendered"] > 50_000 and seen["size"] == [512, 512]
    assert seen["genes"] == [["Gene Symbol", "ASH2L"]] and seen["files_match"]
    assert seen["counts"] == [12, 2, 0, 12]


def test_what_it_does_not_know_it_refuses_by_name(server):
    function, kind, second = server.ask(server.study["images"][0])["refused"]
    assert "the function sleep()" in function and "the class Nothing" in kind and "; drop" in second


def test_a_change_shows_at_once(server):
    image = server.study["images"][1]
    before = server.ask(image)
    assert server.seed("--rename-image", image, "another name") == server.study
    server.seed("--repaint", image)
    after = server.ask(image)
    assert after["name"] == "another name" and after["thumbnail"] != before["thumbnail"]


def test_nothing_is_kept_but_in_the_database(server):
    """Without it there are no answers; with it again there are, and sessions are rows in it."""
    image = server.study["images"][0]
    server.database("stop")
    try:
        assert server.login("public", "public").returncode != 0
        assert server.run(server.venv / "bin/python", "-c", ASK, image, check=False).returncode != 0
    finally:
        server.database("start")
    assert server.ask(image)["screens"]
    assert server.login("public", "public").returncode == 0
    assert "public" in server.run("omero", "sessions", "who").stdout
    count = ["-d", "idr", "-c", "select count(*) from session where closed is null"]
    assert int(server.sql(*count)) > 0
    server.run("omero", "admin", "restart", "--wait", 300, managed=True)
    assert int(server.sql(*count)) == 0, "a session outlived the server that knew it"
