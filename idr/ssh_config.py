"""An environment's OpenSSH configuration, for an operator's own ``~/.ssh/config`` to include."""

# What is listened for at one's own end, and where it leads to: named after the use, on the server that answers.
TUNNELS = {
    "cache-refresh": ("proxy", 9000, "localhost:9000", "pages made anew, for everyone: http://localhost:9000/"),
    "omero-web": ("omero", 8080, "localhost:80", "OMERO.web to log in to: http://localhost:8080/"),
    "database": ("database", 5432, "localhost:5432", "psql -h localhost"),
    "jupyterhub": ("dockermanager", 8000, "localhost:8000", "JupyterHub without the proxy: http://localhost:8000/jupyter/"),
}


def text(environment, folder, user=None):
    """
    The configuration of every server, the inside ones through the proxy, and of every tunnel.

    folder:  the operator's site directory, in which an apply writes down the host keys of the servers that it makes
    user:    the name to log in with; without one OpenSSH takes one's own

    Each host key is looked for under its server's name, as enrolment does, and has to be known.
    """
    blocks = [f"# The servers of {environment.name} and the ways into them, by salt-run environment.ssh_config."]
    for server in environment.servers.values():
        blocks.append(_host(environment, server, folder, server.id, user))
    for use, (role, port, to, what) in TUNNELS.items():
        for server in environment.servers.values():
            if server.role == role:
                name = f"{server.prefix}-tunnel-{use}{_number(server)}"
                lines = ["ExitOnForwardFailure yes", f"LocalForward {port} {to}"]
                blocks.append(f"# {what}\n{_host(environment, server, folder, name, user, lines)}")
    return "\n\n".join(blocks)


def _number(server):
    """What tells a side's second server of a role from the first."""
    return server.id.rpartition(server.role)[2]


def _host(environment, server, folder, name, user, further=()):
    proxy = environment.proxy
    lines = [
        f"Host {name}",
        f"HostName {environment.public_address if server == proxy else server.address}",
        *([f"User {user}"] if user else []),
        f"HostKeyAlias {server.id}",
        "CheckHostIP no",
        "StrictHostKeyChecking yes",
        f"UserKnownHostsFile ~/.ssh/known_hosts {folder / 'known_hosts'}",
        *([f"ProxyJump {proxy.id}"] if server != proxy else []),
        *further,
    ]
    return "\n    ".join(lines)
