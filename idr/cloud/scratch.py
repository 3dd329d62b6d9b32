"""
A scratch environment: one server with clones of a backup set's snapshots, in a network of its own, for as long as what
is on them is looked at.

It's planned, made and removed as any environment is, so that what a killed run leaves is seen (`environment.list`), and
goes with the next run, or with `environment.destroy`. Its name is an environment's with `scratch` behind it, which no
other may have; what is removed by itself is scratch by its own marks, too.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace

from idr.cloud import lock, mark, planning, removal
from idr.cloud.connection import ERRORS, told
from idr.cloud.inventory import facts
from idr.cloud.live import addresses
from idr.cloud.making import carry_out
from idr.cloud.model import SCRATCH, SSH, WantedNetwork, WantedServer, WantedVolume
from idr.errors import IdrError, Refused

ROUNDS = 3  # of removing: a call whose answer was lost may have its effect after a look


@dataclass(frozen=True)
class Scratch:
    """A scratch environment that is there: its one server, and its volumes' ids by their use."""

    name: str
    server: str
    id: str  # of the server
    address: str
    volumes: dict[str, str]

    def device(self, use):
        """Where its server has that volume: virtio hands it the beginning of the id."""
        return f"/dev/disk/by-id/virtio-{self.volumes[use][:20]}"


def name_of(environment):
    """The name of the scratch environment of an environment."""
    return f"{environment}{SCRATCH}"


def of_which(name):
    """The environment whose scratch environment has that name; None where it's no scratch environment's."""
    return (name or "").removesuffix(SCRATCH) if is_scratch(name) else None


def is_scratch(name):
    """Whether that is a scratch environment's name."""
    return bool(name) and name != SCRATCH and name.endswith(SCRATCH)


def wanted_for(environment, pieces):
    """
    The scratch environment for pieces of a backup set, as it's Wanted.

    environment:  the set's own as pillar has it, whose image, flavor and keys it gets
    """
    name = name_of(environment.name)
    server = f"{name}-server"
    flavors = [it.flavor for it in sorted(environment.servers, key=lambda it: it.role != "database")]
    return replace(
        environment,
        name=name,
        public_name="",
        networks=(WantedNetwork(name, environment.networks[0].cidr),),
        servers=(WantedServer(server, SCRATCH, flavors[0], (name,)),),
        volumes=tuple(
            WantedVolume(f"{name}-{piece.use}", piece.use, server, piece.size_gb, piece.snapshot) for piece in pieces
        ),
        address=None,
        open=(SSH,),
    )


def plan(cloud, asked):
    """The ``Plan`` that makes a scratch environment as ASKED, with its problems; what is left of one goes before."""
    return _plan(facts(cloud, image=asked.image), asked)


def _plan(seen, asked):
    name, left = asked.name, _left(seen, asked.name)
    made = planning.plan(asked, _without(seen, name), mark.new_run())
    notes = [f"what is left of {name} ({', '.join(left)}) is removed first"] if left else []
    return replace(made, problems=(*_foreign(seen, name), *made.problems), notes=(*made.notes, *notes))


@contextmanager
def stood_up(cloud, asked, purpose, typed, broken, tell):
    """
    A scratch environment, a ``Scratch``, for as long as the block lasts, under a lock of its own. Whatever ends the
    block, it's removed.

    asked:    as it's Wanted
    purpose:  what for, and what was TYPED for it, as others are told
    broken:   the holder of a lock that is to be broken; one that is known to be dead is broken in any case
    tell:     is told one line of progress at a time

    Refused with every problem; and where it can't be removed, with what is left and what removes it.
    """
    seen, run = facts(cloud, image=asked.image), mark.new_run()
    problems = _foreign(seen, asked.name) if _left(seen, asked.name) else _plan(seen, asked).problems
    if problems:  # of what is left, the quotas are given back first
        raise Refused(problems)
    broken = broken or lock.dead_holder(cloud, asked.name)
    with lock.held(cloud, asked.name, run, purpose, broken, typed) as held:
        begun = _Run(cloud, asked, run, held, tell)
        left = begun.take_away()
        if left:
            raise Refused(left, "stopped before anything was made")
        try:
            yield begun.make()
        except (IdrError, *ERRORS) as error:
            raise Refused([*_lines(error), *begun.take_away_for_good()], _what(error)) from error
        except BaseException:  # an interruption, or a bug
            for line in begun.take_away_for_good():
                tell(line)
            raise
        left = begun.take_away_for_good()
        if left:
            raise Refused(left, f"{asked.name} couldn't be removed")


