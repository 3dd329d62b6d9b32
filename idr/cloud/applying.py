"""An environment brought to what it should be: its cloud, its host keys, Salt on its servers, and the deploy."""

from dataclasses import dataclass, replace

from idr import enrol, update
from idr.cloud import anew, host_keys, lock, mark, planning, scratch, wanted
from idr.cloud.connection import connect
from idr.cloud.destroying import unfinished
from idr.cloud.inventory import facts
from idr.cloud.making import carry_out
from idr.cloud.model import Facts, Plan, Wanted
from idr.cloud.servers import STARTING
from idr.errors import Refused

GOES_ON = "stopped; what was made stays, and the next run goes on from there"


@dataclass(frozen=True)
class Seen:
    """One reading of an environment's cloud with the plan that follows from it, and the run that is to carry it out."""

    wanted: Wanted
    facts: Facts
    plan: Plan
    run: str
    goes_on: bool  # that run began earlier


@dataclass(frozen=True)
class Applied:
    """What an apply did to the cloud, and afterwards on the servers, None where it wasn't asked for."""

    plan: Plan
    calls: int
    enrolled: list | None = None
    updated: update.Update | None = None
    new: tuple[str, ...] = ()  # servers that were never enrolled before


def all_of_it(seen):
    """What an apply does about an environment that was ``Seen``: what the plan says, and nothing else."""
    return seen


def plan(name, given, about=all_of_it):
    """
    What has to be done in the cloud until an environment is as pillar and the command line say.

    given:  what was typed, by the parameters' names: ``{"sources": "idr"}``
    about:  makes of what was ``Seen`` what is to be done about it, as `all_of_it` does: a pure function

    Returns the ``Plan`` with its problems. Refused where it can't be made.
    """
    asked = _asked(name, given)
    return about(_look(connect(asked.cloud), asked)).plan


def apply(name, given, broken, deploy, folder, tell, about=all_of_it, purpose="apply", typed=None, pause=None):
    """
    Make an environment as pillar and the command line say; where it is so, do nothing.

    given:   what was typed, by the parameters' names
    broken:  the holder of a lock that is to be broken
    deploy:  ``{"named": …, "even_if": …}`` as an update is to be asked; None: only the cloud and the host keys
    folder:  the operator's site directory
    tell:    is told one line of progress at a time
    about:   as for `plan`; its PURPOSE, and what was TYPED for it, are told to others as `lock.held` does
    pause:   what comes between the volumes, which take their time, and everything else: is called when they are there

    Returns an ``Applied``. Refused with every problem at once, before anything is made.
    """
    asked = _asked(name, given)
    cloud = connect(asked.cloud)
    seen = _unblocked(about(_look(cloud, asked)))
    if seen.plan.steps or seen.goes_on:
        with lock.held(cloud, name, seen.run, purpose, broken, typed) as held:
            shown, seen = seen, _unblocked(about(_look(cloud, asked)))
            _tell_difference(shown.plan, seen.plan, tell)
            first = []
            if pause and seen.plan.steps:
                first = _volumes_first(cloud, seen, held, tell)
                pause()
                seen = _unblocked(about(_look(cloud, asked)))
            done = _run(cloud, seen, held, lambda plan: plan, deploy, folder, tell)
            return replace(done, plan=replace(done.plan, steps=(*first, *done.plan.steps)))
    return _on_its_servers(cloud, seen, deploy, folder, tell)


def replacement(name, server, even_if):
    """The ``Plan`` that makes a server anew, as ``replace_server`` carries it out, with its problems."""
    asked = _asked(name)
    return _replacing(_look(connect(asked.cloud), asked), server, even_if).plan


def replace_server(name, server, even_if, broken, deploy, folder, tell):
    """
    Make one server of an environment anew, with its ports, addresses and volumes, and enrol it.

    even_if:  ``running`` where it isn't dead

    Otherwise as `apply`.
    """
    asked = _asked(name)
    cloud = connect(asked.cloud)
    seen = _unblocked(_replacing(_look(cloud, asked), server, even_if))
    with lock.held(cloud, name, seen.run, "replace", broken) as held:
        seen = _unblocked(_replacing(_look(cloud, asked), server, even_if))
        return _run(cloud, seen, held, lambda plan: anew.only(plan, server), deploy, folder, tell)


def _asked(name, given=None):
    if scratch.is_scratch(name):
        raise Refused([f"{name}: such names are of what backup.verify makes and removes; take one that doesn't end so"])
    return wanted.read(name, given)


def _look(cloud, asked):
    seen = facts(cloud, image=asked.image)
    begun = unfinished(seen, asked.name)
    run = begun or mark.new_run()
    return Seen(asked, seen, planning.plan(asked, seen, run), run, begun is not None)


