"""Enrolment done: the checkout and the site read, every server looked at, and the steps taken over SSH."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from idr import commits, enrolment, on_server, site, table, values, wheelhouse
from idr.cloud import credential, enrolled
from idr.errors import IdrError, Refused
from idr.ssh import NoPython, Ssh, connections
from idr.topology import Environment

ROUNDS = 4  # what one round makes (a key, a version of Salt) the next one uses
ANSWER = 300  # seconds until every minion has to answer
NO_PYTHON = {"python": False, "os": enrolment.SYSTEMS[0], "ran_states": False} | dict.fromkeys(
    ("salt", "key", "knows_master", "master_key", "release", "deploy", "credential")
)


@dataclass(frozen=True)
class Seen:
    """An environment that was looked at, and may be changed: the way to its servers, and what is there."""

    ssh: Ssh
    environment: Environment
    wanted: enrolment.Wanted
    facts: dict[str, dict]
    giver: credential.Giver | None  # of the master's credential; None: its servers were made by hand

    @property
    def plan(self):
        """What has to be done until Salt is everywhere as this checkout has it."""
        return enrolment.steps(self.environment, self.facts, self.wanted)

    @property
    def deploying(self):
        """The report of a deploy of this very commit that is going on, or None."""
        return self.facts[self.environment.proxy.id]["deploy"]

    def take(self, tell):
        """Take the plan's steps, wait until every minion answers, and bring each the release's modules."""
        if self.plan:
            _take(self, tell)
        _wait_for_answers(self.ssh, self.environment, tell)
        minions = {"minions": list(self.environment.servers)}
        new = self.ssh.ask_salt(self.environment.proxy, "sync", minions, seconds=180)
        if new:
            tell(f"brought this release's modules to {', '.join(new)}")


def enrol(name, apply, replace, named, folder, tell):
    """
    Bring Salt to the servers of an environment; or without `apply` tell what that would do.

    replace:  ids of servers that were made anew, whose old keys are to be forgotten
    named:    the beginning of this checkout's commit, where it isn't a descendant of the deployed one
    folder:   the operator's site directory
    tell:     is told one line of progress at a time

    Returns ``(plan, changed)``: the steps by server, and whether they were taken. Refused with every problem at once.
    """
    with looked_at(name, replace, named, folder, tell) as seen:
        if seen.deploying:
            raise Refused([f"a deploy is going on: follow it with salt-run environment.update {name} apply=True"])
        plan = seen.plan
        if apply:
            seen.take(tell)
            if seen.giver:
                enrolled.say(seen.giver.connection, name)
    return plan, apply and bool(plan)


@contextmanager
def looked_at(name, replace, named, folder, tell):
    """
    Everything that is decided on, read and looked at, for as long as the block lasts. Refused with all that is wrong
    with this checkout, the site, the servers, and this commit in the place of the deployed one.
    """
    environment, text = table.of_operator(name, folder)
    found, problems = site.read(name, folder)
    problems += values.problems(environment, text, folder) + wheelhouse.problems()
    commit, unclean = commits.here()
    files = {f"{site.PILLAR}/{table.FILE}": text, **found.files}
    wanted = enrolment.Wanted(commit, wheelhouse.content_hash(), files, frozenset(replace))
    giver = _giver(environment, folder)
    with connections(environment, found.known_hosts) as ssh:
        facts, unseen = _look(ssh, environment, wanted, giver)
        new = _new(environment, replace, giver) if unseen else []
        if new:
            _wait_for(ssh, new, tell)
            facts, unseen = _look(ssh, environment, wanted, giver)
        problems += unclean + unseen + enrolment.problems(environment, facts, wanted)
        if environment.proxy.id in facts:
            master = facts[environment.proxy.id]
            problems += commits.fence(master["release"], commit, named)
            problems += giver.problems() if master["unfit_credential"] else []
            if master["deploy"] and commit not in master["deploy"]:
                problems.append(
                    f"a deploy of another commit is going on, {master['deploy']}: wait for its end "
                    f"(ssh {environment.proxy.id} systemctl status {on_server.DEPLOY})"
                )
        if problems:
            raise Refused(problems)
        tell(f"looked at {len(facts)} servers of {name}")
        yield Seen(ssh, environment, wanted, facts, giver)


def _giver(environment, folder):
    return None if table.is_by_hand(folder) else credential.giver(environment.name)


def _new(environment, replace, giver):
    """The servers that were just made, the proxy first: what leads to them may be a moment later than they are."""
    names = {*replace, *(enrolled.not_yet(giver.connection, environment.name) if giver else ())}
    servers = [server for server in environment.servers.values() if server.id in names]
    return sorted(servers, key=lambda server: server != environment.proxy)


def _wait_for(ssh, servers, tell):
    """Wait until servers answer. One that doesn't come is told once all are looked at."""
    with suppress(IdrError):
        for server in servers:
            ssh.wait_for(server, tell)


