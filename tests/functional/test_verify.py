"""Clones looked at on a scratch server: a real PostgreSQL and real files, whole, and damaged in all that counts."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest

from idr.verify import cluster, look
from idr.verify.commands import Findings
from tests.functional.omero_fixtures import BIN, SCHEMA
from tests.functional.privately import private_mounts, run

OWNED = "permissions, version, creation_id, update_id, owner_id, group_id"
VALUES = "-56, 0, 0, 0, 0, 0"
PLACE = "demo_2/2020-06/01/12-00-00.000"
PATCH = "OMERO5.4 0"
NOBODYS = 52652  # a number of no user here
REPOSITORY = "4d2a0f5e-6a0e-4f36-9b0b-7c8f3b1f2a11"
HASHES = {
    "SHA1-160": lambda content: hashlib.sha1(content).hexdigest(),
    "MD5-128": lambda content: hashlib.md5(content).hexdigest(),
    "CRC-32": lambda content: f"{zlib.crc32(content):08x}",
    "Adler-32": lambda content: f"{zlib.adler32(content):08x}",
    "File-Size-64": lambda content: f"{len(content):016x}",
}


def as_postgres(*command, **further):
    words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, command)]
    return subprocess.run(words, check=True, cwd="/", capture_output=True, text=True, **further).stdout


class Volumes:
    """Two volumes as their clones are on a scratch server."""

    def __init__(self, place):
        self.place = place
        self.data, self.db, self.files = place / "omero-data", place / "database-db", place / "omero-data/OMERO"
        self.cluster = self.db / "15/data"

    def psql(self, text, database="idr"):
        return as_postgres(f"{BIN}/psql", "-XAtqh", self.place, "-v", "ON_ERROR_STOP=1", "-d", database, input=text)

    def control(self, *words):
        options = f"-k {self.place} -c listen_addresses= -c autovacuum=off"
        as_postgres(f"{BIN}/pg_ctl", "-w", "-D", self.cluster, "-l", self.place / "log", "-o", options, *words)

    def make(self, *options):
        self.place.mkdir(parents=True)
        shutil.chown(self.place, "postgres")
        (self.db / "15").mkdir(parents=True)
        shutil.chown(self.db / "15", "postgres")
        as_postgres(f"{BIN}/initdb", "-D", self.cluster, "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8", *options)
        self.control("start")
        try:
            self._fill()
        finally:
            self.control("stop", "-m", "immediate")  # as a snapshot finds it

    def _fill(self):
        self.psql("create database idr", "postgres")
        text = "".join((SCHEMA / name).read_text() for name in ("psql-header.sql", "schema.sql", "psql-footer.sql"))
        self.psql(text.replace("@DBVERSION@", "OMERO5.4").replace("@DBPATCH@", "0"))
        self.psql(self._rows())
        self.where = dict(line.split("|") for line in self.psql(
            "select relname, pg_relation_filepath(oid) from pg_class where relkind in ('r', 'i', 't') union all "
            "select 'long', pg_relation_filepath(reltoastrelid) from pg_class where relname = 'annotation'"
        ).split())  # fmt: skip
        self.psql("checkpoint")
        self.psql("update image set name = 'changed after the checkpoint' where id = 1")

    def _rows(self):
        managed = self.files / "ManagedRepository"
        (managed / ".omero/repository/an-id").mkdir(parents=True)
        (managed / ".omero/repository/an-id/repo_uuid").write_text(REPOSITORY)
        (managed / PLACE).mkdir(parents=True)
        rows = []
        for number, (algorithm, digest) in enumerate((*HASHES.items(), *HASHES.items()), 1):
            content = f"file {number}".encode() * 1000
            (managed / PLACE / f"{number}.tif").write_bytes(content)
            rows.append((number, REPOSITORY, f"{PLACE}/", f"{number}.tif", len(content), digest(content), algorithm))
        content = b"an attachment"
        (self.files / "Files/Dir-001").mkdir(parents=True)
        (self.files / "Files/Dir-001/1234").write_bytes(content)
        rows.append((1234, None, "/home/demo/", "notes.txt", len(content), HASHES["SHA1-160"](content), "SHA1-160"))
        rows.append((20, REPOSITORY, f"{PLACE}/", "never-ended.tif", None, None, None))
        os.symlink("/nfs/study/in-place.tif", managed / PLACE / "in-place.tif")
        rows.append((21, REPOSITORY, f"{PLACE}/", "in-place.tif", 5, "0" * 40, "SHA1-160"))
        os.symlink(f"/data/OMERO/ManagedRepository/{PLACE}/1.tif", managed / PLACE / "link.tif")
        first = rows[0]
        rows.append((22, REPOSITORY, f"{PLACE}/", "link.tif", *first[4:]))
        made = [
            f"insert into originalfile (id, repo, path, name, size, hash, hasher, {OWNED}) values ({_text(*row[:6])}, "
            f"(select id from checksumalgorithm where value = {_text(row[6])}), {VALUES})"
            for row in rows
        ]
        made.append(
            f"insert into originalfile (id, repo, path, name, mimetype, hash, {OWNED}) values "
            f"(30, '{REPOSITORY}', 'demo_2/', '2020-06', 'Directory', null, {VALUES}), "
            f"(31, 'another-uuid', '/omero/', 'script.py', 'text/x-python', 'f00', {VALUES}), "
            f"(32, '{REPOSITORY}', '/data/OMERO/', 'ManagedRepository', 'Repository', '{REPOSITORY}', {VALUES}), "
            f"(33, 'a-uuid', '/opt/omero/server/OMERO.server/lib/', 'scripts', 'Repository', 'a-uuid', {VALUES}), "
            f"(34, 'a-uuid', 'omero/', 'of-no-mimetype', null, 'f00', {VALUES})"
        )
        planes = bytes(range(256)) * 16
        (self.files / "Pixels").mkdir()
        (self.files / "Pixels/1").write_bytes(planes)
        sha1 = HASHES["SHA1-160"](planes)
        made += [
            f"insert into image (id, name, {OWNED}) values (1, 'drawn', {VALUES})",
            "insert into pixels (id, image, sizex, sizey, sizez, sizec, sizet, sha1, dimensionorder, pixelstype, "
            f"{OWNED}) values (1, 1, 32, 64, 1, 1, 1, '{sha1}', 1, (select id from pixelstype where value = 'uint16'), "
            f"{VALUES})",
            f"insert into quantumdef (id, bitresolution, cdstart, cdend, {OWNED}) values (1, 255, 0, 1, {VALUES})",
            "alter table annotation alter textvalue set storage external",
            f"insert into annotation (id, discriminator, ns, textvalue, {OWNED}) select n, '/comment/', 'ns' || n, "
            f"repeat('a long one of many words ' || n, 400), {VALUES} from generate_series(1, 50) n",
            "insert into annotation_mapvalue select a, 'key ' || a, 'a value ' || a, i from generate_series(1, 50) a, "
            "generate_series(1, 40) i",
        ]
        return ";\n".join(made)

    def copy(self, place):
        """As they are on a server that has no user of the number that PostgreSQL had."""
        as_it_was = Volumes(place)
        subprocess.run(["cp", "-a", f"{self.place}/.", place], check=True)
        place.chmod(0o755)
        subprocess.run(["chown", "-R", f"{NOBODYS}:{NOBODYS}", as_it_was.db], check=True)
        as_it_was.where = self.where
        return as_it_was

    def flip(self, relation, old, new):
        """Other bytes in the place of some, in the file of a table or index."""
        path = self.cluster / self.where[relation]
        content = path.read_bytes()
        at = content.rindex(old)
        path.write_bytes(content[:at] + new + content[at + len(new) :])

    def found(self, sample=None, patch=PATCH):
        findings, asked = Findings(lambda line: None), {"patch": patch, "sample": sample, "seed": 7}
        look.examine(findings, cluster.Cluster(self.cluster, BIN, self.place / "run"), self.data, asked)
        assert not (self.cluster / "postmaster.pid").exists()
        return findings.ended()

    def as_it_runs(self, text, database="idr"):
        """Change something in the cluster, which is ended well then."""
        it = cluster.Cluster(self.cluster, BIN, self.place / "run")
        assert it.recovered(Findings(lambda line: None))
        try:
            for each in text.split("; "):
                it.sql(each, database)
        finally:
            it.stop()

    def problems(self, **further):
        return self.found(**further)["problems"]


def _text(*values):
    return ", ".join("null" if value is None else f"'{value}'" for value in values)


BOTH = pytest.mark.parametrize("volumes", [True, False], ids=["checksums", "no checksums"], indirect=True)


@pytest.fixture(scope="module")
def made():
    """Volumes as they are made, by whether there are page checksums."""
    if os.geteuid() != 0 or not os.path.exists(f"{BIN}/pg_amcheck"):
        pytest.skip("needs root and PostgreSQL 15")
    with tempfile.TemporaryDirectory(prefix="verify-") as place:
        yield {has: Volumes(Path(place) / str(has)) for has in (True, False)}


@pytest.fixture
def volumes(made, request):
    has = getattr(request, "param", True)
    made[has].place.parent.chmod(0o755)
    if not made[has].place.exists():
        made[has].make(*["--data-checksums"] * has)
    with tempfile.TemporaryDirectory(prefix="verify-") as place:
        copy = made[has].copy(Path(place))
        copy.checksums = has
        yield copy


def told(lines, *words):
    """A line has all these words in it."""
    assert any(all(word in line for word in words) for line in lines), lines


@BOTH
def test_what_is_whole_has_no_problem_and_is_counted(volumes):
    found = volumes.found()

    assert found["problems"] == []
    figures = found["figures"]
    assert figures["checksums"] == volumes.checksums and (figures.get("pages", 0) > 1000) == volumes.checksums
    assert figures["patch"] == PATCH
    assert figures["rows_of"]["annotation_mapvalue"] == 2000 and figures["rows"] > 2000
    assert figures["indexes"] > 100
    # 10 imported, 1 attachment, 2 links, 1 of pixels; the scripts and the link that leads off are elsewhere
    assert (figures["files"], figures["elsewhere"], figures["hashed"]) == (14, 3, 13)
    assert any("no page checksums" in note for note in found["notes"]) != volumes.checksums


def test_a_sample_is_of_that_many_files_and_another_patch_than_the_manifests_is_a_problem(volumes):
    found = volumes.found(sample=4, patch="OMERO5.4 1")

    assert found["problems"] == ["OMERO's database has the patch OMERO5.4 0, and the set's manifest says OMERO5.4 1"]
    assert (found["figures"]["hashed"], found["figures"]["seed"], found["figures"]["files"]) == (4, 7, 14)


@BOTH
def test_flipped_bytes_in_the_database_are_named(volumes):
    path = volumes.cluster / volumes.where["quantumdef"]
    content = bytearray(path.read_bytes())
    content[8192 - 100 : 8192 - 84] = b"\xff" * 16  # in the header of the first row
    path.write_bytes(content)
    volumes.flip("originalfile_pkey", (1234).to_bytes(8, "little"), (1235).to_bytes(8, "little"))
    volumes.flip("annotation_mapvalue", b"a value 7", b"a v\xe1lue")
    volumes.flip("long", b"words 7", b"\xff\xff")

    lines = volumes.problems(patch=None)

    if volumes.checksums:
        told(lines, "table quantumdef in idr", "page 0 has another checksum")
        told(lines, "index originalfile_pkey of table originalfile in idr", "page 1 has another checksum")
        told(lines, "table annotation_mapvalue in idr", "has another checksum")
        told(lines, "long values of table annotation in idr", "has another checksum")
    else:
        told(lines, "heap table", "quantumdef")
        told(lines, "originalfile_pkey")
        told(lines, "table public.annotation_mapvalue: column value: ERROR:  invalid byte sequence")
        told(lines, "table public.annotation: column textvalue: ERROR:  invalid byte sequence")


def test_a_cluster_that_cannot_recover_is_told_with_postgresqls_words(volumes):
    (volumes.cluster / "global/pg_control").write_bytes(b"\0" * 8192)

    told(volumes.problems(), "database-db: PostgreSQL doesn't start on it: ")


def flip_file(path):
    content = bytearray(path.read_bytes())
    content[100 % len(content)] ^= 1
    path.write_bytes(content)


def test_damaged_files_are_named(volumes):
    imported = volumes.files / f"ManagedRepository/{PLACE}"
    flip_file(imported / "2.tif")
    (imported / "3.tif").unlink()
    os.truncate(imported / "4.tif", 100)
    os.truncate(imported / "5.tif", 0)
    flip_file(volumes.files / "Pixels/1")
    flip_file(volumes.files / "Files/Dir-001/1234")
    (volumes.files / "ManagedRepository/demo_2/2020-06").rename(volumes.files / "away")
    (volumes.files / "ManagedRepository/demo_2/2020-06").symlink_to("/data/OMERO/away")

    lines = volumes.problems()

    where = f"(OMERO/ManagedRepository/{PLACE}/%s.tif)"
    told(lines, f"original file 2 {where % 2}: its MD5-128 is ", ", and its row says ")
    told(lines, f"original file 3 {where % 3}: it isn't there")
    told(lines, f"original file 4 {where % 4}: it has 100 bytes, and its row says 6000")
    told(lines, f"original file 5 {where % 5}: it has 0 bytes, and its row says 6000")
    told(lines, "pixels 1 (OMERO/Pixels/1): its SHA1-160 is ")
    told(lines, "original file 1234 (OMERO/Files/Dir-001/1234): its SHA1-160 is ")
    assert len(lines) == 6


def test_paths_said_with_two_slashes_are_on_the_volume_and_none_leads_off_it(volumes):
    place = volumes.files / f"ManagedRepository/{PLACE}"
    (place / "link.tif").unlink()
    (place / "link.tif").symlink_to(f"/data//OMERO/ManagedRepository/{PLACE}/1.tif")
    (place / "6.tif").unlink()
    (place / "6.tif").symlink_to("/data/../../../../../../etc/hostname")
    volumes.as_it_runs(
        "update originalfile set path = '/data//OMERO//' where id = 32; "
        "update originalfile set name = '/' || name where id = 7"
    )

    found = volumes.found()

    assert found["problems"] == [] and found["figures"]["elsewhere"] == 4 and found["figures"]["hashed"] == 12


def test_a_log_that_is_not_as_its_row_says_is_a_note(volumes):
    place = volumes.files / f"ManagedRepository/{PLACE}"
    (place / "3.tif").unlink()
    (place / "4.tif").write_bytes(b"more lines")
    volumes.as_it_runs("update originalfile set mimetype = 'application/omero-log-file' where id in (3, 4, 5)")

    found = volumes.found()

    assert found["problems"] == [] and found["figures"]["files"] == 14
    told(found["notes"], "disproves nothing: original file 3 (", "3.tif): it isn't there (and 1 more)")


@pytest.fixture
def unreadable():
    """Files of which the device can't be read any more, as where a cloud's storage fails under a clone."""
    with tempfile.TemporaryDirectory(prefix="verify-") as place, private_mounts():
        devices = []

        def spoil(path):
            """The file PATH is on a filesystem of its own now, whose device ends where the file begins."""
            image, where = Path(place) / f"{len(devices)}", Path(place) / f"mounted-{len(devices)}"
            where.mkdir()
            os.truncate(os.open(image, os.O_CREAT | os.O_RDWR), 64 << 20)
            run("mkfs.ext4", "-q", "-O", "^has_journal", "-b", "4096", image)
            devices.append(run("losetup", "--find", "--show", image).strip())
            run("mount", devices[-1], where)
            (where / "before").write_bytes(os.urandom(8 << 20))
            run("cp", "-p", path, where / "it")
            run("umount", where)
            run("mount", devices[-1], where)
            begins = re.search(r"^ *0: .*?: +(\d+)\.\.", run("filefrag", "-v", where / "it"), re.MULTILINE)[1]
            run("mount", "--bind", where / "it", path)
            os.truncate(image, int(begins) * 4096)
            with pytest.raises(OSError, match="Input/output error"):
                path.read_bytes()

        try:
            yield spoil
        finally:
            for device in devices:
                subprocess.run(["umount", "--lazy", "--all-targets", device], capture_output=True)
                run("losetup", "--detach", device)


@BOTH
def test_what_the_storage_cannot_give_disproves_nothing(volumes, unreadable):
    unreadable(volumes.files / f"ManagedRepository/{PLACE}/2.tif")
    with pytest.raises(SystemExit, match=r": original file 2 \(.*: it can't be read: Input/output error"):
        volumes.found()

    unreadable(volumes.cluster / volumes.where["quantumdef"])
    with pytest.raises(SystemExit, match="can't look at it: .*could not read block.*: Input/output error"):
        volumes.found()

    (volumes.files / f"ManagedRepository/{PLACE}/3.tif").unlink()
    found = volumes.found()
    assert len(found["problems"]) == 1 and "3.tif): it isn't there" in found["problems"][0]
    told(found["notes"], "wasn't looked at, as the server couldn't: original file 2 (", "Input/output error")


def test_a_log_of_postgresqls_that_cannot_be_read_to_its_end_is_no_end(volumes, unreadable):
    for log in sorted((volumes.cluster / "pg_wal").glob("0*")):
        unreadable(log)
    with pytest.raises(SystemExit, match="this server can't look at it: .*Input/output error"):
        volumes.found()


def test_a_clone_that_cannot_be_read_is_told_of_and_its_set_is_not_disproved(tmp_path, monkeypatch):
    def no_folder(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    asked = {"devices": {"database-db": "/dev/x"}, "patch": None, "sample": 1, "seed": 1}
    monkeypatch.setattr(look, "HOME", tmp_path)
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    with pytest.raises(SystemExit, match="database-db: its clone can't be read: No such device"):
        monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(OSError(errno.ENODEV, "No such device")))
        look.look(asked, print)
    monkeypatch.undo()

    (tmp_path / "database-db").mkdir()
    monkeypatch.setattr(look, "HOME", tmp_path)
    monkeypatch.setattr(look, "mount", lambda *given: True)
    monkeypatch.setattr(os, "listdir", no_folder)
    with pytest.raises(SystemExit, match="this server can't look at it: database-db: .*: Input/output error"):
        look.look(asked, print)


@pytest.mark.parametrize(
    ("said", "disproves"),
    [("can't read superblock on /dev/x.", False), ("wrong fs type, bad option, bad superblock on /dev/x", True)],
)
def test_a_filesystem_that_cannot_be_mounted_is_a_damage_where_it_can_be_read(tmp_path, monkeypatch, said, disproves):
    def run(*command, may_fail):
        return subprocess.CompletedProcess(command, 32, "xfs\n", f"mount: /x: {said}\n")

    (tmp_path / "device").touch()
    monkeypatch.setattr(look, "run", run)
    found = Findings(print)
    assert not look.mount(found, "omero-data", str(tmp_path / "device"), tmp_path / "there")
    if disproves:
        told(found.ended()["problems"], "omero-data: its filesystem (xfs) can't be mounted: ", said)
    else:
        with pytest.raises(SystemExit, match="can't look at it: omero-data: its filesystem .xfs. can't be read whole"):
            found.ended()


def test_an_upload_that_goes_on_is_no_damage(volumes):
    place = volumes.files / f"ManagedRepository/{PLACE}"
    (place / "never-ended.tif").write_bytes(b"the first part")
    volumes.as_it_runs("update originalfile set size = 0, hash = '' where id = 20")

    found = volumes.found()

    assert found["problems"] == [] and found["figures"]["files"] == 15 and found["figures"]["without_hash"] == 1


def test_a_name_that_no_file_can_have_is_told_of_and_ends_nothing(volumes):
    volumes.as_it_runs("update originalfile set name = repeat('ü', 255) where id in (3, 20, 30)")

    lines = volumes.problems()

    told(lines, "original file 3 (", "it can't be looked at: File name too long")
    told(lines, "original file 30 (", "the directory isn't there")
    assert len(lines) == 2


def test_what_roles_and_databases_have_as_their_own_settings_disproves_nothing(volumes):
    volumes.as_it_runs(
        "alter database idr set statement_timeout = 1; alter role postgres set search_path = nowhere; "
        "alter database idr set default_transaction_read_only = on; "
        "alter role postgres set session_preload_libraries = 'not_on_this_server'"
    )
    assert volumes.problems() == []


def test_a_locale_that_the_scratch_server_lacks_disproves_nothing_and_hides_no_damage(volumes):
    volumes.as_it_runs("create database other", "postgres")
    volumes.as_it_runs("update pg_database set datcollate = 'xx_XX', datctype = 'xx_XX' where datname = 'other'")

    with pytest.raises(SystemExit, match="this server can't look at it: other: .*incompatible with operating system"):
        volumes.found()

    (volumes.files / f"ManagedRepository/{PLACE}/3.tif").unlink()
    found = volumes.found()
    assert len(found["problems"]) == 1
    told(found["notes"], "wasn't looked at, as the server couldn't: other: ")


@pytest.mark.parametrize(("text", "ends"), [("1\xff\n", False), ("15; reboot\n", False), ("14\n", True)])
def test_a_version_that_is_none_is_a_damage_and_an_old_one_is_told(tmp_path, monkeypatch, text, ends):
    (tmp_path / "database-db/data/global").mkdir(parents=True)
    (tmp_path / "database-db/data/PG_VERSION").write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(look, "HOME", tmp_path)
    monkeypatch.setattr(look, "mount", lambda *given: True)
    asked = {"devices": {"database-db": "/dev/x"}, "patch": None, "sample": 1, "seed": 1}

    if ends:
        with pytest.raises(SystemExit, match="PostgreSQL 14, and only 15 or newer can be looked at"):
            look.look(asked, print)
    else:
        told(look.look(asked, print)["problems"], "PG_VERSION is no version of PostgreSQL: ")


def test_a_clone_is_mounted_so_that_nothing_on_it_is_run_and_no_device_opened(tmp_path, monkeypatch):
    ran = []

    def run(*command, may_fail=False):
        ran.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 0, "xfs\n", "")

    monkeypatch.setattr(look, "run", run)
    (tmp_path / "device").touch()
    assert look.mount(Findings(print), "omero-data", str(tmp_path / "device"), tmp_path / "there")
    assert set(ran[-1][2].split(",")) == {"noatime", "nosuid", "nodev", "noexec", "nouuid"}


@pytest.mark.parametrize(
    "line",
    [
        "database-db: PostgreSQL doesn't start on it: PANIC:  could not write to file x: No space left on device",
        'heap table "idr.public.image": ERROR:  out of memory DETAIL:  Failed on request of size 42',
        'idr: its tables can\'t be checked: ERROR:  could not access file "$libdir/further": No such file or directory',
    ],
)
def test_what_the_server_lacks_is_no_problem_of_the_set(line):
    found = Findings(print)
    found.wrong("clusters", line)
    with pytest.raises(SystemExit, match="this server can't look at it: "):
        found.ended()
    found.wrong("files", "original file 1 (out of memory.tif): it isn't there")
    assert found.ended()["problems"] == ["original file 1 (out of memory.tif): it isn't there"]
