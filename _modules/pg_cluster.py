"""
The PostgreSQL cluster on a data volume: what is there, whether it can be used here, and what has to be done for that.

The cluster of major version N is in ``<volume>/N/data``. Its configuration isn't: that is Salt's, in
/etc/idr-postgresql. So a volume of another server can be put here, and only what ties it to that server is changed:
the owner's number, a lock file of a process that isn't here, and settings that ALTER SYSTEM left in it.
"""

import glob
import json
import os
import pwd
import re
import shutil
import stat
import time

from salt.exceptions import CommandExecutionError

VOLUME = "/var/lib/pgsql"
# a cluster is made here and renamed when it is complete
INCOMPLETE = "data.incomplete"
# in it is what a restore from a copy has brought until now (idr/copies/deeds.py)
RESTORING = ".idr-restoring"
# the first major version that records which version of a collation a database was made with
OLDEST = 15
COLLATIONS = """
SELECT coalesce(jsonb_agg(jsonb_build_object('database', datname, 'locale', datcollate, 'recorded', datcollversion,
                                           'actual', pg_database_collation_actual_version(oid))), '[]') AS differing
FROM pg_database WHERE datallowconn AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
"""


def directory(volume=VOLUME, major=None):
    """
    Where the cluster of a major version belongs.

    volume:  where the database's volume is mounted
    major:   PostgreSQL's major version, pillar's unless given

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.directory
    """
    return os.path.join(volume, str(major or _major()), "data")


def found(volume=VOLUME):
    """
    Every cluster on a volume: path and major version.

    volume:  where it's mounted

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.found
    """
    clusters = {}
    for depth in ("", "*/", "*/*/"):
        for version in glob.glob(os.path.join(volume, f"{depth}PG_VERSION")):
            where = os.path.dirname(version)
            # each database of a cluster has a PG_VERSION too
            if os.path.basename(where) != INCOMPLETE and os.path.isdir(os.path.join(where, "global")):
                clusters[where] = _read(version).strip()
    return clusters


def refusal(volume=VOLUME, major=None):
    """
    Why the volume can't be used by PostgreSQL of this major version, in one line that says what to do; None if it can.

    Arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.refusal
    """
    why = _why_not(volume, str(major or _major()))
    return f"{__opts__['id']}: {why}" if why else None


def problems():
    """
    What would stop the database's role on this server, one line each; empty if nothing, or as long as its volume isn't
    mounted: there, `data_volume.problems` tells.

    CLI Example:

    .. code-block:: bash

        salt idr-database pg_cluster.problems
    """
    why = refusal() if _is_mounted(VOLUME) else None
    return [why] if why else []


def status(volume=VOLUME, major=None):
    """
    What is known of this server's cluster: identity, state, whether it runs, and what would stop this role.

    Arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt idr-database pg_cluster.status
    """
    data = directory(volume, major)
    known = {"found": found(volume), "refusal": refusal(volume, major), "running": running(data)}
    if data in known["found"]:
        known["own_settings"] = own_settings(data)
        shown = __salt__["pg_sql.as_postgres"]([__salt__["pg_sql.program"]("pg_controldata", major), data])["stdout"]
        lines = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
        known["system_identifier"] = lines["Database system identifier"].strip()
        known["state"] = lines["Database cluster state"].strip()
        known["checksums"] = lines["Data page checksum version"].strip() != "0"
    return known


def running(data=None):
    """
    The process id of the postmaster that works on a data directory, this server's by default; None if there's none.

    Whatever its lock file says, a postmaster's working directory is its data directory.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.running
    """
    data = data or directory()
    pid = _lock(data)
    return pid if pid in _at_work(data) else None


