"""
A new environment beside the live one, of its data and of this checkout's commit, up to where it could be switched to.

What has to be there is ensured before what takes hours: a floating IP of its own first, then a backup set of the old
one, then the environment, made of the set as a restore makes it, and its cache warmed. Each of these is done by what an
operator could type, so each goes on where it was cut off. What was begun is a tag on the new one's base group; another
set or commit is another release.
"""

import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from idr import commits
from idr.backup import manifest, remotely, restoring, turn
from idr.backup.model import GOOD, PRODUCTION, QUIESCED, BackupSet, Piece
from idr.cloud import applying, live, lock, mark, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.cloud.destroying import base
from idr.cloud.making import sent
from idr.cloud.model import PRODUCTION_TAG, Plan, Thing
from idr.errors import IdrError, Refused
from idr.release import record, standing, warming
from idr.release.record import NO_SET
from idr.release.standing import Standing

NOT_LIVE, FAILING = "not-live", "failing"
MAY_BE_SAID = (NOT_LIVE, FAILING)
CACHE = "proxy-nginxcache"
CACHE_SOURCE = "idr_volume_proxy_nginxcache_src"


@dataclass(frozen=True)
class Prepare:
    """
    What is asked for: an environment NEW of the data that OLD has, or had when SET was taken, None for a new set; by a
    COMMIT, None for this checkout's; and what it's to be done in spite of.
    """

    new: str
    old: str
    set: str | None = None
    commit: str | None = None
    even_if: frozenset[str] = frozenset()

    @property
    def typed(self):
        """The command for it."""
        more = [f"set={self.set}"] if self.set else []
        more += [f"even_if={','.join(sorted(self.even_if))}"] if self.even_if else []
        return " ".join(["release.prepare", self.new, f"from={self.old}", *more])


@dataclass(frozen=True)
class Coming:
    """
    A release as it would be prepared: by that SET, None where one is taken first; BACKUP is how, as the old one's
    master tells it; PLAN is the new environment's; WARM what is fetched anew of its cache. PROBLEMS block it.
    """

    standing: Standing
    set: str | None
    commit: str
    given: dict
    plan: Plan
    backup: dict | None
    warm: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def address(self):
        """The step that gives the new environment a floating IP that isn't its own yet, or None."""
        steps = [step for step in self.plan.steps if step.kind == "address" and step.verb in ("make", "change")]
        return next((step for step in steps if step.verb == "make" or "description" in step.what), None)

    @property
    def ready(self):
        """Since when it's ready, None where it isn't."""
        return self.standing.release and self.standing.release.ready


@dataclass(frozen=True)
class Prepared:
    """A release that is ready: its set, what an apply did, what was warmed (None where it was before), since when."""

    set: str
    applied: applying.Applied
    warmed: dict | None
    ready: str
    notes: tuple[str, ...]


def plan(asked, folders):
    """
    What has to be done until an environment is ready to be switched to: a ``Coming`` with its problems.

    asked:    the ``Prepare``
    folders:  gives the operator's site directory of an environment by its name
    """
    try:
        return _look(connect(_read(asked).cloud), asked, folders)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def prepare(asked, broken, folders, tell):
    """
    Prepare a release, as `plan` says; where it is ready, do nothing.

    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time

    Returns a ``Prepared``. Refused with every problem at once, before anything is made; what fails later is gone on
    with by the next run.
    """
    try:
        cloud = connect(_read(asked).cloud)
        coming = _unblocked(_look(cloud, asked, folders))
        if coming.ready:
            tell(f"{asked.new} is ready since {coming.ready}; what has drifted is mended")
        else:
            coming = _begin(cloud, asked, folders, broken, tell)
        if coming.set is None:
            coming = _back_up(cloud, asked, folders, broken, tell)
        applied = _apply(asked, coming, broken, folders(asked.new), tell)
        if coming.ready:
            return Prepared(coming.set, applied, None, coming.ready, coming.notes)
        again = f"salt-run {asked.typed} apply=True"
        warmed = warming.warm(asked.new, folders(asked.new), coming.warm, again, tell)
        return Prepared(coming.set, applied, warmed, _ready(cloud, asked, broken), coming.notes)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _read(asked):
    """The new environment as pillar has it. Refused where what is typed can't be meant."""
    known = ", ".join(MAY_BE_SAID)
    problems = [f"even_if: only {known} can be said, not {it}" for it in sorted(asked.even_if - set(MAY_BE_SAID))]
    problems += [f"{asked.new}: can't be made from itself: from= is the live one"] if asked.new == asked.old else []
    if asked.set and manifest.environment_of(asked.set) != asked.old:
        problems.append(f"set={asked.set}: no id of a backup set of {asked.old}, which it's to be made from")
    if problems:
        raise Refused(problems)
    return wanted.read(asked.new)


