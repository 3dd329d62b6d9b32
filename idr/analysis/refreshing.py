"""
The analysis side made anew by itself, of a backup set's production data: new clones while users work on, the hub
drained, the volumes swapped as a restore does it, looked at, and the hub opened again. What was there is put aside.

Production isn't touched: nothing is in the plan at any time that isn't the analysis side's, and the deploy that follows
is of what is there already, where production has nothing to change.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from idr import at_master, commits, enrolment, site, update
from idr.backup import manifest, restoring
from idr.cloud import applying, inventory, mark, volumes, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.cloud.model import Plan
from idr.errors import IdrError, Refused
from idr.hub import Hub
from idr.release.asked import SCHEMA
from idr.topology import REQUIRED

UNVERIFIED, AGAIN, DRIFT, HUB = "unverified", restoring.AGAIN, "drift", "hub"
MAY_BE_SAID = (UNVERIFIED, AGAIN, DRIFT, HUB)
NOTICE = "The data of the analysis service are being brought up to date."
USUAL, LONGEST = 15, 24 * 60  # minutes of notice

# What tells one password from another without telling it: both are of random ones, and salted by whoever made them.
# Other roles that production may have come with the clone and can't log in (pg_hba.conf).
ROLES = (
    "SELECT rolname AS name, md5(rolpassword) AS digest FROM pg_authid "
    "WHERE rolname IN ('omero', 'omeroreadonly') AND rolpassword IS NOT NULL"
)
ROOT = "SELECT 'root of OMERO' AS name, md5(hash) AS digest FROM password WHERE experimenter_id = 0 AND hash <> ''"


@dataclass(frozen=True)
class Refresh:
    """
    What is asked for: the data of a SET for an ENVIRONMENT's analysis side, None for its newest verified one; users are
    told so many MINUTES before; and what it's to be done in spite of.
    """

    environment: str
    set: str | None = None
    minutes: int = USUAL
    even_if: frozenset[str] = frozenset()

    @property
    def typed(self):
        """The command for it."""
        more = [f"set={self.set}"] if self.set else []
        more += [f"minutes={self.minutes}"] if self.minutes != USUAL else []
        more += [f"even_if={','.join(sorted(self.even_if))}"] if self.even_if else []
        return " ".join(["analysis.refresh", self.environment, *more])

    @property
    def goes_on(self):
        """The command that goes on with it: what was cloned once more isn't cloned another time."""
        return replace(self, even_if=self.even_if - {AGAIN}).typed


@dataclass(frozen=True)
class Coming:
    """
    A refresh as it would be: of that SET, by that PLAN, with who is ON now; DRAINED are the hubs that one before it has
    drained and that nobody has opened since. PROBLEMS block it.
    """

    set: str | None
    plan: Plan
    on: dict[str, list[str]]
    drained: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Refreshed:
    """A refresh that was done: its set, what an apply did, and what is put aside of the analysis side by now."""

    set: str
    applied: applying.Applied
    aside: tuple["Aside", ...]


@dataclass(frozen=True)
class Aside:
    """A volume that was put aside; it can't be removed before its SNAPSHOTS are, of which there are so many."""

    name: str
    id: str
    snapshots: int


