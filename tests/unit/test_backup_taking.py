"""A backup set taken, of an environment whose cloud and whose servers fail in every way that they can."""

import threading
import time
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from openstack import exceptions

from idr.backup import holding, manifest, snapshots, taking
from idr.backup.model import CRASH, FAILED, GOOD, PARTIAL, QUIESCED, TAKING
from idr.cloud import inventory, lock, making, mark, planning
from idr.cloud.model import Thing
from idr.errors import IdrError, Refused
from tests import clouds
from tests.neutron import Neutron
from tests.tables import IDR

USES = ("omero-data", "database-db", "proxy-nginxcache", "a-omero-data", "a-database-db", "a-dockermanager-data")
REQUIRED = USES[:2]
NEVER = float("inf")  # seconds until a snapshot is there that isn't until a test says so
HOLDERS = {"idr-omero": "omero-data", "idr-database": "database-db"}


def answered(status):
    error = exceptions.HttpException(f"HTTP {status}")
    error.status_code = status
    return error


class Cinder:
    """
    Snapshots that take their time. BREAKS are asked before each call, LOSES after its effect, with (call, use): an
    exception that they return is raised.
    """

    create_volume = volumes = None  # of another's interest

    def __init__(self):
        self.kept, self.calls, self.inside = {}, [], threading.Lock()
        self.seconds = dict.fromkeys(USES, 0.02)  # until each is available
        self.ends = {}  # use: a state that it ends in instead
        self.breaks = self.loses = lambda call, use: None
        self.before = lambda call, use: None

    def _call(self, call, use, effect):
        self.before(call, use)
        with self.inside:
            self.calls.append((call, use))
            for error in (self.breaks(call, use),):
                if error:
                    raise error
            found = effect()
            error = self.loses(call, use)
            if error:
                raise error
            return found

    def create_snapshot(self, name, volume_id, is_forced, metadata):
        assert is_forced  # they are attached

        def effect():
            id_ = f"s{len(self.kept)}"
            self.kept[id_] = {"name": name, "volume": volume_id, "metadata": dict(metadata), "made": time.monotonic()}
            return self._seen(id_)

        return self._call("create", metadata["idr_volume"], effect)

    def get_snapshot(self, id_):
        return self._call("get", self.kept[id_]["metadata"]["idr_volume"], lambda: self._seen(id_))

    def snapshots(self, name):
        return self._call("list", None, lambda: [self._seen(it) for it in self.kept if self.kept[it]["name"] == name])

    def set_snapshot_metadata(self, id_, **metadata):
        use = self.kept[id_]["metadata"]["idr_volume"]
        self._call("tell", use, lambda: self.kept[id_]["metadata"].update(metadata))

    def _seen(self, id_):
        kept = self.kept[id_]
        use = kept["metadata"]["idr_volume"]
        is_over = time.monotonic() - kept["made"] >= self.seconds[use]
        status = self.ends.get(use, "available") if is_over else "creating"
        return SimpleNamespace(
            id=id_, name=kept["name"], status=status, metadata=kept["metadata"], created_at=f"2026-11-25T03:00:{id_}"
        )


class Servers:
    """The minions of the required volumes. SAYS are answers that aren't what they do; None is none."""

    def __init__(self):
        self.frozen, self.calls, self.says, self.effect = {}, [], {}, {}
        self.raises, self.waits = {}, {}

    def ask(self, servers, function, arguments, timeout):
        self.calls.append((function, tuple(servers)))
        self.waits[function] = timeout
        if function in self.raises:
            raise self.raises[function]
        found = {server: self._answer(server, function, arguments) for server in servers}
        return {server: answer for server, answer in found.items() if answer is not None}

    def _answer(self, server, function, arguments):
        use = HOLDERS[server]
        told = {
            "data_volume.status": lambda: {use: {"frozen": None, "mount": "/data"}},
            "omero.release": lambda: "OMERO.server-5.6.13-ice36",
            "pg_cluster.checkpoint": lambda: {"lsn": "0/1A2B3C", "patch": "OMERO5.4 0", "took": 0.1},
            "data_volume.freeze": lambda: self._freeze(server, use, *arguments),
            "data_volume.thaw": lambda: self._thaw(server, use),
        }[function]()
        return self.says.get((server, function), told)

    def _freeze(self, server, use, seconds):
        if not isinstance(self.says.get((server, "data_volume.freeze")), str):  # refused
            self.frozen[server] = time.monotonic()
        return {use: {"mount": "/data", "unit": f"idr-freeze-{use}.service", "seconds": seconds, "took": 0.1}}

    def _thaw(self, server, use):
        began = self.frozen.pop(server, None)
        if began is None:
            return f"{server}: no volume is frozen or was since a thaw"
        lasted = round(time.monotonic() - began, 3)
        return {use: {"seconds": lasted, "quiesced": True, "ended": "thawed", "took": 0.1}}

    def asked(self, function):
        return [servers for called, servers in self.calls if called == function]