def _look(cloud, asked, folders):
    """The ``Coming`` as the cloud, this checkout and the old environment's master tell it now."""
    at = standing.look(cloud, asked.new, wanted.public_name_of(asked.new))
    commit, problems = _commit(asked, at.release)
    id_, wrong = _set(asked, at)
    wrong = [*_in_the_way(asked, at), *wrong]
    problems += wrong
    if wrong:  # what would be found further on only follows from that
        return Coming(at, id_, commit, {}, Plan(asked.new, ()), None, (), tuple(problems), at.unknown)
    backup = None if id_ else remotely.plan(asked.old, folders(asked.old))
    if backup and not backup.get("result", True):
        problems += [f"a set of {asked.old}: {why}" for why in backup.get("problems") or [backup["comment"]]]
    coming = None if id_ else _coming_set(at.facts, asked.old)
    given, notes = _given(at.facts, asked.old, id_ or coming.id)
    about = partial(_restoration, restoring.Restore(id_ or coming.id), coming)
    whole = applying.plan(asked.new, given, about)
    if coming:
        notes.append(f"the plan is that of a set of {asked.old} as it is now")
    notes += [*at.unknown, *restoring.not_supplied(whole, folders(asked.new))]
    if not standing.public(at.facts):
        problems.append(
            f"no floating IP has the tag {PRODUCTION_TAG}, so nothing could be switched: openstack floating ip set "
            f"--tag {PRODUCTION_TAG} the public's"
        )
    warm = tuple(wanted.release_warm(asked.new))
    return Coming(at, id_, commit, given, whole, backup, warm, (*problems, *whole.problems), tuple(notes))


def _commit(asked, release):
    """This checkout's commit, and why it isn't the one to make a release of: ``(commit, problems)``."""
    commit, problems = commits.here()
    named = str(asked.commit) if asked.commit is not None else None
    if named and not (re.fullmatch("[0-9a-f]{7,40}", named) and commit.startswith(named)):
        problems.append(f"commit={named}: this checkout is at {commit[: commits.SHOWN]}: git checkout {named}")
    if release and commit and not commit.startswith(release.commit):
        problems.append(
            f"{asked.new} was begun at commit {release.commit}, and this checkout is at {commit[: commits.SHOWN]}: "
            f"git checkout {release.commit}; or to begin anew: salt-run release.abort {asked.new}"
        )
    return commit, problems


def _in_the_way(asked, at):
    """What keeps that environment from being made a release of that other one, a line each."""
    anew = f"to begin anew: salt-run release.abort {asked.new}"
    problems = [f"{asked.new} is live, so it can't be made anew beside itself: {sign}" for sign in at.live]
    problems += at.under_way
    signs, _ = live.signs(at.facts, asked.old, wanted.public_name_of(asked.old))
    if not turn.stands(at.facts, asked.old):
        problems.append(f"from={asked.old}: nothing of it is in the cloud; salt-run environment.list tells what is")
    elif not signs and NOT_LIVE not in asked.even_if:
        problems.append(f"{asked.old} isn't live. If it's to be made from that all the same: even_if={NOT_LIVE}")
    if at.release is None and at.is_there:
        problems.append(
            f"{asked.new} is there, and no release began it: take another name, or remove it: "
            f"salt-run environment.destroy {asked.new}"
        )
    elif at.release and at.release.source != asked.old:
        problems.append(f"{asked.new} was begun from {at.release.source}, not {asked.old}; {anew}")
    elif at.release and asked.set and at.release.set not in (NO_SET, asked.set):
        problems.append(f"{asked.new} was begun with {at.release.set}, not {asked.set}; {anew}")
    return problems


