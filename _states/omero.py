"""
OMERO's database as it should be: its schema, and this environment's passwords in it.

Existing data is taken into account: a schema is made only in a database without tables, a foreign one is refused, and
passwords are compared before they are set. Passwords come from pillar by the name of their key and reach the database
through a pipe, so that none is an argument, an event or a line of a process list.
"""

import base64
import hashlib
import os
import secrets
import struct
import subprocess

from salt.exceptions import CommandExecutionError

PREFLIGHT = "/opt/omero/server/bin/preflight"
OMERO = "/opt/omero/server/venv3/bin/omero"
OMERODIR = "/opt/omero/server/OMERO.server"
EMPTY = 3  # preflight: the database has no tables
USER = "omero-server"


def __virtual__():
    return "omero"


def database_ready(name, database, wait=300):
    """
    The database answers, and its schema is the one of the installed OMERO.server; it is made where there are no tables.

    database: ``{host, port, name, user, passfile}``
    wait:     seconds until a database that doesn't answer is given up; a rehearsal, in which nothing starts it, gives
              it up after 10

    Refuses a database with another version's schema, or with tables that aren't OMERO's, in the words of the unit's
    own check, which name what mends it.

    .. code-block:: yaml

        the database is one that this OMERO.server knows:
          omero.database_ready:
            - database: {host: idr-database, port: 5432, name: idr, user: omero, passfile: /opt/omero/.../pgpass}
    """
    if not os.path.exists(PREFLIGHT) or not os.path.exists(OMERODIR):
        if __opts__["test"]:
            return _state(name, None, "Would be looked at when OMERO.server is installed", {})
        return _state(name, False, f"OMERO.server isn't installed here: {PREFLIGHT} or {OMERODIR} is missing", {})
    wait = min(wait, 10) if __opts__["test"] else wait
    checked = _as_omero([PREFLIGHT, "database", "--wait", str(wait)], database, timeout=wait + 120)
    if checked.returncode == 0:
        return _state(name, True, f"{database['name']} on {database['host']} has this server's schema", {})
    if checked.returncode != EMPTY:
        return _state(name, False, _last_line(checked), {})
    changes = {"schema": {"old": None, "new": "made by omero db script"}}
    if __opts__["test"]:
        return _state(name, None, f"{database['name']} on {database['host']} would get its schema", changes)
    try:
        _make_schema(database)
    except CommandExecutionError as failure:
        return _state(name, False, str(failure), {})
    return _state(name, True, f"The schema was made in {database['name']} on {database['host']}", changes)


def password_set(name, user, pillar_key, database):
    """
    An OMERO user's password is the one in pillar, whatever an existing database had.

    user:       OMERO user, e.g. ``root``; one that the database doesn't have yet is passed over
    pillar_key: where pillar has the password, e.g. ``secrets:omero:root_password``
    database:   as for :func:`database_ready`

    .. code-block:: yaml

        OMERO's root has this environment's password:
          omero.password_set:
            - user: root
            - pillar_key: secrets:omero:root_password
            - database: {host: idr-database, port: 5432, name: idr, user: omero, passfile: /opt/omero/.../pgpass}
    """
    password = _pillar(pillar_key)
    if not password:
        return _state(name, False, f"Pillar has no {pillar_key}", {})
    try:
        if not _sql("select to_regclass('public.password')", database):
            return _state(name, None if __opts__["test"] else False, "The database has no OMERO schema yet", {})
        found = _sql(
            "select e.id, coalesce(p.hash, '') from experimenter e left join password p on p.experimenter_id = e.id "
            f"where e.omename = {_literal(user)}",
            database,
        )
        if not found:
            return _state(name, True, f"There is no user {user} yet", {})
        number, _, hashed = found[0].partition(" ")
        if hashed in _hashes(password, int(number)):
            return _state(name, True, f"{user} has the password of this environment", {})
        changes = {user: {"old": "another password", "new": "this environment's password"}}
        if __opts__["test"]:
            return _state(name, None, f"{user} would get the password of this environment", changes)
        wanted = _literal(_hashes(password, int(number))[0])
        _sql(
            f"update password set hash = {wanted} where experimenter_id = {int(number)};"
            f"insert into password (experimenter_id, hash) select {int(number)}, {wanted} "
            f"where not exists (select from password where experimenter_id = {int(number)})",
            database,
        )
    except CommandExecutionError as failure:
        if __opts__["test"]:
            return _state(name, None, f"Would be compared when the database answers ({failure})", {})
        return _state(name, False, str(failure), {})
    return _state(name, True, f"{user} got the password of this environment", changes)


