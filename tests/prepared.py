"""A project in which releases are made, for tests: its facts are in memory, and what is sent to it changes them."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote

from idr import commits
from idr.backup import remotely
from idr.cloud import applying, destroying, inventory, live, lock, mark, wanted
from idr.cloud.making import Outcome
from idr.cloud.model import PRODUCTION_TAG, Thing
from idr.release import aborting, finishing, preparing, warming
from tests import clouds
from tests.backups import of_volumes, things
from tests.unit.test_cloud_planning import IDR

HEAD = "a0b1c2d3e4f5" + "0" * 28
SPARE = "198.51.100.77"
EVERY = [use for _, use, _ in clouds.ROLES.values()]


class World:
    """
    The project of a live `idr`. TAKEN are the times of the sets that its master takes next; DIES is the number of the
    step before which a run is cut off, once.
    """

    def __init__(self, monkeypatch, *taken):
        self.facts, self.done, self.held, self.dies = IDR, [], [], None
        self.commit, self.unclean, self.backup_problems, self.taken = HEAD, [], [], [*taken]
        self.session = SimpleNamespace(get_project_id=lambda: "p-1")
        self.calls = SimpleNamespace(total=7)
        self.network = self
        for where, name, how in (
            (preparing, "connect", lambda name: self),
            (finishing, "connect", lambda name: self),
            (aborting, "connect", lambda name: self),
            (applying, "connect", lambda name: self),
            (destroying, "connect", lambda name: self),
            (inventory, "facts", lambda *_, **__: self.facts),
            (applying, "facts", lambda *_, **__: self.facts),
            (destroying, "facts", lambda *_, **__: self.facts),
            (applying, "carry_out", self.carry_out),
            (destroying, "carry_out", self.carry_out),
            (destroying, "_credential", lambda *_: []),
            (destroying.host_keys, "forget", lambda *_: None),
            (applying, "_on_its_servers", lambda cloud, seen, *_: applying.Applied(seen.plan, 7)),
            (lock, "held", self.lock),
            (live, "addresses_of", lambda name: set()),
            (wanted, "read", self.read),
            (commits, "here", lambda: (self.commit, list(self.unclean))),
            (remotely, "plan", self.coming_backup),
            (remotely, "create", self.back_up),
            (warming, "warm", lambda *given: self.step(f"warm {given[0]}") or {"urls": 3, "failed": {}}),
            (preparing.restoring, "not_supplied", lambda *_: []),
        ):
            monkeypatch.setattr(where, name, how)

    def step(self, what):
        """Something is done; or it's where this run is cut off."""
        if self.dies == len(self.done):
            self.dies = None
            raise KeyboardInterrupt
        self.done.append(what)

    def read(self, name, given=None):
        given = given or {}
        found = clouds.wanted(name, f"sources:{given['sources']}" if "sources" in given else "")
        cache = given.get(preparing.CACHE_SOURCE)
        return replace(
            found,
            volumes=tuple(
                replace(it, source=cache) if cache and it.use == preparing.CACHE else it for it in found.volumes
            ),
        )

    @contextmanager
    def lock(self, cloud, environment, run, purpose, broken=None, typed=None):
        self.step(f"lock {environment}")
        assert environment not in self.held, "a lock that is held is wanted once more"
        self.held.append(environment)
        if self.base(environment) is None:
            what = {"description": f"{mark.description(environment, run)}; unfinished {run}", "tags": []}
            what |= {"created_at": "2026-11-25T05:00:00Z", "revision_number": 1}
            group = Thing("group", environment, f"g-base-{environment}", environment, run, what)
            self.facts = clouds.added(self.facts, group)
        try:
            yield SimpleNamespace(
                begin=lambda run: None,
                finish=lambda: self.finish(environment),
                check=lambda: None,
                remove=lambda: self.remove(environment),
            )
        finally:
            self.held.remove(environment)

    def base(self, name):
        return destroying.base(self.facts, name)

    def finish(self, name):
        group = self.base(name)
        said = str(replace(lock.record(group.what["description"]), unfinished=None))
        self.facts = clouds.changed(self.facts, group, description=said)

    def remove(self, name):
        self.facts = clouds.without(self.facts, lambda it: it.kind == "group" and it is self.base(name))

    def carry_out(self, cloud, plan, *_, **__):
        self.step(f"carry out {plan.environment}")
        self.facts = clouds.after(self.facts, plan)
        return Outcome(list(plan.steps))

    def coming_backup(self, env, folder):
        blocked = {"result": False, "comment": "blocked", "problems": self.backup_problems}
        return (blocked if self.backup_problems else {"result": True}) | {"snapshots": {"omero-data": "s"}}

    def back_up(self, env, folder, tell, **given):
        assert env not in self.held, "its master wants the lock"
        self.step(f"back up {env}")
        it = of_volumes(self.facts, env, uses=EVERY, taken=self.taken.pop(0))
        self.facts = clouds.added(self.facts, *things(it))
        return {"result": True, "set": {"set": it.id, "state": "good"}}

    def put(self, path):
        return self._tag(path, lambda tags, tag: [*tags, tag])

    def delete(self, path):
        return self._tag(path, lambda tags, tag: [each for each in tags if each != tag])

    def _tag(self, path, how):
        _, kind, id_, _, tag = path.split("/")
        tag = unquote(tag)
        self.step(f"tag {tag.split('~')[0]}")
        thing = clouds.find_id(self.facts, {"security-groups": "group", "floatingips": "address"}[kind], id_)
        self.facts = clouds.changed(self.facts, thing, tags=how([it for it in thing.what["tags"] if it != tag], tag))
        return SimpleNamespace(status_code=204)

    def create_ip(self, floating_network_id, description):
        self.step("make address")
        what = {"port_id": None, "floating_network_id": floating_network_id, "description": description, "tags": []}
        what |= {"revision_number": 0, "created_at": "2026-11-25T05:00:00Z"}
        self.facts = clouds.added(self.facts, Thing("address", SPARE, "a-made", *mark.of(description), what))
        return SimpleNamespace(id="a-made")

    def update_ip(self, id_, if_revision, description):
        self.step("change address")
        thing = clouds.find_id(self.facts, "address", id_)
        assert if_revision == thing.what["revision_number"]
        now = clouds.changed(self.facts, thing, mark.of(description)[0], description=description)
        self.facts = now

    def ips(self, project_id):
        return [SimpleNamespace(id=it.id, description=it.what["description"]) for it in self.facts.all("address")]

    def get_ip(self, id_):
        return SimpleNamespace(description=clouds.find_id(self.facts, "address", id_).what["description"])

    def spare(self):
        """A floating IP that is nobody's."""
        external = clouds.find(self.facts, "network", "external").id
        what = {"port_id": None, "floating_network_id": external, "description": "", "tags": [], "revision_number": 3}
        self.facts = clouds.added(self.facts, Thing("address", SPARE, "a-spare", None, None, what))

    def tags(self, name):
        """What the base group of an environment has."""
        group = self.base(name)
        return group.what["tags"] if group else []

    def tell_public(self, *tags):
        """Put tags on the public's address."""
        address = self.public
        self.facts = clouds.changed(self.facts, address, tags=[*address.what["tags"], *tags])

    @property
    def public(self):
        [address] = [it for it in self.facts.all("address") if PRODUCTION_TAG in it.what["tags"]]
        return address

    def switch(self, old, new):
        """Give the public's address to an environment's proxy, and the other's to the old one's."""
        ports = {name: clouds.find(self.facts, "port", f"{name}-proxy-{name}") for name in (old, new)}
        public = self.public
        [spare] = [it for it in self.facts.all("address") if it.what["port_id"] == ports[new].id]
        said = {name: mark.description(name) for name in (old, new)}
        self.facts = clouds.changed(self.facts, public, new, port_id=ports[new].id, description=said[new])
        self.facts = clouds.changed(self.facts, spare, old, port_id=ports[old].id, description=said[old])


def folders(env):
    return f"/nowhere/{env}"
