"""A set is copied from clones on a scratch server, or from servers made by hand; what was cut off is gone on with."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr import table, told_on_server
from idr.backup import copied, copying, keeping, manifest, project, verifying
from idr.backup.model import FAILED, TAKING
from idr.cloud.scratch import Scratch
from idr.errors import IdrError, Refused
from tests import clouds
from tests.backups import NIGHT, backup_set, facts
from tests.repositories import VAULT, Repository
from tests.tables import REPO

SET = replace(backup_set(uses={"omero-data": 500, "database-db": 250, "proxy-nginxcache": 10}), verified=NIGHT)
SERVER = SimpleNamespace(id="idrscratch-server")
BY_HAND = (REPO / "lab/by_hand/environment.sls").read_text()


class World:
    """A cloud with sets, a repository, and scratch servers that copy what they're told to."""

    def __init__(self, monkeypatch, *sets):
        self.facts, self.asked, self.torn_down, self.may = facts(*sets), [], 0, True
        self.repository = Repository(monkeypatch)
        monkeypatch.setattr(project, "look", lambda cloud: project.of(self.facts))
        monkeypatch.setattr(copying.wanted, "read", clouds.wanted)
        monkeypatch.setattr(copying.scratch, "stood_up", self.stood_up)
        monkeypatch.setattr(copying.scratch, "facts", lambda cloud, image: self.facts)
        monkeypatch.setattr(verifying, "may", lambda cloud: self.may)
        monkeypatch.setattr(verifying, "reached", self.reached)
        monkeypatch.setattr(copying, "do", self.repository.do)
        monkeypatch.setattr(keeping, "say", self.say)

    @contextmanager
    def stood_up(self, cloud, asked, purpose, typed, broken, tell):
        assert purpose == "copy"
        self.asked.append((asked, typed))
        try:
            clones = {it.use: f"{it.use}-clone-of-that-set" for it in asked.volumes}
            yield Scratch(asked.name, f"{asked.name}-server", "s-1", "198.51.100.11", clones)
        finally:
            self.torn_down += 1

    @contextmanager
    def reached(self, cloud, made, tell):
        yield None, SERVER

    def say(self, cloud, id_, said, purpose, apply, broken, tell):
        self.facts = clouds.after(self.facts, keeping.plan(project.of(self.facts), id_, said))

    def copy(self, id_=SET.id, *even_if):
        return copying.copy(self, copying.Copy(id_, VAULT, frozenset(even_if)), None, lambda line: None)

    def plan(self, id_=SET.id, *even_if):
        return copying.plan(self, copying.Copy(id_, VAULT, frozenset(even_if)))


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, SET)


def test_a_set_is_copied_from_its_clones_and_says_where_it_is(world):
    plan = world.plan()
    assert plan.problems == () and ("make", "server") in [(step.verb, step.kind) for step in plan.steps]
    assert plan.notes[0] == (
        f"{SET.id}: omero-data, database-db to vault, 750 GB at most: what is there already isn't sent"
    )
    assert world.asked == []

    done = world.copy()

    assert done.problems == () and list(done.written) == ["omero-data", "database-db"]
    [(asked, typed)] = world.asked
    assert typed == f"backup.copy {SET.id} to=vault" and world.torn_down == 1
    assert [it.source for it in asked.volumes] == [f"{SET.id}/omero-data", f"{SET.id}/database-db"]
    files, rows, sealed = world.repository.deeds
    assert files[:2] == ("idrscratch-server", "back_up") and files[2]["path"] == "/data"
    assert files[2]["device"] == "/dev/disk/by-id/virtio-omero-data-clone-of-" and not files[2]["running"]
    assert (rows[2]["path"], rows[2]["running"], rows[2]["taken"]) == ("/var/lib/pgsql", False, "2026-11-25 03:00:00")
    assert sealed[1] == "seal" and sealed[2]["each"] == ["idr_volume=omero-data", "idr_volume=database-db"]
    it = copied.the(world.repository.there, SET.id)
    assert it.uses == ("omero-data", "database-db") and it.is_complete and it.verified == NIGHT
    assert project.of(world.facts).the(SET.id).copied.startswith("vault 20")


