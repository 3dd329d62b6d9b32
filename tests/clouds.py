"""A project of a cloud for tests of planning: its facts, and what they are after a plan, without a cloud."""

import itertools
from dataclasses import replace

from idr.cloud import mark
from idr.cloud.model import Facts, Ref, Thing, Wanted, WantedNetwork, WantedServer, WantedVolume

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1o8k3cEYZxOw0m0Q7y0pJb2gTtqC0d1mYc0p2h3abc an operator"
ROLES = {
    "proxy": ("proxy", "proxy-nginxcache", 100),
    "omero": ("omero", "omero-data", 500),
    "database": ("database", "database-db", 250),
    "a-omero": ("omero", "a-omero-data", 500),
    "a-database": ("database", "a-database-db", 250),
    "a-dockermanager": ("dockermanager", "a-dockermanager-data", 10),
}
NUMBERS = itertools.count(1)
QUOTAS = (
    "network", "subnet", "router", "security_group", "security_group_rule", "port", "floatingip", "instances", "cores",
    "ram", "key_pairs", "volumes", "snapshots", "gigabytes",
)  # fmt: skip


def wanted(name="newidr", sources="", servers=ROLES, **further):
    """An environment as pillar's defaults make it; SOURCES is what is said of each volume without one of its own."""
    mine = {"a-omero-data": "use:omero-data", "a-database-db": "use:database-db"}
    return Wanted(
        **{
            "name": name,
            "cloud": "idr",
            "public_name": "idr.example.org",
            "image": "Debian 12",
            "keys": (KEY,),
            "nameservers": ("8.8.8.8",),
            "external": "",
            "networks": (WantedNetwork(name, "192.168.1.0/24"), WantedNetwork(f"{name}-a", "192.168.2.0/24")),
            "servers": tuple(
                WantedServer(
                    f"{name}-{key}",
                    ROLES[key][0],
                    "m1.large",
                    (name, f"{name}-a") if key == "proxy" else (f"{name}-a" if key.startswith("a-") else name,),
                )  # fmt: skip
                for key in servers
            ),
            "volumes": tuple(
                WantedVolume(f"{name}-{use}", use, f"{name}-{key}", size, mine.get(use, sources))
                for key, (_, use, size) in ROLES.items()
                if key in servers
            ),
        }
        | further
    )


def blank(**quotas):
    """A project with nothing in it, in a cloud with one of everything that is needed; QUOTAS are what isn't plenty."""
    things = {
        "network": (Thing("network", "external", "n-ext", what={"is_router_external": True, "status": "ACTIVE"}),),
        "group": (Thing("group", "default", "g-default", what={"description": "Default security group"}),),
        "image": (Thing("image", "Debian 12", "i-1", what={"status": "active", "min_disk": 0, "min_ram": 0}),),
        "flavor": (Thing("flavor", "m1.large", "f-1", what={"ram": 8192, "vcpus": 4, "disk": 80}),),
        "zone": (Thing("zone", "nova", "nova"),),
        "volume type": (Thing("volume type", "standard", "t-1"),),
    }
    return Facts("idr", "p-1", things, dict.fromkeys(QUOTAS, (1000000, 0)) | quotas)


def added(facts, *things):
    """The facts with further things."""
    found = {kind: tuple(each) for kind, each in facts.things.items()}
    for thing in things:
        found[thing.kind] = (*found.get(thing.kind, ()), thing)
    return replace(facts, things=found)


def without(facts, gone):
    """The facts without the things of which GONE is true."""
    return replace(facts, things={kind: tuple(t for t in each if not gone(t)) for kind, each in facts.things.items()})


def changed(facts, thing, environment=..., name=None, **what):
    """The facts with other attributes of a thing."""
    now = replace(thing, what={**thing.what, **what}, name=name or thing.name)
    if environment is not ...:
        now = replace(now, environment=environment)
    each = tuple(now if other is thing else other for other in facts.all(thing.kind))
    return replace(facts, things={**facts.things, thing.kind: each})


def find(facts, kind, name):
    """The only thing of that kind and name."""
    (thing,) = [each for each in facts.all(kind) if each.name == name]
    return thing


def after(facts, plan):
    """The facts when every step of a plan was taken, in its order, as the cloud's services would have it."""
    ids, done = {}, set()
    for step in plan.steps:
        assert set(step.needs) <= done, f"{step} comes before what it needs"
        what, id_ = _filled(step.what, ids), _filled(step.id, ids)
        if step.verb == "make":
            id_ = f"{step.kind}-{plan.environment}-{next(NUMBERS)}"
            facts = _made(facts, step, id_, what, plan.environment)
        elif step.verb == "remove":
            (thing,) = [each for each in facts.all(step.kind) if each.id == id_]
            assert step.kind != "volume" or not [it for it in facts.all("snapshot") if it.what["volume_id"] == id_]
            facts = without(facts, lambda each, thing=thing: each is thing)
            facts = _let_go(facts, id_) if step.kind == "server" else facts
            if step.kind == "attachment":
                facts = changed(facts, find_id(facts, "volume", what["volume_id"]), attachments=[], status="available")
        else:
            (thing,) = [each for each in facts.all(step.kind) if each.id == id_]
            if step.verb == "tag":
                what = {"tags": [*thing.what["tags"], what["tag"]]}
            elif step.verb == "wait":
                what = {"status": {"server": "ACTIVE"}.get(step.kind, "available")}
            elif "if_revision" in what:
                what = {key: value for key, value in what.items() if key != "if_revision"}
                assert step.what["if_revision"] == thing.what["revision_number"]
                assert what["port_id"] is None or not thing.what["port_id"]
            elif "metadata" in what:
                what = {**what, "metadata": {**thing.what["metadata"], **what["metadata"]}}
            elif "external_gateway_info" in what:
                what = {"external_network_id": what["external_gateway_info"]["network_id"]}
            environment = mark.of(what["description"])[0] if "description" in what else thing.environment
            facts = changed(facts, thing, environment, **what)
        ids[step.kind, step.name] = id_
        done.add(step.key)
    return facts


