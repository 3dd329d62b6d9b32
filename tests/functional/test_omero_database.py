"""OMERO's database states and the unit's own check, against a real PostgreSQL."""

import importlib.util
import os
import pathlib
import subprocess
import tempfile

import pytest

from tests.functional.omero_fixtures import environment, sql

pytest_plugins = ["tests.functional.omero_fixtures"]

TABLES = """
create table dbpatch (id serial, currentversion text, currentpatch int);
insert into dbpatch (currentversion, currentpatch) values ('OMERO5.3', 0), ('OMERO5.4', 0);
create table experimenter (id bigint primary key, omename text);
create table password (experimenter_id bigint unique, hash text);
create table experimentergroup (id bigint primary key, name text);
create table groupexperimentermap (child bigint, parent bigint);
insert into experimenter values (0, 'root'), (7, 'public');
insert into password values (0, 'vvFwuczAmpyoRC0Nsv8FCw==');
"""
PUBLIC = {"user": "public", "pillar_key": "secrets:omero:public_password"}
ROOT = {"user": "root", "pillar_key": "secrets:omero:root_password"}


def passwords(database):
    return sql(database, "select experimenter_id, hash from password order by 1")


@pytest.mark.parametrize("user, hashed", [(0, "PJueOtwuTPHB8Nq/1rFVxg=="), (1, "pvL5Tyr9tCD2esF938sHEQ==")])
def test_the_hash_is_omeros(repo, user, hashed):
    """By OMERO's own examples: what `omero db password` makes of `ome`, with salt and, formerly, without."""
    spec = importlib.util.spec_from_file_location("omero_state", repo / "_states/omero.py")
    state = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(state)

    assert state._hashes("ome", user) == [hashed, "vvFwuczAmpyoRC0Nsv8FCw=="]


def test_passwords_over_existing_data_become_this_environments_once(loaders, database):
    sql(database, TABLES)
    before = passwords(database)

    for state in (ROOT, PUBLIC):
        planned = loaders("idr-omero", test=True).states.omero.password_set("x", database=database, **state)
        assert planned["result"] is None and planned["changes"]
    assert passwords(database) == before

    for state in (ROOT, PUBLIC):
        done = loaders("idr-omero").states.omero.password_set("x", database=database, **state)
        assert done["result"] is True and done["changes"], done
        assert "not-a-secret" not in str(done)
    after = passwords(database)
    assert [line.split("|")[0] for line in after] == ["0", "7"] and after[0] not in before

    for test in (False, True):
        for state in (ROOT, PUBLIC):
            again = loaders("idr-omero", test=test).states.omero.password_set("x", database=database, **state)
            assert again["result"] is True and not again["changes"], again
    assert passwords(database) == after
    # the other side's are others
    other = loaders("idr-a-omero", test=True).states.omero.password_set("x", database=database, **ROOT)
    assert other["changes"]


def test_a_user_who_isnt_there_yet_is_passed_over(loaders, database):
    sql(database, TABLES + "delete from experimenter where omename = 'public'")

    done = loaders("idr-omero").states.omero.password_set("x", database=database, **PUBLIC)

    assert done["result"] is True and not done["changes"]


def test_who_is_in_the_group_isnt_made_again(loaders, database):
    sql(database, TABLES + "insert into experimentergroup values (3, 'demo')")
    user = {"user": "public", "group": "demo", "pillar_key": "secrets:omero:root_password", "database": database}

    planned = loaders("idr-omero", test=True).states.omero.read_only_user("x", **user)
    assert planned["result"] is None and planned["changes"]

    sql(database, "insert into groupexperimentermap values (7, 3)")
    for test in (True, False):
        there = loaders("idr-omero", test=test).states.omero.read_only_user("x", **user)
        assert there["result"] is True and not there["changes"]


def test_a_database_that_doesnt_answer_is_told_in_one_line(loaders, cluster):
    gone = {**cluster, "name": "gone"}

    done = loaders("idr-omero").states.omero.password_set("x", database=gone, **ROOT)
    planned = loaders("idr-omero", test=True).states.omero.password_set("x", database=gone, **ROOT)

    assert done["result"] is False and 'database "gone" does not exist' in done["comment"]
    assert planned["result"] is None


