"""`nginx`: the caching proxy."""

from idr.values import redirects, zones
from idr.values.kinds import each, mapping, nothing_or, source, source_hash, text, true_or_false, whole

MOUNT = "/var/cache/nginx"
SHAPE = mapping(
    {
        "upstream": each(text("the name of a server", r"[a-z0-9-]+")),
        "cache": mapping({"volume_percent": whole(1, 100), "memory_percent": whole(1, 100), "zones": zones.SHAPE}),
        "redirects": redirects.SHAPE,
        "about": mapping(
            {
                "version": text("the name of a directory", r"[A-Za-z0-9][A-Za-z0-9._-]*"),
                "source": nothing_or(source),
                "source_hash": nothing_or(source_hash),
            }
        ),
        "jupyter": mapping({"enabled": true_or_false, "port": whole(1, 65535)}),
    }
)


def rules(nginx, place, wrong, server, environment):
    """What the proxy's values have to be besides well-formed."""
    for number, name in enumerate(nginx["upstream"]):
        other = environment.servers.get(name)
        if other is None or other.role != "omero" or server.prefix not in other.addresses:
            wrong(f"{place}.upstream[{number}]", f"{name} is no server with OMERO.web in the network {server.prefix}")
        elif name in nginx["upstream"][:number]:
            wrong(f"{place}.upstream[{number}]", f"{name} is there twice")
    zones.rules(nginx["cache"], f"{place}.cache", wrong, _volume(server))
    redirects.rules(nginx["redirects"], f"{place}.redirects", wrong)
    about = nginx["about"]
    if about["source"] and about["source_hash"] == "":
        wrong(f"{place}.about.source_hash", "missing: what is downloaded is known by its hash")
    if about["source_hash"] and about["source"] == "":
        wrong(f"{place}.about.source", "missing: there is a hash of it")


def _volume(server):
    return next((volume for volume in server.volumes if volume.mount == MOUNT), None)
