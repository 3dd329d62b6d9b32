"""
Speak SQL to this server's PostgreSQL as its superuser: over the unix socket, or, while it is stopped, alone with it.

Values reach SQL through psql's variables (``:'name'`` for a literal, ``:"name"`` for an identifier), which psql reads
from its environment and quotes. Nothing is put together from strings, nor visible in a process list or log.
"""

import json
import os
import re
import subprocess

from salt.exceptions import CommandExecutionError

PROGRAMS = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
SOCKET = "/run/postgresql"
CONFIG = "/etc/idr-postgresql/postgresql.conf"
# statements may carry password verifiers: none of ours is logged, not even one that fails
SILENTLY = "SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;"


def program(name, major=None):
    """
    The path of one of PostgreSQL's programs. Refused where it isn't installed.

    name:   e.g. ``initdb``
    major:  PostgreSQL's major version, pillar's unless given

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.program initdb
    """
    major = major or __salt__["pillar.get"]("postgresql:major", unmask=True)
    for directory in PROGRAMS:
        path = os.path.join(directory.format(major=major), name)
        if os.path.exists(path):
            return path
    raise CommandExecutionError(f"{name} of PostgreSQL {major} isn't installed on {__opts__['id']}")


def query(sql, database="postgres", major=None, limit=60, **values):
    """
    The rows of one SELECT, as a list of dictionaries.

    sql:       without a semicolon at its end
    database:  that is asked
    major:     as for `program`
    limit:     seconds until it is given up
    values:    what the variables in the statement stand for

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.query 'SELECT datname, datcollversion FROM pg_database'
    """
    sql = f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) found;"
    return json.loads(_psql(sql, database, major, limit, values))


def execute(sql, database="postgres", major=None, limit=60, **values):
    """
    Run statements, the first that fails being the last. Arguments as for `query`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.execute 'ALTER DATABASE :"name" REFRESH COLLATION VERSION;' name=idr
    """
    _psql(sql, database, major, limit, values)


def alone(sql, database="postgres", major=None, limit=3600):
    """
    Run one statement while the server is stopped, in PostgreSQL's single-user mode; the values of its column.

    Nobody else can connect meanwhile. A cluster that wasn't shut down cleanly is recovered first. Arguments as for
    `query`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.alone 'SELECT datname FROM pg_database'
    """
    command = [program("postgres", major), "--single"]
    settings = {
        "config_file": CONFIG,
        "log_min_messages": "warning",
        "log_line_prefix": "",
        "log_destination": "stderr",
    }
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    done = as_postgres([*command, database], stdin=sql.replace("\n", " ") + "\n", limit=limit)
    # a statement that fails doesn't end this mode, nor shows in its exit code
    trouble = [line for line in done["stderr"].splitlines() if re.match(r"(ERROR|FATAL|PANIC|DETAIL|HINT):", line)]
    if done["retcode"] or any(not line.startswith(("DETAIL", "HINT")) for line in trouble):
        raise CommandExecutionError(" ".join((done["stderr"] if done["retcode"] else " ".join(trouble)).split()))
    return re.findall(r'^\t 1: \w+ = "(.*)"\t\(typeid', done["stdout"], re.M)


def mistakes(major=None):
    """
    What PostgreSQL can't understand in its configuration file, in its own words; empty if it could start with it.

    major:  as for `program`

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.mistakes
    """
    # any setting will do: all are read before one is shown
    done = as_postgres([program("postgres", major), "-C", "port", "-c", f"config_file={CONFIG}"])
    return [line.partition(":")[2].strip() for line in done["stderr"].splitlines()] if done["retcode"] else []


def as_postgres(command, stdin="", limit=60, **environment):
    """
    Run a command as the user postgres, with nothing of the caller's environment; its retcode, stdout and stderr.

    command:      a list of words
    stdin:        text that it reads
    limit:        seconds until it is killed and the call fails
    environment:  variables that it has besides

    CLI Example:

    .. code-block:: bash

        salt-call pg_sql.as_postgres '[id, -un]'
    """
    added = {name: value for name, value in environment.items() if not name.startswith("__")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "20", **added},
            cwd="/",
            user="postgres",
            group="postgres",
            extra_groups=[],
        )
    except subprocess.TimeoutExpired:
        raise CommandExecutionError(f"{os.path.basename(command[0])} took more than {limit} s") from None
    return {"retcode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def _psql(sql, database, major, limit, values):
    values = {name: str(value) for name, value in values.items() if not name.startswith("__")}
    script = "".join(f"\\getenv {name} IDR_{name.upper()}\n" for name in values) + f"{SILENTLY}\n{sql}\n"
    command = [program("psql", major), "-XAtq", "-vON_ERROR_STOP=1", "-vVERBOSITY=terse", "-h", SOCKET, "-d", database]
    environment = {f"IDR_{name.upper()}": value for name, value in values.items()}
    done = as_postgres(command, stdin=script, limit=limit, **environment)
    if done["retcode"]:
        raise CommandExecutionError(" ".join(done["stderr"].split()))
    return done["stdout"]
