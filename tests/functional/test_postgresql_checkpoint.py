"""A checkpoint before a snapshot: what is known by it is true of a real PostgreSQL, and a rehearsal does nothing."""

import pytest

from tests.functional.postgresql_host import DATA, assert_good, server, sql, volume

__all__ = ["server", "volume"]  # fixtures


@pytest.fixture
def running(server):
    assert_good(server.apply())
    sql("CREATE TABLE image (name text)", "idr")
    return server


def last_checkpoint():
    return sql("SELECT checkpoint_lsn FROM pg_control_checkpoint()")  # statistics of it come later


def test_what_was_committed_before_is_written_out_and_within_the_log_that_is_told(running):
    sql("INSERT INTO image SELECT 'a' FROM generate_series(1, 1000)", "idr")
    committed = sql("SELECT pg_current_wal_lsn()")

    said = running.modules.pg_cluster.checkpoint()

    assert sql(f"SELECT '{said['lsn']}'::pg_lsn >= '{committed}'::pg_lsn") == "t"
    # recovery would begin behind it
    assert sql(f"SELECT redo_lsn >= '{committed}'::pg_lsn FROM pg_control_checkpoint()") == "t"
    assert said["patch"] is None and said["took"] > 0


def test_omeros_schema_is_the_last_one_that_was_put_in(running):
    sql("CREATE TABLE dbpatch (id serial, currentversion text, currentpatch int)", "idr")
    sql("INSERT INTO dbpatch (currentversion, currentpatch) VALUES ('OMERO5.3', 1), ('OMERO5.4', 0)", "idr")

    assert running.modules.pg_cluster.checkpoint()["patch"] == "OMERO5.4 0"


def test_a_rehearsed_checkpoint_is_none(running):
    before = last_checkpoint()

    said = running.loaders[True].modules.pg_cluster.checkpoint()

    assert said == running.modules.pg_cluster.checkpoint(test=True) == {"would": [f"checkpoint of {DATA}"]}
    assert last_checkpoint() == before


@pytest.mark.parametrize("test", [False, True])
def test_a_server_that_is_stopped_is_told_in_one_line_by_the_deed_alone(running, test):
    running.stop()

    if test:
        assert running.modules.pg_cluster.checkpoint(test=True)["would"]
    else:
        with pytest.raises(Exception, match="connection to server on socket") as raised:
            running.modules.pg_cluster.checkpoint()
        assert "\n" not in str(raised.value)
