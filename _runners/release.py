"""What an operator types about a release: a new environment beside the live one, until it takes its place, and back."""

import shlex

from idr import at_master, command, table
from idr.asking import asking
from idr.door import door, milestones
from idr.errors import Refused
from idr.outcome import of_removal
from idr.release import aborting, asked, checking, detached, finishing, outcome, preparing, seat, switching
from idr.release import history as ended
from idr.release import status as standing
from idr.site import folder_of

__load__ = [
    "plan", "prepare", "check", "switch", "rollback", "resume", "status", "history", "finish", "abort", "seen_",
    "writes",
]  # fmt: skip
__func_alias__ = {"seen_": "seen"}

DEFAULTS = {"limit": 300, "bake": 60, "drain": 0}


@door
def plan(new, set=None, commit=None, even_if=None, site=None, **given):
    """
    Say what has to be done until an environment is ready to be switched to, and what keeps it from being done.

    new:  the new environment's name; all further arguments as for ``release.prepare``, but for ``break_lock``

    Changes nothing; the exit code is 1 where something blocks. As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run release.plan newidr from=idr
    """
    _has_to_be_at_a_seat("plan", new)
    return _planned(_asked(new, set, commit, even_if, given), site)


@door
def prepare(new, apply=False, set=None, commit=None, even_if=None, break_lock=None, site=None, **given):
    """
    Make a new environment of the live one's data and this checkout's commit, up to where it could be switched to: its
    floating IP first, a backup set, servers and volumes, the deploy, and its cache warmed.

    new:         the new environment's name
    from:        the live environment
    set:         a backup set of that one, by its id; a new one is taken unless given
    commit:      the beginning of this checkout's commit, for who wants to be sure of it
    even_if:     ``not-live`` to make it from an environment that isn't live, ``failing`` as for ``environment.apply``;
                 with a comma between them
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Applied again it changes nothing; after a failure,
    and after a lost terminal, it goes on, with the same set and commit. Refused, with all reasons at once, where the
    new one is live, or there and of no release; where the other isn't live; from a checkout that isn't clean; and where
    the backup or the new environment couldn't be made.

    CLI Example:

    .. code-block:: bash

        salt-run release.prepare newidr from=idr
        salt-run release.prepare newidr from=idr apply=True
        salt-run release.prepare newidr from=idr set=idr-20261125T030000Z apply=True
    """
    _has_to_be_at_a_seat("prepare", new)
    asked_for = _asked(new, set, commit, even_if, given)
    if not apply:
        return _planned(asked_for, site)
    done = preparing.prepare(asked_for, break_lock, _folders(site), milestones(__opts__, "release"))
    return outcome.of_prepared(asked_for, done)