class _Run:
    def __init__(self, cloud, asked, run, held, tell):
        self.cloud, self.asked, self.run, self.held, self.tell = cloud, asked, run, held, tell

    def make(self):
        asked = self.asked
        planned = planning.plan(asked, facts(self.cloud, image=asked.image), self.run)
        if planned.problems:
            raise Refused(planned.problems)
        outcome = carry_out(self.cloud, planned, self.tell, self.held)
        if outcome.problems or outcome.interrupted:
            raise Refused(outcome.problems, f"{'interrupted' if outcome.interrupted else 'stopped'}: no scratch server")
        now = facts(self.cloud)
        [server] = now.of(asked.name, "server")
        volumes = {it.what["use"]: it.id for it in now.of(asked.name, "volume")}
        return Scratch(asked.name, server.name, server.id, addresses(now, asked.name)[0].name, volumes)

    def take_away_for_good(self):
        """Remove all of it and its record; returns what is left, a line each."""
        try:
            left = self.take_away()
            if not left:
                self.held.remove()
            return left
        except (IdrError, *ERRORS) as error:
            return [f"{self.asked.name}: {line}" for line in _lines(error)] + [self._remedy()]

    def take_away(self):
        """Remove all of it but its record, which is the lock; returns what is left, a line each."""
        name = self.asked.name
        for number in range(ROUNDS):
            seen = facts(self.cloud)
            foreign = _foreign(seen, name)
            planned = removal.plan(seen, name, self.run, self.asked.keys)
            if foreign or planned.problems or not planned.steps:
                return [*foreign, *planned.problems]
            if number == 0:
                self.tell(f"removing {name}: {len(planned.steps)} steps")
            outcome = carry_out(self.cloud, planned, self.tell, self.held, go_on=True)
            if outcome.interrupted:
                break
        left = removal.plan(facts(self.cloud), name, self.run, self.asked.keys).steps
        why = {step.key: f": {said}" for step, said in outcome.failed}
        lines = [f"{it.kind} {it.name} is left{why.get(it.key, '')}" for it in left]
        return [*lines, self._remedy()] if lines else []

    def _remedy(self):
        name = self.asked.name
        return f"the next run removes what is left of {name}; or: salt-run environment.destroy {name} confirm={name}"


def _left(seen, name):
    """What is there of that environment, in words."""
    return [f"{len(found)} {kind}s" for kind in ("server", "volume") if (found := seen.of(name, kind))]


def _foreign(seen, name):
    """What has a scratch environment's mark and can't be one's, a line each: nothing is removed then."""
    found = [it for it in seen.of(name, "server") if it.what["role"] != SCRATCH]
    found += [it for it in seen.of(name, "volume") if "idr_set" not in it.what["metadata"]]
    return [
        f"{it.kind} {it.name} ({it.id}) has the mark of {name}, and no verification made it: look at it, and rename it "
        f"or remove it by hand"
        for it in found
    ]


def _without(seen, name):
    """The facts without what is there of that environment."""
    things = {kind: tuple(it for it in each if it.environment != name) for kind, each in seen.things.items()}
    return replace(seen, things=things)


def _lines(error):
    if isinstance(error, ERRORS):
        return [told(error)]
    return getattr(error, "problems", [str(error)])


def _what(error):
    return str(error) if isinstance(error, Refused) else "stopped"
