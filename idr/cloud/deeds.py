"""
The calls of a cloud's services, by kind of thing: make, look for, change, remove, and say in what state it is.

WHAT is a step's, with every reference filled in; all functions take and return the cloud's ids. Nothing is tried twice
here, and nothing decided.
"""

from idr.cloud import mark
from idr.cloud.answers import is_missing
from idr.cloud.connection import ERRORS

GONE = "gone"
GOOD = {"volume": "available", "snapshot": "available", "server": "ACTIVE", "attachment": "in-use"}
NETWORK = {  # kind: the SDK's name for it; for its list an `s` is added
    "network": "network",
    "subnet": "subnet",
    "router": "router",
    "group": "security_group",
    "rule": "security_group_rule",
    "port": "port",
    "address": "ip",
}


def make(cloud, kind, what):
    """Make a thing by one call; returns its id."""
    if kind in NETWORK:
        return getattr(cloud.network, f"create_{NETWORK[kind]}")(**what).id
    if kind == "interface":
        return cloud.network.add_interface_to_router(what["router_id"], subnet_id=what["subnet_id"])["port_id"]
    if kind == "attachment":
        return cloud.compute.create_volume_attachment(what["server_id"], volume_id=what["volume_id"]).id
    return {
        "key": cloud.compute.create_keypair,
        "server": cloud.compute.create_server,
        "volume": cloud.block_storage.create_volume,
        "snapshot": cloud.block_storage.create_snapshot,
    }[kind](**what).id


def look(cloud, environment, kind, what):
    """The id of the thing that such a step makes if it's there already, None if not: the first that was made."""
    found = sorted(_found(cloud, environment, kind, what), key=lambda thing: (thing.created_at or "", thing.id))
    return found[0].id if found else None


def _found(cloud, environment, kind, what):
    if kind == "rule":
        asked = {"security_group_id": what["security_group_id"], "direction": what["direction"]}
        return [rule for rule in cloud.network.security_group_rules(**asked) if _is_like(rule, what)]
    if kind == "address":
        found = cloud.network.ips(port_id=what["port_id"])
        return [address for address in found if mark.of(address.description)[0] == environment]
    if kind in NETWORK:
        project = cloud.session.get_project_id()  # an administrator would see other projects' too
        found = getattr(cloud.network, f"{NETWORK[kind]}s")(name=what["name"], project_id=project)
        return [it for it in found if it.name == what["name"] and mark.of(it.description)[0] == environment]
    if kind == "interface":
        found = cloud.network.ports(device_id=what["router_id"])
        return [port for port in found if what["subnet_id"] in [ip["subnet_id"] for ip in port.fixed_ips]]
    if kind == "attachment":
        found = cloud.compute.volume_attachments(what["server_id"])
        return [_Plain(it.id) for it in found if it.volume_id == what["volume_id"]]
    if kind == "key":
        found = cloud.compute.keypairs()
        return [_Plain(it.name) for it in found if it.name == what["name"] and _same_key(it, what)]
    found = {
        "server": cloud.compute.servers,
        "volume": cloud.block_storage.volumes,
        "snapshot": cloud.block_storage.snapshots,
    }[kind](name=what["name"])
    return [it for it in found if it.name == what["name"] and it.metadata.get("idr_environment") == environment]


class _Plain:
    """What has no time of making."""

    created_at = None

    def __init__(self, id_):
        self.id = id_


def _is_like(rule, what):
    compared = {key: value for key, value in what.items() if key != "description"}
    optional = ("protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")
    return all(getattr(rule, key) == value for key, value in (dict.fromkeys(optional) | compared).items())


def _same_key(pair, what):
    return pair.public_key.split()[:2] == what["public_key"].split()[:2]


def changed(cloud, kind, id_, what):
    """The id of an address that is as it's to be, None of all else: only its change is conditional, so had once."""
    if kind != "address":
        return None
    address = cloud.network.get_ip(id_)
    return id_ if all(getattr(address, key) == what[key] for key in what if key != "if_revision") else None


def change(cloud, kind, id_, what):
    """Give a thing other attributes; but for a conditional change, done twice it's the same as once."""
    if kind == "snapshot":
        cloud.block_storage.set_snapshot_metadata(id_, **what["metadata"])
    elif kind == "volume":
        cloud.block_storage.set_volume_metadata(id_, **what["metadata"])
        if "name" in what:
            cloud.block_storage.update_volume(id_, name=what["name"])
    else:
        getattr(cloud.network, f"update_{NETWORK[kind]}")(id_, **what)


def tag(cloud, kind, id_, what):
    """Put a tag on an address; done twice it's the same as once."""
    cloud.network.get_ip(id_).add_tag(cloud.network, what["tag"])


def remove(cloud, kind, id_, what):
    """Remove a thing; an error that says 404 where it isn't there."""
    if kind in NETWORK:
        getattr(cloud.network, f"delete_{NETWORK[kind]}")(id_, ignore_missing=False)
    elif kind == "interface":
        cloud.network.remove_interface_from_router(what["router_id"], subnet_id=what["subnet_id"])
    elif kind == "attachment":
        cloud.compute.delete_volume_attachment(what["server_id"], what["volume_id"], ignore_missing=False)
    elif kind == "credential":
        cloud.identity.delete_application_credential(cloud.current_user_id, id_, ignore_missing=False)
    else:
        {
            "key": cloud.compute.delete_keypair,
            "server": cloud.compute.delete_server,
            "volume": cloud.block_storage.delete_volume,
            "snapshot": cloud.block_storage.delete_snapshot,
        }[kind](id_, ignore_missing=False)


def state(cloud, kind, id_, what):
    """
    A thing's state and what its service says of a failure: ``("available", "")``. ``gone`` where it isn't there. What
    is there as soon as its call was answered has none to wait for, and isn't asked.
    """
    try:
        if kind == "server":
            server = cloud.compute.get_server(id_)
            return server.status, (server.fault or {}).get("message", "")
        if kind == "snapshot":
            return cloud.block_storage.get_snapshot(id_).status, ""
        if kind == "attachment":
            volume = cloud.block_storage.get_volume(what["volume_id"])
            on = any(it["server_id"] == what["server_id"] for it in volume.attachments)
            return (
                volume.status if on else GONE if volume.status == "available" else f"{volume.status}, not on it"
            ), ""
        return cloud.block_storage.get_volume(id_).status, ""
    except ERRORS as error:
        if not is_missing(error):
            raise
        return GONE, ""
