"""Servers: the key pair that gets into them, their ports, themselves, and their volumes attached."""

import base64
import json

from idr.cloud import groups, networks
from idr.cloud.model import Ref

STARTING = ("BUILD",)
STOPPED = ("SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED", "STOPPED")


def plan(draft, image, flavors):
    """
    Put down what the servers need.

    image:    its id, None if it is missing
    flavors:  the flavors of this cloud by the names that servers want
    """
    free = {network.name: networks.addresses(draft, network.name) for network in draft.wanted.networks}
    for server in draft.wanted.servers:
        there = draft.own("server", server.name)
        for network in server.networks:
            _port(draft, server, there, network, free[network])
        if there:
            _look_at(draft, server, there)
        else:
            _make(draft, server, image, flavors.get(server.flavor))
    _key(draft, needed=bool(to_be_made(draft)))
    for volume in draft.wanted.volumes:
        _attach(draft, volume)


def to_be_made(draft):
    """The servers that aren't there."""
    return [server for server in draft.wanted.servers if draft.own("server", server.name) is None]


def port_name(server, network):
    """A port's name: ``newidr-proxy-newidr-a``."""
    return f"{server}-{network}"


def _key(draft, needed):
    """Nova has one key in a key pair; further ones go with each server. It matters only where a server is made."""
    name = f"{draft.environment}-deployment"
    there = next((key for key in draft.facts.all("key") if key.name == name), None)
    key = next(iter(draft.wanted.keys), None)
    if needed and not key:
        draft.problems.append("idr_keypair_keys: none, and you have no ~/.ssh/id_*.pub: ssh-keygen -t ed25519")
        return
    if there is None:
        if needed:
            draft.make("key", name, {"name": name, "public_key": key}, key_pairs=1)
    elif needed and there.what["public_key"].split()[:2] != key.split()[:2]:
        draft.problems.append(
            f"key pair {name} has another key than the one that is to get in: say that one (idr_keypair_keys), or "
            f"openstack keypair delete {name}"
        )
    else:
        draft.keep(there)


def _port(draft, server, there, network, free):
    name = port_name(server.name, network)
    wanted = groups.of_port(draft.wanted, server, network)
    port = draft.own("port", name, lambda one: bool(one.what["device_id"]))
    ids = [draft.id("group", group) for group in wanted]
    if port is None:
        if there:
            draft.problems.append(f"server {server.name} has no port {name}: {_replace(draft, server)}")
            return
        what = {
            "name": name,
            "description": draft.description(),
            "network_id": draft.id("network", network),
            "fixed_ips": [{"subnet_id": draft.id("subnet", f"{network}-subnet"), "ip_address": next(free)}],
            "security_group_ids": ids,
        }
        draft.make("port", name, what, port=1)
        return
    if port.what["network_id"] != draft.id("network", network):
        draft.problems.append(f"port {name} ({port.id}) is not in the network {network}: remove it if nothing uses it")
    if set(port.what["security_group_ids"]) != set(ids):
        draft.step("change", "port", name, {"security_group_ids": ids}, id=port.id)
    holder = port.what["device_id"]
    if holder and (there is None or holder != there.id):
        draft.problems.append(
            f"port {name} ({port.id}) is held by {holder}, which isn't the server {server.name} of this environment: "
            f"openstack port unset --device {port.id}, if that is gone"
        )
    elif there and not holder and there.what["status"] not in STARTING:
        draft.problems.append(f"server {server.name} has lost its port {name}: {_replace(draft, server)}")


def _look_at(draft, server, there):
    status, task = there.what["status"], there.what["task_state"]
    if status in STARTING:
        draft.step("wait", "server", server.name, id=there.id)
    elif status == "ERROR":
        why = f" ({there.what['fault']})" if there.what["fault"] else ""
        draft.problems.append(f"server {server.name} is in ERROR{why}: {_replace(draft, server)}")
    elif task == "deleting" or status == "DELETED":
        draft.problems.append(f"server {server.name} is just being deleted: once more when it's gone")
    elif status in STOPPED:
        draft.notes.append(f"server {server.name} is {status}: openstack server start {server.name}")
    if there.what["flavor"] != server.flavor:
        draft.notes.append(
            f"server {server.name} is of the flavor {there.what['flavor']}, not {server.flavor}: "
            f"a server that is there isn't made larger or smaller"
        )


def _make(draft, server, image, flavor):
    name, wanted = server.name, draft.wanted
    what = {
        "name": name,
        "image_id": image,
        "flavor_id": flavor and flavor.id,
        "key_name": f"{draft.environment}-deployment",
        "networks": [{"port": draft.id("port", port_name(name, network))} for network in server.networks],
        "metadata": draft.metadata(server=name, role=server.role),
    }
    if wanted.zone:
        what["availability_zone"] = wanted.zone
    if len(wanted.keys) > 1:
        cloud_config = f"#cloud-config\n{json.dumps({'ssh_authorized_keys': list(wanted.keys)})}\n"
        what["user_data"] = base64.b64encode(cloud_config.encode()).decode()
    size = flavor.what if flavor else {"vcpus": 0, "ram": 0}
    ports = [("port", port_name(name, network)) for network in server.networks]
    ways_out = [networks.interface_of(network) for network in server.networks]
    needs = [("key", f"{draft.environment}-deployment"), *ports, *ways_out]
    draft.make("server", name, what, needs, instances=1, cores=size["vcpus"], ram=size["ram"])


def _attach(draft, volume):
    server = draft.own("server", volume.server)
    there = draft.own("volume", volume.name)
    if there:
        attached = [each for each in draft.facts.all("attachment") if each.what["volume_id"] == there.id]
        elsewhere = [each for each in attached if server is None or each.what["server_id"] != server.id]
        for each in elsewhere:
            draft.problems.append(f"volume {volume.name} is attached to {holder(draft.facts, each, there)}")
        if attached:
            if not elsewhere:
                draft.keep(attached[0])
            return
    what = {
        "server_id": server.id if server else Ref("server", volume.server),
        "volume_id": there.id if there else Ref("volume", volume.name),
    }
    draft.make("attachment", volume.name, what, [("server", volume.server), ("volume", volume.name)])


def holder(facts, attachment, volume):
    """What a volume is attached to that isn't its server, and what to do about it."""
    id_ = attachment.what["server_id"]
    other = next((each for each in facts.all("server") if each.id == id_), None)
    if other:
        return f"the server {other.name}: openstack server remove volume {id_} {volume.id}"
    return (
        f"a server that is gone ({id_}): once more in a minute, and if that lasts, "
        f"openstack volume attachment delete {attachment.id}"
    )


def _replace(draft, server):
    return f"salt-run environment.replace {draft.environment} server={server.name}, which keeps its volumes and address"
