"""
What servers an environment has: the parsed form of its table (``lab/by_hand/environment.sls`` is one).

The parser is the validator. It never stops at the first problem: a table is refused with all of them, each with its
place.
"""

import ipaddress
import re
import uuid
from dataclasses import dataclass

import yaml

from idr.errors import Refused

NAME = "[a-z][a-z0-9]*"  # of an environment: it's the first word of its servers' names
# role -> what the data volume of such a server is for, which ends its name, and where it is mounted; None has none
ROLES = {
    "proxy": ("nginxcache", "/var/cache/nginx"),
    "omero": ("data", "/data"),
    "database": ("db", "/var/lib/pgsql"),
    "dockermanager": ("data", "/data"),
    "management": None,
}
REQUIRED = ("omero", "database")  # on the production side, of whose data an IDR is made; others can do without theirs


@dataclass(frozen=True)
class Network:
    """One side's network."""

    name: str
    cidr: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address


@dataclass(frozen=True)
class Volume:
    """A data volume: found by its cloud id, or by its filesystem's UUID where servers are made by hand."""

    name: str
    mount: str
    size_gb: int
    id: str | None
    uuid: str | None


@dataclass(frozen=True)
class Server:
    """One server; its id is its name and its minion's id, and its prefix the name of its side and network."""

    id: str
    role: str
    prefix: str
    addresses: dict[str, ipaddress.IPv4Address]
    volumes: tuple[Volume, ...]

    @property
    def address(self):
        """Where it is in its own side's network."""
        return self.addresses[self.prefix]


@dataclass(frozen=True)
class Environment:
    """One complete IDR."""

    name: str
    public_name: str
    public_address: ipaddress.IPv4Address
    networks: dict[str, Network]
    servers: dict[str, Server]

    @property
    def proxy(self):
        """The front door, the way in for SSH, and the master."""
        return self.servers[f"{self.name}-proxy"]


