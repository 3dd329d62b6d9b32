"""What an operator types to put another environment in the public's place."""

import shlex

<<<<<<< HEAD
from idr.door import door, milestones
from idr.errors import Refused
from idr.release import detached, record, seat, switching
from idr.release import history as ended
from idr.release import status as standing
from idr.site import folder_of

__load__ = ["switch", "rollback", "resume", "status", "history"]


@door
def switch(
    new,
    production=None,
    apply=False,
    limit=300,
    bake=60,
    drain=0,
    even_if=None,
    break_lock=None,
    here=False,
    site=None,
    **kwargs,
):
    """
    Make an environment the public's: the public's address goes over to its proxy in one call, its own to the proxy of
    the one before.

    new:         the environment that takes over, e.g. ``newidr``
    production:  the public's address as you mean it, or a name that leads to it, which ``apply=True`` needs
    limit:       seconds for moving and looking, 30 to 3600; over it, everything is moved back by itself
    bake:        seconds for which it's watched before it's confirmed, 0 to 3600
    drain:       minutes that Jupyter's users have left, 0 to 1440; with 0 their servers end at once
    even_if:     ``undrained`` where they can't be told, and what ``release.check`` takes; with a comma between
    break_lock:  a run that is known to be dead, as the refusal names it
    here:        True to do it in this process instead of one of its own, which no lost terminal ends
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given

    Without ``apply=True`` the plan is returned, with what every guard says, and nothing changes. Applied it's refused
    unless all of ``release.check`` passes now. Where it doesn't show what it should, gives no answer while it's
    watched, or takes too long, all is moved back, and the exit code is 1. Typed again meanwhile, it follows.
=======
from idr import at_master, table
from idr.asking import asking
from idr.door import door, milestones
from idr.errors import Refused
from idr.release import asked, checking
from idr.site import folder_of

__load__ = ["check", "seen_", "writes"]
__func_alias__ = {"seen_": "seen"}


@door
def check(new, old=None, production=None, set=None, even_if=None, site=None, **kwargs):
    """
    Find everything that keeps an environment from becoming the public's: every guard, all at once, each with what to
    do about it.

    new:         the environment that is to take over, e.g. ``newidr``
    old:         the one in whose place it's to be; the one that it was made from, or is live, unless given
    production:  the production address, as you know it, e.g. ``198.51.100.10``: refused where it's another
    set:         the id of the backup set that it was made from, where no record says it
    even_if:     ``writes`` to let it pass although the old one was written to since, which is lost then
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given

    From a checkout with ``clouds.yaml`` and SSH. Changes nothing; the exit code is 1 with every problem. Ports are
    tried, and pages asked, from here through the new one's own address, under the public name. What's expected of the
    site is in ``pillar/environment_defaults.sls`` (``release_…``). As data with ``--out=json``.
>>>>>>> check

    CLI Example:

    .. code-block:: bash

