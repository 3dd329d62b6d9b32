"""
Security groups: who may talk to whom. Each side's servers to each other, anyone to the open ports of the way in.

Production and analysis meet nowhere but on the proxy, which has a port in each. In groups of our own every rule that
isn't ours to want is drift, and goes.
"""

from dataclasses import replace

from idr.cloud.model import Ref

ANYWHERE = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
NUMBERS = {"6": "tcp", "17": "udp", "1": "icmp", "any": None, "0": None}
COMPARED = (
    "direction", "ether_type", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
)  # fmt: skip


def plan(draft):
    """Put down what the groups need."""
    for name, rules in wanted(draft.wanted).items():
        group = draft.own("group", name, lambda one: _used(draft.facts, one))
        if group is None:
            what = {"name": name, "description": draft.description()}
            draft.make("group", name, what, security_group=1, security_group_rule=2)  # the rules of all going out
        _rules(draft, name, group, rules)


def of_port(environment, server, network):
    """The names of the groups of a server's port; ENVIRONMENT is as it's Wanted."""
    outside = [f"{environment.name}-{what}-external" for what, _ in environment.open]
    return [network, *(outside if server.is_way_in and network == environment.name else [])]


def wanted(environment):
    """
    The groups of an environment that is Wanted, by name, each with its rules; a remote group is a Ref. All may go out,
    as Neutron lets a new one.
    """
    out = [{"direction": "egress", "ether_type": kind} for kind in ANYWHERE]
    groups = {}
    for side in [network.name for network in environment.networks]:
        groups[side] = [*out, {"direction": "ingress", "ether_type": "IPv4", "remote_group_id": Ref("group", side)}]
    for name, ports in environment.open:
        groups[f"{environment.name}-{name}-external"] = [
            *out,
            *(
                {
                    "direction": "ingress",
                    "ether_type": "IPv4",
                    "protocol": "tcp",
                    "port_range_min": port,
                    "port_range_max": port,
                    "remote_ip_prefix": ANYWHERE["IPv4"],
                }
                for port in ports
            ),
        ]
    return groups


def _rules(draft, name, group, rules):
    there = [rule for rule in draft.facts.all("rule") if group and rule.what["security_group_id"] == group.id]
    left = {rule.id: rule for rule in there}
    for rule in rules:
        rule = {key: draft.id("group", value.name) if isinstance(value, Ref) else value for key, value in rule.items()}
        same = [each for each in left.values() if _compared(each.what) == _compared(rule)]
        for each in same:
            del left[each.id]
            draft.keep(replace(each, name=f"{name}: {words(draft, each.what)}"))
        if same or (group is None and rule["direction"] == "egress"):
            continue
        what = {"security_group_id": draft.id("group", name), **rule, "description": draft.description()}
        draft.make("rule", f"{name}: {words(draft, rule)}", what, security_group_rule=1)
    for rule in left.values():
        draft.step("remove", "rule", f"{name}: {words(draft, rule.what)}", id=rule.id)


def words(draft, rule):
    """A rule in words: ``ingress tcp 80 from 0.0.0.0/0``."""
    compared = _compared(rule)
    group = rule.get("remote_group_id")
    names = {each.id: each.name for each in draft.facts.all("group")}
    who = (group.name if isinstance(group, Ref) else names.get(group, group)) if group else compared["remote_ip_prefix"]
    low, high = compared["port_range_min"], compared["port_range_max"]
    ports = None if low is None else str(low) if low == high else f"{low}-{high}"
    way = "from" if compared["direction"] == "ingress" else "to"
    who = who or ANYWHERE[compared["ether_type"]]
    return " ".join(filter(None, (compared["direction"], compared["protocol"], ports, way, who)))


def _compared(rule):
    """What makes a rule what it is, in one way of the many to write it."""
    found = {key: rule.get(key) for key in COMPARED}
    protocol = str(found["protocol"]).lower() if found["protocol"] is not None else None
    found["protocol"] = NUMBERS.get(protocol, protocol)
    if found["remote_ip_prefix"] in ANYWHERE.values():
        found["remote_ip_prefix"] = None
    return found


def _used(facts, group):
    return any(group.id in port.what["security_group_ids"] for port in facts.all("port")) or any(
        rule.what["remote_group_id"] == group.id and rule.what["security_group_id"] != group.id
        for rule in facts.all("rule")
    )
