"""A set is marked with what was found on its clones, and with nothing where they couldn't be looked at."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from idr import on_server, told_on_server
from idr.backup import copied, keeping, listing, manifest, project, retention, status, verifying
from idr.backup.model import FAILED
from idr.cloud import lock
from idr.cloud.model import Thing
from idr.cloud.scratch import Scratch
from idr.errors import IdrError, Refused
from idr.ssh import NoPython, Unreachable
from idr.verify import unit
from tests import clouds
from tests.backups import NIGHT, backup_set, facts
from tests.repositories import VAULT, Repository
from tests.unit.test_backup_listing import group

SET = backup_set(facts={"database_patch": "OMERO5.4 0"})
FIGURES = {
    "postgresql": "15", "patch": "OMERO5.4 0", "checksums": True, "pages": 3120, "indexes": 166, "rows": 4711,
    "tables": 41, "files": 120, "hashed": 100, "seed": 7, "bytes": 1000, "elsewhere": 2, "without_hash": 1,
}  # fmt: skip
WHOLE = {"problems": [], "figures": FIGURES, "notes": ["a note"]}
BROKEN = {**WHOLE, "problems": ["table image in idr (base/5/7): page 3 has another checksum", "original file 2: gone"]}


class World:
    """A cloud in which a scratch server finds what is said, and whose sets can be marked."""

    def __init__(self, monkeypatch, *sets, more=()):
        self.facts, self.found, self.asked, self.said, self.torn_down = facts(*sets, more=more), WHOLE, [], [], 0
        self.left, self.rules, self.folder = [], None, Path("/nowhere")
        access = SimpleNamespace(application_credential_access_rules=None)
        self.access = access
        self.session = SimpleNamespace(auth=SimpleNamespace(get_access=lambda _: access))
        monkeypatch.setattr(project, "look", lambda cloud: project.of(self.facts))
        monkeypatch.setattr(verifying.wanted, "read", clouds.wanted)
        monkeypatch.setattr(verifying.scratch, "stood_up", self.stood_up)
        monkeypatch.setattr(verifying, "_looked_at", self.looked_at)
        monkeypatch.setattr(keeping, "say", self.say)
        monkeypatch.setattr(verifying.time, "sleep", lambda seconds: None)

    @contextmanager
    def stood_up(self, cloud, asked, purpose, typed, broken, tell):
        self.asked.append((asked, typed))
        try:
            yield Scratch(asked.name, f"{asked.name}-server", "s-1", "198.51.100.11", {})
        finally:
            self.torn_down += 1
        if self.left:
            raise Refused(self.left, "left")

    def looked_at(self, cloud, made, questions, tell):
        self.questions = questions
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def say(self, cloud, id_, said, purpose, apply, broken, tell):
        assert (purpose, apply) == ("verify", True)
        plan = keeping.plan(project.of(self.facts), id_, said)
        self.facts = clouds.after(self.facts, plan)

    def verify(self, id_=SET.id, sample=100):
        return verifying.verify(self, id_, self.folder, sample, None, self.said.append)

    def the(self, id_=SET.id):
        return project.of(self.facts).the(id_)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, SET)


def test_one_that_is_whole_is_verified_with_its_figures(world):
    proof = world.verify()

    assert (proof.wrong, proof.problems, proof.notes, proof.is_marked) == ((), (), ("a note",), True)
    assert world.the().figures == proof.figures and proof.figures.startswith(
        "PostgreSQL 15, patch OMERO5.4 0, 3120 pages, 166 indexes, 4711 rows of 41 tables, 100 of 120 files read "
        "(seed 7), 1000 bytes there, 2 elsewhere, 1 without a hash, "
    )
    assert datetime.now(UTC) - world.the().verified < timedelta(hours=1)
    assert world.questions["patch"] == "OMERO5.4 0" and world.questions["sample"] == 100
    [(asked, typed)] = world.asked
    assert (asked.name, typed) == ("idrscratch", f"backup.verify {SET.id}")
    assert [it.source for it in asked.volumes] == [piece.snapshot for piece in SET.pieces]
    assert world.torn_down == 1


def test_one_that_is_not_is_disproved_and_no_good_one_any_more(world):
    world.verify()
    world.found = BROKEN

    proof = world.verify()

    assert proof.wrong == tuple(BROKEN["problems"]) and proof.is_marked
    it = world.the()
    assert (it.verified, it.figures) == (None, None)
    assert it.disproved.endswith(" UTC: table image in idr (base/5/7): page 3 has another checksum (and 1 more)")
    assert it.is_usable and not it.is_good and listing.state(it, {}) == "disproved"
    world.found = WHOLE
    world.verify()
    assert world.the().disproved is None and world.the().verified and world.the().is_good


def test_copies_of_a_set_are_told_what_was_found_or_it_is_said_that_they_are_not(monkeypatch):
    world = World(monkeypatch, replace(SET, copied="vault 2026-11-25 04:00 UTC, tape 2026-11-25 05:00 UTC"))
    repository = Repository(monkeypatch)
    repository.put(SET)

    def read(folder, name):
        assert folder == world.folder
        if name == "tape":
            raise Refused(["/nowhere/copies/tape.yaml: No such file or directory"])
        return VAULT

    monkeypatch.setattr(verifying.destinations, "read", read)
    world.found = BROKEN

    proof = world.verify()

    assert copied.sets(repository.there)[0].disproved == world.the().disproved
    assert proof.notes[1:] == (
        "its copy at tape doesn't say what was found: /nowhere/copies/tape.yaml: No such file or directory",
    )
    world.found, repository.broken = WHOLE, "vault: ssh: no route to host"
    assert "its copy at vault doesn't say what was found: vault: ssh: no route to host" in world.verify().notes


def test_whatever_is_wrong_fits_into_the_manifest(world):
    world.found = {**WHOLE, "problems": ["x" * 1000, "y"]}
    world.verify()
    assert len(world.the().disproved) == manifest.LONGEST and world.the().disproved.endswith("x (and 1 more)")


@pytest.mark.parametrize("error", [IdrError("no PostgreSQL 15"), Refused(["quota"])])
def test_one_that_could_not_be_looked_at_has_no_mark(world, error):
    world.found = error

    with pytest.raises(IdrError) as raised:
        world.verify()

    assert raised.value is error and world.torn_down == 1
    assert (world.the().verified, world.the().disproved) == (None, None)


def test_what_is_left_of_the_server_is_told_beside_what_was_found(world):
    world.left = ["volume idrscratch-omero-data is left"]

    proof = world.verify()

    assert (proof.wrong, proof.problems, proof.is_marked) == ((), tuple(world.left), True) and world.the().verified


def test_to_mark_it_another_run_is_waited_for_and_a_set_that_is_gone_is_told(world, monkeypatch):
    holder = group("eve@desk:1")
    world.facts, say, tries = clouds.added(world.facts, holder), world.say, []

    def busy(*given):
        tries.append(given)
        if len(tries) < 3:
            raise Refused(["idr: eve@desk (process 1) is on it"])
        return say(*given)

    monkeypatch.setattr(keeping, "say", busy)
    assert world.verify().is_marked and len(tries) == 3
    assert len([line for line in world.said if "waiting: eve@desk:1 is on idr" in line]) == 2

    def gone(*given):
        raise Refused([f"{SET.id}: no backup set of this project"])

    monkeypatch.setattr(keeping, "say", gone)
    world.facts = facts(SET)
    proof = world.verify()
    assert not proof.is_marked and "no backup set" in proof.problems[0]


@pytest.mark.parametrize(("purpose", "is_broken"), [("verify", True), ("copy", True), ("apply", False)])
def test_the_lock_of_a_run_that_was_killed_while_it_marked_a_set_is_broken(world, monkeypatch, purpose, is_broken):
    me, _, _ = lock.this_process().rpartition(":")
    holder, say, broke = group(f"{me}:4194999"), world.say, []  # more than a process number can be
    holder.what["description"] = holder.what["description"].replace("to back up", f"to {purpose}")
    world.facts = clouds.added(world.facts, holder)

    def held(cloud, id_, said, purpose, apply, broken, tell):
        broke.append(broken)
        if broken != f"{me}:4194999":
            raise Refused(["idr: ada@desk (process 4194999, which doesn't run any more) is on it"])
        say(cloud, id_, said, purpose, apply, broken, tell)

    monkeypatch.setattr(keeping, "say", held)
    if not is_broken:
        monkeypatch.setattr(keeping, "LOCKED", -1)
    assert world.verify().is_marked is is_broken
    assert broke == [None, *[f"{me}:4194999"] * is_broken]


def test_a_lock_that_was_given_back_since_the_refusal_keeps_no_set_from_being_marked(world, monkeypatch):
    say, tries = world.say, []

    def just_given_back(*given):
        tries.append(given)
        if len(tries) == 1:
            raise Refused(["idr: eve@desk (process 1) is on it"])
        return say(*given)

    monkeypatch.setattr(keeping, "say", just_given_back)
    world.found = BROKEN

    assert world.verify().is_marked and not world.the().is_good


@pytest.mark.parametrize(
    ("it", "why"),
    [
        (backup_set(phase=FAILED), "can't be verified: it failed"),
        (replace(SET, pieces=SET.pieces[:1]), "can't be verified: it has lost its snapshot of database-db"),
        (backup_set(uses={"omero-data": 1}), "has no database-db, without which"),
        (None, "no backup set of this project"),
    ],
)
def test_what_cannot_be_verified_is_refused_before_anything_is_made(monkeypatch, it, why):
    world = World(monkeypatch, *([it] if it else []))
    for function in (world.verify, lambda: verifying.plan(world, SET.id)):
        with pytest.raises(Refused) as refused:
            function()
        assert why in refused.value.problems[0]
    assert world.asked == []


def test_a_credential_that_may_make_no_servers_is_told_so_in_the_plan(world, monkeypatch):
    monkeypatch.setattr(verifying.scratch, "facts", lambda cloud, image: world.facts)
    assert verifying.plan(world, SET.id).problems == ()
    assert ("make", "server", "idrscratch-server") in [
        (step.verb, step.kind, step.name) for step in verifying.plan(world, SET.id).steps
    ]
    world.access.application_credential_access_rules = [
        {"service": "compute", "method": "GET", "path": "/**"},
        {"service": "volume", "method": "POST", "path": "/**/snapshots"},
    ]
    assert verifying.plan(world, SET.id).problems == (verifying.MAY_NOT,)
    with pytest.raises(Refused) as refused:
        world.verify()
    assert refused.value.problems == [verifying.MAY_NOT] and world.asked == []
    world.access.application_credential_access_rules.append(
        {"service": "compute", "method": "POST", "path": "/**/servers"}
    )
    assert verifying.plan(world, SET.id).problems == ()


def test_one_is_picked_of_those_that_were_never_verified_and_only_then_of_all(monkeypatch):
    nights = [NIGHT - timedelta(days=number) for number in range(5)]
    verified, first, second = (backup_set(night) for night in nights[:3])
    verified = replace(verified, verified=NIGHT)
    others = [
        backup_set(nights[3], phase=FAILED),
        replace(backup_set(nights[4]), disproved="once"),
        backup_set(environment="newidr"),
    ]
    World(monkeypatch, verified, first, second, *others)
    offered = []

    def choose(sets):
        offered.append({it.id for it in sets})
        return sets[0]

    verifying.pick(None, "idr", choose)
    verifying.pick(None, None, choose)
    World(monkeypatch, verified)
    assert verifying.pick(None, "idr", choose) == verified.id
    assert offered == [{first.id, second.id}, {first.id, second.id, others[2].id}, {verified.id}]
    with pytest.raises(Refused, match="refused"):
        verifying.pick(None, "newidr", choose)


@pytest.mark.parametrize("jumped", [timedelta(days=-3650), timedelta(days=3650)])
def test_a_clock_that_jumped_where_a_set_is_verified_changes_nothing_but_the_moment_that_is_told(monkeypatch, jumped):
    world = World(monkeypatch, SET, backup_set(NIGHT - timedelta(days=1)))

    class Jumped(datetime):
        @classmethod
        def now(cls, tz=None):
            return NIGHT + jumped

    monkeypatch.setattr(verifying, "datetime", Jumped)
    proof = world.verify()
    assert proof.is_marked and world.the().verified == NIGHT + jumped and not proof.figures.startswith("-")

    now = status.of(project.of(world.facts), "idr", NIGHT + timedelta(hours=1))
    assert (now.state, now.verified.id) == (status.OK, SET.id)
    keep = {"idr": {"verified": 1}}
    kept = {it.set.id: it.reasons for it in retention.verdicts(project.of(world.facts).sets, keep, NIGHT)}
    assert "verified" in kept[SET.id]
    world.found = BROKEN
    world.verify()
    assert world.the().verified is None and not world.the().is_good


def test_where_the_clock_is_behind_none_is_picked_and_it_says_why(monkeypatch):
    World(monkeypatch, backup_set(datetime.now(UTC) + timedelta(days=400)), replace(SET, disproved="once"))
    with pytest.raises(Refused) as refused:
        verifying.pick(None, "idr")
    assert refused.value.problems == [
        "idr has no good backup set that could be verified: all 1 are from the future, by this machine's clock"
    ]


def test_a_disproved_set_counts_for_none_of_the_rules_and_stays_while_no_verified_one_is_newer():
    old, new = backup_set(NIGHT - timedelta(days=40)), replace(backup_set(NIGHT), disproved="2026: a page")
    keep = {"idr": {"daily": 1}}

    kept = {it.set.id: it.reasons for it in retention.verdicts([old, new], keep, NIGHT)}
    assert "the newest good of all environments" in kept[old.id]
    assert kept[new.id] == ("disproved, and no verified one is newer",)

    newest = backup_set(NIGHT + timedelta(hours=1), verified=NIGHT)
    [gone] = [it for it in retention.verdicts([old, new, newest], keep, newest.when) if it.set.id == new.id]
    assert gone.goes and gone.why == "disproved, and a verified one is newer"


def test_status_counts_no_disproved_set_as_the_newest_good():
    old, new = backup_set(NIGHT - timedelta(days=1)), replace(backup_set(NIGHT), disproved="2026: a page")

    now = status.of(project.of(facts(old, new)), "idr", NIGHT + timedelta(hours=1))

    assert now.good.id == old.id and now.state == status.WARNING
    assert now.problems == (f"the newest attempt, {new.id}, is disproved: salt-run backup.show {new.id}",)
    assert f"{new.id} was disproved, 2026: a page" in now.notes and now.states == {"good": 1, "disproved": 1}


def test_a_set_is_in_use_while_its_clones_are_looked_at(monkeypatch):
    clone = clouds.volume(500, "omero-data", {"idr_set": SET.id}, snapshot=f"{SET.id}/omero-data")
    volume = Thing("volume", "idrscratch-omero-data", "v-9", "idrscratch", None, clone)

    used = project.of(facts(SET, more=[volume])).used

    assert used == {f"{SET.id}/omero-data": "volume idrscratch-omero-data was made of it and is available"}


class Ssh:
    """A scratch server that answers what it's given, one after another."""

    def __init__(self, *answers):
        self.answers, self.asked, self.installed = list(answers), [], False

    def _next(self, asked):
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def do(self, server, deed, asked, seconds=120, of=on_server):
        return self._next(asked["offset"] if of is told_on_server else deed)

    def install_python(self, server):
        self.installed = True


