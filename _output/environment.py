"""
What the environment runner shows as a table: an environment with a line for each server and what is wrong, all of a
cloud with a line each, or a plan.
"""

from idr import columns

COLUMNS = ("server", "role", "address", "os", "services", "drift", "versions")
OF_LIST = ("environment", "live", "address", "servers", "since", "")


def output(data, **kwargs):
    """
    The table of an environment, of all, or of a plan.

    CLI Example:

    .. code-block:: bash

        salt-run environment.show idr
    """
    if "environments" in data:
        return "\n".join(columns.lines([OF_LIST, *(_listed(name, it) for name, it in data["environments"].items())]))
    if "lines" in data:
        return "\n".join([*data["lines"], data["comment"]])
    rows = [COLUMNS, *(_row(id_, server) for id_, server in data["servers"].items())]
    lines = [
        f"{data['environment']}: {data['public']}",
        f"commit {(data['commit'] or 'none')[:12]}, {data['compared']}",
        *([f"a deploy is going on: {data['deploying']}"] if data["deploying"] else []),
        "",
        *columns.lines(rows),
        "",
        *(_drift(id_, server) for id_, server in data["servers"].items() if server.get("drift")),
        *(f"no rehearsal: {server['why']}" for server in data["servers"].values() if server["up"] and "why" in server),
        *data["down"],
    ]
    return "\n".join([*lines, "" if data["down"] else "everything is up"]).rstrip()


def _listed(name, it):
    up = sum(status == "ACTIVE" for status in it["servers"].values())
    more = [f"unfinished run {it['unfinished']}"] if it["unfinished"] else []
    more += [f"held by {it['held']}"] if it["held"] else []
    more += [f"kept aside: {', '.join(it['aside'])}"] if it["aside"] else []
    servers = f"{up} of {len(it['servers'])}"
    return (name, "live" if it["live"] else "", it["address"], servers, it["since"] or "", "; ".join(more))


def _row(id_, server):
    if not server["up"]:
        return (id_, server["role"], server["address"], "", "", "", "")
    services = server["services"]
    up = sum(state == "active" for state in services.values())
    versions = ", ".join(f"{name} {version or 'unknown'}" for name, version in server["versions"].items())
    return (id_, server["role"], server["address"], server["os"], f"{up} of {len(services)}", _count(server), versions)


def _count(server):
    if "drift" not in server:
        return "not asked"
    return "unknown" if server["drift"] is None else str(len(server["drift"]))


def _drift(id_, server):
    return f"{id_} would change: " + "; ".join(server["drift"])