class World:
    """An environment, with its cloud and its servers, of which sets are taken."""

    def __init__(self):
        planned = planning.plan(clouds.wanted("idr"), clouds.blank(), "run-0")
        self.facts = clouds.after(clouds.blank(), planned)
        self.cinder, self.servers, self.lines = Cinder(), Servers(), []
        compute = SimpleNamespace(create_keypair=None, create_server=None, servers=None)
        session = SimpleNamespace(get_project_id=lambda: "p")
        self.cloud = SimpleNamespace(network=Neutron(), compute=compute, block_storage=self.cinder, session=session)
        self.cloud.network.create_security_group("idr", mark.description("idr", "run-0"))

    def seen(self, _cloud=None):
        """What the inventory tells: the environment, and its snapshots as they are now."""
        things = [
            Thing(
                "snapshot", kept["name"], id_, kept["metadata"]["idr_environment"], kept["metadata"]["idr_run"],
                {
                    "metadata": kept["metadata"], "status": self.cinder._seen(id_).status, "temporary": None,
                    "size": 1, "volume_id": kept["volume"], "created_at": None,
                },
            )
            for id_, kept in self.cinder.kept.items()
        ]  # fmt: skip
        return clouds.added(self.facts, *things)

    def take(self, frozen=20, even_if=None, broken=None):
        return taking.take(self.cloud, IDR, self.servers.ask, frozen, even_if, broken, "ada@desk", self.lines.append)

    def refusal(self, **given):
        with pytest.raises(Refused) as refused:
            self.take(**given)
        return refused.value.problems

    def at_thaw(self, deed):
        """Have something done before each thaw."""
        thaw = self.servers._thaw
        self.servers._thaw = lambda server, use: (deed(), thaw(server, use))[1]

    @property
    def sets(self):
        return manifest.sets(self.seen(), "idr")

    @property
    def failed(self):
        """When the last backup failed, by the environment's record."""
        return lock.record(self.cloud.network.descriptions[0]).failed

    @property
    def phases(self):
        return {kept["metadata"]["idr_volume"]: kept["metadata"]["idr_phase"] for kept in self.cinder.kept.values()}

    @property
    def states(self):
        """What the cloud says of the snapshots, by use."""
        return {it["metadata"]["idr_volume"]: self.cinder._seen(id_).status for id_, it in self.cinder.kept.items()}

    @property
    def is_let_go(self):
        """Nothing is frozen, and nobody holds the lock."""
        return not self.servers.frozen and not any("held by" in it for it in self.cloud.network.descriptions)


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(inventory, "facts", made.seen)
    monkeypatch.setattr(making, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(snapshots, "QUICK", 0.005)
    monkeypatch.setattr(snapshots, "SLOW", 0.01)
    return made


def consistency(taken):
    return {piece.use: piece.consistency for piece in taken.set.pieces if piece.required}


def test_a_set_is_told_by_its_snapshots_alone(world):
    taken = world.take()

    (there,) = world.sets
    assert (there.id, there.phase, there.uses) == (taken.set.id, GOOD, USES)
    assert there.is_complete and taken.problems == taken.notes == ()
    assert {piece.use: piece.consistency for piece in there.pieces} == dict.fromkeys(USES, CRASH) | dict.fromkeys(
        REQUIRED, QUIESCED
    )
    assert all(piece.frozen > 0.02 for piece in there.pieces if piece.required)
    assert dict(there.facts) == {
        "lsn": "0/1A2B3C", "database_patch": "OMERO5.4 0", "omero_version": "5.6.13-ice36", "by": "ada@desk",
        "commit": taking.CHECKOUT.name,
    }  # fmt: skip
    stamp = there.id.removeprefix("idr-")
    assert sorted(kept["name"] for kept in world.cinder.kept.values()) == sorted(f"idr-{use}-{stamp}" for use in USES)
    assert world.is_let_go
    assert [line.split(" after ")[0] for line in world.lines[1:4]] == [
        "holding omero-data and database-db still, for 20 s at most", "omero-data goes on", "database-db goes on",
    ]  # fmt: skip
    assert len([line for line in world.lines if "its snapshot was there after" in line]) == 6


def test_both_are_frozen_before_anything_is_asked_for_and_go_on_before_what_is_slow_is_there(world):
    world.cinder.seconds |= dict.fromkeys(REQUIRED, 0.2) | {"a-omero-data": NEVER}
    frozen_at_request, at_thaw = [], []
    world.cinder.before = lambda call, use: call == "create" and frozen_at_request.append(set(world.servers.frozen))
    world.at_thaw(lambda: at_thaw.append(world.states) or world.cinder.seconds.update({"a-omero-data": 0}))

    world.take()

    assert frozen_at_request == [set(HOLDERS)] * 6
    assert {at_thaw[0][use] for use in REQUIRED} == {"available"}
    assert at_thaw[0]["a-omero-data"] == "creating"
    assert world.servers.asked("data_volume.freeze") == world.servers.asked("data_volume.thaw") == [tuple(HOLDERS)]


def test_the_checkpoint_comes_before_the_freeze(world):
    world.take()
    called = [function for function, _ in world.servers.calls]
    assert called[-3:] == ["pg_cluster.checkpoint", "data_volume.freeze", "data_volume.thaw"]


def test_a_plan_changes_nothing_and_says_what_an_apply_does(world):
    coming = taking.plan(world.cloud, IDR, world.servers.ask, 20)

    assert coming.problems == () and [part.use for part in coming.parts] == list(USES)
    assert coming.needed == {"snapshots": 6, "gigabytes": 500 + 250 + 100 + 500 + 250 + 10}
    assert not world.cinder.kept and world.servers.asked("data_volume.freeze") == []
    assert {part.name.rpartition("-")[0] for part in coming.parts} == {f"idr-{use}" for use in USES}


def test_all_that_blocks_is_told_at_once_and_nothing_is_touched(world):
    database = clouds.find(world.facts, "volume", "idr-database-db")
    world.facts = clouds.changed(world.facts, database, attachments=[], status="available")
    world.facts = replace(world.facts, quotas=world.facts.quotas | {"snapshots": (10, 6), "gigabytes": (2000, 1900)})
    until = {"since": "2026-11-25T03:00:00+00:00", "until": "2026-11-25T03:00:20+00:00"}
    world.servers.says["idr-omero", "data_volume.status"] = {"omero-data": {"frozen": until}}
    world.servers.says["idr-database", "data_volume.status"] = False

    said = "\n".join(world.refusal())

    assert f"volume database-db isn't attached to idr-database ({database.id}): salt-run environment.plan idr" in said
    assert "omero-data is frozen until 2026-11-25T03:00:20+00:00" in said and "data_volume.thaw" in said
    assert "idr-database: its minion doesn't answer. To take it all the same, crash-consistent: even_if=silent" in said
    assert "quota of snapshots: 5 needed, 4 free" in said and "quota of gigabytes" in said
    assert not world.cinder.calls and world.servers.asked("data_volume.freeze") == []
    assert world.is_let_go


def test_a_failure_that_leaves_no_snapshot_is_known_to_the_cloud_until_a_set_is_good(world):
    world.cinder.breaks = lambda call, use: answered(500) if call == "create" else None
    assert world.take().set.phase == FAILED
    assert not world.cinder.kept and world.failed
    world.cinder.breaks = lambda call, use: None

    taking.plan(world.cloud, IDR, world.servers.ask, 20)
    assert world.failed
    world.take()
    assert world.failed is None


@pytest.mark.parametrize("status", ["error", "extending", "maintenance"])
def test_a_required_volume_in_another_state_blocks_and_an_optional_one_is_left_out(world, status):
    required = clouds.find(world.facts, "volume", "idr-omero-data")
    before = world.facts
    world.facts = clouds.changed(before, required, status=status)
    assert [f"is {status}" in problem for problem in world.refusal()] == [True]

    world.facts = clouds.changed(before, clouds.find(before, "volume", "idr-a-omero-data"), status=status)
    taken = world.take()

    assert taken.set.phase == PARTIAL and "a-omero-data" in taken.set.uses
    assert [note.startswith("not in it: volume idr-a-omero-data") for note in taken.notes] == [True]
    assert world.sets[0].is_usable


def test_a_missing_required_volume_blocks_and_a_missing_optional_one_is_none_of_it(world):
    world.facts = clouds.without(world.facts, lambda thing: thing.name == "idr-a-dockermanager-data")
    assert world.take().set.uses == USES[:5]
    world.facts = clouds.without(world.facts, lambda thing: thing.name == "idr-omero-data")
    assert world.refusal() == ["volume omero-data isn't in the cloud idr: salt-run environment.plan idr"]


def test_what_pillar_leaves_out_is_no_part_of_it_and_what_is_required_is_never_left_out(world, monkeypatch):
    monkeypatch.setattr(taking.wanted, "backup_leave_out", lambda name: ["proxy-nginxcache", "omero-data"])

    taken = world.take()

    assert taken.set.phase == GOOD and taken.set.uses == tuple(use for use in USES if use != "proxy-nginxcache")
    assert "not in it, as pillar has it (backup_leave_out): proxy-nginxcache" in taken.notes


@pytest.mark.parametrize("frozen", [0, 61, "20", True, 2.5])
def test_a_freeze_without_an_end_in_sight_is_refused(world, frozen):
    assert world.refusal(frozen=frozen) == [f"frozen: 1 to 60 seconds, not {frozen!r}"]
    assert world.failed is None  # nothing was tried


def test_what_is_held_still_for_is_asked_for_before_all_else(world):
    def slowly(call, use):
        if call == "create" and use in REQUIRED:
            time.sleep(0.05)

    world.cinder.before = slowly
    world.take()

    asked = [use for call, use in world.cinder.calls if call == "create"]
    assert set(asked[:2]) == set(REQUIRED) and len(asked) == 6


def test_a_server_that_is_silent_is_taken_as_after_a_power_cut_where_that_is_said(world):
    world.servers.says["idr-omero", "data_volume.status"] = False

    taken = world.take(even_if="silent")

    assert consistency(taken) == {"omero-data": CRASH, "database-db": QUIESCED}
    assert taken.set.phase == GOOD and "omero_version" not in taken.set.facts
    assert taken.notes[0] == "idr-omero: its minion doesn't answer"
    assert world.servers.asked("data_volume.freeze") == [("idr-database",)]


def test_a_freeze_that_is_refused_leaves_the_others_and_nobody_elses_is_ended(world):
    world.servers.says["idr-omero", "data_volume.freeze"] = "ERROR: idr-omero: omero-data can't be frozen: / is on it"

    taken = world.take()

    assert consistency(taken) == {"omero-data": CRASH, "database-db": QUIESCED}
    assert taken.notes == ("omero-data is only crash-consistent: idr-omero: omero-data can't be frozen: / is on it",)
    assert taken.set.phase == GOOD and world.servers.asked("data_volume.thaw") == [("idr-database",)]


def test_a_freeze_whose_answer_is_lost_is_thawed_and_not_trusted(world):
    world.servers.says["idr-database", "data_volume.freeze"] = False

    taken = world.take()

    assert consistency(taken) == {"omero-data": QUIESCED, "database-db": CRASH}
    assert world.is_let_go and "didn't say since when it was frozen" in taken.notes[0]


@pytest.mark.parametrize(("frozen", "seconds"), [(1, 5), (20, 5), (60, 15)])
def test_who_may_be_frozen_for_longer_has_longer_to_answer(world, frozen, seconds):
    world.take(frozen=frozen)

    assert [world.servers.waits[f"data_volume.{it}"] for it in ("freeze", "thaw")] == [seconds] * 2


def test_a_freeze_that_ended_early_is_not_one(world):
    ended = {"seconds": 20.0, "quiesced": False, "ended": "timeout", "took": 0.1}
    world.servers.says["idr-omero", "data_volume.thaw"] = {"omero-data": ended}

    taken = world.take()

    assert consistency(taken) == {"omero-data": CRASH, "database-db": QUIESCED}
    assert taken.notes == ("omero-data is only crash-consistent: its freeze had ended before (timeout, after 20.0 s)",)
    assert {piece.use: piece.frozen for piece in taken.set.pieces}["omero-data"] == 20.0


def test_a_thaw_that_isnt_answered_is_asked_once_more_and_told(world):
    world.servers.says["idr-omero", "data_volume.thaw"] = False

    taken = world.take()

    assert world.servers.asked("data_volume.thaw") == [tuple(HOLDERS), ("idr-omero",)]
    assert consistency(taken) == {"omero-data": CRASH, "database-db": QUIESCED}
    assert "is thawed by itself, 20 s after it was frozen" in taken.notes[0]


def test_a_master_that_asks_nobody_any_more_still_gets_a_set(world):
    for function in ("data_volume.freeze", "data_volume.thaw", "omero.release", "pg_cluster.checkpoint"):
        world.servers.raises[function] = IdrError("the master doesn't answer")

    taken = world.take()

    assert (taken.set.phase, consistency(taken)) == (GOOD, dict.fromkeys(REQUIRED, CRASH))
    assert "idr-database: pg_cluster.checkpoint: the master doesn't answer" in taken.notes


def test_a_snapshot_slower_than_a_freeze_may_last_is_waited_for_after_the_thaw(world, monkeypatch):
    def over(futures, timeout, return_when):
        if timeout is not None:
            assert timeout <= 1 - holding.THAW
            futures = [futures[REQUIRED.index("database-db")]]  # the time is over once this one is there
        wait(futures, timeout=None, return_when=return_when)

    monkeypatch.setattr(holding, "THAW", 0.9)
    monkeypatch.setattr(snapshots, "wait", over)
    world.cinder.seconds["omero-data"] = NEVER
    world.at_thaw(lambda: world.cinder.seconds.update({"omero-data": 0}))

    taken = world.take(frozen=1)

    assert (taken.set.phase, consistency(taken)) == (GOOD, {"omero-data": CRASH, "database-db": QUIESCED})
    assert "took longer than it may be frozen (frozen=1; at most 60)" in taken.notes[0]


@pytest.mark.parametrize("use", REQUIRED)
def test_a_required_snapshot_that_fails_fails_the_set_at_once(world, use):
    world.cinder.ends[use] = "error"
    world.cinder.seconds |= dict.fromkeys(USES[2:], NEVER)  # what can be made again isn't waited for

    taken = world.take()

    assert taken.set.phase == FAILED and set(world.phases.values()) == {FAILED} and world.failed
    assert [problem.startswith(f"idr-{use}-") for problem in taken.problems] == [True]
    assert "its state is error" in taken.problems[0]
    assert not world.sets[0].is_usable and world.is_let_go


def test_an_optional_snapshot_that_fails_makes_the_set_partial(world):
    world.cinder.breaks = lambda call, use: answered(500) if (call, use) == ("create", "a-omero-data") else None

    taken = world.take()

    assert taken.set.phase == PARTIAL and "a-omero-data" not in world.phases
    assert set(world.phases.values()) == {PARTIAL} and "HTTP 500" in taken.problems[0]
    assert consistency(taken) == dict.fromkeys(REQUIRED, QUIESCED)
    assert world.sets[0].is_usable and not world.sets[0].is_complete


def test_a_quota_that_is_met_on_the_way_fails_the_set_without_another_try(world):
    world.cinder.breaks = lambda call, use: answered(413) if (call, use) == ("create", "omero-data") else None

    assert world.take().set.phase == FAILED
    assert world.cinder.calls.count(("create", "omero-data")) == 1 and world.is_let_go


@pytest.mark.parametrize("status", [500, 503, 504, 409, 429])
def test_a_call_that_fails_once_is_made_again(world, status):
    failed = []

    def once(call, use):
        if call == "create" and use not in failed:
            failed.append(use)
            return answered(status)
        return None

    world.cinder.breaks = once

    assert world.take().set.phase == GOOD
    assert len(world.cinder.kept) == 6 and sorted(failed) == sorted(USES)


@pytest.mark.parametrize("call", ["create", "tell"])
def test_an_answer_that_is_lost_after_the_effect_makes_nothing_twice(world, call):
    lost = []

    def once(called, use):
        if called == call and use not in lost:
            lost.append(use)
            return answered(503)
        return None

    world.cinder.loses = once

    assert world.take().set.phase == GOOD
    assert len(world.cinder.kept) == 6 and len(lost) == 6 and world.sets[0].is_complete


def test_a_cloud_that_cant_be_asked_for_a_while_goes_on_all_the_same(world):
    asked = []

    def sometimes(call, use):
        asked.append(call)
        return answered(503) if call == "get" and len(asked) % 2 else None

    world.cinder.breaks = sometimes

    assert world.take().set.phase == GOOD


def test_a_set_that_couldnt_be_told_what_it_is_counts_for_nothing(world):
    world.cinder.breaks = lambda call, use: answered(500) if (call, use) == ("tell", "omero-data") else None

    with pytest.raises(Refused) as refused:
        world.take()

    assert "counts for nothing" in str(refused.value) and "HTTP 500" in refused.value.problems[0]
    assert world.sets[0].phase == TAKING and world.is_let_go


@pytest.mark.parametrize("killed", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", ["data_volume.freeze", "wait"])
def test_a_run_that_is_killed_leaves_nothing_frozen_and_its_set_is_known_as_what_it_is(world, monkeypatch, killed, at):
    if at == "wait":

        def wait(futures, timeout, return_when):
            until = time.monotonic() + 120
            while not world.cinder.kept:
                assert time.monotonic() < until
                time.sleep(0.01)
            raise killed

        monkeypatch.setattr(snapshots, "wait", wait)
    else:
        freeze = world.servers._freeze

        def frozen_and_killed(server, use, seconds):
            freeze(server, use, seconds)
            if server == "idr-database":
                raise killed

        world.servers._freeze = frozen_and_killed
    with pytest.raises(killed):
        world.take()
    assert world.is_let_go and world.failed
    assert not any(it.is_usable for it in world.sets)
    assert set(world.phases.values()) <= {TAKING}

    monkeypatch.undo()
    world.servers = Servers()
    monkeypatch.setattr(inventory, "facts", world.seen)
    taken = world.take()
    assert taken.set.phase == GOOD
    left_over = [note for note in taken.notes if "is abandoned" in note]
    assert len(left_over) == (at == "wait")
    assert len({it.id for it in world.sets}) == 1 + (at == "wait")  # though both are of one second


def test_while_another_run_is_on_it_nothing_is_done_and_its_set_isnt_called_left_over(world):
    group = next(iter(world.cloud.network.kept.values()))
    group.description += "; held by ben@desk:1 since 2026-11-25T03:00:00.000Z to back up"

    (problem,) = world.refusal()

    assert "ben@desk (process 1) is on it" in problem
    assert problem.endswith("salt-run backup.create idr apply=True break_lock=ben@desk:1")
    assert not world.cinder.calls and not world.servers.calls

    assert world.take(broken="ben@desk:1").set.phase == GOOD and world.is_let_go


def test_an_environment_without_its_record_gets_none_made_by_a_backup(world):
    world.cloud.network.kept.clear()
    world.facts = clouds.without(world.facts, lambda thing: thing.kind == "group")

    assert world.refusal() == [
        "idr: its security group idr, which is the lock, isn't there: salt-run environment.apply idr"
    ]
    assert not world.cloud.network.kept


def test_a_clock_that_jumped_back_gives_no_set_the_name_of_another(world, monkeypatch):
    now = datetime(2026, 11, 25, 3, tzinfo=UTC)
    monkeypatch.setattr(taking, "datetime", SimpleNamespace(now=lambda zone: now))

    ids = [world.take().set.id for _ in range(3)]

    assert ids == ["idr-20261125T030000Z", "idr-20261125T030001Z", "idr-20261125T030002Z"]
    assert len(world.cinder.kept) == 18 and all(it.is_complete for it in world.sets)


def test_a_cloud_that_doesnt_answer_is_one_line(world, monkeypatch):
    def gone(cloud, environment):
        raise answered(503)

    monkeypatch.setattr(lock, "record_id", gone)
    with pytest.raises(IdrError, match="HTTP 503"):
        world.take()