SERVER = SimpleNamespace(id="idrscratch-server")


def test_it_is_followed_over_a_link_that_is_cut(world):
    ssh, said = Ssh(
        {"told": [{"said": "checking every page"}], "offset": 30, "ended": None},
        Unreachable("cut"),
        {"told": [], "offset": 30, "ended": None},
        {"told": [{"said": "WRONG: x"}, {"result": BROKEN}], "offset": 90, "ended": ""},
    ), []
    assert verifying.followed(ssh, SERVER, said.append, unit.UNIT, unit.HOME) == BROKEN
    assert ssh.asked == [0, 30, 30, 30] and said == ["checking every page", "WRONG: x"]


def test_no_name_that_a_clone_has_gets_at_the_terminal_or_is_no_text_for_the_cloud(world):
    said, name = [], "original file 2 (\x1b]0;Zü\udce1\x07.tif): it isn't there"
    result = {"problems": [name], "figures": {"patch": "a\nb", "rows_of": {"t\x1b": 1}}, "notes": [name]}
    ssh = Ssh({"told": [{"said": f"WRONG: {name}"}, {"result": result}], "offset": 9, "ended": ""})
    found = verifying.followed(ssh, SERVER, said.append, unit.UNIT, unit.HOME)

    name = "original file 2 (\\x1b]0;Zü\\udce1\\x07.tif): it isn't there"
    assert said == [f"WRONG: {name}"]
    assert found == {"problems": [name], "figures": {"patch": "a\\nb", "rows_of": {"t\\x1b": 1}}, "notes": [name]}


@pytest.mark.parametrize(("errors", "said"), [("no room", "no room"), ("", "killed, it seems")])
def test_one_that_ends_without_a_result_is_no_disproof(world, errors, said):
    with pytest.raises(IdrError, match=f"idrscratch-server: it ended without a result: {said}"):
        verifying.followed(Ssh({"told": [], "offset": 0, "ended": errors}), SERVER, print, unit.UNIT, unit.HOME)


def test_a_server_without_python_gets_it(world):
    ssh = Ssh(NoPython("none"))
    verifying._give_python(ssh, SERVER)
    assert ssh.installed
