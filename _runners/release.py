"""What an operator types about a release: a new environment beside the live one, until it takes its place."""

import shlex

from idr.cloud import telling
from idr.door import door, milestones
from idr.errors import Refused
from idr.release import aborting, finishing, preparing
from idr.site import folder_of

__load__ = ["prepare", "finish", "abort"]

SEAT = "a master's credential moves no addresses, and makes and removes no servers: type it in a checkout of yours"


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
    _has_to_be_at_a_seat()
    asked = preparing.Prepare(str(new), _from(given), set, commit, _words(even_if))
    if apply:
        return _prepared(asked, preparing.prepare(asked, break_lock, _folders(site), milestones(__opts__, "release")))
    coming = preparing.plan(asked, _folders(site))
    more = [*([f"site={site}"] if site else []), "apply=True"]
    is_done = bool(coming.ready) and not coming.plan.steps
    notes = [f"{new} is ready since {coming.ready}"] if coming.ready else []
    lines = _lines_of_prepare(asked, coming)
    how = "" if is_done else shlex.join(["salt-run", *asked.typed.split(), *more])
    return _planned(coming.plan, lines, [*notes, *coming.notes], coming.problems, how)


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
    _has_to_be_at_a_seat()
    tell = milestones(__opts__, "release")
    if apply:
        done = finishing.finish(new, confirm, even_if, break_lock, _folders(site), tell)
        if done.is_over:
            return {"result": True, "comment": f"the release of {new} is finished: nothing to change"}
        answer = {"result": True, "comment": f"the release of {new} is finished, {done.old} is gone"}
        return answer | _removed(done.plan)
    ending = finishing.plan(new, even_if, _folders(site), tell)
    words = ["salt-run", "release.finish", new, f"confirm={ending.old}"]
    words += [*([f"even_if={even_if}"] if even_if else []), *([f"site={site}"] if site else []), "apply=True"]
    if ending.is_over:
        return _planned(ending.plan, [], list(ending.notes), ending.problems, "")
    lines = [] if ending.problems else [f"{new} is of no release any more, and there's no way back to {ending.old}"]
    return _planned(ending.plan, lines, list(ending.notes), ending.problems, shlex.join(words))


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
    _has_to_be_at_a_seat()
    tell = milestones(__opts__, "release")
    folder = _folders(site)(new)
    if apply:
        done = aborting.abort(new, confirm, break_lock, folder, tell)
        return {"result": True, "comment": f"the release of {new} is given up"} | _removed(done.plan)
    would = aborting.plan(new, folder, tell)
    words = ["salt-run", "release.abort", new, f"confirm={new}", *([f"site={site}"] if site else []), "apply=True"]
    return _planned(would.plan, [], list(would.notes), would.problems, shlex.join(words))


def _has_to_be_at_a_seat():
    if __opts__.get("idr_environment"):
        raise Refused([SEAT])


def _from(given):
    problems = [f"{key}: unknown argument" for key in given if key != "from"]
    problems += [] if given.get("from") else ["from: say which environment is live: from=idr"]
    if problems:
        raise Refused(problems)
    return str(given["from"])


def _words(even_if):
    return frozenset(str(even_if).split(",") if even_if else ())


def _folders(site):
    """What gives an operator's directory of an environment."""
    return lambda env: folder_of(env, f"{site}/{env}" if site else None)


def _lines_of_prepare(asked, coming):
    """What happens beside the new environment's own plan."""
    if coming.problems or coming.ready:
        return []
    lines = []
    if coming.backup:
        parts = ", ".join(coming.backup.get("snapshots", ()))
        lines.append(f"a backup set of {asked.old} is taken: {parts}")
        lines += [f"note: {note}" for note in coming.backup.get("notes", ())]
    else:
        lines.append(f"{asked.new} is made of {coming.set}, by commit {coming.commit[:12]}")
    lines.append(f"its cache is warmed: what is found by {', '.join(coming.warm) or 'nothing'}")
    return lines


def _planned(plan, lines, notes, problems, how):
    """A plan as it's shown, with what would carry it out; HOW is empty where there's nothing to change."""
    comment = f"a plan, nothing was changed. To do it: {how}" if how else "nothing to change"
    told = {"result": True, "comment": comment, **(telling.as_data(plan) if plan else {})}
    shown = telling.lines(plan) if plan and not problems else []
    told["lines"] = [*lines, *shown, *(f"note: {it}" for it in notes), *(f"BLOCKED: {it}" for it in problems)]
    if problems:
        told |= {"result": False, "comment": "a plan that is blocked, nothing was changed", "retcode": 1}
        told["problems"] = list(problems)
        __context__["retcode"] = 1
    return {"data": told, "outputter": "environment"}


def _prepared(asked, done):
    """What a release came to that is ready."""
    answer = {"result": True, "comment": f"{asked.new} is ready since {done.ready}: salt-run release.check {asked.new}"}
    answer |= {"set": done.set, "ready": done.ready}
    steps = [str(step) for step in done.applied.plan.steps] + (done.applied.enrolled or [])
    steps += done.applied.updated.steps if done.applied.updated else []
    answer |= {"done": steps} if steps else {}
    notes = list(done.notes)
    if done.warmed:
        answer["warmed"] = {key: done.warmed[key] for key in ("urls", "refreshed", "seconds") if key in done.warmed}
        notes += [f"not warmed: {url}: {why}" for url, why in done.warmed["failed"].items()]
    return answer | ({"notes": notes} if notes else {})


def _removed(plan):
    answer = {"done": [str(step) for step in plan.steps]}
    return answer | ({"notes": list(plan.notes)} if plan.notes else {})