def test_a_server_that_has_no_psql_yet_is_one_on_which_that_is_to_come(loaders, database, monkeypatch):
    run = subprocess.run

    def without_psql(command, *further, **given):
        return run(["/nonexistent/psql"] if command[0] == "psql" else command, *further, **given)

    monkeypatch.setattr(subprocess, "run", without_psql)

    planned = loaders("idr-omero", test=True).states.omero.password_set("x", database=database, **ROOT)

    assert planned["result"] is None and "psql isn't installed here yet" in planned["comment"]


@pytest.fixture
def server(tmp_path):
    """As much of an installation as the check looks at: the wanted schema, and the upgrades that came with it."""
    made = tmp_path / "OMERO.server-5.6.13-ice36"
    (made / "etc").mkdir(parents=True)
    (made / "etc" / "omero.properties").write_text("# defaults\nomero.db.version=OMERO5.4\nomero.db.patch=0\n")
    upgrades = made / "sql" / "psql" / "OMERO5.4__0"
    upgrades.mkdir(parents=True)
    (upgrades / "OMERO5.3__1.sql").touch()
    return made


@pytest.fixture
def preflight(repo, server):
    def run(database, *arguments):
        return subprocess.run(
            [str(repo / "salt/omero_server/files/preflight"), *arguments],
            env={**environment(database), "OMERODIR": str(server)},
            capture_output=True,
            text=True,
        )

    return run


def test_a_database_of_this_release_is_let_pass(preflight, database):
    sql(database, TABLES)

    checked = preflight(database, "database")

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_an_empty_database_is_told_from_one_with_other_tables(preflight, database):
    empty = preflight(database, "database")
    assert empty.returncode == 3 and "salt-call state.apply omero_server.database" in empty.stderr

    sql(database, "create table somebody_elses (id int)")
    foreign = preflight(database, "database")
    assert foreign.returncode == 1 and "1 tables and none is OMERO's dbpatch" in foreign.stderr


@pytest.mark.parametrize(
    "version, patch, mend",
    [
        ("OMERO5.3", 1, "OMERO5.4__0/OMERO5.3__1.sql"),
        ("OMERO5.2", 0, "set pillar omero:server:version"),
        ("OMERO5.5", 0, "set pillar omero:server:version"),
    ],
)
def test_another_releases_database_stops_the_server_with_what_mends_it(preflight, database, version, patch, mend):
    sql(database, TABLES + f"insert into dbpatch (currentversion, currentpatch) values ('{version}', {patch})")

    checked = preflight(database, "database")

    assert checked.returncode == 1
    assert f"has schema {version} {patch}, but OMERO.server-5.6.13-ice36 needs OMERO5.4 0" in checked.stderr
    assert mend in checked.stderr and checked.stderr.count("\n") == 1


def test_waiting_is_bounded_and_says_so(preflight, cluster, tmp_path):
    checked = preflight({**cluster, "name": "x", "host": str(tmp_path)}, "database", "--wait", "1")

    assert checked.returncode == 1
    assert "didn't let omero in within 1 s" in checked.stderr
    assert checked.stdout.startswith("Waiting up to 1 s for database x")


def test_data_that_cant_be_written_to_is_named_with_its_owner(repo, tmp_path):
    directory = pathlib.Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        for name in ("Files", "Pixels"):
            (directory / name).mkdir()
        os.chown(directory / "Pixels", 65534, 65534)
        os.chown(directory, 65534, 65534)
        check = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        checked = subprocess.run(
            [*check, str(repo / "salt/omero_server/files/preflight"), "data", str(directory)],
            capture_output=True,
            text=True,
        )
    finally:
        for name in ("Files", "Pixels"):
            (directory / name).rmdir()
        directory.rmdir()

    assert checked.returncode == 1
    assert f"may not write to {directory}/Files, which uid 0 owns" in checked.stderr
