"""What Neutron alone says of a release, read at one moment: floating IPs, ports, and each environment's record."""

from collections.abc import Mapping
from dataclasses import dataclass

from idr.cloud import lock, mark
from idr.cloud.live import RELEASED
from idr.cloud.model import PRODUCTION_TAG
from idr.cloud.servers import port_name
from idr.errors import Refused
from idr.release import record


@dataclass(frozen=True)
class Address:
    """
    A floating IP. WHOSE is the environment that its description names, MADE the run that made it, PORT the id of the
    port that it's on.
    """

    id: str
    ip: str
    port: str | None
    whose: str | None
    made: str | None
    revision: int
    tags: tuple[str, ...]
    network: str


@dataclass(frozen=True)
class Port:
    """A port; ENVIRONMENT is whose it is by its mark."""

    id: str
    name: str
    environment: str | None


@dataclass(frozen=True)
class Record:
    """An environment's base security group, with what is written on it, and who is on that environment."""

    id: str
    tags: tuple[str, ...]
    held: lock.Record
    holders: tuple[lock.Record, ...]


@dataclass(frozen=True)
class Seen:
    """All that at one moment; TAG is the one that makes an address the public's."""

    addresses: tuple[Address, ...]
    ports: Mapping[str, Port]
    records: Mapping[str, Record]  # by environment
    tag: str = PRODUCTION_TAG

    @property
    def public(self):
        """The public's address. Refused where there's none, or more than one."""
        found = [it for it in self.addresses if self.tag in it.tags]
        if not found:
            raise Refused(
                [
                    f"no floating IP of this project carries the tag {self.tag}, so none is known as the public's: "
                    f"openstack floating ip set --tag {self.tag} the one that is"
                ]
            )
        if len(found) > 1:
            raise Refused(
                [
                    f"{' and '.join(it.ip for it in found)} both carry the tag {self.tag}: openstack floating ip unset "
                    f"--tag {self.tag} the one that isn't the public's"
                ]
            )
        return found[0]

    @property
    def moving(self):
        """The ``record.Move`` that is under way, None where none is."""
        return record.moving(self.public.tags)

    @property
    def history(self):
        """The moves that ended, the newest first."""
        return record.history(self.public.tags)

    def named(self, ip):
        """The address with that number, None where there's none."""
        return next((it for it in self.addresses if it.ip == ip), None)

    def holder(self, address):
        """The environment whose proxy an address is on, None where it's on no port, or on another one."""
        port = self.ports.get(address.port)
        is_proxys = port and port.environment and port.name == self._name(port.environment)
        return port.environment if is_proxys else None

    def proxy(self, environment):
        """The port of an environment's proxy that has its address, None where it has none."""
        name = self._name(environment)
        found = [it for it in self.ports.values() if (it.environment, it.name) == (environment, name)]
        return min(found, key=lambda it: it.id, default=None)

    def on(self, port):
        """The addresses that are on a port."""
        return [it for it in self.addresses if it.port == port.id]

    def place(self, address):
        """Where an address is, for people."""
        port = self.ports.get(address.port)
        return (port.name or port.id) if port else f"port {address.port}" if address.port else "nowhere"

    def release(self, environment):
        """The ``record.Release`` that an environment is of, None where it's of none."""
        there = self.records.get(environment)
        return record.release_of(there.tags) if there else None

    @property
    def released(self):
        """The environments that are told to be the public's by their record."""
        return [name for name, it in self.records.items() if RELEASED in it.tags]

    @staticmethod
    def _name(environment):
        return port_name(f"{environment}-proxy", environment)


def look(cloud, tag=PRODUCTION_TAG):
    """What Neutron says now; three calls."""
    project = cloud.session.get_project_id()  # an administrator would see other projects' too
    addresses = [
        Address(
            it.id,
            it.floating_ip_address,
            it.port_id,
            *mark.of(it.description),
            it.revision_number,
            tuple(it.tags or ()),
            it.floating_network_id,
        )
        for it in cloud.network.ips(project_id=project)
    ]
    ports = {it.id: Port(it.id, it.name, mark.of(it.description)[0]) for it in cloud.network.ports(project_id=project)}
    records = {}
    found = cloud.network.security_groups(project_id=project, fields=lock.WITHOUT_RULES)
    groups = [it for it in found if mark.of(it.description)[0] == it.name]
    for group in sorted(groups, key=lambda it: (it.created_at, it.id), reverse=True):  # of two of one name the oldest
        holders = tuple(lock.holders(group.description, group.tags))
        records[group.name] = Record(group.id, tuple(group.tags or ()), lock.record(group.description), holders)
    return Seen(tuple(addresses), ports, records, tag)
