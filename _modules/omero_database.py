"""
OMERO's database, as OMERO.server on this server reaches it: what is in it, and its schema brought to a new release's.

Which database that is, is what the unit ``omero-server.service`` says. Everything runs as the user who owns the
installation, so that nothing which that user could have written is run as root.
"""

import calendar
import json
import os
import re
import shlex
import subprocess
import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "omero"

UNIT = "omero-server.service"
ALLOWED = "omero:database:upgrade_allowed"
OLDEST = 28  # hours of a backup set, as backup.status counts
EARLY = 0.1  # hours by which clocks may differ
LEAVING = 15  # seconds that a psql or pg_dump without work may take to leave
OTHERS = """
    select coalesce(client_addr::text, 'its own server') as from, coalesce(application_name, '') as what,
           application_name in ('psql', 'pg_dump') and state like 'idle%' as ended
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


def __virtual__():
    return __virtualname__


def query(sql, limit=30):
    """
    The rows of one query to OMERO's database, each as a dictionary. Nothing can be changed by it.

    sql:    one ``select``
    limit:  seconds after which the database gives it up

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.query 'select currentversion, currentpatch from dbpatch'
    """
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(limit)}s"
    # as the one statement of the call: what follows a semicolon is a syntax error here
    wrapped = f"select coalesce(json_agg(row_to_json(found)), '[]') from ({sql}\n) found"
    done = _as_omero(["psql", "-X", "-w", "-q", "-A", "-t", "-c", wrapped], limit + 10, PGOPTIONS=options)
    if done.returncode:
        raise CommandExecutionError(f"{_where()}: {_reason(done)}")
    return json.loads(done.stdout)


def release():
    """
    The installed OMERO.server, by the name of its directory: ``OMERO.server-5.6.13-ice36``.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.release
    """
    return os.path.basename(os.path.realpath(_environment()["OMERODIR"]))


def upgrade_database(backup=None, limit=3600, test=None):
    """
    Bring the database's schema to the one that the installed OMERO.server wants, by the script that came with it.

    backup: the id of the fresh backup set that stands for it, as ``salt-run omero.upgrade_database`` finds it
    limit:  seconds for the dump, and for the script

    It's that runner, on the environment's master, which an operator types: whether the environment is live, and which
    backup sets it has, is known to the cloud, which no server may ask. A dump is taken as well, the shorter way back,
    to the data volume (/data/database-dumps), and read back whole. The script is one transaction: it takes effect as a
    whole or not at all, whatever is killed meanwhile, and what the database says afterwards is compared. Returns
    ``{from, to, backup, dump, dump_bytes, seconds}``; with ``test=True`` ``{would: [str], refused: [str]}``. There is
    nothing to do where the schema is right.

    Refused, with every reason at once: without the id of a set of this environment of the last 28 hours, while
    OMERO.server runs or anybody else is in the database, where the schema is newer than the server or the release has
    no script from there, without room for the dump, and **unless pillar ``omero:database:upgrade_allowed`` is True**:
    none is upgraded that wasn't named. The pillar goes into the environment of the next release, before its switch,
    and never into the live one's.

    CLI Example:

    .. code-block:: bash

        salt newidr-omero omero.upgrade_database backup=newidr-20261125T030000Z test=True
    """
    facts = _schema()
    if facts["there"] == facts["wanted"]:
        return {"would": []} if _is_test(test) else {"from": facts["there"], "to": facts["wanted"], "did": []}
    problems = _without(backup) + _problems(facts)
    dump = f"{_dumps()}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{facts['there'].replace(' ', '__')}.dump"
    if _is_test(test):
        if problems:
            __context__["retcode"] = 1
            return {"would": [], "refused": problems}
        steps = [f"pg_dump to {dump}", *_scripts(facts), f"check that the schema is {facts['wanted']}"]
        return {"would": steps, "refused": []}
    if problems:
        raise CommandExecutionError("\n".join(problems))
    began = time.monotonic()
    told = f"dump {_where()} to {dump}; backup set {backup} stands for it"
    __salt__["event.send"]("idr/omero/upgrade", {"message": told})
    _dump(dump, limit)
    __salt__["event.send"]("idr/omero/upgrade", {"message": f"{facts['there']} becomes {facts['wanted']}"})
    for script in _scripts(facts):
        _run_script(script, limit, dump)
    there = _schema()["there"]
    if there != facts["wanted"]:
        raise CommandExecutionError(
            f"{_where()} has schema {there} after {facts['upgrade']}, not {facts['wanted']}. Leave the server stopped. "
            f"As it was before: {dump}, and backup set {backup}"
        )
    return {
        "from": facts["there"],
        "to": there,
        "backup": backup,
        "dump": dump,
        "dump_bytes": os.path.getsize(dump),
        "seconds": round(time.monotonic() - began, 1),
    }


def _is_test(test):
    return __opts__.get("test", False) if test is None else test


def _without(backup):
    """Why no upgrade is done with what BACKUP says, and who says it right."""
    side = __salt__["pillar.get"]("server:side", unmask=True)
    environment = __salt__["pillar.get"]("server:prefix", unmask=True).partition("-")[0]
    typed = f"salt-run omero.upgrade_database {environment}" + ("" if side == "production" else f" side={side}")
    why = f"{backup} is no backup set of {environment}" if backup else "No backup set stands for it"
    age = _age(backup, environment)
    if age is not None:
        if -EARLY <= age <= OLDEST:
            return []
        why = f"{backup} is {age:.0f} h old by this server's clock, and has to be at most {OLDEST} h"
    return [f"{why}. The master finds one that does, and knows what is live; type it there: {typed} apply=True"]


def _age(backup, environment):
    """The hours since a set of this environment was taken, by its id; None if it's no id of one."""
    stamp = str(backup).removeprefix(f"{environment}-")
    try:
        return (time.time() - calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))) / 3600
    except ValueError:
        return None


