"""The cluster written out for a snapshot: the less log there is to replay, the sooner a clone of the volume is up."""

import time

__virtualname__ = "pg_cluster"

DATABASE = "idr"  # OMERO's, by the states of salt/postgresql
SCHEMA = "SELECT currentversion || ' ' || currentpatch AS schema FROM dbpatch ORDER BY id DESC LIMIT 1"


def __virtual__():
    return __virtualname__


def checkpoint(limit=300, test=None):
    """
    Write out what PostgreSQL has in memory, and say how far its log is and what OMERO has in it.

    limit: seconds until it's given up

    Returns ``{lsn, patch, took}``: whoever was told of a commit before finds it up to that position of the log, and
    so in every snapshot that is taken from now on. ``patch`` is the version of OMERO's schema (``OMERO5.4 0``), None in
    a database without one. With ``test=True`` ``{would: [str]}``.

    CLI Example:

    .. code-block:: bash

        salt idr-database pg_cluster.checkpoint
    """
    if __opts__.get("test", False) if test is None else test:
        return {"would": [f"checkpoint of {__salt__['pg_cluster.directory']()}"]}
    began = time.monotonic()
    __salt__["pg_sql.execute"]("CHECKPOINT;", limit=limit)
    [there] = __salt__["pg_sql.query"](
        "SELECT pg_current_wal_flush_lsn()::text AS lsn, to_regclass('dbpatch') IS NOT NULL AS omero", database=DATABASE
    )
    [row] = __salt__["pg_sql.query"](SCHEMA, database=DATABASE) if there["omero"] else [{"schema": None}]
    return {"lsn": there["lsn"], "patch": row["schema"], "took": round(time.monotonic() - began, 3)}