<<<<<<< HEAD
        salt-run release.switch newidr
        salt-run release.switch newidr production=198.51.100.10 apply=True
    """
    _has_to_be_at_a_seat("switch", new)
    limits, allowed = _limits(limit, bake, drain), _words(even_if)
    meant = seat.address_named(production)
    given = {"production": meant, "limit": limit, "bake": bake, "drain": drain, "even_if": even_if, "site": site}
    typed = _typed("switch", new, given)
    tell = milestones(__opts__, "release/switch")
    if not apply:
        coming = seat.coming_switch(new, meant, allowed, _folders(site), tell)
        return _planned(coming, _typed("switch", new, given | {"production": coming.now.public.ip}))
    if meant is None:
        raise Refused(["production: say which address is the public's, as you mean it: production=198.51.100.10"])
    if not here:
        return detached.run(new, _deed(typed, break_lock), tell)
    coming = seat.coming_switch(new, meant, allowed, _folders(site), tell)
    return _done(seat.begin(coming, limits, drain, allowed, break_lock, typed, _folders(site), tell))


@door
def rollback(
    new, apply=False, limit=300, bake=60, drain=0, even_if=None, break_lock=None, here=False, site=None, **kwargs
):
    """
    Give the public back to the environment before, as long as the release isn't finished: with the same care, the other
    way.

    new:      the environment that is live now
    even_if:  ``failing`` to go back to one that doesn't show what it should, ``undrained`` as for ``release.switch``;
              with a comma between

    All others as for ``release.switch``. Without ``apply=True`` the plan is returned: the one before is looked at
    through its own address, and what was written to this one since it took over is told, which is lost.

    CLI Example:

    .. code-block:: bash

        salt-run release.rollback newidr
        salt-run release.rollback newidr apply=True
    """
    _has_to_be_at_a_seat("rollback", new)
    limits, allowed = _limits(limit, bake, drain), _words(even_if, seat.FAILING, switching.UNDRAINED)
    given = {"limit": limit, "bake": bake, "drain": drain, "even_if": even_if, "site": site}
    typed = _typed("rollback", new, given)
    tell = milestones(__opts__, "release/rollback")
    if apply and not here:
        return detached.run(new, _deed(typed, break_lock), tell)
    coming = seat.coming_rollback(new, allowed, _folders(site), tell)
    if not apply:
        return _planned(coming, typed)
    for line in coming.lost:
        tell(f"lost by going back: {line}")
    return _done(seat.begin(coming, limits, drain, allowed, break_lock, typed, _folders(site), tell))


@door
def resume(new, back=False, apply=False, limit=300, bake=60, break_lock=None, here=False, site=None, **kwargs):
    """
    End a switch or a rollback that was cut off, from any machine with credentials, by what the cloud says of it.

    new:         the new environment of the release
    back:        True to have everything as it was before; a move that was on its way back goes on back anyway
    break_lock:  the run that was cut off, as the refusal and ``release.status`` name it; of both environments

    All others as for ``release.switch``. Without ``apply=True`` the plan is returned and nothing changes.

    CLI Example:

    .. code-block:: bash

        salt-run release.resume newidr
        salt-run release.resume newidr apply=True break_lock=ada@desk:4711
        salt-run release.resume newidr back=True apply=True
    """
    _has_to_be_at_a_seat("resume", new)
    limits = _limits(limit, bake, 0)
    given = {"back": back or None, "limit": limit, "bake": bake, "site": site}
    typed = _typed("resume", new, given)
    tell = milestones(__opts__, "release/resume")
    if apply and not here:
        return detached.run(new, _deed(typed, break_lock), tell)
    coming = seat.coming_resume(new, back)
    if not apply:
        return _planned(coming, typed)
    return _done(seat.resume(coming, back, limits, break_lock, typed, _folders(site), tell), back)


@door
def status(new=None, **kwargs):
    """
    Tell where a release stands: where each address is and where it should be, what is under way, who has a lock, and
    the one command to type next. Without a release: who is live.

    new:  the new environment of the release; the one that is under way, or else the newest, unless given

    From any machine with credentials; it asks Neutron alone. The exit code is 1 where something isn't where it should
    be. As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run release.status
        salt-run --out=json release.status newidr
    """
    stands = standing.of(seat.look(new or ""), new)
    if stands["problems"]:
        stands["retcode"] = 1  # of the shell; that of an orchestration is in the context
        __context__["retcode"] = 1
    return {"data": stands, "outputter": "release"}


@door
def history(**kwargs):
    """
    List the switches and rollbacks that ended, the newest first: who, when, from where to where, how it ended, the
    commit, seconds that it took, seconds without an answer, and how many checks were passed.

    It's on the public's address in the cloud. As data with ``--out=json``.
=======
        salt-run release.check newidr production=198.51.100.10
        salt-run release.check newidr even_if=writes
    """
    _has_to_be_at_a_seat("check", new)
    found = checking.check(
        new,
        old,
        address=production,
        set_=set,
        even_if=str(even_if).split(",") if even_if else (),
        folders=_folders(site),
        tell=milestones(__opts__, "release/check"),
    )
    told = {
        "result": not found.problems,
        "comment": f"{new} may take over from {found.old}" if not found.problems else f"{new} may not take over",
        "new": new,
        "old": found.old,
        "commit": found.commit,
        "seconds": found.seconds,
        "passed": list(found.passed),
        "problems": list(found.problems),
        "writes": list(found.writes),
        "lines": [*(f"  ok  {line}" for line in found.passed), *(f"  NO  {line}" for line in found.problems)],
    }
    if found.problems:
        told["retcode"] = 1  # of the shell; that of an orchestration is in the context
        __context__["retcode"] = 1
    return {"data": told, "outputter": "environment"}


@door
def seen_(env, site=None, **kwargs):
    """
    Tell how OMERO, the site and the hub of an environment are, and who is at work in OMERO: the answers of its servers,
    as they are, that ``release.check`` judges.

    env:   the environment's name
    site:  the operator's directory for it, absolute; ``~/.config/idr/<env>`` unless given

    On the environment's master, or from a checkout and over SSH. Changes nothing.
>>>>>>> check

    CLI Example:

    .. code-block:: bash

<<<<<<< HEAD
        salt-run release.history
    """
    return {"data": {"history": ended.of(seat.look(""))}, "outputter": "release"}


def _folders(site):
    """What gives an operator's directory of an environment."""
    return lambda env: folder_of(env, f"{site}/{env}" if site else None)
