"""An environment removed, or what an unfinished run made of it: planned, refused, carried out."""

from dataclasses import replace

from idr.cloud import credential, host_keys, live, lock, mark, removal, scratch, wanted
from idr.cloud.connection import connect
from idr.cloud.inventory import facts
from idr.cloud.making import carry_out
from idr.cloud.model import PRODUCTION_TAG, Step
from idr.errors import Refused
from idr.release import record

GOES_ON = "stopped; what was removed is gone, and the next run goes on from there"


def destroy(name, confirm, apply, broken, folder, tell):
    """
    Remove an environment from its cloud; or without `apply` plan it.

    confirm:  has to be its name if it's to be done
    broken:   the holder of a lock that is to be broken
    folder:   the operator's site directory, whose host keys of its servers go too

    Returns the ``Plan``. Refused when it isn't confirmed; and with all reasons when it's live by any sign, the public's
    address is on its way from it or to it, others are being cloned from it, it holds the newest verified backup, or
    something of others uses it.
    """
    if confirm != name and (apply or confirm is not None):
        raise Refused([f"{name}: to destroy it, type its name a second time: confirm={name}"])
    asked = _asked(name)
    cloud = connect(asked.cloud)
    run = mark.new_run()

    plan, is_there = _plan(cloud, asked, run)
    _unblocked(plan)
    if not apply or not (plan.steps or is_there):
        return plan
    with lock.held(cloud, name, run, "destroy", broken) as held:
        plan, _ = _plan(cloud, asked, run)
        _carry_out(cloud, _unblocked(plan), held, tell)
        left = _plan(cloud, asked, run)[0].steps
        if left:
            raise Refused([f"{step}: done, and still to be done" for step in left], GOES_ON)
        held.remove()
    host_keys.forget(folder, [step.name for step in plan.steps if step.kind == "server"])
    return plan


def roll_back(name, confirm, apply, broken, folder, tell):
    """
    Remove what the last run on an environment made and didn't finish, and nothing that was there before; or without
    `apply` plan it.

    confirm:  has to be its name if volumes are to go

    Returns the ``Plan``; refused as `destroy` is, and when no run is unfinished.
    """
    asked = _asked(name)
    cloud = connect(asked.cloud)
    plan = _unblocked(_rollback(cloud, asked)[0])
    if not apply:
        return plan
    _confirmed(plan, confirm)
    with lock.held(cloud, name, mark.new_run(), "apply", broken) as held:
        plan, is_all = _rollback(cloud, asked)
        _confirmed(_unblocked(plan), confirm)
        _carry_out(cloud, plan, held, tell)
        if is_all:
            held.remove()
        else:
            held.finish()
    host_keys.forget(folder, [step.name for step in plan.steps if step.kind == "server"])
    return plan


def base(seen, name):
    """An environment's base group, which is its record, or None."""
    found = [group for group in seen.of(name, "group") if group.name == name]
    return min(found, key=lambda group: (group.what["created_at"], group.id), default=None)


def unfinished(seen, name):
    """The run on an environment that began and hasn't ended, or None."""
    group = base(seen, name)
    return lock.record(group.what["description"]).unfinished if group else None


def _asked(name):
    """The environment as pillar has it; a scratch one is in the cloud of the environment that it's for, by its keys."""
    return replace(wanted.read(scratch.of_which(name) or name), name=name)


def _plan(cloud, asked, run):
    """The plan, and whether there is a base group, which isn't in it."""
    seen = facts(cloud)
    plan = removal.plan(seen, asked.name, run, asked.keys)
    signs, unknown = live.signs(seen, asked.name, asked.public_name)
    steps = (*plan.steps, *_credential(cloud, asked.name))
    problems = [*(f"{asked.name} is live: {sign}" for sign in signs), *_under_way(seen, asked.name)]
    return _with(plan, steps, problems, unknown), base(seen, asked.name) is not None


def _rollback(cloud, asked):
    """The plan, and whether with it the whole environment goes."""
    seen = facts(cloud)
    run = unfinished(seen, asked.name)
    if not run:
        raise Refused([f"{asked.name}: no run is unfinished, so there's nothing to take back"])
    is_all = base(seen, asked.name).run == run
    plan = removal.plan(seen, asked.name, run, asked.keys if is_all else (), only=run)
    signs, unknown = live.signs(seen, asked.name, asked.public_name)
    problems = [*(f"{asked.name} is live: {sign}" for sign in signs), *_under_way(seen, asked.name)]
    if signs and not is_all:
        problems.append(
            f"what is live is gone on with, not taken back: salt-run environment.apply {asked.name} apply=True"
        )
    elif is_all:  # which may have put the tag there itself, as on the first environment's address
        problems += [
            f"{it.name}: if that tag is this unfinished run's and nobody has seen {asked.name} yet, take it off first: "
            f"openstack floating ip unset --tag {PRODUCTION_TAG} {it.name}"
            for it in seen.of(asked.name, "address")
            if PRODUCTION_TAG in it.what["tags"]
        ]
    return _with(plan, plan.steps, problems, unknown), is_all


def _under_way(seen, name):
    """Why an environment stays that a move is of which hasn't ended: it may be the way back, or on."""
    tagged = [it for it in seen.all("address") if PRODUCTION_TAG in it.what["tags"]]
    moves = filter(None, (record.moving(it.what["tags"]) for it in tagged))
    return [it.in_the_way for it in moves if name in (it.source, it.target)]


def loses_data(plan):
    """Whether a plan removes volumes, for which a rollback has to be confirmed."""
    return any((step.verb, step.kind) == ("remove", "volume") for step in plan.steps)


def _confirmed(plan, confirm):
    if confirm != plan.environment and loses_data(plan):
        volumes = ", ".join(step.name for step in plan.steps if (step.verb, step.kind) == ("remove", "volume"))
        raise Refused(
            [f"{plan.environment}: {volumes} would go with all that's in it: to have that, confirm={plan.environment}"]
        )


def _with(plan, steps, problems, notes):
    return replace(plan, steps=tuple(steps), problems=(*problems, *plan.problems), notes=(*plan.notes, *notes))


def _credential(cloud, name):
    """The application credential of the environment's master, where this user made it."""
    found = [it for it in credential.named(cloud, name) if credential.is_of(cloud, name, it)]
    return [Step("remove", "credential", it.name, id=it.id) for it in found]


def _unblocked(plan):
    if plan.problems:
        raise Refused(plan.problems)
    return plan


def _carry_out(cloud, plan, held, tell):
    outcome = carry_out(cloud, plan, tell, held, go_on=True)
    if outcome.problems:
        raise Refused(outcome.problems, GOES_ON)