def _set(asked, at):
    """
    The set that it's made of and what is wrong with it: ``(id or None, problems)``. None where one is to be taken: no
    good one was since the release began.
    """
    known = at.release.set if at.release and at.release.set != NO_SET else None
    id_ = asked.set or known
    sets = manifest.sets(at.facts, asked.old)
    if id_ is None:
        began = at.release and record.when(at.release.began)
        since = [it.id for it in sets if began and it.is_good and it.taken >= began]
        return next(iter(since), None), []
    it = next((it for it in sets if it.id == id_), None)
    if it is None:
        return id_, [f"{id_}: no backup set of this project; salt-run backup.list {asked.old} tells which there are"]
    problems = [f"{id_}: can't be restored: {why}" for why in it.why_not]
    problems += [f"{id_} was disproved, {it.disproved}: take another one"] if it.disproved else []
    return id_, problems


def _given(facts, old, id_):
    """What is given to the new environment's apply, and what there is to say of it: ``({parameter: text}, notes)``."""
    given = {"sources": id_}
    pieces = [piece.use for it in manifest.sets(facts, old) if it.id == id_ for piece in it.pieces]
    cache = [it for it in facts.of(old, "volume") if it.what["use"] == CACHE and mark.is_current(it)]
    if not pieces or CACHE in pieces or len(cache) != 1:
        return given, []
    note = f"{id_} has no {CACHE}: the new cache is a clone of {cache[0].name} as it is"
    return given | {CACHE_SOURCE: cache[0].id}, [note]


def _coming_set(facts, old):
    """A set as one of that environment would be now, for the plan of what is made of it."""
    now = datetime.now(UTC).replace(microsecond=0)
    pieces = tuple(
        Piece(it.what["use"], f"of {it.name}, to be taken", it.id, it.what["size"], "available", QUIESCED, required)
        for it in facts.of(old, "volume")
        if it.what["use"] and mark.is_current(it)
        for required in [bool(PRODUCTION.match(it.what["use"]))]
    )
    uses = tuple(dict.fromkeys(piece.use for piece in pieces))
    return BackupSet(manifest.new_id(old, now), old, now, GOOD, uses, pieces, made=now)


def _restoration(asked, coming, seen):
    """What was ``Seen`` of the new environment with the plan that makes it of a set, which may not be there yet."""
    if coming is None:
        return restoring.restoration(asked, seen)
    snapshots = [_snapshot(coming, piece) for piece in coming.pieces]
    quotas = dict(seen.facts.quotas)
    for name, more in (("snapshots", len(snapshots)), ("gigabytes", coming.size_gb)):
        limit, used = quotas[name]
        quotas[name] = (limit, used + more)
    things = {**seen.facts.things, "snapshot": (*seen.facts.all("snapshot"), *snapshots)}
    made = restoring.restoration(asked, replace(seen, facts=replace(seen.facts, things=things, quotas=quotas)))
    notes = tuple(note for note in made.plan.notes if not note.startswith(f"{coming.id} is of "))
    return replace(made, plan=replace(made.plan, notes=notes))


def _snapshot(coming, piece):
    what = {
        "metadata": manifest.metadata(coming, piece),
        "status": piece.status,
        "size": piece.size_gb,
        "volume_id": piece.volume,
        "temporary": None,
        "created_at": f"{coming.taken:%Y-%m-%dT%H:%M:%S}",
    }
    return Thing("snapshot", f"{coming.environment}-{piece.use}", piece.snapshot, coming.environment, "", what)


def _unblocked(coming):
    if coming.problems:
        raise Refused(coming.problems)
    return coming