=======
        salt-run --out=json release.seen idr
    """
    if __opts__.get("idr_environment") is None:
        return at_master.answer(env, folder_of(env, site), ["release.seen", env])
    environment = _ours(env)
    with asking(__opts__) as ask:
        return {"result": True, "comment": f"{env} as its servers tell it", "seen": asked.health(ask, environment)}


@door
def writes(env, since, site=None, **kwargs):
    """
    Tell what was written to an environment's OMERO, to its database and its files, since a moment: the answers of its
    servers to ``omero.writes_since``.

    env:    the environment's name
    since:  the moment, in UTC, as in the ids of backup sets: ``20261125T030000Z``
    site:   the operator's directory for it, absolute; ``~/.config/idr/<env>`` unless given

    On the environment's master, or from a checkout and over SSH. Changes nothing.

    CLI Example:

    .. code-block:: bash

        salt-run --out=json release.writes idr since=20261125T030000Z
    """
    if __opts__.get("idr_environment") is None:
        return at_master.answer(env, folder_of(env, site), ["release.writes", env, f"since={since}"], asked.WRITES)
    environment = _ours(env)
    with asking(__opts__) as ask:
        answers = asked.writes(ask, environment, since)
    servers = asked.of_production(environment)
    return {"result": True, "comment": f"written to {env} since {since}", "asked": servers, "writes": answers}


def _ours(env):
    at_master.has_to_be_of(__opts__, env, f"type it there: ssh {env}-proxy")
    return table.of_master(__opts__)
>>>>>>> check


def _has_to_be_at_a_seat(function, *words):
    """What takes an operator's credentials, and reaches two environments, isn't for a master."""
    here = __opts__.get("idr_environment")
    if here:
        typed = shlex.join(["salt-run", f"release.{function}", *words])
        raise Refused([f"this is the master of {here}, which reaches no other environment: at a checkout, {typed}"])


<<<<<<< HEAD
def _words(even_if, *known):
    said = tuple(str(even_if).split(",")) if even_if else ()
    wrong = [it for it in said if known and it not in known]
    if wrong:
        raise Refused([f"even_if: only {' and '.join(f'`{it}`' for it in known)} can be said, not {', '.join(wrong)}"])
    return said


def _limits(limit, bake, drain):
    problems = [
        f"{name}={value}: a number from {least} to {most}"
        for name, value, least, most in (("limit", limit, 30, 3600), ("bake", bake, 0, 3600), ("drain", drain, 0, 1440))
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most
    ]
    if problems:
        raise Refused(problems)
    return switching.Limits(limit, bake)


DEFAULTS = {"limit": 300, "bake": 60, "drain": 0}


def _typed(function, new, given):
    """What was typed, as a lock's refusal shows it: without `salt-run`, and what is said anyway."""
    words = [f"{key}={value}" for key, value in given.items() if value is not None and value != DEFAULTS.get(key)]
    return shlex.join([f"release.{function}", str(new), *words])


def _deed(typed, broken):
    """The words of the process that does it."""
    return [*shlex.split(typed), "apply=True", "here=True", *([f"break_lock={broken}"] if broken else [])]


def _planned(coming, typed):
    """A plan as it's shown, with what would carry it out."""
    now, move = coming.now, coming.move
    spare = now.named(move.spare)
    rows = [("public", now.public, move.target), *([("spare", spare, move.source)] if spare else [])]
    told = {
        "result": not coming.problems,
        "comment": f"a plan, nothing was changed. To do it: salt-run {typed} apply=True",
        "kind": move.kind,
        "from": move.source,
        "to": move.target,
        "addresses_now": {what: {"address": it.ip, "on": now.place(it)} for what, it, _ in rows},
        "addresses_then": {what: {"address": it.ip, "on": _proxy(now, to)} for what, it, to in rows},
        "steps": list(coming.steps),
        "passed": list(coming.passed),
        "problems": list(coming.problems),
        "lost": list(coming.lost),
        "lines": [
            f"{move.kind} from {move.source} to {move.target}",
            *(f"{what} address {it.ip}: {now.place(it)} -> {_proxy(now, to)}" for what, it, to in rows),
            *(f"  {step}" for step in coming.steps),
            *(f"  ok  {line}" for line in coming.passed),
            *(f"  lost: {line}" for line in coming.lost),
            *(f"BLOCKED: {line}" for line in coming.problems),
        ],
    }
    if coming.problems:
        told |= {"comment": "a plan that is blocked, nothing was changed", "retcode": 1}
        __context__["retcode"] = 1
    return {"data": told, "outputter": "release"}


def _proxy(now, environment):
    port = now.proxy(environment)
    return port.name if port else "nowhere"


def _done(done, back=False):
    """What became of a move."""
    it = done.moved
    has_it = it.source if it.end == record.UNDONE else it.target
    answer = {
        "result": not done.why and it.end == (record.UNDONE if back else record.CONFIRMED),
        "comment": f"{it.end}: {it.kind} from {it.source} to {it.target}. {has_it} is live",
        "took": it.took,
        "gap": it.gap,
        "checks": it.checks,
    }
    answer |= {"problems": list(done.why)} if done.why else {}
    return answer | ({"notes": list(done.notes)} if done.notes else {})
=======
def _folders(site):
    """What gives an operator's directory of an environment."""
    return lambda env: folder_of(env, f"{site}/{env}" if site else None)
>>>>>>> check
