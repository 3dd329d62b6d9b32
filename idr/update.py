"""
The daily change of an environment: this checkout's commit rehearsed on its servers, and deployed.

What would change is found by the servers themselves, from a candidate beside the current release: `state.highstate
test=True` of the Salt environment `next`. The deploy is a unit of the master's own that no lost terminal ends.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from idr import at_master, commits, enrolment, with_salt
from idr.enrol import looked_at
from idr.errors import IdrError, Refused
from idr.on_server import DEPLOY

REHEARSAL = 600  # seconds a server's rehearsal may take
ORCHESTRATION = ["state.orchestrate", "orch.deploy"]


@dataclass(frozen=True)
class Rehearsal:
    """What a highstate would change and where it would fail, ``{server: {state: text}}``; and who never had one."""

    would: dict[str, dict[str, str]] = field(default_factory=dict)
    fails: dict[str, dict[str, str]] = field(default_factory=dict)
    new: tuple[str, ...] = ()

    @property
    def is_empty(self):
        return not (self.would or self.fails or self.new)


@dataclass(frozen=True)
class Update:
    """An update as it was planned, and what became of it: `deployed` is None where there was nothing to deploy."""

    commits: list[str]
    steps: list[str]
    rehearsal: Rehearsal
    deployed: "Deployed | None" = None


@dataclass(frozen=True)
class Deployed:
    """How a deploy ended: the states that changed, by server, and what failed, a line each."""

    report: str
    changed: dict[str, list[str]]
    failed: list[str]


def update(name, apply, named, even_if, folder, tell):
    """
    Bring an environment to this checkout's commit; or without `apply` tell what that would do.

    named:    the beginning of this checkout's commit, where it isn't a descendant of the deployed one
    even_if:  ``failing`` to deploy although some states failed in the rehearsal
    folder:   the operator's site directory
    tell:     is told one line of progress at a time

    Returns an ``Update``. A deploy of this commit that is going on is followed instead.
    """
    with looked_at(name, (), named, folder, tell) as seen:
        if seen.deploying and not apply:
            how = f"salt-run environment.update {name} apply=True"
            raise Refused([f"a deploy of this commit is going on. To follow it: {how}"])
        if seen.deploying:
            tell("following the deploy of this commit that is going on")
            began = {"unit": DEPLOY, "action": None, "report": seen.deploying}
            # what it did until now was told to somebody
            return Update([], [], Rehearsal(), _followed(seen, began | {"offset": None}, tell))
        _has_to_be_enrolled(seen)
        carried = _carried(seen)
        steps = [str(step) for step in seen.plan]
        rehearsal = rehearse(seen, tell)
        if not apply:
            return Update(carried, steps, rehearsal)
        if rehearsal.fails and even_if != "failing":
            fails = rehearsal.fails.items()
            raise Refused(
                [f"{server}: {state}: {why}" for server, states in fails for state, why in states.items()],
                "refused, nothing was changed: these states fail in the rehearsal. Where the deploy itself mends that, "
                "say so: even_if=failing",
            )
        if steps:
            seen.take(tell)
        if rehearsal.is_empty:
            return Update(carried, steps, rehearsal)
        tell("the deploy begins, and goes on whatever becomes of this terminal")
        asked = {"unit": DEPLOY, "folder": "deploys", "of": seen.wanted.commit, "words": ORCHESTRATION, "action": None}
        began = seen.ssh.do(seen.environment.proxy, "begin", asked)
        return Update(carried, steps, rehearsal, _followed(seen, began, tell))


def _has_to_be_enrolled(seen):
    master = seen.facts[seen.environment.proxy.id]
    strangers = [
        id_
        for id_, there in seen.facts.items()
        if not there["salt"] or id_ not in master["keys"]["accepted"] or not master["units"]["salt-master"]["active"]
    ]
    if strangers:
        what = f"not enrolled yet, or its master isn't running: salt-run environment.enrol {seen.environment.name}"
        raise Refused([f"{id_}: {what}" for id_ in strangers])


def _carried(seen):
    """The commits that go along, where this checkout can tell."""
    deployed = seen.facts[seen.environment.proxy.id]["release"]
    return commits.between(deployed, seen.wanted.commit) if commits.known(deployed) else []


def rehearse(seen, tell):
    """Make this checkout's commit the master's environment `next`, and find what a highstate of it would do."""
    proxy = seen.environment.proxy
    with tempfile.TemporaryDirectory() as scratch:
        release = Path(scratch) / "release.tar"
        commits.archive(seen.wanted.commit, release)
        with open(release, "rb") as stream:
            asked = enrolment.candidate(seen.environment, seen.facts, seen.wanted)
            seen.ssh.do(proxy, "bring_candidate", asked, stream)
    new = tuple(id_ for id_, there in seen.facts.items() if not there["ran_states"])
    old = [server for id_, server in seen.environment.servers.items() if id_ not in new]
    found, problems = rehearsed(seen.ssh, old, "next", tell)
    if problems:
        raise Refused(problems.values())
    other = seen.ssh.do(proxy, "candidate", {})
    if other != seen.wanted.commit:
        raise Refused([f"{other[: commits.SHOWN]} was rehearsed by somebody else at the same time. Once more, please"])
    return sorted_out(found, new)


def rehearsed(ssh, servers, saltenv, tell):
    """What each server's rehearsal of that Salt environment said, all at the same time; and why which couldn't."""
    found, problems = {}, {}

    def ask(server):
        try:
            found[server.id] = ssh.ask_salt(server, "rehearse", {"saltenv": saltenv}, seconds=REHEARSAL)
        except IdrError as error:
            problems[server.id] = str(error)
            return
        tell(f"{server.id}: rehearsed, {_count(len(found[server.id]), 'state')} to tell of")

    with ThreadPoolExecutor(len(servers) or 1) as pool:
        list(pool.map(ask, servers))
    ordered = {server.id: found[server.id] for server in servers if server.id in found}
    return ordered, dict(sorted(problems.items()))


def sorted_out(found, new=()):
    """The ``Rehearsal`` from what each server said."""
    would, fails = {}, {}
    for server, states in found.items():
        for state in states:
            kind, text = (fails, state["fails"]) if state["fails"] else (would, state["would"])
            of_server = kind.setdefault(server, {})
            id_ = state["id"] if state["id"] not in of_server else f"{state['id']} ({state['name']})"
            of_server[id_] = text
    return Rehearsal(would, fails, tuple(new))


def _followed(seen, began, tell):
    """What became of a deploy, which is followed to its end."""
    again = f"salt-run environment.update {seen.environment.name} apply=True"
    return outcome(began["report"], at_master.follow(seen.ssh, seen.environment.proxy, began, again, tell))


def outcome(path, text):
    """How a deploy ended, from its report: the returned JSON of `state.orchestrate`."""
    try:
        report = at_master.returned(text, "journalctl -u idr-deploy")
    except IdrError as error:
        return Deployed(path, {}, [str(error)])
    changed, failed = {}, []
    for answer in report["data"].values():
        if not isinstance(answer, dict):  # it didn't come to its steps
            failed += [str(line) for line in answer]
            continue
        for step in sorted(answer.values(), key=lambda step: step["__run_num__"]):
            _sort_step(step, changed, failed)
    if report.get("retcode") and not failed:
        failed.append(f"it ended with {report['retcode']}")
    return Deployed(path, changed, failed)


def _sort_step(step, changed, failed):
    told = len(failed)
    said = step["changes"].get("ret") or step["changes"].get("return")  # of servers, or of a runner
    for server, states in said.items() if isinstance(said, dict) else ():
        if not _are_states(states):
            continue
        for state in sorted(states.values(), key=lambda state: state["__run_num__"]):
            if state["changes"]:
                changed.setdefault(server, []).append(state["__id__"])
            if _is_cause(state):
                failed.append(f"{server}: {state['__id__']}: {state['comment']}")
    if _is_cause(step) and len(failed) == told:
        problems = said.get("problems") if isinstance(said, dict) else None
        failed += problems or [f"{step['__id__']}: {step['comment']}"]


def _are_states(said):
    return isinstance(said, dict) and all(isinstance(state, dict) and "__id__" in state for state in said.values())


def _is_cause(state):
    """Whether it failed by itself, and not since another one did."""
    return state["result"] is False and not state["comment"].startswith(with_salt.CONSEQUENCE)


def _count(number, what):
    return f"{number} {what}{'s' * (number != 1)}"
