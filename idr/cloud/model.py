"""
The words of an environment in its cloud: what is wanted, what is there, and the plan from one to the other.

Nothing here asks a cloud. `wanted` makes a Wanted of pillar and the command line, `inventory` the Facts by one reading
of the cloud, `planning` a Plan of both, and `making` carries a plan out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PRODUCTION_TAG = "idr-production"  # in Neutron, on the floating IP that is the public's; it never moves
SCRATCH = "scratch"  # role of the one server of an environment that a backup set is looked at in (idr/cloud/scratch.py)
WEB, SSH = ("web", (80, 443)), ("bastion", (22,))


@dataclass(frozen=True)
class Source:
    """
    Where a volume's first content comes from: kind is `volume` or `snapshot`, id the cloud's, SET the id of the backup
    set that such a snapshot is of.
    """

    kind: str
    id: str
    name: str
    size_gb: int
    set: str = ""


@dataclass(frozen=True)
class WantedVolume:
    """
    A data volume. NAME is the cloud's (`newidr-omero-data`), USE pillar's (`omero-data`). SOURCE is "" (blank),
    `use:omero-data` (this environment's own), `sources:idr` (what that environment or backup set has of this use; what
    is optional may be missing there), or as typed: a volume's, snapshot's, environment's or set's name or id.
    """

    name: str
    use: str
    server: str
    size_gb: int
    source: str = ""


@dataclass(frozen=True)
class WantedServer:
    """A server; its networks in the order of its interfaces."""

    name: str
    role: str
    flavor: str
    networks: tuple[str, ...]

    @property
    def is_way_in(self):
        """Whether it's the one that has the environment's floating IP."""
        return self.role in ("proxy", SCRATCH)


@dataclass(frozen=True)
class WantedNetwork:
    """One side's network with its subnet; the router has the first address in it."""

    name: str
    cidr: str


@dataclass(frozen=True)
class Wanted:
    """An environment as pillar and the command line say it should be."""

    name: str
    cloud: str  # of clouds.yaml
    public_name: str  # "": none that the public is to see, so it never gets the production tag
    image: str
    keys: tuple[str, ...]  # public SSH keys; the first is the key pair's
    nameservers: tuple[str, ...]
    external: str  # the network of floating IPs; "" is the only external one
    networks: tuple[WantedNetwork, ...]
    servers: tuple[WantedServer, ...]
    volumes: tuple[WantedVolume, ...]
    address: str | None = None  # a floating IP that was named; None: one that is free, or a new one
    volume_type: str = ""  # "": the cloud's default
    zone: str = ""  # the availability zone; "": the only one, or where the environment is already
    open: tuple[tuple[str, tuple[int, ...]], ...] = (WEB, SSH)  # to all outside, at the way in: ports, and what for


@dataclass(frozen=True)
class Thing:
    """
    A resource of the cloud. KIND: network, subnet, router, interface, group, rule, port, key, volume, snapshot, server,
    attachment, address, image, flavor, zone (of volumes), volume type (the default). WHAT holds the few attributes that
    planning compares, by the SDK's names.
    """

    kind: str
    name: str
    id: str
    environment: str | None = None  # whose it is by its own mark; None: not ours
    run: str | None = None  # the apply that made it
    what: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """One reading of the project: its things by kind, and its quotas as (limit, used) by name; a limit of -1: none."""

    cloud: str
    project: str
    things: Mapping[str, tuple[Thing, ...]]
    quotas: Mapping[str, tuple[int, int]]

    def all(self, kind):
        """The things of that kind."""
        return self.things.get(kind, ())

    def of(self, environment, kind):
        """The things of that kind that are the environment's own by their mark."""
        return tuple(thing for thing in self.all(kind) if thing.environment == environment)


@dataclass(frozen=True)
class Step:
    """
    One change. VERB is make, change, remove, tag, wait (for what an earlier run left in the making), or copy, of what
    is on a volume, which is shown in a plan and done by servers. WHAT holds the call's attributes; a value that is a
    Ref is the id of a thing that a step before makes. NEEDS are the keys of the steps that come first: (kind, name),
    and of what is removed or tagged ("remove snapshot", name), as a temporary snapshot is made and removed in one plan.
    """

    verb: str
    kind: str
    name: str
    what: Mapping = field(default_factory=dict)
    needs: tuple[tuple[str, str], ...] = ()
    id: "str | Ref | None" = None  # of what is changed, removed or tagged

    @property
    def key(self):
        return (f"{self.verb} {self.kind}" if self.verb in ("remove", "tag") else self.kind), self.name

    def __str__(self):
        return f"{self.verb} {self.kind} {self.name}"


@dataclass(frozen=True)
class Ref:
    """The id of a thing that a step of the same plan makes, or finds made: filled in when the step runs."""

    kind: str
    name: str


@dataclass(frozen=True)
class Plan:
    """Steps in an order that works one after another; PROBLEMS block all of it; KEPT is there and stays as it is."""

    environment: str
    steps: tuple[Step, ...]
    kept: tuple[Thing, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the reader should know: the address that is taken, seconds that clones will take
    needed: Mapping[str, int] = field(default_factory=dict)  # quota name: how much more
    free: Mapping[str, int] = field(default_factory=dict)  # of the same, as far as there is a limit
