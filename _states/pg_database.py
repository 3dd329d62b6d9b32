"""A database of this server's PostgreSQL, with its owner, and nothing in it for whoever isn't named."""

from salt.exceptions import CommandExecutionError

DATABASE = """
SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
       has_database_privilege('public', oid, 'CONNECT, TEMPORARY') AS public,
       EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = oid AND setrole = 0) AS settings
FROM pg_database WHERE datname = :'name'
"""
# a role that isn't there yet has no privilege
READER = """
SELECT coalesce(has_database_privilege(role, :'name', 'CONNECT') AND has_database_privilege(role, :'name', 'TEMPORARY'),
                false) AS welcome
FROM to_regrole(quote_ident(:'reader')) AS role
"""
# all that is OMERO's is in the schema `public`; before PostgreSQL 15 everybody could make tables there
SCHEMA = """
SELECT has_schema_privilege('public', 'public', 'CREATE') AS public,
       coalesce(has_schema_privilege(role, 'public', 'CREATE'), false) AS owner
FROM to_regrole(quote_ident(:'owner')) AS role
"""


def present(name, owner, readers=()):
    """
    The database is there, in UTF-8; only its owner makes tables in it, and only owner and readers may connect.

    name:     the database; an existing one keeps all that is in it, but not settings that a volume brought
    owner:    role that owns it
    readers:  roles that may connect and make temporary tables; what they may read isn't decided here

    Refuses an existing database in another encoding.
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    if __opts__["test"] and not __salt__["pg_cluster.running"]():
        ret.update(result=None, comment=f"PostgreSQL doesn't run: database {name} would be looked at")
        return ret
    try:
        found = __salt__["pg_sql.query"](DATABASE, name=name)
        if found and found[0]["encoding"] != "UTF8":
            ret["comment"] = (
                f"{__opts__['id']}: database {name} is in {found[0]['encoding']}, OMERO needs UTF8. Dump it with "
                f"pg_dump --encoding=UTF8, drop it, and restore the dump into the new one that is made then"
            )
            return ret
        if not found:
            ret["changes"]["database"] = {"old": "", "new": "made"}
            if __opts__["test"]:
                ret.update(result=None, comment=f"database {name} would be made")
                return ret
            sql = 'CREATE DATABASE :"name" OWNER :"owner" ENCODING \'UTF8\' TEMPLATE template0;'
            __salt__["pg_sql.execute"](sql, limit=600, name=name, owner=owner)
            found = __salt__["pg_sql.query"](DATABASE, name=name)
        steps = _steps(name, owner, readers, found[0])
        ret["changes"].update({what: {"old": "", "new": "set"} for what, _sql, _values in steps})
        for _what, sql, values in steps if not __opts__["test"] else []:
            __salt__["pg_sql.execute"](sql, database=name, **values)
    except CommandExecutionError as exc:
        ret.update(changes={}, comment=f"{__opts__['id']}: database {name}: {exc}")
        return ret
    if not ret["changes"]:
        ret.update(result=True, comment=f"database {name} is as it should be")
    elif __opts__["test"]:
        ret.update(result=None, comment=f"of database {name} would be set: {', '.join(ret['changes'])}")
    else:
        ret.update(result=True, comment=f"of database {name} has been set: {', '.join(ret['changes'])}")
    return ret


def _steps(name, owner, readers, found):
    """What makes a database as it should be, given how it is: (what, SQL, its variables)."""
    steps = []
    if found["owner"] != owner:
        steps.append(("owner", 'ALTER DATABASE :"name" OWNER TO :"owner";', {"name": name, "owner": owner}))
    if found["settings"]:
        steps.append(("no settings of its own", 'ALTER DATABASE :"name" RESET ALL;', {"name": name}))
    if found["public"]:
        steps.append(("closed to others", 'REVOKE ALL ON DATABASE :"name" FROM PUBLIC;', {"name": name}))
    for reader in readers:
        # as long as it is open to all, a reader's being welcome says nothing
        if found["public"] or not __salt__["pg_sql.query"](READER, name=name, reader=reader)[0]["welcome"]:
            sql = 'GRANT CONNECT, TEMPORARY ON DATABASE :"name" TO :"reader";'
            steps.append((f"open to {reader}", sql, {"name": name, "reader": reader}))
    schema = __salt__["pg_sql.query"](SCHEMA, database=name, owner=owner)[0]
    if schema["public"]:
        steps.append(("tables of others", "REVOKE CREATE ON SCHEMA public FROM PUBLIC;", {}))
    if not schema["owner"] or schema["public"]:
        steps.append(("tables of the owner", 'GRANT ALL ON SCHEMA public TO :"owner";', {"owner": owner}))
    return steps