def _look(ssh, environment, wanted, giver):
    """The facts of every server, and what kept them from being seen. All others are reached through the proxy."""
    proxy = environment.proxy
    others = [server for server in environment.servers.values() if server != proxy]
    facts, problems = {}, []

    def look(server):
        asked = enrolment.questions(environment, server, wanted)
        try:
            facts[server.id] = ssh.do(server, "facts", asked)
        except NoPython:
            units = dict.fromkeys(asked["units"], {"enabled": False, "active": False, "current": False})
            keys = {state: {} for state in ("accepted", "pending", "rejected", "denied")}
            nothing = {"files": dict.fromkeys(asked["files"]), "units": units, "keys": keys, "secrets": {}}
            facts[server.id] = NO_PYTHON | nothing
        except IdrError as error:
            problems.append(str(error))

    look(proxy)
    if proxy.id in facts:
        facts[proxy.id]["unfit_credential"] = _unfit_credential(ssh, proxy, facts[proxy.id]["credential"], giver)
        with ThreadPoolExecutor(len(others) or 1) as pool:
            list(pool.map(look, others))
    else:
        problems += [f"{server.id}: not looked at, since it's reached through {proxy.id}" for server in others]
    return facts, sorted(problems)


def _unfit_credential(ssh, proxy, id_, giver):
    """Why the master's credential of the cloud is to be made anew; "" where it's good, or none is needed."""
    return giver.unfit(id_, lambda: ssh.ask_salt(proxy, "log_in", {"file": str(on_server.CLOUDS)})) if giver else ""


def _take(seen, tell):
    """Take the steps, look again, and take what has become possible, until nothing is left to do."""
    ssh, environment, wanted, plan = seen.ssh, seen.environment, seen.wanted, seen.plan
    with tempfile.TemporaryDirectory() as scratch:
        streams = _streams(wanted, plan, Path(scratch), tell)
        for _ in range(ROUNDS):
            _one_round(seen, [step for step in plan if step.asked is not None], streams, tell)
            facts, problems = _look(ssh, environment, wanted, seen.giver)
            if problems:
                raise Refused(problems, "stopped; what was done stays, and the next run goes on from there")
            plan = enrolment.steps(environment, facts, wanted)
            if not plan:
                return
    raise Refused([f"{step}: done, and still to be done" for step in plan], "stopped; these steps didn't take")


def _streams(wanted, plan, scratch, tell):
    """The files that go along with steps of this plan."""
    needed = {step.stream for step in plan}
    streams = {"wheels": wheelhouse.wheelhouse(tell)} if "wheels" in needed else {}
    if "release" in needed:
        streams["release"] = scratch / "release.tar"
        commits.archive(wanted.commit, streams["release"])
    return streams


def _one_round(seen, steps, streams, tell):
    """The steps of each server in their order, the servers beside each other; the master first when it's about keys."""
    environment, problems = seen.environment, []

    def take(server):
        for step in steps:
            if step.server != server.id:
                continue
            began = time.monotonic()
            try:
                _take_one(seen, server, step, streams)
            except IdrError as error:
                problems.append(str(error))
                return
            tell(f"{step} ({time.monotonic() - began:.1f} s)")

    others = [server for server in environment.servers.values() if server != environment.proxy]
    starts = any(step.deed == "set_keys" for step in steps)
    with ThreadPoolExecutor(len(others) + 1) as pool:
        master = pool.submit(take, environment.proxy)
        if starts:
            master.result()  # a minion that comes before its key was set leaves it pending
        list(pool.map(take, others))
        master.result()
    if problems:
        raise Refused(sorted(problems), "stopped; what was done stays, and the next run goes on from there")


def _take_one(seen, server, step, streams):
    ssh = seen.ssh
    if step.deed == "install_python":
        ssh.install_python(server)
    elif step.deed == "give_credential":
        ssh.do(server, "put", {"files": seen.giver.make()})
    elif step.stream:
        with open(streams[step.stream], "rb") as stream:
            ssh.do(server, step.deed, step.asked, stream, seconds=600)
    else:
        ssh.do(server, step.deed, step.asked)


def _wait_for_answers(ssh, environment, tell):
    """Until every minion answers the master, which each does within seconds of its start, on a busy server later."""
    ids = list(environment.servers)
    until = time.monotonic() + ANSWER
    silent, patience = ids, 2
    while silent and time.monotonic() < until:
        asked = {"minions": ids, "seconds": patience}
        silent = sorted(set(ids) - set(ssh.ask_salt(environment.proxy, "answering", asked, seconds=180)))
        patience = min(2 * patience, 30)
    if silent:
        raise Refused(
            [
                f"{id_}: its minion doesn't answer. Look at it: ssh {id_} journalctl -u salt-minion -n 20"
                for id_ in silent
            ],
            f"Salt is on every server, but after {ANSWER} s not every minion answers",
        )
    tell(f"all {len(ids)} minions answer")
