"""
The floating IP of an environment's proxy (or what else is its way in), and the tag that makes one the public's.

One that is there is taken before a new one is made. One with the production tag is taken only if it's named, and one
that is on another port never.
"""

import ipaddress

from idr.cloud import mark, networks, servers
from idr.cloud.model import PRODUCTION_TAG, Ref


def plan(draft, external):
    """Put down what the address needs. EXTERNAL is the network of floating IPs, None if it isn't known."""
    proxy = next((server for server in draft.wanted.servers if server.is_way_in), None)
    if proxy is None or external is None:
        return
    name = servers.port_name(proxy.name, draft.environment)
    port = draft.own("port", name)
    needs = [networks.interface_of(draft.environment), ("port", name)]
    address = _there(draft, port)
    if address:
        draft.keep(address)
        id_, name = address.id, address.name
    else:
        to = port.id if port else Ref("port", name)
        address = _free(draft, external)
        if address is None and draft.wanted.address:
            return  # with a problem
        id_, name = _take(draft, address, to, needs) if address else _make(draft, proxy, external, to, needs)
    tagged = [each.name for each in draft.facts.all("address") if PRODUCTION_TAG in each.what["tags"]]
    if len(tagged) > 1:
        draft.problems.append(
            f"{' and '.join(tagged)} both carry the tag {PRODUCTION_TAG}: openstack floating ip unset --tag "
            f"{PRODUCTION_TAG} the one that isn't the public's"
        )
    elif not tagged and draft.wanted.public_name:
        draft.notes.append(f"no floating IP carries the tag {PRODUCTION_TAG}: this environment's gets it, and is live")
        draft.step("tag", "address", name, {"tag": PRODUCTION_TAG}, [("address", name)], id=id_)
    elif address and address.what["port_id"] and PRODUCTION_TAG in address.what["tags"]:
        draft.notes.append(f"{draft.environment} is live: its proxy holds {address.name}, which has the production tag")


def _there(draft, port):
    """The address that is on the proxy."""
    found = [each for each in draft.facts.all("address") if port and each.what["port_id"] == port.id]
    asked = draft.wanted.address
    if found and asked and asked not in [each.name for each in found]:
        draft.problems.append(f"address={asked}: the proxy has {found[0].name}, which a release moves, not this")
    return found[0] if found else None


def _free(draft, external):
    """An address that can be taken: the one that is named, the one that was this environment's, or any that is free."""
    here = [each for each in draft.facts.all("address") if each.what["floating_network_id"] == external.id]
    here.sort(key=lambda each: ipaddress.ip_address(each.name))
    if draft.wanted.address:
        return _named(draft, external)
    free = [each for each in here if not each.what["port_id"]]
    own = [each for each in free if each.environment == draft.environment]
    for each in own:
        if PRODUCTION_TAG in each.what["tags"]:
            draft.problems.append(
                f"{each.name}, which has the production tag, was this environment's and is on no port: say "
                f"address={each.name} to put it back on the proxy, or address= another one"
            )
            return each
    unclaimed = [
        each for each in free if each.environment is None and not each.what["tags"] and not each.what["description"]
    ]
    return next(iter([*own, *unclaimed]), None)


def _named(draft, external):
    asked = draft.wanted.address
    address = next((each for each in draft.facts.all("address") if each.name == asked), None)
    if address is None:
        draft.problems.append(f"address={asked}: this project has no such floating IP")
    elif address.what["floating_network_id"] != external.id:
        draft.problems.append(f"address={asked}: is not of the external network {external.name}")
    elif address.what["port_id"]:
        held = next((each.name for each in draft.facts.all("port") if each.id == address.what["port_id"]), None)
        draft.problems.append(f"address={asked}: is on the port {held or address.what['port_id']}; it stays there")
    else:
        return address
    return None


def _take(draft, address, port, needs):
    # conditional: another environment's run may find it free at the same moment
    what = {"port_id": port, "if_revision": address.what["revision_number"]}
    if not address.what["description"]:
        what["description"] = mark.description(draft.environment)  # not "made by": it was there before
    draft.notes.append(f"the floating IP {address.name} is free and will be this environment's")
    draft.step("change", "address", address.name, what, needs, id=address.id)
    return address.id, address.name


def _make(draft, proxy, external, port, needs):
    what = {"floating_network_id": external.id, "port_id": port, "description": draft.description()}
    draft.notes.append(f"no floating IP of {external.name} is free: a new one will be made")
    draft.make("address", proxy.name, what, needs, floatingip=1)
    return Ref("address", proxy.name), proxy.name
