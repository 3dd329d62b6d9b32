"""
The lab's networks: a switch with a bridge for each, and a router between them as a cloud would have.

Both are network namespaces of their own, so that rules of this machine (Docker's, say) don't meet the lab's packets.
Every function may be called again over what is already there.
"""

import contextlib
import json
from pathlib import Path

from lab import egress
from lab.settings import NAME, PUBLIC_ADDRESS
from lab.shell import run, succeeds
from lab.topology import OUTSIDE, OUTSIDE_NETWORK, port_name

SWITCH = f"{NAME}-net"
ROUTER = f"{NAME}-router"
NAMESPACES = Path("/run/netns")

# What is outside sees nothing behind the router but what is translated.
RULES = """
table ip lab
delete table ip lab
table ip lab {{
  chain translate {{
    type nat hook postrouting priority srcnat;
    oifname "{uplink}" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter;
    ct state established,related accept
    iifname "out" ct status dnat accept
    iifname "out" oifname != "{uplink}" reject with icmp type net-unreachable
  }}
}}
"""
# The production address is translated as a floating IP is: all of it, in both directions. Inside networks see each
# other (the worst case: keeping them apart is the servers' own firewall's work), and the outside sees none of them.
INSIDE_RULES = """
table ip lab_inside
delete table ip lab_inside
table ip lab_inside {{
  chain translate_to {{
    type nat hook prerouting priority dstnat;
    iifname "out" ip daddr {public} dnat to {proxy}
  }}
  chain translate_from {{
    type nat hook postrouting priority srcnat;
    oifname "out" ip saddr {proxy} snat to {public}
    oifname "out" masquerade
  }}
}}
"""


def namespace_of(machine):
    """The name of a machine's network namespace."""
    return f"{NAME}-{machine}"


def up(topology):
    """Make the switch, the router, the way out to the registries, and the inside networks of a lab without a cloud."""
    outside_up()
    if topology.servers:
        inside_up(topology)


def outside_up():
    """Make the switch with the outside network, and the router that is its way out to the registries."""
    enclose(SWITCH)
    enclose(ROUTER)
    _in(ROUTER, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    _bridge_up(OUTSIDE_NETWORK)
    egress.up(ROUTER)
    run("ip", "netns", "exec", ROUTER, "nft", "-f", "-", stdin=RULES.format(uplink=egress.INSIDE))


def inside_up(topology):
    """Make the inside networks, and translate the production address to the proxy: what a cloud does itself."""
    for network in topology.networks:
        _bridge_up(network)
    # The router answers for the production address, as a cloud's gateway does for a floating IP.
    _in(ROUTER, "ip", "address", "replace", f"{PUBLIC_ADDRESS}/32", "dev", OUTSIDE)
    proxy_network = topology.networks[0].name
    run("ip", "netns", "exec", ROUTER, "nft", "-f", "-", stdin=INSIDE_RULES.format(
        public=PUBLIC_ADDRESS, proxy=topology.proxy.addresses[proxy_network]))


def _bridge_up(network):
    if not _has_link(SWITCH, network.bridge):
        _in(SWITCH, "ip", "link", "add", network.bridge, "type", "bridge")
    _in(SWITCH, "ip", "link", "set", network.bridge, "up")
    plug(ROUTER, network.name, network, network.gateway)


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
    cable(namespace, interface, network)
    _in(namespace, "ip", "address", "replace", network.with_mask(address), "dev", interface)


def cable(namespace, interface, network):
    """Give NAMESPACE an interface in a network, without an address; returns the name of the switch's end."""
    port = port_name(namespace, interface)
    if not _has_link(namespace, interface):
        run("ip", "link", "add", interface, "netns", namespace, "type", "veth", "peer", "name", port, "netns", SWITCH)
    _in(SWITCH, "ip", "link", "set", port, "master", network.bridge, "up", "alias", f"{namespace} {interface}")
    _in(namespace, "ip", "link", "set", interface, "up")
    return port


def send_complete_packets(namespace, interface):
    """Have the kernel fill in checksums before a packet leaves by this interface, and cut it to size: for userspace."""
    _in(namespace, "ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off")


def is_up():
    """Whether switch, router and the way out are there."""
    return {SWITCH, ROUTER} <= set(namespaces()) and egress.is_up()


def addresses(namespace):
    """The IPv4 addresses of the interfaces eth0, eth1… of a namespace, in their order; none when it isn't there."""
    if namespace not in namespaces():
        return []
    links = json.loads(_in(namespace, "ip", "-json", "-4", "address"))
    return [entry["local"] for link in sorted(links, key=lambda link: link["ifname"])
            if link["ifname"].startswith("eth") for entry in link["addr_info"]]


def namespaces():
    """The names of the lab's network namespaces that exist."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path.name for path in NAMESPACES.iterdir() if path.name.startswith(f"{NAME}-"))
    return []


def down():
    """Take away every namespace of the lab, and the way out. What ran in them must have ended."""
    egress.down()
    for namespace in namespaces():
        remove(namespace)


def enclose(name):
    """Make the network namespace NAME unless it is there."""
    if succeeds("ip", "-n", name, "link", "show", "lo"):
        return
    (NAMESPACES / name).unlink(missing_ok=True)   # a killed `ip netns add` leaves a file without a mount
    run("ip", "netns", "add", name)
    _in(name, "ip", "link", "set", "lo", "up")


def remove(name):
    """Take the network namespace NAME away, with all that is in it."""
    if not succeeds("ip", "netns", "delete", name):
        (NAMESPACES / name).unlink(missing_ok=True)   # a killed `ip netns add` leaves a file without a mount


def _has_link(namespace, link):
    return succeeds("ip", "-n", namespace, "link", "show", link)


def _in(namespace, *command):
    return run("ip", "netns", "exec", namespace, *command)