def read_only_user(name, user, group, pillar_key, database):
    """
    A user who can look at everything and change nothing, in a read-only group, made by OMERO's own command.

    user, group: names, e.g. ``public`` in ``demo``
    pillar_key:  where pillar has root's password, as whom they are made
    database:    as for :func:`database_ready`

    Needs the server to run. The user is made with a throw-away password: :func:`password_set` gives the right one.

    .. code-block:: yaml

        visitors have a user:
          omero.read_only_user:
            - user: public
            - group: demo
            - pillar_key: secrets:omero:root_password
            - database: {host: idr-database, port: 5432, name: idr, user: omero, passfile: /opt/omero/.../pgpass}
    """
    member = (
        "select 1 from groupexperimentermap m join experimenter e on e.id = m.child "
        f"join experimentergroup g on g.id = m.parent where e.omename = {_literal(user)} and g.name = {_literal(group)}"
    )
    try:
        there = _sql(member, database)
    except CommandExecutionError as failure:
        if __opts__["test"]:
            return _state(name, None, f"Would be looked up when the database answers ({failure})", {})
        return _state(name, False, str(failure), {})
    if there:
        return _state(name, True, f"{user} is in group {group}", {})
    changes = {user: {"old": None, "new": f"in read-only group {group}"}}
    if __opts__["test"]:
        return _state(name, None, f"{user} would be made in read-only group {group}", changes)
    throw_away = secrets.token_hex(24)
    for command in (
        ["group", "add", "--ignore-existing", "--type", "read-only", group],
        ["user", "add", "--ignore-existing", "--group-name", group, "-P", throw_away, user, user.capitalize(), "User"],
        ["user", "joingroup", "--name", user, "--group-name", group],
    ):
        done = _as_root_of_omero(command, pillar_key, database)
        if done.returncode:
            return _state(name, False, f"omero {command[0]} {command[1]}: {_last_line(done)}", {})
    if not _sql(member, database):
        return _state(name, False, f"omero made no user {user} in group {group}", {})
    return _state(name, True, f"{user} was made in read-only group {group}", changes)


def _make_schema(database):
    # `omero db script` wants root's password as an argument: a random one, which password_set replaces
    script = _as_omero(
        [OMERO, "db", "script", "--password", secrets.token_hex(24), "-f", "-"], database, timeout=300
    )
    if script.returncode:
        raise CommandExecutionError(f"omero db script failed: {_last_line(script)}")
    _sql(script.stdout, database, timeout=1800)


def _sql(sql, database, timeout=60):
    """Rows of the last query of an SQL script that psql reads from a pipe: all of it takes effect, or nothing."""
    try:
        done = subprocess.run(
            ["psql", "-X", "-w", "-q", "-A", "-t", "-F", " ", "-v", "ON_ERROR_STOP=1", "-1", "-f", "-"],
            input=sql, env={**_environment(database), "PGOPTIONS": "-c client_min_messages=warning"},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommandExecutionError("psql isn't installed here yet") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["psql failed"])[0]  # the others are advice
        raise CommandExecutionError(f"psql on {database['host']}: {reason}")
    return [row for row in done.stdout.splitlines() if row.strip()]


def _as_omero(command, database, timeout, **environment):
    environment = {**_environment(database), **environment}
    return subprocess.run(
        command, env=environment, user=USER, group=USER, extra_groups=[], cwd="/", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def _as_root_of_omero(command, pillar_key, database):
    with_login = ["-q", "-s", "127.0.0.1", "-p", "4064", "-u", "root", "-C"]
    return _as_omero(
        [OMERO, *command, *with_login],
        database,
        timeout=120,
        OMERO_PASSWORD=_pillar(pillar_key),
        OMERO_SESSIONDIR="/var/lib/omero-server/salt-sessions",
    )


def _environment(database):
    return {
        "PATH": "/opt/omero/server/venv3/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/var/lib/omero-server",
        "LANG": "C.UTF-8",
        "OMERODIR": OMERODIR,
        "PGHOST": database["host"],
        "PGPORT": str(database["port"]),
        "PGDATABASE": database["name"],
        "PGUSER": database["user"],
        "PGPASSFILE": database["passfile"],
        "PGCONNECT_TIMEOUT": "20",
    }


def _pillar(key):
    return __salt__["pillar.get"](key, "", unmask=True)  # to a module, pillar shows asterisks otherwise


def _hashes(password, number):
    """What OMERO stores: MD5 of the user's number as eight bytes and the password, formerly of the password alone."""
    salted = hashlib.md5(struct.pack(">q", number) + password.encode())
    return [base64.b64encode(digest.digest()).decode() for digest in (salted, hashlib.md5(password.encode()))]


def _literal(text):
    return "'" + text.replace("'", "''") + "'"


def _last_line(done):
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _state(name, result, comment, changes):
    return {"name": name, "result": result, "comment": comment, "changes": changes}
