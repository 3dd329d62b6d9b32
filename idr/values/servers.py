"""Each server's pillar read, and what its servers' values have to be in regard of each other."""

from idr.values import base, jupyterhub, nginx, omero, postgresql, secrets
from idr.values.kinds import mapping

SHAPES = {
    "proxy": {"nginx": nginx.SHAPE},
    "omero": {"omero": omero.SHAPE},
    "database": {"postgresql": postgresql.SHAPE},
    "dockermanager": {"docker": jupyterhub.DOCKER, "jupyterhub": jupyterhub.SHAPE},
}
# site.sls goes to every server, so each may have the values of all roles besides its own.
TREES = ("environment", "server", "base", "nginx", "omero", "postgresql", "docker", "jupyterhub", "secrets")
POOLS = 3  # of each OMERO.server: Blitz, Indexer and PixelData have one each


def problems(environment, pillars, demanded):
    """
    What is wrong with the servers' pillar, one line each with its server and place; a line that holds for several
    servers is said once.

    environment:  as topology reads it
    pillars:      each server's pillar as Salt compiled it, by id
    demanded:     whether that has to be there which only a site can give: where OMERO comes from, and secrets
    """
    found = {}

    def wrong_on(id_):
        return lambda place, what: found.setdefault(f"{place}: {what}", []).append(id_)

    values = {
        id_: _read(environment, environment.servers[id_], pillar, demanded, wrong_on(id_))
        for id_, pillar in pillars.items()
    }
    _together(environment, values, wrong_on)
    every = list(pillars)
    return [f"{'every server' if who == every else ', '.join(who)}: {what}" for what, who in found.items()]


def _read(environment, server, pillar, demanded, wrong):
    """The parsed values of one server, after its own rules."""
    own = {"base": base.SHAPE, **SHAPES[server.role]}
    if demanded or "secrets" in pillar:
        own["secrets"] = secrets.shape(server.role, demanded)
    others = {name: lambda *_: None for name in TREES if name not in own}
    values = mapping(own, others)(pillar, "", wrong)
    if values["base"]:
        base.rules(values["base"], "base", wrong)
    match server.role:
        case "proxy" if values["nginx"]:
            nginx.rules(values["nginx"], "nginx", wrong, server, environment)
        case "omero" if values["omero"]:
            omero.rules(values["omero"], "omero", wrong, server)
            if demanded:
                omero.demanded(values["omero"], "omero", wrong)
        case "database" if values["postgresql"]:
            postgresql.rules(values["postgresql"], "postgresql", wrong)
        case "dockermanager" if values["jupyterhub"]:
            jupyterhub.rules(values["jupyterhub"], "jupyterhub", wrong)
    return values


def _together(environment, values, wrong_on):
    """Rules that need the values of more than one server."""
    for id_, server in environment.servers.items():
        own = values[id_]
        if server.role == "database" and own["postgresql"]:
            _connections_suffice(environment, server, own["postgresql"], values, wrong_on(id_))
        if server.role == "omero":
            _operators_leave_its_numbers(own, wrong_on(id_))
        if server.role == "proxy" and (own["nginx"] or {}).get("jupyter"):
            _jupyter_has_a_hub(environment, own["nginx"]["jupyter"], values, wrong_on(id_))


def _connections_suffice(environment, server, postgresql_, values, wrong):
    pools = {
        id_: POOLS * values[id_]["omero"]["database"]["poolsize"]
        for id_, other in environment.servers.items()
        if other.role == "omero" and other.prefix == server.prefix and _has_poolsize(values[id_])
    }
    if not pools or postgresql_["pools"] is None or postgresql_["reserve"] is None:
        return
    there = postgresql.connections(postgresql_)
    if there < sum(pools.values()) + postgresql_["reserve"]:
        wrong(
            "postgresql",
            f"takes {there} connections, and {' and '.join(pools)} may hold {sum(pools.values())} (omero.database."
            f"poolsize, {POOLS} pools each) besides {postgresql_['reserve']} in reserve: set pools to "
            f"{sum(pools.values())}",
        )


def _has_poolsize(values):
    return ((values["omero"] or {}).get("database") or {}).get("poolsize") is not None


def _operators_leave_its_numbers(own, wrong):
    gid = ((own["omero"] or {}).get("data") or {}).get("gid")
    for name, operator in ((own["base"] or {}).get("operators") or {}).items():
        if gid is not None and operator["uid"] == gid:
            wrong(f"base.operators.{name}.uid", f"{gid} is the number of OMERO's group idr-data (omero.data.gid)")


def _jupyter_has_a_hub(environment, jupyter, values, wrong):
    if not jupyter["enabled"]:
        return
    hosts = [id_ for id_, server in environment.servers.items() if server.role == "dockermanager"]
    if not hosts:
        wrong("nginx.jupyter.enabled", "there is no Docker server that /jupyter could lead to")
    for id_ in hosts:
        hub = values[id_]["jupyterhub"]
        if hub and not jupyterhub.has_images(hub):
            wrong("nginx.jupyter.enabled", f"there is no JupyterHub on {id_}: give jupyterhub.hub_image and user_image")
