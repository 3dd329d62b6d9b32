"""Both sides' networks, and the one router of both: the environment's way out, and that of its floating IP in."""

import ipaddress

from idr.cloud.model import Ref

# Of a subnet's addresses: the router's, those of servers in the order of pillar, and what the cloud itself hands out.
# So a server made anew, or in another environment, is where its operators look for it.
ROUTER, SERVERS, REST = 1, 10, 32


def plan(draft):
    """Put down what the networks need; an external network to go out by is looked for first."""
    external = _external(draft)
    router = _router(draft, external)
    for network in draft.wanted.networks:
        _network(draft, network)
        _subnet(draft, network)
        _interface(draft, network, router)
    return external


def interface_of(network):
    """The key of the step after which a network can be reached, and its ports can have a floating IP."""
    return "interface", f"{network}-subnet"


def addresses(draft, network):
    """The addresses of a network's servers that no port has, in their order; one after the other is to be taken."""
    cidr = ipaddress.IPv4Network(next(each.cidr for each in draft.wanted.networks if each.name == network))
    subnet = draft.own("subnet", f"{network}-subnet")
    taken = {
        fixed["ip_address"]
        for port in draft.facts.all("port")
        for fixed in port.what["fixed_ips"]
        if subnet and fixed["subnet_id"] == subnet.id
    }
    return (str(cidr[place]) for place in range(SERVERS, REST) if str(cidr[place]) not in taken)


def _external(draft):
    """The network of floating IPs: the one that is named, the router's, or the only one."""
    found = [network for network in draft.facts.all("network") if network.what["is_router_external"]]
    names = ", ".join(sorted(network.name for network in found)) or "none"
    named = draft.wanted.external
    if named:
        found = [network for network in found if named in (network.name, network.id)]
        if len(found) != 1:
            draft.problems.append(f"idr_network_external: {named} is no external network of this cloud; it has {names}")
            return None
        return found[0]
    own = [router.what["external_network_id"] for router in draft.facts.of(draft.environment, "router")]
    if len(found) > 1:
        found = [network for network in found if network.id in own] or found
    if len(found) != 1:
        draft.problems.append(
            f"idr_network_external: has to say where floating IPs come from; this cloud's external networks: {names}"
        )
        return None
    return found[0]


def _router(draft, external):
    name = f"{draft.environment}-router"
    interfaces = draft.facts.all("interface")
    router = draft.own("router", name, lambda one: any(each.what["router_id"] == one.id for each in interfaces))
    gateway = {"network_id": external.id if external else None}
    if router is None:
        draft.make(
            "router",
            name,
            {"name": name, "description": draft.description(), "external_gateway_info": gateway},
            router=1,
        )
    elif external and router.what["external_network_id"] is None:
        draft.step("change", "router", name, {"external_gateway_info": gateway}, id=router.id)
    elif external and router.what["external_network_id"] != external.id:
        draft.problems.append(f"router {name} goes out by another network than {external.name}")
    return router


def _network(draft, network):
    facts = draft.facts

    def used(one):
        return any(thing.what["network_id"] == one.id for thing in (*facts.all("subnet"), *facts.all("port")))

    if draft.own("network", network.name, used) is None:
        what = {"name": network.name, "description": draft.description()}
        draft.make("network", network.name, what, network=1, port=1)  # the port of its DHCP server


def _subnet(draft, network):
    name = f"{network.name}-subnet"
    facts, wanted = draft.facts, draft.wanted
    cidr = ipaddress.IPv4Network(network.cidr)
    gateway = str(cidr[ROUTER])

    def used(one):
        return any(thing.what["subnet_id"] == one.id for thing in facts.all("interface")) or any(
            fixed["subnet_id"] == one.id for port in facts.all("port") for fixed in port.what["fixed_ips"]
        )

    subnet = draft.own("subnet", name, used)
    if subnet is None:
        what = {
            "name": name,
            "description": draft.description(),
            "network_id": draft.id("network", network.name),
            "ip_version": 4,
            "cidr": network.cidr,
            "gateway_ip": gateway,
            "allocation_pools": [{"start": str(cidr[REST]), "end": str(cidr[-2])}],
            "is_dhcp_enabled": True,
            "dns_nameservers": list(wanted.nameservers),
        }
        draft.make("subnet", name, what, subnet=1)
        return
    if subnet.what["network_id"] != draft.id("network", network.name):
        draft.problems.append(f"subnet {name} is not in the network {network.name}: remove it if nothing uses it")
    for key, value in (("cidr", network.cidr), ("gateway_ip", gateway)):
        if subnet.what[key] != value:
            draft.problems.append(
                f"subnet {name}: its {key} is {subnet.what[key]}, which can't become {value} any more"
            )
    change = {"dns_nameservers": list(wanted.nameservers), "is_dhcp_enabled": True}
    change = {key: value for key, value in change.items() if subnet.what[key] != value}
    if change:
        draft.step("change", "subnet", name, change, id=subnet.id)


def _interface(draft, network, router):
    kind, name = interface_of(network.name)
    subnet = draft.own("subnet", name)
    there = [each for each in draft.facts.all("interface") if subnet and each.what["subnet_id"] == subnet.id]
    ours = [each for each in there if router and each.what["router_id"] == router.id]
    if ours:
        draft.keep(ours[0])
    elif there:
        draft.problems.append(f"subnet {name} is on another router ({there[0].what['router_id']}): take it off there")
    else:
        what = {
            "router_id": draft.id("router", f"{draft.environment}-router"),
            "subnet_id": subnet.id if subnet else Ref("subnet", name),
        }
        draft.make(kind, name, what, port=1)