def initialise(volume=VOLUME, major=None, locale="C.UTF-8"):
    """
    Make a new cluster with data checksums, in UTF-8. Refuses to if there is anything in its place.

    locale:  by which its databases sort; the others as for `directory`

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.initialise
    """
    data = directory(volume, major)
    if os.path.isdir(data) and os.listdir(data):
        raise CommandExecutionError(f"{data} isn't empty")
    parent = os.path.dirname(data)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    for place in (volume, parent):
        _own(place)
    aside = os.path.join(parent, INCOMPLETE)
    if os.path.isdir(aside):
        shutil.rmtree(aside)
    options = ["--encoding=UTF8", f"--locale={locale}", "--data-checksums", "--auth-local=peer", "--no-instructions"]
    command = [__salt__["pg_sql.program"]("initdb", major), "--auth-host=scram-sha-256", *options, "-D", aside]
    done = __salt__["pg_sql.as_postgres"](command, limit=600)
    if done["retcode"]:
        raise CommandExecutionError(f"initdb: {' '.join(done['stderr'].split())}")
    # in one step, so that an initdb that was killed leaves nothing that looks like a cluster
    os.rename(aside, data)
    _sync(parent)


def strangeness(volume=VOLUME, major=None):
    """
    What ties an existing cluster to the server it comes from: ``owner``, ``lock`` and ``own_settings``, where it does.

    Only the data directory and its control file are asked for their owner: `adopt` changes the directory last.
    Arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.strangeness
    """
    data = directory(volume, major)
    strange = {}
    # in test mode the user may not be there yet
    ours = {user.pw_uid for user in pwd.getpwall() if user.pw_name == "postgres"}
    owners = {os.stat(path).st_uid for path in (data, os.path.join(data, "global", "pg_control"))}
    if owners != ours or stat.S_IMODE(os.stat(data).st_mode) & 0o027:
        strange["owner"] = min(owners - ours, default=os.stat(data).st_uid)
    if os.path.exists(os.path.join(data, "postmaster.pid")) and not _at_work(data):
        strange["lock"] = _lock(data) or "empty"
    if own_settings(data):
        strange["own_settings"] = own_settings(data)
    return strange


