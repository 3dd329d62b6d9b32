"""A server's ports: its network namespace, and a cable for each port from there into OVN's integration bridge."""

from dataclasses import dataclass

from lab import network
from lab.cloud import ovn
from lab.cloud.settings import HYPERVISOR
from lab.shell import run, succeeds

BRIDGE = "br-int"


@dataclass(frozen=True)
class Port:
    """What Neutron says of a port. Addresses are with their prefix length, routes pairs of destination and gateway."""

    id: str
    mac: str
    mtu: int
    addresses: tuple
    routes: tuple
    resolvers: tuple

    @property
    def cable(self):
        """The name of its cable's end at the bridge."""
        return f"tap{self.id[:11]}"


def read(network_info):
    """The ports in Nova's network information; the default route is the first one's."""
    return [_port(vif, is_first=number == 0) for number, vif in enumerate(network_info or ())]


def _port(vif, is_first):
    addresses, routes, resolvers = [], [], []
    for subnet in vif["network"]["subnets"]:
        length = subnet["cidr"].split("/")[1]
        addresses += [f"{ip['address']}/{length}" for ip in subnet["ips"]]
        routes += [(route["cidr"], route["gateway"]["address"]) for route in subnet.get("routes") or ()]
        if is_first and subnet.get("gateway"):
            routes.append(("default", subnet["gateway"]["address"]))
        resolvers += [server["address"] for server in subnet.get("dns") or ()]
    mtu = vif["network"]["meta"].get("mtu") or 1442   # what is left when Geneve is around it
    return Port(vif["id"], vif["address"], mtu, tuple(addresses), tuple(routes), tuple(resolvers))


def plug(server, ports):
    """Make the namespace of the server with that id, and its interfaces eth0, eth1…; what is there stays as it is."""
    namespace = network.namespace_of(server)
    network.enclose(namespace)
    for number, port in enumerate(ports):
        _lay(server, namespace, f"eth{number}", port)


def unplug(server):
    """Take away the namespace and the cables of the server with that id."""
    cables = ovn.vsctl("--bare", "--columns=name", "find", "interface", f"external_ids:vm-uuid={server}").split()
    for cable in cables:
        ovn.vsctl("--if-exists", "del-port", BRIDGE, cable)
        succeeds("ip", "-n", HYPERVISOR, "link", "delete", cable)
    network.remove(network.namespace_of(server))


def _lay(server, namespace, interface, port):
    is_new = not succeeds("ip", "-n", namespace, "link", "show", interface)
    if is_new:
        succeeds("ip", "-n", HYPERVISOR, "link", "delete", port.cable)
        run("ip", "link", "add", port.cable, "netns", HYPERVISOR, "type", "veth",
            "peer", "name", interface, "netns", namespace)
        network.send_complete_packets(namespace, interface)
        ovn.vsctl("--if-exists", "del-port", BRIDGE, port.cable)   # of the cable before, which it still looks for
    ovn.vsctl("--may-exist", "add-port", BRIDGE, port.cable, "--", "set", "interface", port.cable,
              f"external_ids:iface-id={port.id}", f'external_ids:attached-mac="{port.mac}"',
              f"external_ids:vm-uuid={server}", "external_ids:iface-status=active")
    run("ip", "-n", HYPERVISOR, "link", "set", port.cable, "up")
    run("ip", "-n", namespace, "-batch", "-", stdin="\n".join([
        f"link set dev {interface} address {port.mac} mtu {port.mtu} up",
        *(f"address replace {address} dev {interface}" for address in port.addresses),
        *(f"route replace {destination} via {gateway} dev {interface}" for destination, gateway in port.routes),
    ]) + "\n")