def plan(asked, folder, tell):
    """
    What has to be done until an analysis side has the data of a set: a ``Coming`` with its problems.

    asked:   the ``Refresh``
    folder:  the operator's site directory
    tell:    is told one line of progress at a time
    """
    try:
        found = _read(asked)
        return _look(connect(found.cloud), asked, found, folder, tell)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def refresh(asked, broken, folder, tell):
    """
    Give an analysis side the data of a set, as `plan` says; where it has them, look at it once more.

    broken:  the holder of a lock that is to be broken

    Returns a ``Refreshed``. Refused with every problem at once, before anything is made. Where the new side isn't as it
    has to be, the hub stays drained, and all that was there is kept; whatever ends it, how it's gone on with is told.
    """
    try:
        found = _read(asked)
        cloud = connect(found.cloud)
        coming = _look(cloud, asked, found, folder, tell)
        if coming.problems:
            raise Refused(coming.problems)
        asked = replace(asked, set=coming.set)  # there may be a newer one by the time that this is gone on with
        users = _Users(_hub(asked, found, folder), asked, bool(coming.drained), tell)
        with users.told_of():
            applied = applying.apply(
                asked.environment, {"sources": coming.set}, broken, {"named": None, "even_if": None}, folder, tell,
                _about(asked, found, coming.set), "refresh the analysis side", asked.typed, pause=users.drain,
            )  # fmt: skip
            deployed = applied.updated.deployed if applied.updated else None
            failed = deployed.failed if deployed else []
            problems = failed or _wrong(asked.environment, found, folder, tell)
            if problems:
                raise Refused(problems, f"the analysis side of {asked.environment} isn't as it has to be")
            users.hub.undrain(tell)
        return Refreshed(coming.set, applied, _aside(inventory.facts(cloud), asked.environment, _uses(found)))
    except ERRORS as error:
        raise IdrError(told(error)) from error


class _Users:
    """The users of the hubs during a refresh: drained for it, and what has become of them told whatever ends it."""

    def __init__(self, hub, asked, are_drained, tell):
        self.hub, self.asked, self.tell = hub, asked, tell
        self.are_drained, self.are_being_drained = are_drained, False

    def drain(self):
        """Have the hubs drained."""
        self.are_being_drained = True
        self.hub.drain(self.asked.minutes, self.tell)
        self.are_drained, self.are_being_drained = True, False

    @contextmanager
    def told_of(self):
        """Whatever ends the block says how users stand, how it's gone on with, and how they are let in again."""
        try:
            yield
        except (IdrError, *ERRORS) as error:
            if not (self.are_drained or self.are_being_drained):
                raise
            problems = [told(error)] if isinstance(error, ERRORS) else error.problems
            raise Refused(problems, f"stopped: {self._standing()}") from error
        except (KeyboardInterrupt, SystemExit):
            if self.are_drained or self.are_being_drained:
                self.tell(f"interrupted: {self._standing()}")
            raise

    def _standing(self):
        go_on = f"salt-run {self.asked.goes_on} apply=True"
        proxy, hubs = f"{self.asked.environment}-proxy", ",".join(self.hub.servers)
        undrain = f"ssh {proxy} salt -L {hubs} jupyterhub.undrain"
        if not hubs:
            return f"what was there is kept. To go on, once that is mended: {go_on}"
        if self.are_being_drained:
            return f"nothing is swapped, the hub may be drained. To go on: {go_on}; to let users in again: {undrain}"
        kept = "the hub stays drained, and what was there is kept"
        return f"{kept}. To go on, once that is mended: {go_on}; to let users in as it is: {undrain}"


def _read(asked):
    """The environment as pillar has it. Refused where what is typed can't be meant."""
    known = ", ".join(MAY_BE_SAID)
    problems = [f"even_if: only {known} can be said, not {it}" for it in sorted(asked.even_if - set(MAY_BE_SAID))]
    is_number = isinstance(asked.minutes, int) and not isinstance(asked.minutes, bool)
    if not is_number or not 0 <= asked.minutes <= LONGEST:
        problems.append(f"minutes: a whole number from 0 to {LONGEST}, not {asked.minutes!r}")
    if asked.set and manifest.environment_of(asked.set) != asked.environment:
        problems.append(f"set={asked.set}: no id of a backup set of {asked.environment}")
    if problems:
        raise Refused(problems)
    found = wanted.read(asked.environment)
    uses = _uses(found)
    if not uses:
        raise Refused([f"{asked.environment}: in pillar no volume of the analysis side is a clone of production's"])
    roles = {server.name: server.role for server in found.servers if found.name not in server.networks}
    others = [it.use for it in found.volumes if roles.get(it.server) in REQUIRED and it.use not in uses]
    if others:
        raise Refused(
            [
                f"{asked.environment}: in pillar {', '.join(uses)} of the analysis side would come from production and "
                f"{', '.join(others)} wouldn't: rows would name files that aren't there, or the other way round"
            ]
        )
    return found


