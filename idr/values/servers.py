"""Each server's pillar read, and what its servers' values have to be in regard of each other."""

from idr.values import base, jupyterhub, nginx, omero, postgresql, secrets
from idr.values.kinds import mapping

SHAPES = {
    "proxy": {"nginx": nginx.SHAPE},
    "omero": {"omero": omero.SHAPE},
    "database": {"postgresql": postgresql.SHAPE},
    "dockermanager": {"docker": jupyterhub.DOCKER, "jupyterhub": jupyterhub.SHAPE},
    "management": {},
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
    if "secrets" in pillar or demanded and secrets.needed(server.role):
        own["secrets"] = secrets.shape(server.role, demanded)
    others = {name: lambda *_: None for name in TREES if name not in own}
    values = mapping(own, others)(pillar, "", wrong)
    base.rules(values["base"], "base", wrong)
    match server.role:
        case "proxy":
            nginx.rules(values["nginx"], "nginx", wrong, server, environment)
        case "omero":
            omero.rules(values["omero"], "omero", wrong, server, demanded)
        case "database":
            postgresql.rules(values["postgresql"], "postgresql", wrong)
        case "dockermanager":
            jupyterhub.rules(values["jupyterhub"], "jupyterhub", wrong)
    return values


def _together(environment, values, wrong_on):
    """Rules that need the values of more than one server."""
    for id_, server in environment.servers.items():
        own = values[id_]
        match server.role:
            case "database":
                _connections_suffice(environment, server, own["postgresql"], values, wrong_on(id_))
            case "omero":
                _operators_leave_its_numbers(own, wrong_on(id_))
            case "proxy":
                _jupyter_has_a_hub(environment, own["nginx"]["jupyter"], values, wrong_on(id_))


def _connections_suffice(environment, server, postgresql_, values, wrong):
    sizes = {
        id_: values[id_]["omero"]["database"]["poolsize"]
        for id_, other in environment.servers.items()
        if other.role == "omero" and other.prefix == server.prefix
    }
    if None in (*sizes.values(), postgresql_["pools"], postgresql_["reserve"]):
        return  # told already
    there, wanted = postgresql.connections(postgresql_), POOLS * sum(sizes.values())
    if there < wanted + postgresql_["reserve"]:
        wrong(
            "postgresql",
            f"takes {there} connections, and {' and '.join(sizes)} may hold {wanted} (omero.database.poolsize, {POOLS} "
            f"pools each) besides {postgresql_['reserve']} in reserve: set pools to {wanted}",
        )


def _operators_leave_its_numbers(own, wrong):
    gid = own["omero"]["data"]["gid"]
    for name, operator in own["base"]["operators"].items():
        if operator["uid"] == gid is not None:
            wrong(f"base.operators.{name}.uid", f"{gid} is the number of OMERO's group idr-data (omero.data.gid)")


def _jupyter_has_a_hub(environment, jupyter, values, wrong):
    if not jupyter["enabled"]:
        return
    hosts = [id_ for id_, server in environment.servers.items() if server.role == "dockermanager"]
    if not hosts:
        wrong("nginx.jupyter.enabled", "there is no Docker server that /jupyter could lead to")
    for id_ in hosts:
        if not jupyterhub.has_images(values[id_]["jupyterhub"]):
            wrong("nginx.jupyter.enabled", f"there is no JupyterHub on {id_}: give jupyterhub.hub_image and user_image")
