"""
What an environment's own master sees of it for a release: its minions asked, and their answers as they are.

Judging them is for who typed it (idr/release/guards.py): a master knows its own environment alone.
"""

SCHEMA = "select currentversion || ' ' || currentpatch as schema from dbpatch order by id desc limit 1"
ANSWER = 20  # seconds, and again, for a minion that does nothing; one that is at work is waited for
FILES = 900  # seconds for which files that were written are looked for
WRITES = 1500  # seconds until what was written is told


def health(ask, environment):
    """
    How OMERO, the site and the hub of an environment are, and who is at work in OMERO: answers by what was asked, and
    by server; None of one that gave none.

    ask:  as ``asking`` gives it
    """
    servers = list(environment.servers.values())
    omeros = [it.id for it in servers if it.role == "omero"]
    dockers = [it.id for it in servers if it.role == "dockermanager"]
    asked = {
        "status": (omeros, "omero.status", []),
        "activity": (omeros, "omero.activity", []),
        "schema": (of_production(environment)[:1], "omero.query", [SCHEMA]),
        "site": ([environment.proxy.id], "maintenance.status", []),
        "hub": (dockers, "jupyterhub.servers", []),
    }
    found = {what: (ids, ask(ids, *call, ANSWER) if ids else {}) for what, (ids, *call) in asked.items()}
    return {what: {id_: answers.get(id_) for id_ in ids} for what, (ids, answers) in found.items()}


def writes(ask, environment, since):
    """
    What was written to the production side of an environment: each OMERO's answer, of those that gave one.

    since:  the moment, as ``omero.writes_since`` takes it
    """
    return ask(of_production(environment), "omero.writes_since", [since], ANSWER, limit=FILES)


def of_production(environment):
    """The ids of the servers with the OMERO that the public sees, the first one's first."""
    return [it.id for it in environment.servers.values() if it.role == "omero" and it.prefix == environment.name]
