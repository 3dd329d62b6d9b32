"""
An environment as its cloud says it is: the table of its servers, addresses and volumes (idr/topology.py reads it).

Whatever isn't there is left out, so that the table's reader tells of all that is missing at once.
"""

from idr import topology
from idr.cloud import inventory, wanted
from idr.cloud.connection import connect
from idr.cloud.servers import port_name
from idr.errors import IdrError


def environment(name):
    """
    The table of an environment from its cloud, of plain texts and numbers: ``{"environment": {"name": "newidr", …}}``.

    Refused where the cloud can't be asked, and where it has no server of that environment.
    """
    cloud = wanted.cloud_of(name)
    facts = inventory.facts(connect(cloud))
    if not facts.of(name, "server"):
        raise IdrError(f"no server of {name} is in the cloud {cloud}: salt-run environment.plan {name}")
    return of(facts, name, wanted.public_name_of(name))


def of(facts, name, public_name):
    """The table of the environment NAME from FACTS: a pure function."""
    ports = {port.name: port for port in facts.of(name, "port")}
    proxy = ports.get(port_name(f"{name}-proxy", name))
    address = next((each.name for each in facts.all("address") if proxy and each.what["port_id"] == proxy.id), None)
    networks = {
        network.name: {"cidr": subnet.what["cidr"], "gateway": subnet.what["gateway_ip"]}
        for network in _first(facts.of(name, "network"))
        for subnet in facts.of(name, "subnet")
        if subnet.what["network_id"] == network.id
    }
    return {
        "environment": {
            "name": name,
            "public": {"name": public_name} | ({"address": address} if address else {}),
            "networks": networks,
            "servers": {each.name: _server(facts, each, name, networks) for each in _first(facts.of(name, "server"))},
        }
    }


def _first(things):
    """Things by name; of two of one name the older."""
    found = {}
    for thing in sorted(things, key=lambda each: (each.name, each.what.get("created_at") or "")):
        found.setdefault(thing.name, thing)
    return list(found.values())


def _server(facts, server, name, networks):
    role = server.what["role"]
    addresses = {}
    for port in facts.of(name, "port"):
        network = next((each for each in networks if port.name == port_name(server.name, each)), None)
        if network and port.what["device_id"] == server.id and port.what["fixed_ips"]:
            addresses[network] = port.what["fixed_ips"][0]["ip_address"]
    own = topology.volume_of(server.name, role, name) if role in topology.ROLES else None
    volumes = [
        {"name": own[0], "mount": own[1], "size_gb": volume.what["size"], "id": volume.id}
        for volume in facts.of(name, "volume")
        if own and volume.what["use"] == own[0]
        if any(each["server_id"] == server.id for each in volume.what["attachments"])
    ]
    return {"role": role, "addresses": addresses, "volumes": volumes}