def _unblocked(seen):
    if seen.plan.problems:
        raise Refused(seen.plan.problems)
    return seen


def _tell_difference(shown, now, tell):
    """Say how the cloud's plan came to be another one while the lock was waited for; the lock itself makes a group."""
    before, after = ({str(step) for step in plan.steps} for plan in (shown, now))
    for step in sorted(after - before):
        tell(f"not in the plan before: {step}")


def _volumes_first(cloud, seen, held, tell):
    """Carry out what of a plan is done while all servers are up, volumes renamed and made; returns those steps."""
    first = []
    for step in seen.plan.steps:
        if step.kind in ("volume", "snapshot") and {*step.needs} <= {it.key for it in first}:
            first.append(step)
    held.begin(seen.run)
    _done(carry_out(cloud, replace(seen.plan, steps=tuple(first)), tell, held, look_first=seen.goes_on), first)
    return first


def _done(outcome, steps):
    if outcome.problems:
        done = f"{len(outcome.done)} of {len(steps)} steps are done"
        raise Refused(outcome.problems, f"{'interrupted; ' if outcome.interrupted else ''}{GOES_ON} ({done})")


def _run(cloud, seen, held, share, deploy, folder, tell):
    """
    Carry out a plan until by a new look nothing of it is left, and what follows on the servers.

    share:  what of an environment's whole plan this run is about
    """
    held.begin(seen.run)
    _done(carry_out(cloud, seen.plan, tell, held, look_first=seen.goes_on), seen.plan.steps)
    now = facts(cloud, image=seen.wanted.image)
    whole = planning.plan(seen.wanted, now, seen.run)
    left = share(whole)
    if left.steps or left.problems:
        raise Refused(
            [*(f"{step}: still to be done after everything was" for step in left.steps), *left.problems], GOES_ON
        )
    if not (seen.goes_on and whole.steps):  # of another one that was cut off there's more to be done
        held.finish()  # whatever becomes of its servers, it isn't to be taken back any more
    return _on_its_servers(cloud, replace(seen, facts=now), deploy, folder, tell)


def _on_its_servers(cloud, seen, deploy, folder, tell):
    """Host keys, enrolment and deploy of an environment whose cloud is as it should be; returns the ``Applied``."""
    name, ids = seen.wanted.name, _ids(seen.facts, seen.wanted)
    new = [it.name for it in seen.facts.of(name, "server") if it.name in ids and not mark.is_enrolled(it)]
    host_keys.bring(cloud, folder, ids, new, tell)
    applied = Applied(seen.plan, cloud.calls.total, new=tuple(new))
    if deploy is None:
        return applied
    enrolled, _ = enrol.enrol(name, True, new, deploy["named"], folder, tell)
    updated = update.update(name, True, deploy["named"], deploy["even_if"], folder, tell)
    return replace(applied, enrolled=[str(step) for step in enrolled], updated=updated)


def _ids(seen, asked):
    """The ids of an environment's servers by their names, in its order."""
    ids = {server.name: server.id for server in seen.of(asked.name, "server")}
    return {server.name: ids[server.name] for server in asked.servers if server.name in ids}


def _replacing(seen, server, even_if):
    """What was seen, with the plan that makes that server anew."""
    name, names = seen.wanted.name, [it.name for it in seen.wanted.servers]
    if server not in names:
        raise Refused([f"{server}: no server of {name}; it has {', '.join(names)}"])
    there = [it for it in seen.facts.of(name, "server") if it.name == server]
    old = [it for it in there if not _is_new(seen, it, even_if)]
    without = planning.plan(seen.wanted, anew.without(seen.facts, old), seen.run)
    plan = anew.removing(anew.only(without, server), old)
    problems = list(plan.problems)
    problems += [
        f"{it.name}: it runs ({it.what['status']}). If it is to be made anew all the same: even_if=running"
        for it in old
        if it.what["status"] == "ACTIVE" and even_if != "running"
    ]
    notes = [
        f"{it.name}: it was never enrolled: what is left is that. If it is to be made anew once more: even_if=running"
        for it in there
        if it not in old
    ]
    return replace(seen, plan=replace(plan, problems=tuple(problems), notes=(*plan.notes, *notes)))


def _is_new(seen, server, even_if):
    """Whether a server is what an earlier run made in the place of the one that is meant, and didn't get to its end."""
    if server.what["status"] not in ("ACTIVE", *STARTING):
        return False  # whoever made it, it's dead
    if seen.goes_on and server.run == seen.run:
        return True
    return not mark.is_enrolled(server) and even_if != "running"
