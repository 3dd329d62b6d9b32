"""What an operator types to put another environment in the public's place."""

import shlex

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

    CLI Example:

    .. code-block:: bash

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


def _ours(env):
    at_master.has_to_be_of(__opts__, env, f"type it there: ssh {env}-proxy")
    return table.of_master(__opts__)


def _has_to_be_at_a_seat(function, *words):
    """What takes an operator's credentials, and reaches two environments, isn't for a master."""
    here = __opts__.get("idr_environment")
    if here:
        typed = shlex.join(["salt-run", f"release.{function}", *words])
        raise Refused([f"this is the master of {here}, which reaches no other environment: at a checkout, {typed}"])


def _folders(site):
    """What gives an operator's directory of an environment."""
    return lambda env: folder_of(env, f"{site}/{env}" if site else None)