@door
def check(new, old=None, production=None, set=None, even_if=None, site=None, plain=False, **kwargs):
    """
    Find everything that keeps an environment from becoming the public's: every guard, all at once, each with what to
    do about it.

    new:         the environment that is to take over, e.g. ``newidr``
    old:         the one in whose place it's to be; the one that it was made from, or is live, unless given
    production:  the production address, as you know it, or a name that leads to it: refused where it's another
    set:         the id of the backup set that it was made from, where no record says it
    even_if:     ``writes`` to let it pass although the old one was written to since, which is lost then
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given
    plain:       True to return the answer alone, without how it's shown: an orchestration takes that for a failure

    From a checkout with ``clouds.yaml`` and SSH. Changes nothing; the exit code is 1 with every problem. Ports are
    tried, and pages asked, from here through the new one's own address, under the public name. What's expected of the
    site is in ``pillar/environment_defaults.sls`` (``release_…``). As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run release.check newidr production=198.51.100.10
        salt-run release.check newidr even_if=writes
    """
    _has_to_be_at_a_seat("check", new)
    found = checking.check(
        new,
        old,
        address=seat.address_named(production),
        set_=set,
        even_if=_words(even_if),
        folders=_folders(site),
        tell=milestones(__opts__, "release/check"),
    )
    told = outcome.of_check(new, found)
    return told if plain else _shown(told)


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

    CLI Example:

    .. code-block:: bash

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
        coming = seat.coming_switch(new, meant, allowed, break_lock, _folders(site), tell)
        named = {"production": coming.now.public.ip, "break_lock": break_lock}
        return _shown(outcome.of_coming(coming, _typed("switch", new, given | named)), "release")
    if meant is None:
        raise Refused(["production: say which address is the public's, as you mean it: production=198.51.100.10"])
    if not here:
        return detached.run(new, _deed(typed, break_lock), tell)
    coming = seat.coming_switch(new, meant, allowed, break_lock, _folders(site), tell)
    return outcome.of_move(seat.begin(coming, limits, drain, allowed, break_lock, typed, _folders(site), tell))


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
    through its own address, and what was written to this one since it took over is told, which is lost. That may take
    a quarter of an hour; ``apply=True`` doesn't wait for it.

    CLI Example:

    .. code-block:: bash

        salt-run release.rollback newidr
        salt-run release.rollback newidr apply=True
    """
    _has_to_be_at_a_seat("rollback", new)
    limits, allowed = _limits(limit, bake, drain), _words(even_if, switching.FAILING, switching.UNDRAINED)
    given = {"limit": limit, "bake": bake, "drain": drain, "even_if": even_if, "site": site}
    typed = _typed("rollback", new, given)
    tell = milestones(__opts__, "release/rollback")
    if apply and not here:
        return detached.run(new, _deed(typed, break_lock), tell)
    coming = seat.coming_rollback(new, allowed, not apply, _folders(site), tell)
    if not apply:
        return _shown(outcome.of_coming(coming, _typed("rollback", new, given | {"break_lock": break_lock})), "release")
    for line in coming.lost:
        tell(f"lost by going back: {line}")
    return outcome.of_move(seat.begin(coming, limits, drain, allowed, break_lock, typed, _folders(site), tell))


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
        return _shown(outcome.of_coming(coming, _typed("resume", new, given | {"break_lock": break_lock})), "release")
    return outcome.of_move(seat.resume(coming, back, limits, break_lock, typed, _folders(site), tell), back)


@door
def status(new=None, plain=False, **kwargs):
    """
    Tell where a release stands: where each address is and where it should be, what is under way, who has a lock, and
    the one command to type next. Without a release: who is live.

    new:    the new environment of the release; the one that is under way, or else the newest, unless given
    plain:  as for ``release.check``

    From any machine with credentials; it asks Neutron alone. The exit code is 1 where something isn't where it should
    be. As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run release.status
        salt-run --out=json release.status newidr
    """
    stands = standing.of(seat.look(new or ""), new)
    if stands["problems"]:
        stands["retcode"] = 1
    return stands if plain else _shown(stands, "release")


@door
def history(**kwargs):
    """
    List the switches, rollbacks and finishes that ended, the newest first: who, when, from where to where, how it
    ended, the commit, seconds that it took, seconds without an answer, and how many checks were passed.

    It's on the public's address in the cloud. As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run release.history
    """
    return _shown({"history": ended.of(seat.look(""))}, "release")


@door
def finish(new, confirm=None, apply=False, even_if=None, break_lock=None, site=None, **kwargs):
    """
    Finish a release: the environment that the new one replaced is removed, as ``environment.destroy`` does it. There's
    no ``release.rollback`` any more from then on.

    new:         the environment that is live now
    confirm:     the old one's name, which ``apply=True`` needs
    even_if:     ``early`` to have it removed before its keep time is over (pillar ``release_keep_days``)
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Refused, with all reasons at once, where the switch
    wasn't confirmed or something was moved since, where the new one isn't live, before the keep time is over, and where
    ``environment.destroy`` refuses. After a failure it goes on.

    CLI Example:

    .. code-block:: bash

        salt-run release.finish newidr
        salt-run release.finish newidr confirm=idr apply=True
    """
    _has_to_be_at_a_seat("finish", new)
    tell = milestones(__opts__, "release")
    if apply:
        done = finishing.finish(new, confirm, even_if, break_lock, _folders(site), tell)
        if done.is_over:
            return {"result": True, "comment": f"the release of {new} is finished: nothing to change"}
        return of_removal(done.plan, f"the release of {new} is finished, {done.old} is gone")
    ending = finishing.plan(new, even_if, _folders(site), tell)
    if ending.is_over:
        return _shown(outcome.of_plan(ending.plan, [], ending.notes, ending.problems, ""))
    lines = [] if ending.problems else [f"{new} is of no release any more, and there's no way back to {ending.old}"]
    how = command.deed("release.finish", new, confirm=ending.old, even_if=even_if, site=site)
    return _shown(outcome.of_plan(ending.plan, lines, ending.notes, ending.problems, how))


@door
def abort(new, confirm=None, apply=False, break_lock=None, site=None, **kwargs):
    """
    Give up a release before it's live: what ``release.prepare`` made of the new environment goes, its floating IP too.

    new:         the new environment's name
    confirm:     its name once more, which ``apply=True`` needs
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        where the operator's directories of both environments are, absolute; ``~/.config/idr`` unless given

    The live environment isn't touched, and the backup set stays. Without ``apply=True`` the plan is returned and
    nothing changes. Refused where the new one is live, while something is being moved, where it's of no release, and
    where ``environment.destroy`` refuses. After a failure it goes on.

    CLI Example:

    .. code-block:: bash

        salt-run release.abort newidr
        salt-run release.abort newidr confirm=newidr apply=True
    """
    _has_to_be_at_a_seat("abort", new)
    tell = milestones(__opts__, "release")
    folder = _folders(site)(new)
    if apply:
        done = aborting.abort(new, confirm, break_lock, folder, tell)
        return of_removal(done.plan, f"the release of {new} is given up")
    would = aborting.plan(new, folder, tell)
    how = command.deed("release.abort", new, confirm=new, site=site)
    return _shown(outcome.of_plan(would.plan, [], would.notes, would.problems, how))


@door
def seen_(env, site=None, **kwargs):
    """
    Tell how OMERO, the site and the hub of an environment are, and who is at work in OMERO: the answers of its servers,
    as they are, that ``release.check`` judges.

    env:   the environment's name
    site:  the operator's directory for it, absolute; ``~/.config/idr/<env>`` unless given

    On the environment's master, or from a checkout and over SSH. Changes nothing.

    CLI Example:

    .. code-block:: bash

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