def _problems(facts):
    """Every reason not to upgrade, each with what to do about it."""
    found = []
    if __salt__["pillar.get"](ALLOWED, False, unmask=True) is not True:
        found.append(
            f"Whether this environment is live isn't known here, and what is live is never upgraded. For another, set "
            f"pillar {ALLOWED}: True in its environment, and take it out again before its switch"
        )
    if not facts["upgrade"]:
        if _release(facts["there"]) > _release(facts["wanted"]):
            why = f"which is older: set pillar omero:server:version to a release for {facts['there']}"
        else:
            why = "which has no script from there: upgrade by way of a release that has"
        found.append(f"The database has schema {facts['there']}, {facts['release']} wants {facts['wanted']}, {why}")
    unit = __salt__["cmd.run_stdout"](["systemctl", "show", "-P", "ActiveState", UNIT], python_shell=False)
    if unit not in ("inactive", "failed"):
        found.append(f"{UNIT} is {unit}. Stop it: omero.stop server")
    others = _others()
    if others:
        told = ", ".join(sorted({f"{other['what'] or 'a client'} from {other['from']}" for other in others}))
        found.append(f"{_where()} is in use by {told}. Stop that first")
    [size] = query("select pg_database_size(current_database()) as bytes")
    volume = os.path.dirname(_dumps())
    room = os.statvfs(volume)
    if room.f_bavail * room.f_frsize < size["bytes"]:
        found.append(f"{volume} has no room for a dump of {size['bytes']} bytes: make some")
    return found


def _others():
    """
    Who else is in the database. A psql that has ended, as one of those before this question, is there a moment longer.
    """
    until = time.monotonic() + LEAVING
    while True:
        others = query(OTHERS)
        if not any(other["ended"] for other in others) or time.monotonic() > until:
            return others
        time.sleep(0.1)


def _release(schema):
    """To compare by: a release under development comes before the release."""
    version, _, patch = schema.partition(" ")
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    return (numbers, "DEV" not in version, int(patch) if patch.isdigit() else 0)


def _scripts(facts):
    """The release's check of whether the upgrade can go well, where it has one, and the upgrade."""
    before = facts["upgrade"].removesuffix(".sql") + "-precheck.sql"
    return [script for script in (before, facts["upgrade"]) if os.path.exists(script)]


def _run_script(script, limit, dump):
    """A script as one transaction, its own or, where it has none, one around it."""
    with open(script) as file:
        text = file.read()
    marks = [len(re.findall(rf"(?i)\b{word}\s*;", text)) for word in ("begin", "commit")]
    if marks not in ([0, 0], [1, 1]):
        raise CommandExecutionError(f"{script} isn't one transaction. Nothing was run. Have it looked at by a person")
    own = [] if marks == [1, 1] else ["--single-transaction"]
    done = _as_omero(["psql", "-X", "-w", "-q", "-v", "ON_ERROR_STOP=1", *own, "-f", script], limit)
    if done.returncode:
        raise CommandExecutionError(
            f"{script} failed and changed nothing: {_reason(done)}. The schema is {_schema()['there']}. A dump: {dump}"
        )


def _dump(path, limit):
    """A dump that was read back whole; a listing alone would be content with its first page."""
    os.makedirs(_dumps(), mode=0o700, exist_ok=True)
    with open(os.open(f"{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        done = _as_omero(["pg_dump", "-w", "--format=custom"], limit, stdout=file)
        os.fsync(file.fileno())
    if not done.returncode:
        reread = ["pg_restore", "--file=/dev/null", f"{path}.part"]
        done = subprocess.run(reread, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        os.unlink(f"{path}.part")
        raise CommandExecutionError(f"{_where()} couldn't be dumped, nothing was changed: {_reason(done)}")
    os.rename(f"{path}.part", path)


def _dumps():
    return os.path.dirname(__salt__["pillar.get"]("omero:data:directory", unmask=True)) + "/database-dumps"


def _schema():
    preflight = os.path.dirname(_environment()["OMERODIR"]) + "/bin/preflight"
    done = _as_omero([preflight, "schema"], 90)
    if done.returncode:
        raise CommandExecutionError(f"{_where()}: {_reason(done)}")
    return json.loads(done.stdout)


def _as_omero(command, limit, stdout=subprocess.PIPE, **more):
    environment = _environment()
    owner = os.stat(os.path.realpath(environment["OMERODIR"]))
    try:
        return subprocess.run(
            command, env={**environment, "PGCONNECT_TIMEOUT": "20", "LANG": "C.UTF-8", **more}, user=owner.st_uid,
            group=owner.st_gid, extra_groups=[], cwd="/", stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, text=True, timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CommandExecutionError(f"{_where()}: {command[0]} wasn't done after {limit} s and was ended") from None


def _environment():
    shown = subprocess.run(
        ["systemctl", "show", "-P", "Environment", UNIT], capture_output=True, text=True, check=False
    ).stdout
    environment = dict(word.split("=", 1) for word in shlex.split(shown) if "=" in word)
    if "PGHOST" not in environment:
        raise CommandExecutionError(f"{UNIT} names no database: is OMERO.server installed? salt-call state.apply")
    return environment


def _where():
    return "Database {PGDATABASE} on {PGHOST}".format(**_environment())


def _reason(done):
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "FATAL" in line]
    return (errors or lines or [f"exit code {done.returncode}"])[0]
