"""Which move of the public's address a switch, a rollback or a resume is by what Neutron says, or why it's none."""

from datetime import UTC, datetime, timedelta

from idr.errors import Refused
from idr.release import record


def of_switch(now, new, named, who):
    """
    The ``record.Move`` that makes an environment the public's, by what Neutron says. Refused with all reasons.

    named:  the public's address as the caller means it; None in a plan
    """
    public = now.public
    old, release = now.holder(public), now.release(new)
    problems = [*_under_way(now), *_not_meant(public, named)]
    if old is None:
        problems.append(f"{public.ip} is on no environment's proxy ({now.place(public)}): {_by_hand(public)}")
    elif old == new:
        problems.append(f"{new} has {public.ip} already: salt-run release.status {new}")
    port = now.proxy(new)
    spare = now.on(port) if port else []
    if port is None:
        problems.append(f"{new} has no proxy in this cloud: salt-run release.prepare {new} from={old or '<env>'}")
    elif old != new and not spare:
        problems.append(f"{port.name} has no floating IP, which {old} is to get: salt-run environment.apply {new}")
    if release is None:
        problems.append(f"{new} is of no release: salt-run release.prepare {new} from={old or '<env>'}")
    elif release.ready is None:
        problems.append(f"{new} isn't ready: salt-run release.prepare {new} from={release.source} apply=True")
    elif old not in (None, new, release.source):
        problems.append(
            f"{new} was prepared to follow {release.source}, and {old} has {public.ip}: salt-run release.abort {new}"
        )
    if problems:
        raise Refused(problems)
    return record.Move(record.SWITCH, old, new, spare[0].ip, _moment(now), who)


def of_rollback(now, new, who):
    """The ``record.Move`` that gives the public back to whom it was taken from. Refused with all reasons."""
    public, release = now.public, now.release(new)
    problems = _under_way(now)
    if now.holder(public) != new:
        problems.append(f"{new} hasn't {public.ip}, {now.place(public)} has: there's nothing to go back from")
    if release is None:
        problems.append(f"{new} is of no release, or that was finished: there's no way back but another release")
        raise Refused(problems)
    port = now.proxy(release.source)
    spare = now.on(port) if port else []
    if port is None:
        problems.append(f"{release.source} has no proxy in this cloud any more")
    elif not spare:
        problems.append(
            f"{port.name} has no floating IP, by which it could be looked at first: salt-run environment.apply "
            f"{release.source}"
        )
    if problems:
        raise Refused(problems)
    return record.Move(record.ROLLBACK, new, release.source, spare[0].ip, _moment(now), who)


def of_resume(now, new):
    """The ``record.Move`` that was begun and hasn't ended. Refused where there's none of that environment."""
    move = now.moving
    if move is None:
        raise Refused([f"nothing is under way: salt-run release.status {new}"])
    if new not in (move.source, move.target):
        raise Refused([f"what is under way is a {move.kind} from {move.source} to {move.target}, not of {new}"])
    return move


def _moment(now):
    """When a move begins, which is what it's known by: no other of the history has it."""
    at, others = datetime.now(UTC), {it.began for it in now.history}
    while record.moment(at) in others:
        at += timedelta(seconds=1)
    return record.moment(at)


def _under_way(now):
    move = now.moving
    if move is None:
        return []
    began = f"{record.when(move.began):%Y-%m-%d %H:%M:%S} UTC"
    return [
        f"a {move.kind} from {move.source} to {move.target} was begun {began} by {move.who} and hasn't ended: "
        f"salt-run release.status {move.new}"
    ]


def _not_meant(public, named):
    if named is None or named == public.ip:
        return []
    return [f"production={named}: the public's address is {public.ip}, by its tag. Nothing else is ever moved"]


def _by_hand(public):
    if public.whose:
        return f"salt-run environment.apply {public.whose} address={public.ip}"
    return "salt-run environment.apply <env> puts it on that environment's"
