"""
The lab's networks: a switch with a bridge for each, and a router between them as a cloud would have.

Both are network namespaces of their own, so that rules of this machine (Docker's, say) don't meet the lab's packets.
Every function may be called again over what is already there.
"""

import contextlib
from pathlib import Path

from lab import egress
from lab.settings import NAME, PUBLIC_ADDRESS
from lab.shell import run, succeeds
from lab.topology import OUTSIDE, port_name

SWITCH = f"{NAME}-net"
ROUTER = f"{NAME}-router"
NAMESPACES = Path("/run/netns")

# The production address is translated as a floating IP is: all of it, in both directions. Inside networks see each
# other (the worst case: keeping them apart is the servers' own firewall's work), and the outside sees none of them.
RULES = """
table ip lab
delete table ip lab
table ip lab {{
  chain translate_to {{
    type nat hook prerouting priority dstnat;
    iifname "out" ip daddr {public} dnat to {proxy}
  }}
  chain translate_from {{
    type nat hook postrouting priority srcnat;
    oifname "out" ip saddr {proxy} snat to {public}
    oifname {{ "out", "{uplink}" }} masquerade
  }}
  chain forward {{
    type filter hook forward priority filter;
    ct state established,related accept
    iifname "out" ct status dnat accept
    iifname "out" oifname != "{uplink}" reject with icmp type net-unreachable
  }}
}}
"""


def namespace_of(machine):
    """The name of a machine's network namespace."""
    return f"{NAME}-{machine}"


def up(topology):
    """Make the switch, the router and the way out to the registries."""
    enclose(SWITCH)
    enclose(ROUTER)
    _in(ROUTER, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    for network in topology.networks:
        if not _has_link(SWITCH, network.bridge):
            _in(SWITCH, "ip", "link", "add", network.bridge, "type", "bridge")
        _in(SWITCH, "ip", "link", "set", network.bridge, "up")
        plug(ROUTER, network.name, network, network.gateway)
    # The router answers for the production address, as a cloud's gateway does for a floating IP.
    _in(ROUTER, "ip", "address", "replace", f"{PUBLIC_ADDRESS}/32", "dev", OUTSIDE)
    egress.up(ROUTER)
    proxy_network = topology.networks[0].name
    run("ip", "netns", "exec", ROUTER, "nft", "-f", "-", stdin=RULES.format(
        public=PUBLIC_ADDRESS, proxy=topology.proxy.addresses[proxy_network], uplink=egress.INSIDE))


def connect(machine, topology):
    """Make a machine's namespace and its interfaces eth0, eth1… in its networks; returns the namespace's name."""
    namespace = namespace_of(machine.name)
    enclose(namespace)
    for number, (name, address) in enumerate(machine.addresses.items()):
        network = topology.network(name)
        plug(namespace, f"eth{number}", network, address)
        if number == 0:
            _in(namespace, "ip", "route", "replace", "default", "via", network.gateway)
    return namespace


def plug(namespace, interface, network, address):
    """Give NAMESPACE an interface in a network, with that address of it."""
    port = port_name(namespace, interface)
    if not _has_link(namespace, interface):
        run("ip", "link", "add", interface, "netns", namespace, "type", "veth", "peer", "name", port, "netns", SWITCH)
    _in(SWITCH, "ip", "link", "set", port, "master", network.bridge, "up", "alias", f"{namespace} {interface}")
    _in(namespace, "ip", "address", "replace", network.with_mask(address), "dev", interface)
    _in(namespace, "ip", "link", "set", interface, "up")


def is_up():
    """Whether switch, router and the way out are there."""
    return {SWITCH, ROUTER} <= set(namespaces()) and egress.is_up()


def namespaces():
    """The names of the lab's network namespaces that exist."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path.name for path in NAMESPACES.iterdir() if path.name.startswith(f"{NAME}-"))
    return []


def down():
    """Take away every namespace of the lab, and the way out. What ran in them must have ended."""
    egress.down()
    for namespace in namespaces():
        if not succeeds("ip", "netns", "delete", namespace):
            (NAMESPACES / namespace).unlink(missing_ok=True)   # a killed `ip netns add` leaves a file without a mount


def enclose(name):
    """Make the network namespace NAME unless it is there."""
    if succeeds("ip", "-n", name, "link", "show", "lo"):
        return
    (NAMESPACES / name).unlink(missing_ok=True)   # a killed `ip netns add` leaves a file without a mount
    run("ip", "netns", "add", name)
    _in(name, "ip", "link", "set", "lo", "up")


def _has_link(namespace, link):
    return succeeds("ip", "-n", namespace, "link", "show", link)


def _in(namespace, *command):
    return run("ip", "netns", "exec", namespace, *command)