def _let_go(facts, server):
    """The facts when a server is gone: its volumes and ports are free."""
    facts = without(facts, lambda it: it.kind == "attachment" and it.what["server_id"] == server)
    for it in facts.all("volume"):
        if server in [each["server_id"] for each in it.what["attachments"]]:
            facts = changed(facts, it, attachments=[], status="available")
    for it in facts.all("port"):
        if it.what["device_id"] == server:
            facts = changed(facts, it, device_id="", device_owner="")
    return facts


def _filled(value, ids):
    if isinstance(value, Ref):
        return ids[value.kind, value.name]
    if isinstance(value, dict):
        return {key: _filled(each, ids) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, ids) for each in value]
    return value


def _made(facts, step, id_, what, environment):
    """The facts with what a call of the SDK makes with those attributes."""
    name = what.get("name", step.name)
    run = None
    if "description" in what:
        assert mark.of(what["description"])[0] == environment
        run = mark.of(what["description"])[1]
    if "metadata" in what:
        assert what["metadata"]["idr_environment"] == environment
        run = what["metadata"]["idr_run"]
    shown = {"created_at": f"2026-11-24T05:{len(id_):02}:00Z"}
    more = []
    owner = environment
    if step.kind == "network":
        shown |= {"is_router_external": False, "status": "ACTIVE"}
    elif step.kind == "subnet":
        shown |= what
    elif step.kind == "router":
        shown |= {"external_network_id": what["external_gateway_info"]["network_id"]}
    elif step.kind == "interface":
        shown |= what
    elif step.kind == "group":
        shown |= {"description": what["description"], "tags": []}
        more = [
            Thing("rule", name, f"{id_}-{kind}", owner, None, _rule(id_, direction="egress", ether_type=kind))
            for kind in ("IPv4", "IPv6")
        ]
    elif step.kind == "rule":
        name = find_id(facts, "group", what["security_group_id"]).name
        shown = _rule(None, **what)
    elif step.kind == "port":
        find_id(facts, "network", what["network_id"])
        taken = [ip for port in facts.all("port") for ip in port.what["fixed_ips"]]
        assert not [ip for ip in what["fixed_ips"] if ip in taken]
        shown |= {**what, "device_id": "", "device_owner": "", "status": "DOWN"}
    elif step.kind == "key":
        owner, id_, shown = None, name, {"public_key": what["public_key"]}
    elif step.kind == "snapshot":
        of = find_id(facts, "volume", what["volume_id"])
        metadata = what["metadata"]
        shown |= {"size": of.what["size"], "volume_id": of.id, "status": "available", "metadata": metadata}
        shown["temporary"] = metadata.get("idr_temporary")
    elif step.kind == "volume":
        if what.get("snapshot_id"):
            assert find_id(facts, "snapshot", what["snapshot_id"]).what["size"] <= what["size"]
        shown |= volume(what["size"], what["metadata"].get("idr_volume"), what["metadata"], what.get("snapshot_id"))
    elif step.kind == "server":
        for port in what["networks"]:
            facts = changed(facts, find_id(facts, "port", port["port"]), device_id=id_)
        shown |= {"status": "ACTIVE", "task_state": None, "fault": None, "flavor": "m1.large"}
        shown |= {"role": what["metadata"]["idr_role"], "metadata": what["metadata"]}
    elif step.kind == "attachment":
        on = {"server_id": what["server_id"], "attachment_id": id_, "device": "/dev/vdb"}
        there = find_id(facts, "volume", what["volume_id"])
        assert not there.what["attachments"]
        facts = changed(facts, there, attachments=[on], status="in-use")
        shown, name = what, there.name
    elif step.kind == "address":
        number = 10 + len(facts.all("address"))
        shown |= {**what, "tags": [], "status": "ACTIVE", "revision_number": 0}
        name = f"198.51.100.{number}"
    return added(facts, Thing(step.kind, name, id_, owner, run, shown), *more)


def volume(size, use=None, metadata=None, snapshot=None, **further):
    """What is known of a volume."""
    return {
        "size": size,
        "volume_type": "standard",
        "availability_zone": "nova",
        "status": "available",
        "metadata": metadata or {},
        "use": use,
        "attachments": [],
        "snapshot_id": snapshot,
        "source_volid": None,
    } | further


def find_id(facts, kind, id_):
    """The thing of that kind and id."""
    (thing,) = [each for each in facts.all(kind) if each.id == id_]
    return thing


def _rule(group, **what):
    keys = ("direction", "ether_type", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix")
    shown = dict.fromkeys((*keys, "remote_group_id")) | {"security_group_id": group} | what
    shown.pop("description", None)
    return shown