def read(name, text, source):
    """
    The environment NAME from its table as text. Refused with every problem, each with its place.

    source:  where the text is from, which problems begin with
    """
    try:
        return parse(yaml.load(text, NothingTwice), name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise Refused([f"{source}{line}: {getattr(error, 'problem', None) or error}"]) from error
    except Refused as refused:
        raise Refused([f"{source}: {problem}" for problem in refused.problems]) from refused


def parse(raw, name):
    """The environment NAME from its loaded table. Refused with every problem, each with its place."""
    reader = _Reader()
    environment = reader.environment(raw, name)
    if reader.problems:
        raise Refused(reader.problems)
    return environment


class NothingTwice(yaml.SafeLoader):
    """YAML keeps the last of two equal keys and says nothing: a server pasted twice would lose one."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Reader:
    """Reads values at places, and remembers what was wrong with them."""

    def __init__(self):
        self.problems = []

    def wrong(self, place, what):
        self.problems.append(f"{place}: {what}")

    def mapping(self, raw, place, required=None, optional=()):
        """A mapping with exactly those keys (any, without `required`); what is missing is None in it."""
        if not isinstance(raw, dict) or not raw:
            self.wrong(place, f"has to be a mapping, not {raw!r}")
            raw = {}
        if required is None:
            return raw
        for key in raw:
            if key not in (*required, *optional):
                self.wrong(f"{place}.{key}", f"unknown; known are {', '.join((*required, *optional))}")
        if raw:
            for key in required:
                if key not in raw:
                    self.wrong(f"{place}.{key}", "missing")
        return {key: raw.get(key) for key in (*required, *optional)}

    def parsed(self, raw, place, what, parse):
        """RAW as PARSE makes it, or None with a problem; a missing value was already told."""
        if raw is None:
            return None
        try:
            if isinstance(raw, bool):  # an int to Python, and so an address to ipaddress
                raise ValueError
            return parse(raw)
        except ValueError:
            self.wrong(place, f"has to be {what}, not {raw!r}")
            return None

    def address(self, raw, place):
        return self.parsed(raw, place, "an IPv4 address", lambda value: ipaddress.IPv4Address(str(value)))

    def environment(self, raw, name):
        top = self.mapping(raw, "the table", ("environment",))
        if top["environment"] is None:
            return None
        found = self.mapping(top["environment"], "environment", ("name", "public", "networks", "servers"))
        if found["name"] is not None and found["name"] != name:
            self.wrong("environment.name", f"has to be {name}, as it's asked for, not {found['name']!r}")
        public = self.mapping(found["public"] or {}, "environment.public", ("name", "address"))
        public_name = self.parsed(public["name"], "environment.public.name", "a host name", _host_name)
        public_address = self.address(public["address"], "environment.public.address")
        networks = self.networks(found["networks"] or {}, name)
        servers = self.servers(found["servers"] or {}, name, networks)
        return Environment(name, public_name, public_address, networks, servers)

    def networks(self, raw, name):
        networks = {}
        for key, entry in self.mapping(raw, "environment.networks").items():
            place = f"environment.networks.{key}"
            if key not in (name, f"{name}-a"):
                self.wrong(place, f"a side's network is called {name} or {name}-a")
                continue
            entry = self.mapping(entry, place, ("cidr", "gateway"))
            cidr = self.parsed(entry["cidr"], f"{place}.cidr", "an IPv4 network", ipaddress.IPv4Network)
            gateway = self.address(entry["gateway"], f"{place}.gateway")
            if cidr and gateway and gateway not in cidr:
                self.wrong(f"{place}.gateway", f"{gateway} is not in {cidr}")
            for other in networks.values():
                if cidr and other.cidr and cidr.overlaps(other.cidr):
                    self.wrong(f"{place}.cidr", f"{cidr} overlaps {other.cidr} of {other.name}")
            networks[key] = Network(key, cidr, gateway)
        if name not in networks and raw:
            self.wrong(f"environment.networks.{name}", "missing: the production side has to have one")
        return networks

    def servers(self, raw, name, networks):
        servers, volumes = {}, {}
        self.taken = {}
        for id_, entry in self.mapping(raw, "environment.servers").items():
            place = f"environment.servers.{id_}"
            entry = self.mapping(entry, place, ("role", "addresses", "volumes"))
            role = entry["role"]
            if role not in list(ROLES):  # it may be anything, a list too
                if role is not None:
                    self.wrong(f"{place}.role", f"unknown role {role!r}; roles are {', '.join(ROLES)}")
                continue
            prefix = prefix_of(id_, role, name)
            if prefix is None:
                self.wrong(place, wrong_name(role, name))
                continue
            if id_[-1].isdigit() and f"{prefix}-{role}" not in raw:
                self.wrong(place, f"a second one without a first: {prefix}-{role} is missing")
            if prefix not in networks:
                self.wrong(place, f"is on the side {prefix}, which has no network")
                continue
            wanted = list(networks) if role == "proxy" else [prefix]
            addresses = self.addresses(entry["addresses"] or {}, place, wanted, networks)
            required = role in REQUIRED and prefix == name
            mounted = self.volumes(entry["volumes"], place, volume_of(id_, role, name), required, volumes)
            servers[id_] = Server(id_, role, prefix, addresses, mounted)
        if f"{name}-proxy" not in raw and raw:
            self.wrong(f"environment.servers.{name}-proxy", "missing: it is the way in, and the master")
        return servers

    def addresses(self, raw, place, wanted, networks):
        found = {}
        for key, address in self.mapping(raw, f"{place}.addresses", wanted).items():
            where = f"{place}.addresses.{key}"
            address = self.address(address, where)
            network = networks[key]
            if address is None or network.cidr is None:
                continue
            if address not in network.cidr:
                self.wrong(where, f"{address} is not in {network.cidr}")
            elif address in (network.gateway, network.cidr.network_address, network.cidr.broadcast_address):
                self.wrong(where, f"{address} is the network's own or its gateway's")
            elif address in self.taken:
                self.wrong(where, f"{address} is also that of {self.taken[address]}")
            self.taken.setdefault(address, place.rpartition(".")[2])
            found[key] = address
        return found

    def volumes(self, raw, place, own, required, seen):
        name, mount = own or (None, None)
        if raw is not None and not isinstance(raw, list):
            self.wrong(f"{place}.volumes", f"has to be a list, not {raw!r}")
            raw = []
        if raw and not own:
            self.wrong(f"{place}.volumes", f"has to be [], as a server of its role has no data volume, not {raw!r}")
            return ()
        found = []
        for entry in raw or []:
            entry = self.mapping(entry, f"{place}.volumes", ("name", "mount", "size_gb"), ("id", "uuid"))
            where = f"{place}.volumes.{entry['name']}"
            if entry["name"] != name:
                self.wrong(where, f"the only data volume of this server is {name}")
            if entry["mount"] != mount:
                self.wrong(f"{where}.mount", f"has to be {mount}, not {entry['mount']!r}")
            size = self.parsed(entry["size_gb"], f"{where}.size_gb", "a whole number of GB above 0", _positive)
            if (entry["id"] is None) == (entry["uuid"] is None):
                self.wrong(where, "needs either the `id` of its cloud volume or the `uuid` of its filesystem")
            for kind in ("id", "uuid"):
                value = self.parsed(entry[kind], f"{where}.{kind}", "a UUID", lambda raw: str(uuid.UUID(raw)))
                if value and value in seen:
                    self.wrong(f"{where}.{kind}", f"is also that of {seen[value]}")
                seen[value] = entry["name"]
            found.append(Volume(entry["name"], entry["mount"], size, entry["id"], entry["uuid"]))
        if len(found) > 1:
            self.wrong(f"{place}.volumes", f"more than one; {name} is all it can have")
        if not found and raw is not None and required:
            self.wrong(f"{place}.volumes", f"{name} is missing, which holds what can't be made again")
        return tuple(found)


def prefix_of(id_, role, name):
    """
    The side (``idr``, ``idr-a``) of the server ID_ with that role in the environment NAME; None where it may not be
    called so. A side's first server of a role is ``<side>-<role>``, a further one has a number from 2 on behind.
    """
    number = "" if role == "proxy" else "([2-9]|[1-9][0-9]+)?"
    return next((side for side in _sides(role, name) if re.fullmatch(f"{side}-{role}{number}", str(id_))), None)


def wrong_name(role, name):
    """What is to be said of a server of that role in the environment NAME which isn't called as its role demands."""
    names = " or ".join(f"{side}-{role}" for side in _sides(role, name))
    number = "" if role == "proxy" else " (a further one with a number from 2 on)"
    return f"has to be called {names}{number}, as its role is {role}"


def volume_of(id_, role, name):
    """
    The name and mount point of the one data volume that the server ID_ can have, e.g. ``("a-omero2-data", "/data")`` of
    ``idr-a-omero2``; None where its role has none.
    """
    use = ROLES[role]
    return use and (f"{id_.removeprefix(f'{name}-')}-{use[0]}", use[1])


def _sides(role, name):
    """Where servers of a role are: the proxy is one for both sides, Docker is the analysis side's."""
    return {"proxy": [name], "management": [name], "dockermanager": [f"{name}-a"]}.get(role, [name, f"{name}-a"])


def _host_name(raw):
    label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
    if not isinstance(raw, str) or not re.fullmatch(rf"{label}(\.{label})*", raw):
        raise ValueError
    return raw


def _positive(raw):
    if not isinstance(raw, int) or raw <= 0:
        raise ValueError
    return raw