def _uses(found):
    """The volumes of the analysis side whose content is production's; what is users' own isn't among them."""
    return tuple(volume.use for volume in found.volumes if volume.source.startswith("use:"))


def _look(cloud, asked, found, folder, tell):
    seen, name = inventory.facts(cloud), asked.environment
    backup, problems = _set(asked, seen, _uses(found), tell)
    if backup is None:
        return Coming(None, Plan(name, ()), {}, (), tuple(problems))
    whole = applying.plan(name, {"sources": backup.id}, _about(asked, found, backup.id))
    problems += [*whole.problems, *_schema(asked, backup, found, folder), *_deploy(asked, found, folder, tell)]
    try:
        on, drained = _hub(asked, found, folder).look()
    except IdrError as error:
        on, drained = {}, []
        problems.append(f"{error}. If nobody can be on: even_if={HUB}")
    return Coming(backup.id, whole, on, tuple(drained), tuple(problems))


def _about(asked, found, id_):
    said = frozenset({AGAIN} & asked.even_if)
    return partial(_restoration, restoring.Restore(id_, _uses(found), said, of_production=True))


def _restoration(asked, seen):
    """A restore of the analysis side alone; each step that isn't its own is a problem, whenever it's planned."""
    made, name = restoring.restoration(asked, seen), seen.wanted.name
    strangers = [
        f"{step}: isn't the analysis side's, and production isn't touched. First: salt-run environment.apply {name}"
        for step in made.plan.steps
        if not step.name.startswith(f"{name}-a-")
    ]
    return replace(made, plan=replace(made.plan, problems=(*made.plan.problems, *strangers)))


def _hub(asked, found, folder):
    servers = [it.name for it in found.servers if it.role == "dockermanager" and HUB not in asked.even_if]
    return Hub(asked.environment, servers, folder, NOTICE)


def _set(asked, seen, uses, tell):
    """The set and what is wrong with it: ``(BackupSet or None, problems)``."""
    sets = manifest.sets(seen, asked.environment)
    if asked.set is None:
        verified = [it for it in sets if it.is_good and it.verified]
        if not verified:
            verify = f"salt-run backup.verify pick=random env={asked.environment} apply=True"
            return None, [f"{asked.environment} has no verified backup set: {verify}"]
        begun = _begun(seen, asked.environment, uses)
        chosen = next((it for it in verified if it.id in begun), verified[0])
        if chosen != verified[0]:
            newest = f"The newest verified one, if that's meant: set={verified[0].id}"
            tell(f"a refresh of {chosen.id} was cut off, and is gone on with. {newest}")
        return chosen, []
    it = next((it for it in sets if it.id == asked.set), None)
    if it is None:
        tells = f"salt-run backup.list {asked.environment} tells which there are"
        return None, [f"{asked.set}: no backup set of this project; {tells}"]
    if not it.is_good:
        return None, [f"{it.id}: can't be used: {why}" for why in (*it.why_not, *filter(None, [it.disproved]))]
    if not it.verified and UNVERIFIED not in asked.even_if:
        verify = f"salt-run backup.verify {it.id} apply=True"
        return it, [f"{it.id} was never verified: {verify}; or even_if={UNVERIFIED}"]
    return it, []


def _begun(seen, name, uses):
    """The sets for which a refresh that was cut off has put volumes aside: its clones may have taken hours."""
    of_it = [it for it in seen.of(name, "volume") if it.what["use"] in uses]
    there = {it.what["use"] for it in of_it if mark.is_current(it)}
    aside = [it for it in of_it if mark.put_aside_for(it)]
    return {mark.put_aside_for(it) for it in aside if it.what["use"] not in there or volumes.is_on_a_server(seen, it)}


