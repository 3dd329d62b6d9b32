"""
What has to go so that an environment, or what one run made of it, is gone; what speaks against it; and what stays.

Pure functions of one reading of the cloud. Ours is what has our mark; nothing is judged by how its name begins.
"""

from idr.cloud import mark
from idr.cloud.model import Plan, Step

IN_FLIGHT = ("creating", "downloading", "restoring-backup", "backing-up")


def plan(facts, environment, run, keys=(), only=None):
    """
    The Plan that removes an environment; its base group, which is the lock, isn't in it.

    run:   this run's id, which names what is retained
    keys:  public keys by which the environment's key pair is known as ours
    only:  the run whose things are all that goes; None: everything
    """
    going = _Going(facts, environment, only)
    steps = [
        *going.addresses(),
        *going.servers(),
        *going.attachments(),
        *going.volumes(run),
        *going.snapshots(),
        *going.ports(),
        *going.interfaces(),
        *going.plain("router", ["interface"]),
        *going.plain("subnet", ["interface", "port"]),
        *going.plain("network", ["subnet"]),
        *going.rules(),
        *going.groups(),
        *_key_pair(facts, environment, keys),
    ]
    there = {step.key for step in steps}
    steps = [Step(it.verb, it.kind, it.name, it.what, _there(it.needs, there), it.id) for it in steps]
    return Plan(environment, tuple(steps), problems=tuple(going.problems()), notes=tuple(going.notes))


def _there(needs, keys):
    return tuple(dict.fromkeys(need for need in needs if need in keys))


def _key(verb, kind, name):
    return Step(verb, kind, name).key