def _begin(cloud, asked, folders, broken, tell):
    """Put down what was begun, and have the new environment's floating IP; the ``Coming`` as it is then."""
    at = standing.look(cloud, asked.new, wanted.public_name_of(asked.new))
    group = base(at.facts, asked.new)
    run = (lock.record(group.what["description"]).unfinished if group else None) or mark.new_run()
    with lock.held(cloud, asked.new, run, "prepare a release", broken, asked.typed):
        coming = _unblocked(_look(cloud, asked, folders))
        began = coming.standing.release.began if coming.standing.release else record.moment()
        release = record.Release(asked.old, coming.set or NO_SET, coming.commit[: commits.SHOWN], began)
        standing.write(cloud, coming.standing.facts, asked.new, release)
        _have_an_address(cloud, asked.new, run, coming.address, tell)
    return coming


def _have_an_address(cloud, new, run, step, tell):
    """Make a floating IP or take the free one that the plan found, and say on it whose it is; nobody else takes it."""
    if step is None:
        return
    if step.verb == "make":
        what = {"floating_network_id": step.what["floating_network_id"], "description": mark.description(new, run)}
        sent(lambda: cloud.network.create_ip(**what), lambda: _address_of(cloud, new), time.sleep)
        tell(f"{new} has a new floating IP")
    else:  # conditional: somebody else's run may find it free, too
        what = {"description": mark.description(new), "if_revision": step.what["if_revision"]}
        sent(lambda: cloud.network.update_ip(step.id, **what), lambda: _address_of(cloud, new), time.sleep)
        tell(f"the floating IP {step.name} is {new}'s")


def _address_of(cloud, environment):
    found = cloud.network.ips(project_id=cloud.session.get_project_id())
    return next((it.id for it in found if mark.of(it.description)[0] == environment), None)


def _back_up(cloud, asked, folders, broken, tell):
    """Have a set of the old environment taken, and put down that it's this one; the ``Coming`` as it is then."""
    said = remotely.create(asked.old, folders(asked.old), tell)
    it = said.get("set") or {}
    if not said.get("result") or not it:
        why = said.get("problems") or [said.get("comment", "it ended without a set")]
        what = f"stopped: no backup set of {asked.old}, and nothing of {asked.new} but its address"
        raise Refused([f"a set of {asked.old}: {line}" for line in why], what)
    tell(f"{it['set']} is {it['state']}")
    _has_to_be_ours(cloud, asked)
    with lock.held(cloud, asked.new, mark.new_run(), "prepare a release", broken, asked.typed):
        at = _has_to_be_ours(cloud, asked)
        coming = _unblocked(_look(cloud, replace(asked, set=it["set"]), folders))
        standing.write(cloud, coming.standing.facts, asked.new, replace(at.release, set=coming.set))
    return coming


def _has_to_be_ours(cloud, asked):
    """The ``Standing`` of a release that goes on. Refused where somebody gave it up or switched to it meanwhile."""
    at = standing.look(cloud, asked.new, wanted.public_name_of(asked.new))
    wrong = [f"{asked.new} is live: {sign}" for sign in at.live] + at.under_way
    wrong += [] if at.release else [f"{asked.new} is of no release any more: somebody ended it meanwhile"]
    if wrong:
        raise Refused(wrong, "stopped")
    return at


def _apply(asked, coming, broken, folder, tell):
    """Have the new environment made of the set, enrolled and deployed."""
    then = {"named": coming.commit, "even_if": FAILING if FAILING in asked.even_if else None}
    about = partial(_restoration, restoring.Restore(coming.set), None)
    done = applying.apply(asked.new, coming.given, broken, then, folder, tell, about, "prepare a release", asked.typed)
    failed = done.updated.deployed.failed if done.updated and done.updated.deployed else ()
    if failed:
        raise Refused(failed, f"stopped: the deploy of {asked.new} failed; the next run goes on from there")
    return done


def _ready(cloud, asked, broken):
    """Put down that it's ready; since when."""
    now = record.moment()
    _has_to_be_ours(cloud, asked)  # before a lock of it is made, which would be all that there is of it
    with lock.held(cloud, asked.new, mark.new_run(), "prepare a release", broken, asked.typed):
        at = _has_to_be_ours(cloud, asked)
        standing.put(cloud, base(at.facts, asked.new).id, record.ready_tag(now))
    return now
