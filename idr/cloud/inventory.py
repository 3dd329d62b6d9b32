"""
One reading of a project: everything that an environment is made of, whose it is, and the quotas.

Its calls go side by side and are few: a list of each kind, from which the rest is told. So are the attributes: those
that planning compares, by the SDK's names.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

from openstack.exceptions import raise_from_response

from idr.cloud import mark
from idr.cloud.connection import ERRORS, told
from idr.cloud.model import Facts, Thing
from idr.errors import IdrError, Refused

# what is read -> service, path, the list's key in the answer ("": the answer as it is)
READ = {
    "networks": ("network", "/v2.0/networks", "networks"),
    "subnets": ("network", "/v2.0/subnets", "subnets"),
    "routers": ("network", "/v2.0/routers", "routers"),
    "groups": ("network", "/v2.0/security-groups", "security_groups"),
    "ports": ("network", "/v2.0/ports", "ports"),
    "addresses": ("network", "/v2.0/floatingips", "floatingips"),
    "network quota": ("network", "/v2.0/quotas/{project}/details.json", ""),
    "servers": ("compute", "/servers/detail", "servers"),
    "flavors": ("compute", "/flavors/detail", "flavors"),
    "keys": ("compute", "/os-keypairs", "keypairs"),
    "compute quota": ("compute", "/limits", ""),
    "volumes": ("block-storage", "/volumes/detail", "volumes"),
    "snapshots": ("block-storage", "/snapshots/detail", "snapshots"),
    "volume type": ("block-storage", "/types/default", ""),
    "volume zones": ("block-storage", "/os-availability-zone", "availabilityZoneInfo"),
    "volume quota": ("block-storage", "/limits", ""),
    "images": ("image", "/v2/images", "images"),
}
OURS_ALONE = ("subnets", "routers", "groups", "ports", "addresses")  # not shared: an administrator would see everyone's
NETWORK_QUOTAS = ("network", "subnet", "router", "security_group", "security_group_rule", "port", "floatingip")


def facts(connection, *, image=None):
    """
    The Facts of the connection's project. Refused with one line for each list that can't be had.

    image:  the name or id of the image that is looked for; without one, none is
    """
    project = connection.session.get_project_id()
    lists = [what for what in READ if what != "images" or image]
    queries = {what: {"project_id": project} for what in OURS_ALONE}
    queries["images"] = {"id": f"in:{image}"} if _is_id(image) else {"name": image}
    problems, said = [], {}
    with ThreadPoolExecutor(len(lists)) as side_by_side:
        asked = {what: side_by_side.submit(_read, connection, project, what, queries.get(what, {})) for what in lists}
        for what, answer in asked.items():
            try:
                said[what] = answer.result()
            except ERRORS as error:
                problems.append(f"{what}: {told(error)}")
            except IdrError as error:
                problems.append(str(error))
    if problems:
        raise Refused(dict.fromkeys(problems), "refused, nothing was changed: the cloud can't be read")
    return of({"images": []} | said, connection.config.name, project)


def of(said, cloud, project):
    """The Facts of what the cloud said, by the keys of READ: a pure function."""
    own = {
        what: [each for each in said[what] if what not in OURS_ALONE or each["project_id"] == project]
        for what in READ
        if isinstance(said[what], list)
    }
    networks = [
        _neutron("network", each, is_router_external=each.get("router:external", False), status=each["status"])
        for each in own["networks"]
        if each["project_id"] == project or each.get("router:external")
    ]
    subnets = [_subnet(each) for each in own["subnets"]]
    volumes = [_volume(each) for each in own["volumes"]]
    flavors = {each["id"]: each["name"] for each in own["flavors"]}
    things = {
        "network": networks,
        "subnet": subnets,
        "router": [_router(each) for each in own["routers"]],
        "interface": _interfaces(own["ports"], subnets),
        "group": [
            _neutron("group", each, **{key: each.get(key) for key in ("description", "revision_number", "tags")})
            for each in own["groups"]
        ],
        "rule": [_rule(rule, group) for group in own["groups"] for rule in group["security_group_rules"]],
        "port": [_port(each) for each in own["ports"] if each["device_owner"] != "network:router_interface"],
        "key": [_key(each["keypair"]) for each in own["keys"]],
        "volume": volumes,
        "snapshot": [_snapshot(each) for each in own["snapshots"]],
        "server": [_server(each, flavors) for each in own["servers"]],
        "attachment": [
            Thing(
                "attachment",
                volume.name,
                each["attachment_id"],
                volume.environment,
                None,
                {"server_id": each["server_id"], "volume_id": volume.id, "device": each["device"]},
            )
            for volume in volumes
            for each in volume.what["attachments"]
        ],
        "address": [_address(each) for each in own["addresses"]],
        "image": [
            Thing(
                "image",
                each["name"] or "",
                each["id"],
                what=_some(each, "status", "min_disk", "min_ram", "visibility", "created_at"),
            )
            for each in own["images"]
        ],
        "flavor": [
            Thing("flavor", each["name"], each["id"], what=_some(each, "ram", "vcpus", "disk"))
            for each in own["flavors"]
        ],
        "zone": [
            Thing("zone", each["zoneName"], each["zoneName"])
            for each in own["volume zones"]
            if each["zoneState"]["available"]
        ],
        "volume type": [
            Thing("volume type", said["volume type"]["volume_type"]["name"], said["volume type"]["volume_type"]["id"])
        ],
    }
    return Facts(cloud, project, {kind: tuple(each) for kind, each in things.items()}, _quotas(said, len(own["keys"])))


def _read(connection, project, what, query):
    service, path, key = READ[what]
    config = connection.config
    where = {
        "service_type": service,
        "interface": config.get_interface(service),
        "region_name": config.get_region_name(service),
    }
    base = (connection.session.get_endpoint(**where) or "").rstrip("/")
    if not base:
        known = ", ".join(f"{key} {text}" for key, text in where.items() if text and key != "service_type")
        raise IdrError(f"the cloud's catalog has no service {service} of {known}: see region_name in clouds.yaml")
    version, _, rest = path.lstrip("/").partition("/")
    if service in ("network", "image") and base.endswith(f"/{version}"):  # some catalogs have the version, some not
        path = f"/{rest}"
    url = base + path.format(project=project) + (f"?{urlencode(query)}" if query else "")
    found = []
    while True:
        response = connection.session.get(url, raise_exc=False)
        raise_from_response(response)
        page = response.json()
        if not key:
            return page
        found += page[key]
        url = _next(page, key, base)
        if not url:
            return found


def _next(page, key, base):
    """Where a long list goes on: Nova's, Cinder's and Neutron's way to say it, or Glance's."""
    following = next((link["href"] for link in page.get(f"{key}_links", []) if link["rel"] == "next"), None)
    if following:
        return following
    if page.get("next"):
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{page['next']}"
    return None


def _is_id(text):
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text or ""))


def _some(raw, *keys):
    return {key: raw.get(key) for key in keys}


def _neutron(kind, raw, name=None, **what):
    environment, run = mark.of(raw.get("description"))
    return Thing(kind, name or raw["name"], raw["id"], environment, run, {"created_at": raw.get("created_at")} | what)


def _metadata(kind, raw, **what):
    metadata = raw.get("metadata") or {}
    return Thing(
        kind,
        raw["name"] or "",
        raw["id"],
        metadata.get("idr_environment"),
        metadata.get("idr_run"),
        {"metadata": metadata, "status": raw["status"]} | what,
    )


def _subnet(raw):
    return _neutron(
        "subnet",
        raw,
        **_some(raw, "network_id", "cidr", "gateway_ip"),
        dns_nameservers=list(raw["dns_nameservers"]),
        is_dhcp_enabled=raw["enable_dhcp"],
    )


def _router(raw):
    gateway = raw.get("external_gateway_info") or {}
    address = next((each["ip_address"] for each in gateway.get("external_fixed_ips", [])), None)
    return _neutron(
        "router", raw, external_network_id=gateway.get("network_id"), external_address=address, status=raw["status"]
    )


def _interfaces(ports, subnets):
    names = {subnet.id: subnet for subnet in subnets}
    found = []
    for port in ports:
        if not port["device_owner"].startswith(("network:router_interface", "network:ha_router_replicated_interface")):
            continue
        for fixed in port["fixed_ips"]:
            subnet = names.get(fixed["subnet_id"])
            if subnet:
                what = {"router_id": port["device_id"], "subnet_id": subnet.id, "ip_address": fixed["ip_address"]}
                found.append(Thing("interface", subnet.name, port["id"], subnet.environment, None, what))
    return found


def _rule(raw, group):
    environment = mark.of(group.get("description"))[0]
    keys = ("direction", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")
    what = {"security_group_id": group["id"], "ether_type": raw["ethertype"]} | _some(raw, *keys)
    return Thing("rule", group["name"], raw["id"], environment, mark.of(raw.get("description"))[1], what)


def _port(raw):
    return _neutron(
        "port",
        raw,
        **_some(raw, "network_id", "fixed_ips", "device_id", "device_owner", "status"),
        security_group_ids=raw["security_groups"],
    )


def _key(raw):
    return Thing("key", raw["name"], raw["name"], what={"public_key": raw["public_key"].strip()})


def _volume(raw):
    keys = ("size", "volume_type", "availability_zone", "snapshot_id", "source_volid", "created_at")
    attachments = [_some(each, "server_id", "attachment_id", "device") for each in raw["attachments"]]
    use = (raw.get("metadata") or {}).get("idr_volume")
    return _metadata("volume", raw, use=use, attachments=attachments, **_some(raw, *keys))


def _snapshot(raw):
    temporary = (raw.get("metadata") or {}).get("idr_temporary")
    return _metadata("snapshot", raw, temporary=temporary, **_some(raw, "size", "volume_id", "created_at"))


def _server(raw, flavors):
    flavor = raw["flavor"].get("original_name") or flavors.get(raw["flavor"].get("id"), raw["flavor"].get("id"))
    return _metadata(
        "server",
        raw,
        flavor=flavor,
        role=raw["metadata"].get("idr_role"),
        key_name=raw.get("key_name"),
        task_state=raw.get("OS-EXT-STS:task_state"),
        fault=(raw.get("fault") or {}).get("message"),
        availability_zone=raw.get("OS-EXT-AZ:availability_zone"),
        created_at=raw["created"],
    )


def _address(raw):
    keys = ("port_id", "floating_network_id", "description", "status", "fixed_ip_address", "revision_number")
    return _neutron("address", raw, raw["floating_ip_address"], tags=list(raw.get("tags") or ()), **_some(raw, *keys))


def _quotas(said, keys):
    network, compute = said["network quota"]["quota"], said["compute quota"]["limits"]["absolute"]
    volume = said["volume quota"]["limits"]["absolute"]
    return {
        name: (network[name]["limit"], network[name]["used"] + network[name]["reserved"]) for name in NETWORK_QUOTAS
    } | {
        "instances": (compute["maxTotalInstances"], compute["totalInstancesUsed"]),
        "cores": (compute["maxTotalCores"], compute["totalCoresUsed"]),
        "ram": (compute["maxTotalRAMSize"], compute["totalRAMUsed"]),
        "key_pairs": (compute["maxTotalKeypairs"], keys),
        "volumes": (volume["maxTotalVolumes"], volume["totalVolumesUsed"]),
        "snapshots": (volume["maxTotalSnapshots"], volume["totalSnapshotsUsed"]),
        "gigabytes": (volume["maxTotalVolumeGigabytes"], volume["totalGigabytesUsed"]),
    }