def test_what_is_there_is_not_copied_again(world):
    world.copy()
    assert world.copy() is None and world.plan().steps == () and len(world.asked) == 1


def test_a_copy_of_which_a_volume_was_removed_is_made_whole(world):
    world.copy()
    del world.repository.there[0]
    assert list(world.copy().written) == ["omero-data"]
    assert copied.the(world.repository.there, SET.id).is_complete


def test_a_copy_that_was_cut_off_is_gone_on_with(world):
    part = replace(SET, uses=("omero-data", "database-db"))
    world.repository.put(part, "omero-data")

    assert list(world.copy().written) == ["database-db"]
    [(asked, _)] = world.asked
    assert [it.use for it in asked.volumes] == ["database-db"]
    assert copied.the(world.repository.there, SET.id).is_complete


def test_one_that_only_lacks_the_check_needs_no_server(world):
    part = replace(SET, uses=("omero-data", "database-db"))
    world.repository.put(part, "omero-data", "database-db")
    assert copied.sets(world.repository.there)[0].phase == TAKING
    assert len(world.plan().steps) == 1

    world.may = False
    world.copy()

    assert world.asked == [] and [words[0] for words in world.repository.commands] == ["check", "tag"]
    assert copied.the(world.repository.there, SET.id).is_complete
    assert project.of(world.facts).the(SET.id).copied


def test_one_that_lacks_only_the_set_word_gets_it(world, monkeypatch):
    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(keeping, "say", killed)
        world.copy()
    assert project.of(world.facts).the(SET.id).copied is None and world.torn_down == 1
    [step] = world.plan().steps
    assert str(step) == f"change set {SET.id} says that it's there"

    world.copy()

    assert project.of(world.facts).the(SET.id).copied.startswith("vault 20")
    assert len(world.asked) == 1 and world.copy() is None and world.plan().steps == ()


def test_where_else_it_is_is_kept_beside(world):
    said = {"idr_copied": "tape 2026-11-01 04:00 UTC, vault 2026-11-02 04:00 UTC"}
    world.facts = clouds.after(world.facts, keeping.plan(project.of(world.facts), SET.id, said))
    world.copy()
    told = project.of(world.facts).the(SET.id).copied
    assert told.startswith("tape 2026-11-01 04:00 UTC, vault ") and "11-02" not in told