def _schema(asked, backup, found, folder):
    """Why what the set has in its database isn't what OMERO.server wants, which is the same on both sides."""
    there = backup.facts.get("database_patch")
    servers = [it.name for it in found.servers if it.role == "omero" and found.name in it.networks]
    if not there or not servers:
        return []
    try:
        rows = at_master.execute(asked.environment, folder, servers[0], "omero.query", sql=SCHEMA)
    except IdrError as error:
        return [str(error)]
    if not rows or rows[0]["schema"] == there:
        return []
    return [
        f"{backup.id} has a database with {there}, and production's has {rows[0]['schema']} by now: take and verify "
        f"another set, salt-run backup.create {asked.environment} apply=True"
    ]


def _deploy(asked, found, folder, tell):
    """Why the deploy that follows would change production, or be refused when all is swapped already, a line each."""
    name = asked.environment
    first = f"first salt-run environment.update {name}"
    commit, problems = commits.here()
    files = site.read(name, folder)[0].files
    with at_master.reached(name, folder) as (ssh, proxy):
        there = ssh.do(proxy, "facts", {"files": sorted(files), "units": {}, "secrets": []})
        deployed = there["release"] or ""
        if commit and deployed != commit:
            shown = deployed[: commits.SHOWN] or "nothing"
            problems.append(
                f"{name} has {shown}, and this checkout is at {commit[: commits.SHOWN]}, which would be deployed on "
                f"production, too: git checkout {shown}, or {first}"
            )
        made_anew = {volume.server for volume in found.volumes if volume.use in _uses(found)}
        servers = [it for it in ssh.environment.servers.values() if it.id not in made_anew]
        rehearsed, silent = update.rehearsed(ssh, servers, "base", tell)
    problems += silent.values()
    problems += [
        f"{server}: {state['id']}: {state['fails']}: the deploy that follows would be refused for that: mend it first"
        for server, states in rehearsed.items()
        for state in states
        if state["fails"]
    ]
    if DRIFT in asked.even_if:
        return problems
    problems += [
        f"{path} of {proxy.id} isn't as {folder} has it, and would be deployed, too: {first}; or even_if={DRIFT}"
        for path in enrolment.not_there(files, there)
    ]
    production = [it.id for it in servers if it.prefix == name]
    changes = {id_: [it for it in states if not it["fails"]] for id_, states in rehearsed.items() if id_ in production}
    return problems + [
        f"{server}: a deploy would change {len(states)} of its states: {first}; or even_if={DRIFT}"
        for server, states in changes.items()
        if states
    ]


def _wrong(name, found, folder, tell):
    """What isn't as it has to be on the new analysis side, a line each."""
    side = [it for it in found.servers if name not in it.networks]
    problems = []
    for server in [it.name for it in side if it.role == "omero"]:
        said = at_master.execute(name, folder, server, "omero.status")
        problems += [f"{server}: {why}" for why in said["problems"]]
    own = [it.name for it in found.servers if it.role == "database" and it not in side]
    theirs = {digest for server in own for digest in _digests(name, folder, server).items()}
    for server in [it.name for it in side if it.role == "database"]:
        same = sorted(who for who, _ in theirs & set(_digests(name, folder, server).items()))
        sets = f"salt-run environment.update {name} sets this side's own"
        problems += [f"{server}: {who} has the password that it has in production; {sets}" for who in same]
    tell("the analysis side " + ("isn't as it has to be" if problems else "answers, by passwords of its own"))
    return problems


def _digests(name, folder, server):
    """What tells the passwords on a database server from those on another, by whose they are."""
    rows = at_master.execute(name, folder, server, "pg_sql.query", sql=ROLES)
    rows += at_master.execute(name, folder, server, "pg_sql.query", sql=ROOT, database="idr")
    return {row["name"]: row["digest"] for row in rows}


def _aside(seen, name, uses):
    """What is put aside of the analysis side, by this refresh and by those before it."""
    on = [it.what["volume_id"] for it in seen.all("snapshot")]
    return tuple(
        Aside(it.name, it.id, on.count(it.id))
        for it in seen.of(name, "volume")
        if it.what["use"] in uses and mark.put_aside_for(it)
    )
