"""An environment from a copy: made, enrolled, its volumes mounted, looked at, filled, and only then deployed."""

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr import table
from idr.backup import copying, refilling
from idr.cloud.applying import Applied
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused
from tests import clouds
from tests.backups import backup_set
from tests.repositories import VAULT, Repository
from tests.tables import REPO

SET = backup_set()
BY_HAND = (REPO / "lab/by_hand/environment.sls").read_text()
FILLED = {"idr-omero": "r-0", "idr-database": "r-1", "idr-a-omero": "r-0", "idr-a-database": "r-1"}
COMMIT = "0a1b2c"


class World:
    """Servers that were made by hand or by a cloud, and what was done with them, in its order."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.done, self.unfit, self.unmounted = folder, [], {}, []
        (folder / "site.sls").touch()
        self.made, self.lines = ("idr-omero",), []
        self.repository = Repository(monkeypatch)
        self.repository.put(SET)
        (folder / "table").write_text(BY_HAND)
        self.environment = table.topology.read("idr", BY_HAND, "a test")
        monkeypatch.setattr(refilling.at_master, "reached", self.reached)
        monkeypatch.setattr(refilling.applying, "apply", self.apply)
        monkeypatch.setattr(refilling.applying, "plan", lambda name, given: self.planned(name, given))
        monkeypatch.setattr(refilling.wanted, "read", lambda name, given: clouds.wanted(name))
        monkeypatch.setattr(refilling.enrol, "enrol", self.enrol)
        monkeypatch.setattr(refilling.update, "update", self.update)
        monkeypatch.setattr(copying, "do", self.do)

    def by_hand(self):
        (self.folder / "table").rename(self.folder / table.FILE)
        return self

    def planned(self, name, given):
        self.done.append(("plan", given))
        return Plan(name, self.servers())

    def apply(self, name, given, broken, deploy, folder, tell, purpose):
        assert (deploy, purpose) == (None, "restore")
        self.done.append(("apply", given))
        return Applied(Plan(name, self.servers()), 3, new=self.made)

    def servers(self):
        return tuple(Step("make", "server", server) for server in self.made)

    def enrol(self, name, apply, new, named, folder, tell):
        self.done.append(("enrol", tuple(new), named))
        return ["idr-omero: install Salt"], True

    def update(self, name, apply, named, even_if, folder, tell):
        self.done.append(("update", named, even_if))
        return SimpleNamespace(steps=[])

    @contextmanager
    def reached(self, name, folder):
        yield self, self.environment.proxy

    def ask_salt(self, server, deed, asked, seconds):
        self.done.append((deed, server.id))
        return ["omero-data carries a filesystem: it isn't blank"] if server.id in self.unmounted else []

    def do(self, ssh, server, deed, asked, destination, tell, stopping):
        assert destination == VAULT
        self.done.append((deed, server.id, asked["path"], asked["snapshot"]))
        if self.unfit.get(server.id) == deed:
            raise IdrError(f"{server.id}: it ended without a result: {asked['path']} isn't empty")
        return {"there": server.id == "idr-a-omero"}

    def refill(self, commit=COMMIT, deploy=True, volumes=None, id_=SET.id, even_if=(), **given):
        asked = refilling.Refill(id_, VAULT, volumes, frozenset(even_if))
        return refilling.refill(asked, "idr", given, None, commit, deploy, self.folder, self.lines.append)

    def plan(self, volumes=None, id_=SET.id, **given):
        return refilling.plan(refilling.Refill(id_, VAULT, volumes), "idr", given, self.folder)

    def deeds(self):
        return [it[0] for it in self.done]


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path)


def test_servers_and_blank_volumes_are_made_filled_and_deployed(world):
    done = world.refill()

    assert world.done[:2] == [("apply", {"sources": "blank"}), ("enrol", ("idr-omero",), "0a1b2c")]
    assert world.deeds() == ["apply", "enrol", *["mount"] * 4, *["fits"] * 4, *["restore"] * 4, "update"]
    assert world.done[-1] == ("update", "0a1b2c", "failing")  # a rehearsal can't know these data's passwords
    assert {it[1]: it[3] for it in world.done if it[0] == "restore"} == FILLED
    assert ("restore", "idr-a-database", "/var/lib/pgsql", "r-1") in world.done
    assert sorted(done.volumes) == [
        f"idr-a-database:/var/lib/pgsql: {SET.id}",
        f"idr-a-omero:/data: {SET.id}, which was there already",
        f"idr-database:/var/lib/pgsql: {SET.id}",
        f"idr-omero:/data: {SET.id}",
    ]
    assert done.updated and done.steps == ["make server idr-omero", "idr-omero: install Salt"]


def test_servers_made_by_hand_are_not_looked_for_in_a_cloud(world):
    world.by_hand().refill(commit=None, deploy=False)
    assert world.deeds() == ["enrol", *["mount"] * 4, *["fits"] * 4, *["restore"] * 4]
    assert world.done[0] == ("enrol", (), None)


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_plan_says_what_comes_where_and_does_nothing(world, by_hand):
    plan = world.by_hand().plan() if by_hand else world.plan()

    copied = {step.name for step in plan.steps if step.verb == "copy"}
    assert copied == {
        "omero-data, to idr-omero", "database-db, to idr-database", "a-omero-data, to idr-a-omero",
        "a-database-db, to idr-a-database",
    }  # fmt: skip
    assert plan.notes[0] == f"{SET.id} is of 2026-11-25 03:00 UTC, and comes from vault"
    assert world.done == ([] if by_hand else [("plan", {"sources": "blank"})])


def test_a_certificate_that_was_not_supplied_is_told_of_where_the_proxy_is_made(world):
    line = f"there is no {world.folder}/tls: the new proxy makes a certificate of its own, which no browser trusts"
    assert world.plan().notes[-1] != line and world.refill().notes == ()  # its proxy is there

    world.made += ("idr-proxy",)
    assert world.plan().notes[-1] == line and world.refill().notes == (line,) and line in world.lines

    (world.folder / "tls").mkdir()
    assert line not in world.plan().notes and world.refill().notes == ()


def test_only_the_named_volumes_are_filled(world):
    world.refill(volumes=("omero-data", "database-db"))
    assert {it[1] for it in world.done if it[0] == "restore"} == {"idr-omero", "idr-database"}


def test_one_of_productions_alone_is_filled_where_that_is_named(world):
    world.refill(volumes=("database-db",), even_if=["mismatch"])
    assert {it[1] for it in world.done if it[0] == "restore"} == {"idr-database"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"volumes": ("database-db", "a-database-db")}, "volumes: database-db without omero-data: the set's are"),
        ({"id_": "idr-20250101T000000Z"}, "no copy of it is there"),
        ({"volumes": ("a-dockermanager-data",)}, "volumes: a-dockermanager-data: "),
        ({"sources": "newidr"}, "sources=: volumes that a copy is put back into are blank"),
        ({"idr_volume_omero_data_src": "x"}, "idr_volume_omero_data_src=: "),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_made(world, given, why):
    for function in (world.refill, world.plan):
        with pytest.raises(Refused) as refused:
            function(**given)
        assert why in refused.value.problems[0]
    assert world.done == []


def test_the_copy_of_a_disproved_set_is_refused_unless_that_is_named(world):
    world.repository.there.clear()
    world.repository.put(replace(SET, disproved="2026-11-26 04:00 UTC: a page"))
    for function in (world.refill, world.plan):
        with pytest.raises(Refused) as refused:
            function()
        [why] = refused.value.problems
        assert why.startswith(f"{SET.id} was disproved, 2026-11-26 04:00 UTC: a page.") and "even_if=disproved" in why
    assert world.done == []
    world.refill(even_if=["disproved"])
    assert {it[1] for it in world.done if it[0] == "restore"} == {*FILLED}


def test_a_copy_that_lacks_what_cannot_be_made_again_is_refused(world):
    world.repository.there.clear()
    world.repository.put(replace(SET, uses=("omero-data",), pieces=SET.pieces[:1]))
    with pytest.raises(Refused) as refused:
        world.refill()
    assert refused.value.problems == [f"{SET.id} has nothing for database-db, which can't be made again"]
    assert world.done == []


@pytest.mark.parametrize("deed", ["fits", "restore"])
def test_a_volume_that_is_not_empty_keeps_all_of_it_from_being_filled_and_deployed(world, deed):
    world.unfit = {"idr-omero": deed, "idr-database": deed}
    with pytest.raises(Refused) as refused:
        world.refill()
    assert [line.partition(":")[0] for line in sorted(refused.value.problems)] == ["idr-database", "idr-omero"]
    assert "update" not in world.deeds() and ("restore" in world.deeds()) == (deed == "restore")


def test_an_interrupted_restore_says_so_and_has_the_servers_end_what_they_are_at(world, monkeypatch):
    at_work, ended, said = threading.Barrier(len(FILLED)), [], []

    def do(ssh, server, deed, asked, destination, tell, stopping):
        if deed == "restore":
            if at_work.wait(120) == 0:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            assert stopping.wait(120)
            ended.append(server.id)
            raise IdrError(f"{server.id}: interrupted")
        return {"there": False}

    monkeypatch.setattr(copying, "do", do)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever another test has made of it
    try:
        with pytest.raises(KeyboardInterrupt):
            refilling.refill(refilling.Refill(SET.id, VAULT), "idr", {}, None, COMMIT, True, world.folder, said.append)
    finally:
        signal.signal(signal.SIGINT, handler)

    until = time.monotonic() + 120
    while len(ended) < len(FILLED) and time.monotonic() < until:
        time.sleep(0.01)  # a thread that the interrupt found just begun isn't waited for
    assert sorted(ended) == sorted(FILLED) and said[-1].startswith("stopping: ")
    assert "update" not in world.deeds()


def test_a_volume_that_cannot_be_mounted_is_told_with_its_server(world):
    world.unmounted = ["idr-omero"]
    with pytest.raises(Refused) as refused:
        world.refill()
    assert refused.value.problems == ["idr-omero: omero-data carries a filesystem: it isn't blank"]
    assert "fits" not in world.deeds()
