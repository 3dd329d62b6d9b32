"""
Whether an environment may become the public's: every guard of a release, all of them run, and nothing changed.

The cloud is asked first, since it says who is meant. Then all at once: NEW and OLD over SSH, each by its own master,
and NEW's address as visitors would.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from idr import at_master, show
from idr.backup import project as backups
from idr.backup.project import Project
from idr.cloud import live, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.errors import IdrError, Refused
from idr.release import asked, certificate, guards, ports, record, smoke, standing

WRITES = "writes"
STAMP = "%Y%m%dT%H%M%SZ"  # of a moment, as in the ids of backup sets
AT_ONCE = 32  # more than there are guards and what they look at, as some wait for others


@dataclass(frozen=True)
class Checked:
    """
    What was found. PASSED are the guards that passed, a line each; PROBLEMS say each what to do. WRITES are those to
    OLD since the set that NEW was made from: problems, too, unless they were allowed.
    """

    new: str
    old: str
    passed: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float
    commit: str | None  # that NEW has, whole; None where that couldn't be asked
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Meant:
    """Who is checked, by the cloud and the caller."""

    project: Project
    new: str
    old: str
    public_name: str
    named: str | None  # the production address, as the caller knows it
    set: str | None
    broken: str | None  # the holder of locks that are to be
    folders: Callable  # a name: that environment's site directory

    @property
    def at(self):
        """The address that NEW is asked at. Refused as the guard of the spare address says it."""
        problems = guards.spare(self.project.facts, self.new)
        if problems:
            raise Refused(problems)
        return live.addresses(self.project.facts, self.new)[0].name

    @property
    def production(self):
        """The public's address, None where it isn't one."""
        tagged = guards.tagged(self.project.facts)
        return tagged[0].name if len(tagged) == 1 else None


def check(new, old=None, *, address=None, set_=None, even_if=(), broken=None, folders, tell):
    """
    The ``Checked`` of an environment that is to take over.

    old:      the environment that it's to be in the place of; the one that it was made from, or is live, unless given
    address:  the production address, as the caller knows it
    set_:     the id of the backup set that NEW was made from, where no record says it
    even_if:  ``writes`` to let it pass although OLD was written to since
    broken:   the holder of locks that are to be broken, which keeps nobody from anything then
    folders:  ``folders(name)``: an environment's site directory
    tell:     is told one line of progress at a time

    Changes nothing. Refused where there's nothing that could be checked: no such environment, or NEW is OLD.
    """
    began = time.monotonic()
    if set(even_if) - {WRITES}:
        raise Refused([f"even_if: only `{WRITES}` can be said, not {', '.join(even_if)}"])
    try:
        project = backups.look(connect(wanted.cloud_of(new)))
    except ERRORS as error:
        raise IdrError(told(error)) from error
    meant = _meant(project, new, old, address, set_, broken, folders)
    tell(f"{new} is looked at, and {meant.old}, in whose place it's to be")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shown = pool.submit(show.show, new, True, folders(new), tell)
        written = pool.submit(_written, meant)
        begun = _begun(pool, meant, shown) | _of_writes(pool, meant, written, WRITES in even_if)
        passed, problems = _judged(begun, tell)
    writes, _ = _result(written, ((), ()))
    commit = _result(shown, {}).get("commit")
    seconds = round(time.monotonic() - began, 1)
    return Checked(new, meant.old, passed, problems, seconds, commit, tuple(writes))


def writes_since(environment, moment, folder):
    """
    What was written to an environment's OMERO and its files since a moment, a line for each kind, and who couldn't tell
    it: ``(lines, unknown)``.

    moment:  a datetime with its zone
    folder:  the operator's site directory

    An IdrError where its master can't be asked.
    """
    words = ["release.writes", environment, f"since={moment.astimezone(UTC):{STAMP}}"]
    answer = _of_master(environment, folder, words, asked.WRITES)
    return guards.writes(answer["writes"], answer["asked"])


def _meant(project, new, old, address, set_, broken, folders):
    made_of = standing.release_of(project.facts, new)
    old = old or (made_of and made_of.source) or guards.live_one(project.facts)
    problems = [
        f"{it}: no such environment in the cloud {project.facts.cloud}: salt-run environment.list"
        for it in (new, old)
        if it and not project.facts.of(it, "server")
    ]
    if not old:
        problems.append(f"{new}: in whose place it's to be isn't known, as no environment is live: say it, old=…")
    if new == old:
        problems.append(f"{new}: it can't be checked for its own place. Is it live? salt-run environment.list")
    if problems:
        raise Refused(problems)
    named = address and str(address)
    known = made_of.set if made_of and made_of.set != record.NO_SET else None
    return _Meant(project, new, old, wanted.public_name_of(new), named, set_ or known, broken, folders)


def _begun(pool, meant, shown):
    """The guards, each at work: what is so where it has no problem, and what will tell its problems."""
    new, old, name, project, folders = meant.new, meant.old, meant.public_name, meant.project, meant.folders
    expected = pool.submit(wanted.release_expectations, new, folders(new))
    ours, theirs = (pool.submit(_health, it, folders(it)) for it in (new, old))
    on_both = f"{new} or {old}"
    looks = {
        f"every server of {new} is up, and a highstate would change nothing": lambda: guards.up(new, shown.result()),
        f"OMERO, OMERO.web, nginx and the hub of {new} are well": lambda: guards.healthy(
            new, ours.result(), shown.result()
        ),
        f"the database of {new} has the patch of {old}'s, or a newer one": lambda: guards.schema(
            new, old, ours.result(), theirs.result()
        ),
        f"the certificate of {new} is valid for {name}": lambda: certificate.problems(
            name, meant.at, new, expected.result(), folders(new), datetime.now(UTC)
        ),
        f"{new} shows what is expected of {name}": lambda: smoke.problems(
            name, meant.at, expected.result(), meant.production
        ),
        f"of {new} only {', '.join(map(str, ports.PUBLIC))} are open to the outside": lambda: ports.problems(
            new, meant.at
        ),
        f"{old} holds the production address, and {name} leads to it": lambda: guards.production(
            project.facts, old, name, meant.named, live.addresses_of
        ),
        f"{new} holds a spare address": lambda: guards.spare(project.facts, new),
        f"there's room for a backup set of {new}, which it takes by itself once it's live": lambda: guards.room(
            project.facts, new, wanted.backup_leave_out(new)
        ),
        f"{old} has a quiesced backup set that is young enough": lambda: guards.young_set(
            project, old, expected.result().set_hours, datetime.now(UTC)
        ),
        f"the set of {old} that {new} was made of is known": lambda: guards.origin(new, old, meant.set),
        f"no run is on {on_both}": lambda: guards.at_rest(project, new, old, meant.broken),
        f"no import runs on {on_both}": lambda: [*guards.idle(new, ours.result()), *guards.idle(old, theirs.result())],
        f"{old} isn't closed for maintenance": lambda: guards.open_(old, theirs.result()),
    }
    return {line: pool.submit(look) for line, look in looks.items()}


def _of_writes(pool, meant, written, are_allowed):
    """The guard of writes to OLD, which the caller may have allowed; they have to be known all the same."""
    if are_allowed:
        return {f"what was written to {meant.old} since may be lost": pool.submit(lambda: written.result()[1])}
    line = f"nothing was written to {meant.old} since"
    return {line: pool.submit(lambda: guards.of_writes(meant.old, meant.set, *written.result()))}


def _judged(begun, tell):
    """What passed and what didn't, ``(lines, lines)``. What keeps several guards from looking is said once."""
    passed, problems = [], []
    for line, guard in begun.items():
        try:
            wrong = guard.result()
        except IdrError as error:
            wrong = error.problems
        except ERRORS as error:
            wrong = [told(error)]
        tell(f"{'not so' if wrong else 'so'}: {line}")
        problems += wrong
        passed += [] if wrong else [line]
    return tuple(passed), tuple(dict.fromkeys(problems))


def _result(job, otherwise):
    """What a job that has ended returned; OTHERWISE where it failed, as its guard has told."""
    return otherwise if job.exception() else job.result()


def _written(meant):
    problems = guards.origin(meant.new, meant.old, meant.set)
    if problems:
        raise Refused(problems)
    return writes_since(meant.old, guards.taken(meant.project, meant.set), meant.folders(meant.old))


def _health(environment, folder):
    return _of_master(environment, folder, ["release.seen", environment], at_master.LOOK)["seen"]


def _of_master(environment, folder, words, seconds):
    """What a door of `release` on an environment's master answers; an IdrError where it refuses, or hasn't that."""
    answer = at_master.answer(environment, folder, words, seconds)
    if not isinstance(answer, dict) or "result" not in answer:
        raise IdrError(f"{environment}: its master has no {words[0]} yet: salt-run environment.update {environment}")
    if not answer["result"]:
        raise Refused([f"{environment}: {line}" for line in answer.get("problems") or [answer["comment"]]])
    return answer
