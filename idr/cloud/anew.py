"""
Servers made anew, with their ports, addresses and volumes: planned as if they were gone, and removed before that.

Pure functions of a cloud's Facts and of a Plan.
"""

from dataclasses import replace

from idr.cloud.draft import in_order
from idr.cloud.model import Step


def without(seen, gone):
    """The facts without those servers: their volumes are free, their ports unused, their quota is given back."""
    ids = {server.id for server in gone}
    things = dict(seen.things)
    things["server"] = tuple(it for it in seen.all("server") if it.id not in ids)
    things["attachment"] = tuple(it for it in seen.all("attachment") if it.what["server_id"] not in ids)
    things["volume"] = tuple(_off(it, ids) for it in seen.all("volume"))
    things["port"] = tuple(
        replace(it, what={**it.what, "device_id": "", "device_owner": ""}) if it.what["device_id"] in ids else it
        for it in seen.all("port")
    )
    flavors = {flavor.name: flavor.what for flavor in seen.all("flavor")}
    quotas = dict(seen.quotas)
    for server in gone:
        flavor = flavors.get(server.what["flavor"], {"vcpus": 0, "ram": 0})
        for quota, less in (("instances", 1), ("cores", flavor["vcpus"]), ("ram", flavor["ram"])):
            limit, used = quotas[quota]
            quotas[quota] = (limit, used - less)
    return replace(seen, things=things, quotas=quotas)


def _off(volume, servers):
    left = [it for it in volume.what["attachments"] if it["server_id"] not in servers]
    if left == volume.what["attachments"]:
        return volume
    return replace(volume, what={**volume.what, "attachments": left, "status": "in-use" if left else "available"})


def only(plan, server):
    """The steps of a plan that make one server with its ports, addresses and attachments, and what those need."""
    steps = {step.key: step for step in plan.steps}
    wanted = [
        step.key
        for step in plan.steps
        if (step.kind, step.name) == ("server", server)
        or ("server", server) in step.needs
        or (step.kind == "port" and step.name.startswith(f"{server}-"))
    ]
    chosen = set()
    while wanted:
        key = wanted.pop()
        if key not in chosen:
            chosen.add(key)
            wanted += [need for need in steps[key].needs if need in steps]
    return replace(plan, steps=tuple(step for step in plan.steps if step.key in chosen))


def removing(plan, old, after=()):
    """
    A plan that makes servers, with the removal of those that they're in the place of.

    after:  the keys of what is done while the old ones are still up
    """
    removed = [Step("remove", "server", it.name, needs=tuple(after), id=it.id) for it in old]
    keys = tuple(step.key for step in removed)
    steps = [replace(step, needs=(*step.needs, *keys)) if step.kind == "server" else step for step in plan.steps]
    return replace(plan, steps=in_order((*removed, *steps)))