def adopt(volume=VOLUME, major=None):
    """
    Rid an existing cluster of what ties it to another server (`strangeness`); a stopped one, but for its settings.

    Files of the cluster's former owner get this server's postgres; the lock file of a process that isn't here goes;
    postgresql.auto.conf, which would override Salt's configuration, is put aside under a name with the time. Returns
    what `strangeness` told. Arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.adopt
    """
    strange = strangeness(volume, major)
    data = directory(volume, major)
    if "owner" in strange:
        _change_owner(volume, data, strange["owner"])
    if "lock" in strange:
        os.unlink(os.path.join(data, "postmaster.pid"))
    if "own_settings" in strange:
        settings = os.path.join(data, "postgresql.auto.conf")
        os.rename(settings, f"{settings}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        with open(settings, "w") as file:
            file.write("# Emptied by Salt: PostgreSQL's configuration is in /etc/idr-postgresql.\n")
        os.chmod(settings, 0o600)
        _own(settings)
    return strange


def own_settings(data):
    """
    Names of the settings that ALTER SYSTEM left in a data directory.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.own_settings /var/lib/pgsql/15/data
    """
    settings = os.path.join(data, "postgresql.auto.conf")
    return re.findall(r"^\s*([\w.]+)", _read(settings), re.M) if os.path.exists(settings) else []


def collations(volume=VOLUME, major=None):
    """
    Databases whose indexes were built in another version of their collation's order than this server's.

    Each with ``database``, ``locale``, ``recorded`` and ``actual`` version. A stopped cluster is opened alone.
    Arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.collations
    """
    if running(directory(volume, major)):
        return __salt__["pg_sql.query"](COLLATIONS, major=major)[0]["differing"]
    return json.loads(__salt__["pg_sql.alone"](COLLATIONS, major=major)[0])


def reindex(volume=VOLUME, major=None, test=None):
    """
    Rebuild the indexes of every database that `collations` names, and record this server's collation version in it.

    Takes hours for hundreds of GB; a stopped server stays stopped. Returns the databases' names, with ``test=True``
    of those that would be. Other arguments as for `directory`.

    CLI Example:

    .. code-block:: bash

        salt-call pg_cluster.reindex
    """
    names = [each["database"] for each in collations(volume, major)]
    if __opts__["test"] if test is None else test:
        return names
    alone = not running(directory(volume, major))
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        # neither can be in a transaction with the other
        for sql in (f"REINDEX DATABASE {quoted};", f"ALTER DATABASE {quoted} REFRESH COLLATION VERSION;"):
            if alone:
                __salt__["pg_sql.alone"](sql, database=name, major=major, limit=86400)
            else:
                __salt__["pg_sql.execute"](sql, database=name, major=major, limit=86400)
    return names


def _why_not(volume, major):
    data = directory(volume, major)
    clusters = found(volume)
    if int(major) < OLDEST:
        return f"PostgreSQL {major} doesn't record the version of collations. Set postgresql:major to {OLDEST} or later"
    if not _is_mounted(volume):
        unit = __salt__["data_volume.unit"](volume)
        return f"{volume} isn't mounted, so nothing is known of its cluster. Mount it: systemctl start {unit}"
    if data not in clusters:
        if os.path.lexists(os.path.join(volume, RESTORING)):
            return f"{volume}: a restore from a copy hasn't ended, and a new cluster would be in its way. Type it again"
        for path, version in clusters.items():
            if version == major:
                return (
                    f"the cluster in {path} belongs in {data}. Move it: mkdir -p {volume}/{major} && mv {path} {data}"
                )
            what = f"{path} is a cluster of PostgreSQL {version}, and there is none of {major}"
            return f"{what}. {_mend(path, version, data)}"
        if os.path.isdir(data) and os.listdir(data):
            return f"{data} isn't empty, but no cluster either. Restore it, or move it away: mv {data} {data}.before"
        return None
    if clusters[data] != major:
        place = os.path.join(volume, clusters[data])
        return f"{data} is a cluster of PostgreSQL {clusters[data]}. Move it: mv {volume}/{major} {place}"
    if not os.path.exists(os.path.join(data, "global", "pg_control")):
        return f"{data} has no global/pg_control: it is incomplete. Restore it from a backup"
    for signal in ("standby.signal", "recovery.signal"):
        if os.path.exists(os.path.join(data, signal)):
            return f"{data} is a copy that waits for another server's WAL. To use it by itself: rm {data}/{signal}"
    for link in (os.path.join(data, "pg_wal"), *glob.glob(os.path.join(data, "pg_tblspc", "*"))):
        if not os.path.realpath(link).startswith(os.path.realpath(volume) + "/"):
            return (
                f"{link} leads to {os.path.realpath(link)}, which isn't on the volume. Move that here and mend the link"
            )
    return None


def _mend(path, version, data):
    upgrade = f"upgrade it: pg_upgrade --old-datadir {path} --new-datadir {data} (docs/database.md)"
    if float(version) < OLDEST:
        return upgrade.capitalize()
    return f"Keep its version with `postgresql: {{major: {version}}}` in the site's pillar, or {upgrade}"


def _major():
    return __salt__["pillar.get"]("postgresql:major", unmask=True)


def _is_mounted(path):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == path for line in file)


def _read(path):
    with open(path) as file:
        return file.read()


def _lock(data):
    """The process id in a data directory's lock file, None without one."""
    lock = os.path.join(data, "postmaster.pid")
    first = _read(lock).split("\n", 1)[0].strip() if os.path.exists(lock) else ""
    return int(first) if first.lstrip("-").isdigit() else None


def _at_work(data):
    """Processes whose working directory is a data directory: PostgreSQL's own, and nearly nobody else's."""
    pids = []
    for link in glob.glob("/proc/[0-9]*/cwd"):
        try:
            # not by path, which in a container of this machine may be the same for another directory
            if os.path.samefile(link, data):
                pids.append(int(link.split("/")[2]))
        except OSError:
            continue  # it has ended meanwhile
    return pids


def _own(path):
    user = pwd.getpwnam("postgres")
    os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _change_owner(volume, data, former):
    """Give the former owner's files to postgres; last of all the data directory, which is what is looked at first."""
    last = [volume, os.path.dirname(data), data]
    for where, directories, files in os.walk(volume, topdown=False):
        for path in (os.path.join(where, name) for name in (*files, *directories)):
            if path not in last and os.lstat(path).st_uid == former:
                _own(path)
    for path in last:
        _own(path)
    os.chmod(data, 0o700)


def _sync(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
