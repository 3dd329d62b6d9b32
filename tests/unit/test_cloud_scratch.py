"""A scratch environment is planned as any other, shut but for SSH, never the public's, and gone whatever happens."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr.cloud import applying, lock, planning, removal, scratch
from idr.cloud.making import Outcome
from idr.cloud.model import PRODUCTION_TAG, Thing
from idr.errors import IdrError, Refused
from tests import clouds
from tests.backups import of_volumes, things
from tests.unit.test_cloud_planning import IDR

NAME = "idrscratch"
SET = of_volumes(IDR)
BACKED_UP = clouds.added(IDR, *things(SET))
ASKED = scratch.wanted_for(clouds.wanted("idr"), SET.pieces)


def made(facts=BACKED_UP):
    return clouds.after(facts, planning.plan(ASKED, facts, "run-8"))


def test_its_one_server_has_clones_of_the_set_and_a_network_of_its_own():
    now = made()

    [server] = now.of(NAME, "server")
    volumes = {it.what["use"]: it for it in now.of(NAME, "volume")}
    assert {use: it.what["snapshot_id"] for use, it in volumes.items()} == {
        "omero-data": f"{SET.id}/omero-data",
        "database-db": f"{SET.id}/database-db",
    }
    assert all(it.what["attachments"][0]["server_id"] == server.id for it in volumes.values())
    [network], [port] = now.of(NAME, "network"), now.of(NAME, "port")
    assert port.what["network_id"] == network.id and port.what["device_id"] == server.id
    assert planning.plan(ASKED, now, "run-9").steps == ()


def test_from_outside_it_is_reached_by_ssh_alone():
    now = made()

    names = {it.id: it.name for it in now.of(NAME, "group")}
    assert set(names.values()) == {NAME, f"{NAME}-bastion-external"}
    let_in = [it.what for it in now.of(NAME, "rule") if it.what["direction"] == "ingress"]
    assert {(it["port_range_min"], it["remote_ip_prefix"]) for it in let_in if not it["remote_group_id"]} == {
        (22, "0.0.0.0/0")
    }
    assert [names[it["remote_group_id"]] for it in let_in if it["remote_group_id"]] == [NAME]


def test_its_address_never_becomes_the_publics():
    untagged = clouds.blank()
    steps = planning.plan(scratch.wanted_for(clouds.wanted("idr"), ()), untagged, "run-8").steps

    assert "address" in [step.kind for step in steps] and "tag" not in [step.verb for step in steps]
    assert "tag" in [step.verb for step in planning.plan(clouds.wanted("idr"), untagged, "run-8").steps]


def test_its_name_is_no_other_environments():
    assert scratch.of_which(NAME) == "idr" and scratch.of_which("idr") is None and scratch.of_which(None) is None
    assert not scratch.is_scratch("scratch")
    for function in (
        lambda: applying.plan(NAME, {}),
        lambda: applying.apply(NAME, {}, None, None, None, print),
        lambda: applying.replacement(NAME, f"{NAME}-server", None),
        lambda: applying.replace_server(NAME, f"{NAME}-server", None, None, None, None, print),
    ):
        with pytest.raises(Refused) as refused:
            function()
        assert "backup.verify makes and removes" in refused.value.problems[0]


class World:
    """A cloud in which plans have their effect, and a lock whose record goes with it."""

    def __init__(self, monkeypatch, facts=BACKED_UP):
        self.now, self.said, self.removed, self.fail, self.at = facts, [], False, None, None
        monkeypatch.setattr(scratch, "facts", lambda cloud, image=None: self.now)
        monkeypatch.setattr(scratch, "carry_out", self.carry_out)
        monkeypatch.setattr(lock, "dead_holder", lambda cloud, name: None)
        monkeypatch.setattr(lock, "held", self.held)

    @contextmanager
    def held(self, cloud, name, run, purpose, broken, typed):
        self.typed = (name, purpose, broken, typed)
        yield SimpleNamespace(remove=lambda: setattr(self, "removed", True))

    def carry_out(self, cloud, plan, tell, held, go_on=False):
        if self.fail and self.fail(plan):
            done = plan.steps[: len(plan.steps) // 2 if self.at is None else self.at]
            self.now = clouds.after(self.now, replace(plan, steps=done))
            step = plan.steps[len(done)]
            return Outcome(list(done), [(step, "the cloud says no")], list(plan.steps[len(done) + 1 :]))
        self.now = clouds.after(self.now, plan)
        return Outcome(list(plan.steps))

    def stood_up(self, broken=None):
        return scratch.stood_up("cloud", ASKED, "verify", "backup.verify SET", broken, self.said.append)

    @property
    def left(self):
        return [it.name for kind in self.now.things for it in self.now.of(NAME, kind) if it.name != NAME]

    @property
    def is_as_before(self):
        kinds = ("server", "network", "port", "router", "subnet", "volume", "snapshot", "key")
        return self.removed and all(self.now.all(kind) == BACKED_UP.all(kind) for kind in kinds)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_it_is_there_for_the_block_and_gone_after_it(world):
    with world.stood_up() as it:
        assert (it.name, it.server) == (NAME, f"{NAME}-server") and set(it.volumes) == {"omero-data", "database-db"}
        assert it.address in [each.name for each in world.now.all("address")]
    assert world.is_as_before and world.typed == (NAME, "verify", None, "backup.verify SET")


@pytest.mark.parametrize("error", [IdrError("no word"), Refused(["no", "word"]), KeyboardInterrupt(), SystemExit(1),
                                   ZeroDivisionError()], ids=repr)  # fmt: skip
def test_it_is_gone_whatever_ends_the_block(world, error):
    with pytest.raises(type(error) if not isinstance(error, IdrError) else Refused) as raised, world.stood_up():
        raise error
    assert world.is_as_before
    if isinstance(error, IdrError):
        assert raised.value.problems == getattr(error, "problems", ["no word"])


def test_it_is_gone_where_it_could_only_be_made_in_part(world):
    world.fail = lambda plan: plan.steps[0].verb == "make"

    with pytest.raises(Refused) as refused, world.stood_up():
        raise AssertionError("not reached")
    assert any("the cloud says no" in line for line in refused.value.problems)
    assert world.is_as_before


STEPS = planning.plan(ASKED, BACKED_UP, "run-8").steps


@pytest.mark.parametrize("at", range(len(STEPS)), ids=[str(step) for step in STEPS])
def test_at_whatever_step_it_is_refused_or_killed_nothing_is_left_by_the_next(monkeypatch, at):
    world = World(monkeypatch)
    world.fail, world.at = (lambda plan: plan.steps[0].verb == "make"), at
    with pytest.raises(Refused), world.stood_up():
        raise AssertionError("not reached")
    assert world.is_as_before

    begun = clouds.after(BACKED_UP, replace(planning.plan(ASKED, BACKED_UP, "run-8"), steps=STEPS[:at]))
    killed = World(monkeypatch, begun)
    with killed.stood_up() as it:
        assert set(it.volumes) == {"omero-data", "database-db"}
    assert killed.is_as_before


def test_what_blocks_it_is_refused_before_even_its_lock_is_made(monkeypatch):
    world = World(monkeypatch, replace(BACKED_UP, quotas={**BACKED_UP.quotas, "volumes": (6, 6)}))

    with pytest.raises(Refused) as refused, world.stood_up():
        raise AssertionError("not reached")
    assert "quota of volumes: 2 needed, 0 free" in refused.value.problems[0] and not hasattr(world, "typed")
    assert scratch.plan("cloud", ASKED).problems == tuple(refused.value.problems)


def test_what_a_killed_run_left_goes_first(monkeypatch):
    killed = World(monkeypatch, made())
    before = {it.id for it in killed.now.of(NAME, "server")}
    assert any("is removed first" in note for note in scratch.plan("cloud", ASKED).notes)
    assert scratch.plan("cloud", ASKED).problems == ()

    with killed.stood_up() as it:
        assert it.id not in before
    assert killed.is_as_before


def test_what_cannot_be_removed_is_told_with_what_removes_it(world):
    with pytest.raises(Refused) as refused, world.stood_up():
        world.fail = lambda plan: plan.steps and all(step.verb in ("remove", "change") for step in plan.steps)
    assert refused.value.problems[-1].endswith(f"salt-run environment.destroy {NAME} confirm={NAME}")
    assert any("is left" in line for line in refused.value.problems) and world.left and not world.removed


def test_what_no_verification_made_is_not_removed(monkeypatch):
    foreign = Thing("volume", f"{NAME}-precious", "v-precious", NAME, None, clouds.volume(10))
    world = World(monkeypatch, clouds.added(made(), foreign))

    with pytest.raises(Refused) as refused, world.stood_up():
        raise AssertionError("not reached")
    assert "v-precious" in refused.value.problems[0]
    assert len(world.now.of(NAME, "volume")) == 3 and world.now.of(NAME, "server")
    assert "v-precious" in scratch.plan("cloud", ASKED).problems[0]


def test_a_lock_whose_holder_is_known_to_be_dead_is_broken_by_itself(world, monkeypatch):
    monkeypatch.setattr(lock, "dead_holder", lambda cloud, name: "ada@desk:4711")
    with world.stood_up():
        pass
    assert world.typed[2] == "ada@desk:4711"
    with world.stood_up("eve@desk:1"):
        pass
    assert world.typed[2] == "eve@desk:1"


def test_destroy_knows_all_of_it(monkeypatch):
    there = made()
    plan = removal.plan(there, NAME, "run-9", ASKED.keys)
    assert plan.problems == ()
    gone = clouds.after(there, plan)
    assert [it.name for kind in gone.things for it in gone.of(NAME, kind) if kind != "rule"] == [NAME]
    assert PRODUCTION_TAG in [tag for it in gone.all("address") for tag in it.what["tags"]]