def _asked(new, set, commit, even_if, given):
    return preparing.Prepare(str(new), _from(given), set, commit, frozenset(_words(even_if)))


def _planned(asked_for, site):
    """A release as it would be prepared, with the command that does it."""
    how = command.deed(*asked_for.typed.split(), site=site)
    return _shown(outcome.of_preparing(asked_for, preparing.plan(asked_for, _folders(site)), how))


def _has_to_be_at_a_seat(function, *words):
    """What takes an operator's credentials, and reaches two environments, isn't for a master."""
    here = __opts__.get("idr_environment")
    if here:
        there = f"at a checkout, salt-run {command.typed(f'release.{function}', *words)}"
        raise Refused([f"this is the master of {here}, which reaches no other environment: {there}"])


def _ours(env):
    at_master.has_to_be_of(__opts__, env, f"type it there: ssh {env}-proxy")
    return table.of_master(__opts__)


def _folders(site):
    """What gives an operator's directory of an environment."""
    return lambda env: folder_of(env, f"{site}/{env}" if site else None)


def _from(given):
    problems = [f"{key}: unknown argument" for key in given if key != "from"]
    problems += [] if given.get("from") else ["from: say which environment is live: from=idr"]
    if problems:
        raise Refused(problems)
    return str(given["from"])


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


def _typed(function, new, given):
    """What was typed, as a lock's refusal shows it: without `salt-run`, and what is said anyway."""
    said = {key: value for key, value in given.items() if value != DEFAULTS.get(key)}
    return command.typed(f"release.{function}", new, **said)


def _deed(typed, broken):
    """The words of the process that does it."""
    return [*shlex.split(typed), "apply=True", "here=True", *([f"break_lock={broken}"] if broken else [])]


def _shown(told, outputter="environment"):
    return {"data": told, "outputter": outputter}
