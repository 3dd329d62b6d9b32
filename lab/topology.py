"""
What the lab itself brings up: an outside network and the operator's seat on it; and where there is no cloud to make
servers, those of `by_hand/environment.sls`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lab.settings import CHECKOUT, HOSTS, PUBLIC_ADDRESS, SEAT, STATE
from lab.shell import LabError

OUTSIDE = "out"
BY_HAND = CHECKOUT / "lab/by_hand/environment.sls"
CLOUD = STATE / "cloud"
ENVIRONMENT = "idr"
SERIAL_LENGTH = 20   # virtio shows only so much of a volume's id


@dataclass(frozen=True)
class Network:
    """One network of the lab: a bridge, and the router's address in it."""

    name: str
    cidr: str
    gateway: str

    @property
    def bridge(self):
        """The bridge's name in the lab's switch."""
        return f"br-{self.name}"

    def with_mask(self, address):
        """ADDRESS with this network's prefix length, as `ip address` wants it."""
        return f"{address}/{self.cidr.split('/')[1]}"


OUTSIDE_NETWORK = Network(OUTSIDE, "198.51.100.0/24", "198.51.100.1")


@dataclass(frozen=True)
class Volume:
    """A data volume as a cloud gives it to a server."""

    id: str
    name: str
    size_gb: int

    @property
    def serial(self):
        """What the server sees of the id, under /dev/disk/by-id/virtio-…"""
        return self.id[:SERIAL_LENGTH]


@dataclass(frozen=True)
class Server:
    """One machine: its name, role, address in each network, and volumes in the order of their devices."""

    name: str
    role: str
    addresses: dict
    volumes: tuple


THE_SEAT = Server(SEAT, SEAT, {OUTSIDE: "198.51.100.2"}, ())


@dataclass(frozen=True)
class Topology:
    """Everything that the lab is to bring up."""

    environment: str
    networks: tuple
    servers: tuple
    seat: Server

    @property
    def machines(self):
        """The environment's servers and the operator's seat."""
        return (*self.servers, self.seat)

    def machine(self, name):
        """The machine of that name; refuses an unknown one with the names there are."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise LabError(f"there is no host {name}: it is one of {', '.join(m.name for m in self.machines)}")

    def network(self, name):
        """The network of that name."""
        return next(network for network in self.networks if network.name == name)

    @property
    def proxy(self):
        """The server that the production address leads to."""
        return next(server for server in self.servers if server.role == "proxy")


def read(path: Path = BY_HAND):
    """The topology that PATH, an environment's table, describes."""
    import yaml  # Debian's own package; `check` and `install` work without it

    pillar = yaml.safe_load(path.read_text())["environment"]
    if pillar["public"]["address"] != PUBLIC_ADDRESS:
        raise LabError(f"{path}: the lab's outside network is made for the production address {PUBLIC_ADDRESS}")
    networks = [Network(name, net["cidr"], net["gateway"]) for name, net in pillar["networks"].items()]
    servers = [
        Server(name, server["role"], server["addresses"], tuple(
            Volume(volume["id"], volume["name"], volume["size_gb"]) for volume in server["volumes"]))
        for name, server in pillar["servers"].items()
    ]
    return Topology(
        environment=pillar["name"],
        networks=(*networks, OUTSIDE_NETWORK),
        servers=tuple(servers),
        seat=THE_SEAT,
    )


def with_a_cloud():
    """What the lab brings up where the servers are a cloud's."""
    return Topology(environment=ENVIRONMENT, networks=(OUTSIDE_NETWORK,), servers=(), seat=THE_SEAT)


def chosen(by_hand):
    """The topology with servers made BY_HAND or by a cloud. Refuses the one when this lab was made as the other."""
    has_cloud = CLOUD.exists()
    if HOSTS.exists() and by_hand == has_cloud:
        raise LabError(f"this lab was made with{'' if has_cloud else 'out'} a cloud: lab/ctl destroy, and up again")
    return read() if by_hand else with_a_cloud()


def port_name(machine, interface):
    """The switch's end of a machine's cable; a hash, since interface names end after 15 characters."""
    return "p" + hashlib.sha256(f"{machine}/{interface}".encode()).hexdigest()[:12]
