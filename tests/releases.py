"""Two environments of a release in a Neutron, for tests: `idr` is live, `newidr` is ready and has the spare address."""

from contextlib import contextmanager
from types import SimpleNamespace

from idr.cloud.live import RELEASED
from idr.release import record, seen, switching, watching
from tests.neutron import PROJECT, Neutron

PUBLIC, SPARE = "198.51.100.10", "198.51.100.11"
BEGAN = "20261124T050000Z"


class Project:
    """
    That Neutron, and what a move is done with: BROKEN and SILENT are the addresses whose smoke tests fail, or that give
    no answer, as functions of the environment that has them; DID is what was asked for besides, in its order.
    """

    def __init__(self, **further):
        self.neutron = Neutron(**further)
        self.cloud = SimpleNamespace(network=self.neutron, session=SimpleNamespace(get_project_id=lambda: PROJECT))
        ports = {name: self.neutron.add_port(f"{name}-proxy-{name}", name) for name in ("idr", "newidr")}
        self.neutron.add_port("idr-omero-idr", "idr")
        made = "IDR environment {0}, made by run-{0}"
        self.public = self.neutron.add_address(PUBLIC, ports["idr"], made.format("idr"), ["idr-production"])
        self.spare = self.neutron.add_address(SPARE, ports["newidr"], made.format("newidr"))
        for name in ("idr", "newidr"):
            self.neutron.create_security_group(name, f"IDR environment {name}, made by run-1")
        self.group("idr").tags.append(RELEASED)
        release = record.Release("idr", "idr-20261124T030000Z", "0a1b2c3d4e5f", BEGAN)
        self.group("newidr").tags += [record.release_tag(release), record.ready_tag(BEGAN)]
        self.neutron.calls.clear()
        self.broken, self.silent, self.did, self.undrainable = set(), set(), [], None

    def group(self, name):
        [found] = [it for it in self.neutron.kept.values() if it.name == name]
        return found

    def address(self, ip):
        return self.neutron.addresses[f"a-{ip}"]

    def now(self):
        """What Neutron says, by a call that isn't counted and can't fail."""
        before = self.neutron.spoiled, self.neutron.calls, self.neutron.is_dead
        self.neutron.spoiled, self.neutron.calls, self.neutron.is_dead = {}, [], False
        found = seen.look(self.cloud)
        self.neutron.spoiled, self.neutron.calls, self.neutron.is_dead = before
        return found

    def owners(self):
        """Who has the public's address, who the spare one, who is told to be the public's."""
        now = self.now()
        return now.holder(now.public), now.holder(now.named(SPARE)), now.released

    def means(self):
        def drain(environment):
            if self.undrainable:
                raise self.undrainable
            self.did.append(f"drain {environment}")

        def of(ip):
            now = self.now()
            return now.holder(now.named(ip))

        def smoke(environment, ip):
            if of(ip) != environment:
                return [f"{ip} isn't {environment}'s"]
            return [f"{environment} is broken"] if environment in self.broken else []

        return switching.Means(
            fresh=lambda: self.cloud,
            smoke=smoke,
            answers=lambda ip: of(ip) not in (None, *self.silent),
            drain=drain,
            undrain=lambda environment: self.did.append(f"undrain {environment}"),
            tell=lambda line: None,
        )

    @contextmanager
    def spoiled(self, faults):
        """Calls spoiled by their numbers, from now on."""
        self.neutron.calls.clear()
        self.neutron.spoiled = faults
        yield
        self.neutron.spoiled, self.neutron.is_dead = {}, False


def quickly(monkeypatch):
    """Let all waits be none, on a clock that goes on by them."""
    clock = SimpleNamespace(now=1000.0)

    def sleep(seconds):
        clock.now += seconds

    time = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    for module in (switching, switching.moves, watching):
        monkeypatch.setattr(module, "time", time)

    class Watch(switching.Watch):
        @contextmanager
        def going_on(self):
            yield

    monkeypatch.setattr(switching, "Watch", Watch)
    return clock
