"""Which ports of an address can be connected to from here, of those that only servers among themselves may use."""

import socket
from concurrent.futures import ThreadPoolExecutor

PUBLIC = (22, 80, 443)
INNER = {
    111: "rpcbind", 873: "rsync", 2049: "NFS", 2375: "Docker", 2376: "Docker", 4061: "IceGrid", 4063: "OMERO.server",
    4064: "OMERO.server", 4080: "OMERO.web", 4505: "the Salt master", 4506: "the Salt master", 5432: "PostgreSQL",
    6379: "Redis", 8000: "JupyterHub", 8001: "JupyterHub's proxy", 8080: "a web server", 8081: "JupyterHub's API",
    9000: "the cache's refresh", 9001: "the cache's back end", 9100: "an exporter", 9187: "an exporter",
}  # fmt: skip
SECONDS = 3  # until one that doesn't answer counts as closed
PATIENCE = 20  # the same of one that has to be open


def connectable(address, ports):
    """The ports of an address that take a connection, in their order."""

    def takes(port):
        try:
            socket.create_connection((address, port), PATIENCE if port in PUBLIC else SECONDS).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(len(ports)) as pool:
        return [port for port, open_ in zip(ports, pool.map(takes, ports), strict=True) if open_]


def problems(environment, address):
    """Each port of an environment's address that is open and mustn't be, or isn't and has to be, a line each."""
    open_ = connectable(address, (*PUBLIC, *INNER))
    closed = [it for it in PUBLIC if it not in open_]
    rules = f"salt-run environment.plan {environment} tells which rules are others than they should be"
    return [f"port {it} of {environment} ({address}) is closed, and has to be open: {rules}" for it in closed] + [
        f"port {it} of {environment} ({address}), {INNER[it]}, is open to the outside: {rules}"
        for it in open_
        if it in INNER
    ]
