"""``environment.show`` as a table: a line for each server, then what is wrong, a line each."""

COLUMNS = ("server", "role", "address", "os", "services", "drift", "versions")


def output(data, **kwargs):
    """
    The table of an environment.

    CLI Example:

    .. code-block:: bash

        salt-run environment.show idr
    """
    rows = [COLUMNS, *(_row(id_, server) for id_, server in data["servers"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        f"{data['environment']}: {data['public']}",
        f"commit {(data['commit'] or 'none')[:12]}, {data['compared']}",
        *([f"a deploy is going on: {data['deploying']}"] if data["deploying"] else []),
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
        "",
        *(_drift(id_, server) for id_, server in data["servers"].items() if server.get("drift")),
        *(f"no rehearsal: {server['why']}" for server in data["servers"].values() if server["up"] and "why" in server),
        *data["down"],
    ]
    return "\n".join([*lines, "" if data["down"] else "everything is up"]).rstrip()


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
