"""An environment as it is: servers, their services and versions, the deployed commit, and what has drifted from it."""

from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

from idr import at_master, commits
from idr.errors import IdrError
from idr.update import rehearsed, sorted_out

# Units that have to run, by role; a pattern where the name has a version in it.
SERVICES = {
    "proxy": ("nginx.service", "salt-master.service"),
    "omero": ("omero-server.service", "omero-web.service", "nginx.service", "redis*.service"),
    "database": ("postgresql-*.service",),
    "dockermanager": ("docker.service",),
    "management": (),
}
EVERYWHERE = ("idr-firewall.service", "salt-minion.service")
OPTIONAL = {"dockermanager": ("docker-jupyterhub.service",)}  # there only where pillar names images

SHORT_HASH = r"| sed 's/sha256:\(.\{12\}\).*/\1/'"
PACKAGES = "/lib/python3*/site-packages"
VERSION_OF_PACKAGE = r"| sed 's/.*-\(.*\).dist-info/\1/'"
VERSIONS = {
    "proxy": {"nginx": "nginx -v 2>&1 | cut -d/ -f2"},
    "omero": {
        "OMERO.server": "basename $(readlink /opt/omero/server/OMERO.server) | cut -d- -f2-",
        "OMERO.web": f"ls -d /opt/omero/web/venv3{PACKAGES}/omero_web-*.dist-info {VERSION_OF_PACKAGE}",
        "nginx": "nginx -v 2>&1 | cut -d/ -f2",
    },
    "database": {"PostgreSQL": "runuser -u postgres -- psql -Atc 'SHOW server_version' postgres | cut -d' ' -f1"},
    "dockermanager": {
        "Docker": "docker version --format '{{.Server.Version}}'",
        "JupyterHub's image": "docker inspect --format '{{.Config.Image}}' omero-jupyter " + SHORT_HASH,
    },
    "management": {},
}
SALT = {"Salt": f"ls -d /opt/salt{PACKAGES}/salt-*.dist-info {VERSION_OF_PACKAGE}"}


def show(name, with_drift, folder, tell):
    """
    An environment as it is now, as data: its servers, the deployed commit, and whether everything is up.

    with_drift:  whether each server also rehearses what is deployed, which takes it some seconds
    folder:      the operator's site directory
    tell:        is told one line of progress at a time
    """
    with at_master.reached(name, folder) as (ssh, _):
        environment = ssh.environment
        seen = _look(ssh, environment)
        tell(f"looked at {len(seen)} servers of {name}")
        drift = _drift(ssh, environment, seen, tell) if with_drift else {}
    servers = {
        id_: {"role": server.role, "address": str(server.address), **seen[id_], **drift.get(id_, {})}
        for id_, server in environment.servers.items()
    }
    master = seen[environment.proxy.id]
    release, deploying = master.pop("release", None), master.pop("deploy", None)
    for server in servers.values():
        server.pop("release", None), server.pop("deploy", None)
    return {
        "environment": name,
        "public": f"https://{environment.public_name}/ ({environment.public_address})",
        "commit": release,
        "compared": commits.compared(release),
        "deploying": deploying,
        "servers": servers,
        "down": [line for id_, server in servers.items() for line in down(id_, server)],
    }


def _look(ssh, environment):
    """What each server says of itself, by id; of one that can't be reached why."""

    def look(server):
        wanted = {
            "units": [*SERVICES[server.role], *EVERYWHERE, *OPTIONAL.get(server.role, ())],
            "versions": {**VERSIONS[server.role], **SALT},
        }
        try:
            said = ssh.do(server, "shown", wanted)
        except IdrError as error:
            return {"up": False, "why": str(error)}
        return {"up": True, **said, "services": services(server.role, said["services"])}

    proxy = environment.proxy
    seen = {proxy.id: look(proxy)}
    others = [server for server in environment.servers.values() if server != proxy]
    if not seen[proxy.id]["up"]:
        why = f"not looked at, since it's reached through {proxy.id}"
        return seen | {server.id: {"up": False, "why": f"{server.id}: {why}"} for server in others}
    with ThreadPoolExecutor(len(others) or 1) as pool:
        return seen | dict(zip((server.id for server in others), pool.map(look, others), strict=True))


def services(role, found):
    """The state of every unit that has to run there, `absent` where there is none, and of optional ones that are."""
    wanted = (*SERVICES[role], *EVERYWHERE)
    absent = {pattern: "absent" for pattern in wanted if not any(fnmatch(unit, pattern) for unit in found)}
    return {unit.removesuffix(".service"): state for unit, state in {**found, **absent}.items()}


def _drift(ssh, environment, seen, tell):
    """What a highstate of the deployed commit would change, by server that can tell."""
    up = [server for id_, server in environment.servers.items() if seen[id_]["up"]]
    found, problems = rehearsed(ssh, up, "base", tell)
    rehearsal = sorted_out(found)
    return {
        server.id: {"drift": [*rehearsal.would.get(server.id, ()), *rehearsal.fails.get(server.id, ())]}
        if server.id in found
        else {"drift": None, "why": problems[server.id]}
        for server in up
    }


def down(id_, server):
    """What isn't up on a server, a line each."""
    if not server["up"]:
        return [server["why"]]
    return [f"{id_}: {unit} is {state}" for unit, state in server["services"].items() if state != "active"]
