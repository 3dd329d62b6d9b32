"""
The PostgreSQL cluster of a server: fit for it, initialised, in the right order, and running with Salt's settings.

All of these refuse, before anything is changed, what would harm existing data, with the command that mends it.
"""

import glob
import os
import time

from salt.exceptions import CommandExecutionError

# when the server read its files, and which settings of theirs only a restart brings
IN_FORCE = """
SELECT extract(epoch FROM pg_conf_load_time()) AS loaded,
       ARRAY(SELECT name FROM pg_settings WHERE pending_restart
             UNION SELECT file.name FROM pg_file_settings file JOIN pg_settings USING (name)
             WHERE file.error IS NOT NULL AND context = 'postmaster' ORDER BY 1) AS needing,
       ARRAY(SELECT format('pg_hba.conf line %s: %s', line_number, error) FROM pg_hba_file_rules
             WHERE error IS NOT NULL) AS mistakes
"""


def acceptable(name, major):
    """
    The volume holds a cluster that PostgreSQL of this major version can use, or none at all.

    name:   where the volume is mounted
    major:  PostgreSQL's major version
    """
    ret = {"name": name, "changes": {}, "result": True, "comment": f"{name} is fit for PostgreSQL {major}"}
    if __opts__["test"] and not os.path.ismount(name):
        ret["comment"] = f"{name} isn't mounted yet"
        return ret
    why = __salt__["pg_cluster.refusal"](name, major)
    if why:
        ret.update(result=False, comment=why)
    return ret


def initialised(name, major, locale):
    """
    There is a cluster on the volume that this server's PostgreSQL can open; a new one if there was none.

    name:    where the volume is mounted
    major:   PostgreSQL's major version
    locale:  how a new cluster's databases sort; an existing one keeps its own

    Of an existing cluster only that is changed which ties it to another server (`pg_cluster.adopt`).
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    data = __salt__["pg_cluster.directory"](name, major)
    # again, since a package may have put something there
    why = acceptable(name, major)
    if why["result"] is False:
        return why
    exists = os.path.exists(os.path.join(data, "PG_VERSION"))
    strange = __salt__["pg_cluster.strangeness"](name, major) if exists else {}
    if exists and not strange:
        ret.update(result=True, comment=f"{data} is this server's own cluster")
        return ret
    ret["changes"] = {data: {"old": strange or "none", "new": "adopted" if exists else "initialised"}}
    if __opts__["test"]:
        ret.update(result=None, comment=f"{data} would be {ret['changes'][data]['new']}")
        return ret
    try:
        if exists:
            __salt__["pg_cluster.adopt"](name, major)
        else:
            __salt__["pg_cluster.initialise"](name, major, locale)
    except CommandExecutionError as exc:
        ret.update(changes={}, comment=str(exc))
        return ret
    ret.update(result=True, comment=f"{data} has been {ret['changes'][data]['new']}")
    return ret


def collated(name, major):
    """
    The indexes of every database are in the order that this server's collations have.

    name:   where the volume is mounted
    major:  PostgreSQL's major version

    Another glibc sorts text differently, and PostgreSQL then doesn't find in an index what is in the table. A stopped
    cluster is opened by itself for this, before anybody can connect; in test mode it isn't.
    """
    ret = {"name": name, "changes": {}, "result": True, "comment": "every index is in this server's order"}
    if __opts__["test"] and not __salt__["pg_cluster.running"](__salt__["pg_cluster.directory"](name, major)):
        ret["comment"] = "PostgreSQL doesn't run: collations would be looked at"
        return ret
    try:
        differing = __salt__["pg_cluster.collations"](name, major)
    except CommandExecutionError as exc:
        mend = ". Add the locale to postgresql:locales in the site's pillar" if "setlocale()" in str(exc) else ""
        ret.update(result=False, comment=f"{__opts__['id']}: the cluster can't be opened: {exc}{mend}")
        return ret
    if differing:
        each = ", ".join(
            f"{d['database']} was indexed in version {d['recorded']} of {d['locale']}, this server has {d['actual']}"
            for d in differing
        )
        ret.update(
            result=False,
            comment=f"{__opts__['id']}: database {each}. Text might not be found. Rebuild the indexes: salt-call "
            f"pg_cluster.reindex (REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION)",
        )
    return ret


def settings_in_force(name, major, etc="/etc/idr-postgresql"):
    """
    The running server has taken up what its files say: reloaded if one changed, restarted only if a setting needs it.

    name:   the server's systemd unit
    major:  PostgreSQL's major version
    etc:    directory of its files

    Refuses files that the server can't understand; it goes on with the settings it has.
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    data = __salt__["pg_cluster.directory"](major=major)
    if __opts__["test"] and not __salt__["pg_cluster.running"](data):
        ret.update(result=True, comment="PostgreSQL doesn't run: it would start with its files' settings")
        return ret
    files = [*glob.glob(f"{etc}/*.conf"), os.path.join(data, "postgresql.auto.conf")]
    changed = max(os.stat(path).st_ctime for path in files if os.path.exists(path))
    try:
        now = _in_force(major)
        mistakes = now["mistakes"] + __salt__["pg_sql.mistakes"](major)
        if mistakes:
            ret["comment"] = f"{__opts__['id']}: PostgreSQL keeps its present settings: {'; '.join(mistakes)}"
            return ret
        if now["loaded"] >= changed and not now["needing"]:
            ret.update(result=True, comment="every setting is in force")
            return ret
        how = f"restarted for {', '.join(now['needing'])}" if now["needing"] else "reloaded"
        ret["changes"] = {name: {"old": "", "new": how}}
        if __opts__["test"]:
            ret.update(result=None, comment=f"PostgreSQL would be {how}")
            return ret
        if now["needing"]:
            _restart(name)
        else:
            _reload(now["loaded"], major)
        after = _in_force(major)
    except CommandExecutionError as exc:
        ret.update(changes={}, comment=f"{__opts__['id']}: {exc}")
        return ret
    if after["needing"] or after["loaded"] < changed:
        ret.update(changes={}, comment=f"{name} was {how}, but hasn't taken up {after['needing'] or 'its files'}")
        return ret
    ret.update(result=True, comment=f"PostgreSQL has been {how}")
    return ret


def _in_force(major):
    return __salt__["pg_sql.query"](IN_FORCE, major=major)[0]


def _restart(unit):
    done = __salt__["cmd.run_all"](["systemctl", "restart", unit], python_shell=False, ignore_retcode=True)
    if done["retcode"]:
        raise CommandExecutionError(f"systemctl restart {unit}: {done['stderr'] or done['stdout']}")


def _reload(before, major, limit=60):
    __salt__["pg_sql.query"]("SELECT pg_reload_conf()", major=major)
    until = time.monotonic() + limit
    while _in_force(major)["loaded"] <= before:
        if time.monotonic() > until:
            raise CommandExecutionError(f"PostgreSQL didn't read its files within {limit} s of being told to")
        time.sleep(0.1)