class _Going:
    """What goes, by kind, and the steps by which it does."""

    def __init__(self, facts, environment, only):
        self.facts, self.environment, self.only = facts, environment, only
        self.notes = []

    def of(self, kind):
        """The things of a kind that go."""
        return [it for it in self.facts.of(self.environment, kind) if self.only in (None, it.run)]

    def named(self, thing):
        """Its name; with its id where a second one is called so."""
        twice = [it.name for it in self.facts.of(self.environment, thing.kind)].count(thing.name) > 1
        return f"{thing.name} ({thing.id})" if twice else thing.name

    def ids(self, kind):
        return {thing.id for thing in self.of(kind)}

    def all_of(self, *kinds):
        """The keys of all steps that remove things of these kinds."""
        return tuple(
            _key("remove", kind, self.named(thing))
            for kind in kinds
            for thing in (self.interfaces() if kind == "interface" else self.of(kind))
        )

    def addresses(self):
        """Off the ports that go; those that an apply made are given back, all others stay the project's."""
        steps, ports = [], self.ids("port")
        for address in self.facts.all("address"):
            made, on = address in self.of("address") and address.run, address.what["port_id"]
            goes = made and (on in ports or (on is None and not address.what["tags"]))
            if not (goes or on in ports):
                continue
            # conditional: somebody may have put it on another environment's port since it was looked at
            what = {"port_id": None, "if_revision": address.what["revision_number"]}
            if not goes and address.environment == self.environment:
                what["description"] = ""
            off = Step("change", "address", address.name, what, id=address.id)
            steps.append(off)
            if goes:
                steps.append(Step("remove", "address", address.name, needs=(off.key,), id=address.id))
            else:
                self.notes.append(f"floating IP {address.name} stays in the project: it was there before")
        return steps

    def servers(self):
        needs = tuple(step.key for step in self.addresses())
        return [Step("remove", "server", self.named(it), needs=needs, id=it.id) for it in self.of("server")]

    def attachments(self):
        """Volumes that go, off servers that don't."""
        volumes, servers = self.ids("volume"), self.ids("server")
        return [
            Step("remove", "attachment", it.name, dict(it.what), id=it.id)
            for it in self.facts.all("attachment")
            if it.what["volume_id"] in volumes and it.what["server_id"] not in servers
        ]

    def volumes(self, run):
        steps = []
        for volume in self.of("volume"):
            snapshots = [it for it in self.facts.all("snapshot") if it.what["volume_id"] == volume.id]
            kept = [it for it in snapshots if not it.what["temporary"]]
            needs = [*self.all_of("server", "attachment"), _key("remove", "attachment", volume.name)]
            if kept:
                name = mark.retained_name(volume, run)
                if name != volume.name:  # its metadata is written first, and a run may have died before its name
                    said = {"idr_retained": volume.what["metadata"].get("idr_retained", run)}
                    what = {"name": name, "metadata": said}
                    steps.append(Step("change", "volume", volume.name, what, tuple(needs), volume.id))
                    self.notes.append(
                        f"volume {volume.name} is retained as {name}: it carries {_count(len(kept), 'snapshot')} that "
                        f"{'is' if len(kept) == 1 else 'are'} kept ({', '.join(it.name for it in kept)}), "
                        "and goes with the last one"
                    )
                continue
            if mark.put_aside_for(volume):
                self.notes.append(f"volume {volume.name} was put aside for {mark.put_aside_for(volume)}: it goes, too")
            needs += [_key("remove", "snapshot", self.named(it)) for it in snapshots if it in self.of("snapshot")]
            steps.append(Step("remove", "volume", self.named(volume), needs=tuple(needs), id=volume.id))
        return steps

    def snapshots(self):
        """The temporary ones that clones were made by, after those volumes that were made of them."""
        return [
            Step("remove", "snapshot", self.named(it), needs=tuple(self.made_of(it)), id=it.id)
            for it in self.of("snapshot")
            if it.what["temporary"]
        ]

    def made_of(self, snapshot):
        return [
            _key("remove", "volume", self.named(it))
            for it in self.of("volume")
            if it.what["snapshot_id"] == snapshot.id
        ]

    def ports(self):
        needs = (*(step.key for step in self.addresses()), *self.all_of("server"))
        return [Step("remove", "port", self.named(it), needs=needs, id=it.id) for it in self.of("port")]

    def interfaces(self):
        """Between a router and a subnet of which one goes."""
        routers, subnets = self.ids("router"), self.ids("subnet")
        needs = tuple(step.key for step in self.addresses())
        return [
            Step("remove", "interface", it.name, dict(it.what), needs, it.id)
            for it in self.facts.all("interface")
            if it.what["router_id"] in routers or it.what["subnet_id"] in subnets
        ]

    def plain(self, kind, after):
        return [Step("remove", kind, self.named(it), needs=self.all_of(*after), id=it.id) for it in self.of(kind)]

    def rules(self):
        """Those of groups that stay; a group's own go with it."""
        groups = self.ids("group")
        return [
            Step("remove", "rule", f"{it.name} ({it.id})", id=it.id)
            for it in self.of("rule")
            if self.only and it.what["security_group_id"] not in groups
        ]

    def groups(self):
        return [
            Step("remove", "group", self.named(it), needs=self.all_of("port"), id=it.id)
            for it in self.of("group")
            if it.name != self.environment
        ]

    def problems(self):
        """What keeps these things from going, whoever wants it."""
        yield from self.cloned()
        yield from self.backups()
        servers = {server.id: server for server in self.facts.all("server")}
        for it in self.facts.all("attachment"):
            server = servers.get(it.what["server_id"])
            if it.what["volume_id"] in self.ids("volume") and server and server.environment != self.environment:
                yield f"volume {it.name}: attached to {server.name}, which isn't {self.environment}'s: detach it there"
        networks = self.ids("network")
        for port in self.facts.all("port"):
            foreign = port.environment != self.environment and not port.what["device_owner"].startswith("network:")
            if foreign and port.what["network_id"] in networks:
                yield f"port {port.name or port.id}: in a network of {self.environment}, and not its own: take it away"

    def backups(self):
        verified = [it for it in self.facts.all("snapshot") if it.what["metadata"].get("idr_verified")]
        newest = max(verified, key=lambda it: it.what["created_at"] or "", default=None)
        name = newest.what["metadata"].get("idr_set") if newest else None
        on = [it for it in verified if it.what["metadata"].get("idr_set") == name]
        if any(it.what["volume_id"] in self.ids("volume") for it in on):
            yield f"{self.environment} holds the newest verified backup set, {name}: make and verify another one first"

    def cloned(self):
        """Clones that are being made of what goes, and that would be lost."""
        volumes = {volume.id: volume for volume in self.of("volume")}
        snapshots = {
            it.id: volumes[it.what["volume_id"]] for it in self.facts.all("snapshot") if it.what["volume_id"] in volumes
        }
        for volume in self.facts.all("volume"):
            source = volumes.get(volume.what["source_volid"]) or snapshots.get(volume.what["snapshot_id"])
            if source and volume.id not in volumes and volume.what["status"] in IN_FLIGHT:
                status = volume.what["status"]
                yield f"volume {source.name}: {volume.name} is being cloned from it ({status}): wait until it is"
        for it in self.facts.all("snapshot"):
            foreign = it.what["temporary"] and it.environment != self.environment
            if foreign and it.what["volume_id"] in volumes:
                yield (
                    f"volume {volumes[it.what['volume_id']].name}: {it.environment} is being made of it by {it.name}: "
                    f"let salt-run environment.apply {it.environment} end"
                )


def _key_pair(facts, environment, keys):
    ours = {tuple(key.split()[:2]) for key in keys}
    return [
        Step("remove", "key", it.name, id=it.id)
        for it in facts.all("key")
        if it.name == f"{environment}-deployment" and tuple(it.what["public_key"].split()[:2]) in ours
    ]


def _count(number, what):
    return f"{number} {what}{'s' * (number != 1)}"