@pytest.mark.parametrize(
    ("it", "even_if", "why"),
    [
        (replace(SET, verified=None), (), "was never verified, and a copy of it would be no better: salt-run backup."),
        (replace(SET, verified=None), ("unverified",), None),
        (replace(SET, verified=None, disproved="a page"), ("unverified",), "was disproved, a page. If it's the best"),
        (replace(SET, verified=None, disproved="a page"), ("disproved",), None),
        (replace(SET, phase=FAILED), (), "can't be copied: it failed"),
        (backup_set(uses={"proxy-nginxcache": 10}), ("unverified",), "has nothing that can't be made again"),
        (SET, ("live",), "even_if: only first, unverified, disproved can be said, not live"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_is_made(monkeypatch, it, even_if, why):
    world = World(monkeypatch, it)
    if why is None:
        assert world.plan(SET.id, *even_if).problems == () and world.copy(SET.id, *even_if)
        return
    assert any(why in line for line in world.plan(SET.id, *even_if).problems)
    with pytest.raises(Refused) as refused:
        world.copy(SET.id, *even_if)
    assert any(why in line for line in refused.value.problems)
    assert world.asked == [] and world.repository.there == []


def test_a_repository_is_made_only_where_that_is_said(world):
    world.repository.is_there = False
    missing = "vault: there is no repository at sftp:a@vault:/idr; to have one made: even_if=first"
    assert world.plan().problems == (missing,)
    with pytest.raises(Refused):
        world.copy()
    assert not world.repository.is_there and world.asked == []
    assert world.plan(SET.id, "first").problems == ()
    world.copy(SET.id, "first")
    assert world.repository.is_there and copied.the(world.repository.there, SET.id)


def test_one_that_cannot_be_reached_and_a_credential_that_may_not_are_told_at_once(world):
    world.repository.broken, world.may = "vault: ssh: no route to host", False
    with pytest.raises(Refused) as refused:
        world.copy()
    assert refused.value.problems == ["vault: ssh: no route to host", verifying.MAY_NOT] and world.asked == []


def test_what_fails_on_the_server_leaves_no_copy_and_no_server(world, monkeypatch):
    def do(ssh, server, deed, asked, destination, tell):
        raise IdrError("idrscratch-server: it ended without a result: killed, it seems")

    monkeypatch.setattr(copying, "do", do)
    with pytest.raises(IdrError, match="killed"):
        world.copy()
    assert world.torn_down == 1 and project.of(world.facts).the(SET.id).copied is None


@pytest.mark.parametrize("error", [IdrError("killed, it seems"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("at", ["back_up omero-data", "back_up database-db", "seal", "mark"])
def test_at_whatever_step_it_is_ended_nothing_counts_that_is_not_all_there_and_the_next_ends_it(
    world, monkeypatch, at, error
):
    def do(ssh, server, deed, asked, destination, tell):
        use = next((tag.rpartition("=")[2] for tag in asked["tags"] if str(tag).startswith("idr_volume=")), "")
        if at == f"{deed} {use}".strip():
            raise error
        return world.repository.do(ssh, server, deed, asked, destination, tell)

    def say(*given):
        if at == "mark":
            raise error
        return world.say(*given)

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(copying, "do", do)
        patch.setattr(keeping, "say", say)
        world.copy()
    assert world.torn_down == 1 and project.of(world.facts).the(SET.id).copied is None
    assert all(it.is_complete is (at == "mark") for it in copied.sets(world.repository.there))

    world.copy()

    assert copied.the(world.repository.there, SET.id).is_complete
    assert project.of(world.facts).the(SET.id).copied.startswith("vault 20")
    paths = [asked["path"] for _, deed, asked in world.repository.deeds if deed == "back_up"]
    assert paths == ["/data", "/var/lib/pgsql"]  # nothing twice


def test_a_set_is_told_when_the_server_is_gone_though_something_of_it_is_left(world, monkeypatch):
    say, stood_up = world.say, world.stood_up

    @contextmanager
    def left(*given):
        with stood_up(*given) as made:
            yield made
        raise Refused(["volume idrscratch-omero-data is left"])

    def gone(*given):
        assert world.torn_down == 1
        return say(*given)

    monkeypatch.setattr(copying.scratch, "stood_up", left)
    monkeypatch.setattr(keeping, "say", gone)
    assert world.copy().problems == ("volume idrscratch-omero-data is left",)
    assert project.of(world.facts).the(SET.id).copied.startswith("vault 20")


def test_a_copy_whose_set_could_not_be_marked_is_one_all_the_same(world, monkeypatch):
    def say(*_):
        raise Refused(["idr: gone"])

    monkeypatch.setattr(keeping, "say", say)
    assert world.copy().problems == ("idr: gone",) and copied.the(world.repository.there, SET.id)


@pytest.fixture
def by_hand(monkeypatch, tmp_path):
    (tmp_path / table.FILE).write_text(BY_HAND)
    repository = Repository(monkeypatch)
    environment, _ = table.of_operator("idr", tmp_path)

    @contextmanager
    def reached(name, folder):
        yield SimpleNamespace(environment=environment), environment.proxy

    monkeypatch.setattr(copying.at_master, "reached", reached)
    monkeypatch.setattr(copying, "do", repository.do)
    repository.folder = tmp_path
    return repository


def test_of_servers_made_by_hand_rows_are_copied_before_the_files_that_they_name(by_hand):
    asked = copying.Copy(None, VAULT)
    plan = copying.plan_by_hand("idr", by_hand.folder, asked)
    assert [str(step) for step in plan.steps] == [
        "copy volume idr-database:/var/lib/pgsql", "copy volume idr-omero:/data",
    ]  # fmt: skip
    assert by_hand.deeds == [] and plan.problems == ()

    done = copying.copy_by_hand("idr", by_hand.folder, asked, "ada@desk", lambda line: None)

    rows, files, sealed = by_hand.deeds
    assert (rows[0], rows[2]["path"], rows[2]["running"]) == ("idr-database", "/var/lib/pgsql", True)
    assert (files[0], files[2]["path"], files[2]["running"]) == ("idr-omero", "/data", False)
    assert rows[2]["device"] is files[2]["device"] is None and sealed[1] == "seal"
    it = copied.the(by_hand.there, done.set.id)
    assert manifest.environment_of(it.id) == "idr" and it.facts == {"by": "ada@desk"} and it.is_complete


def test_of_a_copy_that_may_run_no_secret_is_in_what_is_shown(by_hand):
    by_hand.broken = "vault: ssh: no route to host"
    with pytest.raises(Refused) as refused:
        copying.copy_by_hand("idr", by_hand.folder, copying.Copy(None, VAULT), "ada@desk", print)
    assert refused.value.problems == ["vault: ssh: no route to host"] and by_hand.deeds == []


def prune(world, apply, reach=None):
    return copying.prune(VAULT, "idr", reach or (lambda: world), apply, print)


def test_a_prunes_plan_is_its_deed(world):
    for number in range(10):
        world.repository.put(backup_set(NIGHT.replace(day=number + 10)))
    world.repository.add([f"{copying.deeds.UNFINISHED}=2026-01-01T03:00:00Z"])
    world.repository.add([f"{copying.deeds.UNFINISHED}={copied.now():%Y-%m-%dT%H:%M:%SZ}"])  # at work
    before = len(world.repository.commands)
    planned = prune(world, False)
    assert len(world.repository.there) == 22 and len(world.repository.commands) == before

    done = prune(world, True)

    assert done.plan.steps == planned.plan.steps and len(done.plan.steps) == 4
    [words] = world.repository.commands
    assert words[0] == "forget" and len(words) == 1 + 2 * 3 + 1 and "r-20" in words
    kept = {it.id for it in copied.sets(world.repository.there)}
    assert kept == {it.set.id for it in planned.verdicts if not it.goes}
    assert prune(world, True).plan.steps == () and len(world.repository.commands) == 1


def test_what_was_cut_off_goes_though_no_copy_does(world):
    world.repository.put(SET)
    world.repository.add([f"{copying.deeds.UNFINISHED}=2026-01-01T03:00:00Z"])
    planned = prune(world, False)
    assert [line for line in planned.lines if "not all was read" in line] and len(world.repository.there) == 4

    prune(world, True)

    assert [it.id for it in copied.sets(world.repository.there)] == [SET.id] and len(world.repository.there) == 3


def test_a_set_does_not_say_any_more_that_it_is_where_its_copy_was_removed(world):
    sets = [replace(backup_set(NIGHT.replace(day=number)), verified=NIGHT) for number in range(10, 20)]
    world.facts = facts(*(replace(it, copied="tape 2026-11-01 04:00 UTC, vault 2026-11-02 04:00 UTC") for it in sets))
    for it in sets:
        world.repository.put(it)

    planned = prune(world, False)
    assert all(it.copied.count(",") for it in project.of(world.facts).sets)
    done = prune(world, True)

    assert done.plan.steps == planned.plan.steps and len(done.plan.steps) == 6
    assert sum("doesn't say any more" in line for line in planned.lines) == 3
    told = {it.id: it.copied for it in project.of(world.facts).sets}
    assert [told[it.id] for it in sets[:3]] == ["tape 2026-11-01 04:00 UTC"] * 3
    assert all("vault" in told[it.id] for it in sets[3:])
    assert prune(world, True).plan.steps == ()


def test_copies_are_removed_though_the_cloud_is_gone_and_the_next_run_tells_their_sets(world, monkeypatch):
    world.facts = facts(replace(SET, copied="vault 2026-11-02 04:00 UTC"))

    def reach():
        raise IdrError("idr: no route to host")

    [note] = prune(world, True, reach).plan.notes
    assert note.endswith("may go on saying that they're at vault: idr: no route to host")
    assert copying.prune(VAULT, "idr", None, True, print).plan.notes == ()  # by hand: there's no cloud
    assert project.of(world.facts).the(SET.id).copied
    assert [str(step) for step in prune(world, True).plan.steps] == [
        f"change set {SET.id}, which doesn't say any more that it's there"
    ]
    assert project.of(world.facts).the(SET.id).copied is None


class Ssh:
    """A server on which a unit says what it's told to."""

    def __init__(self, *answers):
        self.answers, self.asked, self.runs = list(answers), [], set()

    def do(self, server, deed, asked, seconds=120, of=None):
        assert of is (told_on_server if deed == "progress" else copying.unit)
        self.asked.append((deed, asked))
        self.runs = {*self.runs, asked["run"]} if "run" in asked else self.runs
        assert deed != "progress" or asked["home"] == str(copying.unit.HOME / [*self.runs][0])
        if not self.answers:
            raise IdrError(f"{server.id}: begin: a copy or a restore goes on there already")
        return self.answers[0] if deed == "progress" else None


@pytest.mark.parametrize("fails", [False, True])
def test_a_deed_is_followed_to_its_end_and_of_it_nothing_stays_on_the_server(fails):
    told = [{"said": "copying"}] + [{"result": {"there": True}}] * (not fails)
    ssh, said = Ssh({"told": told, "offset": 9, "ended": "no room"}), []
    asked = {"path": "/var/lib/pgsql", "running": True}
    if fails:
        with pytest.raises(IdrError, match="idrscratch-server: it ended without a result: no room"):
            copying.do(ssh, SERVER, "back_up", asked, VAULT, said.append)
    else:
        assert copying.do(ssh, SERVER, "back_up", asked, VAULT, said.append) == {"there": True}
    assert said == ["idrscratch-server: copying"] and [deed for deed, _ in ssh.asked] == ["begin", "progress", "end"]
    assert len(ssh.runs) == 1
    begun = ssh.asked[0][1]
    assert begun["aside"] == "/var/lib/pgsql/.idr-copy"
    assert begun["asked"] == {**asked, "deed": "back_up", "repository": VAULT.opened_by}
    assert {"idr/copies/deeds.py", "idr/verify/commands.py", "idr/__init__.py"} <= {*begun["files"]}


def test_a_deed_that_is_to_be_stopped_is_ended_on_its_server():
    ssh, stopping = Ssh({"told": [], "offset": 0, "ended": None}), threading.Event()
    stopping.set()
    with pytest.raises(IdrError, match="^idrscratch-server: interrupted$"):
        copying.do(ssh, SERVER, "restore", {"path": "/data"}, VAULT, print, stopping)
    assert [deed for deed, _ in ssh.asked] == ["begin", "end"] and len(ssh.runs) == 1


def test_one_that_is_at_work_there_already_is_not_ended():
    ssh = Ssh()
    with pytest.raises(IdrError, match="goes on there already"):
        copying.do(ssh, SERVER, "restore", {"path": "/data"}, VAULT, print)
    assert [deed for deed, _ in ssh.asked] == ["begin"]
