"""
A role that logs in to this server's PostgreSQL, with a password from pillar.

PostgreSQL stores a verifier of a password (SCRAM-SHA-256, RFC 5803). Ours is compared with it here, and made here, so
that the password itself leaves this process neither for a comparison nor for a change.
"""

import base64
import hashlib
import hmac
import os
import re

from salt.exceptions import CommandExecutionError

ITERATIONS = 4096
POWERS = ("rolsuper", "rolcreatedb", "rolcreaterole", "rolreplication", "rolbypassrls")
FACTS = """
SELECT role.*, ARRAY(SELECT granted.rolname FROM pg_auth_members m JOIN pg_roles granted ON granted.oid = m.roleid
                     WHERE m.member = role.oid) AS member_of,
       (SELECT setconfig FROM pg_db_role_setting WHERE setrole = role.oid AND setdatabase = 0) AS settings,
       ARRAY(SELECT datname FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
             WHERE setrole = role.oid) AS special_in
FROM pg_authid role WHERE rolname = :'role'
"""


def present(name, password_from, member_of=(), settings=None):
    """
    The role can log in with this password, has no power beyond its memberships, and these settings in its sessions.

    name:           the role
    password_from:  pillar key of its password, so that the password isn't an argument
    member_of:      roles it is to be a member of, and no others
    settings:       ``{name: value}`` as PostgreSQL stores them; any other that a volume brought is reset

    Refuses a missing password: there is no default. A role that came with a volume gets this environment's.
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    settings = settings or {}
    password = __salt__["pillar.get"](password_from, default=None, unmask=True)
    if not isinstance(password, str) or not re.fullmatch(r"[\x21-\x7e]+", password):
        ret["comment"] = (
            f"{__opts__['id']}: pillar {password_from} is {'missing' if password is None else 'not plain ASCII'}. "
            f"The master keeps it in /etc/idr/pillar/secrets/"
        )
        return ret
    if __opts__["test"] and not __salt__["pg_cluster.running"]():
        ret.update(result=None, comment=f"PostgreSQL doesn't run: role {name} would be looked at")
        return ret
    try:
        found = __salt__["pg_sql.query"](FACTS, role=name)
        steps = _steps(found[0] if found else None, password, member_of, settings)
        ret["changes"] = {what: {"old": "", "new": "set"} for what, _sql, _values in steps}
        if not steps:
            ret.update(result=True, comment=f"role {name} is as it should be")
        elif __opts__["test"]:
            ret.update(result=None, comment=f"of role {name} would be set: {', '.join(ret['changes'])}")
        else:
            for _what, sql, values in steps:
                __salt__["pg_sql.execute"](sql, role=name, **values)
            ret.update(result=True, comment=f"of role {name} has been set: {', '.join(ret['changes'])}")
    except CommandExecutionError as exc:
        ret.update(changes={}, comment=f"{__opts__['id']}: role {name}: {exc}")
    return ret


def _steps(found, password, member_of, settings):
    """What makes a role as it should be, given how it is: (what, SQL, its variables)."""
    steps = []
    if not found:
        steps.append(("role", 'CREATE ROLE :"role";', {}))
        found = {**dict.fromkeys(POWERS, False), "rolcanlogin": False, "rolpassword": None, "member_of": []}
    if not found["rolcanlogin"] or any(found[power] for power in POWERS):
        sql = 'ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;'
        steps.append(("powers", sql, {}))
    if found.get("rolvaliduntil") not in (None, "infinity"):
        steps.append(("expiry", "ALTER ROLE :\"role\" VALID UNTIL 'infinity';", {}))
    if not _matches(password, found["rolpassword"]):
        steps.append(("password", "ALTER ROLE :\"role\" PASSWORD :'verifier';", {"verifier": _verifier(password)}))
    for group in sorted(set(member_of) - set(found["member_of"])):
        steps.append((f"member of {group}", 'GRANT :"group" TO :"role";', {"group": group}))
    for group in sorted(set(found["member_of"]) - set(member_of)):
        steps.append((f"not member of {group}", 'REVOKE :"group" FROM :"role";', {"group": group}))
    has = dict(setting.split("=", 1) for setting in found.get("settings") or [])
    for setting, value in settings.items():
        if has.get(setting) != value:
            sql = 'ALTER ROLE :"role" SET :"setting" = :\'value\';'
            steps.append((setting, sql, {"setting": setting, "value": value}))
    for setting in sorted(set(has) - set(settings)):
        steps.append((f"no {setting}", 'ALTER ROLE :"role" RESET :"setting";', {"setting": setting}))
    for database in found.get("special_in", []):
        sql = 'ALTER ROLE :"role" IN DATABASE :"datname" RESET ALL;'
        steps.append((f"nothing special in {database}", sql, {"datname": database}))
    return steps


def _verifier(password, salt=None, iterations=ITERATIONS):
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"


def _matches(password, verifier):
    parts = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$[^:]+:.+", verifier or "")
    return bool(parts) and hmac.compare_digest(_verifier(password, base64.b64decode(parts[2]), int(parts[1])), verifier)
