"""What a repository has of sets is read as the cloud's own are, and its copies are kept by rules of their own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from idr.backup import copied, listing, manifest
from idr.backup.model import GOOD, TAKING
from idr.errors import Refused
from tests.backups import NIGHT, backup_set
from tests.repositories import VAULT, Repository

SET = replace(
    backup_set(), facts={"database_patch": "OMERO5.4 0", "by": "ada@desk"}, verified=NIGHT, figures="7 rows, 100% read",
    disproved="once, by a page",
)  # fmt: skip


@pytest.fixture
def repository(monkeypatch):
    return Repository(monkeypatch)


def test_a_copy_says_of_its_set_what_the_set_says(repository):
    repository.put(SET)

    [it] = copied.sets(repository.there)

    assert replace(it, pieces=SET.pieces, run=SET.run) == SET
    assert [(piece.use, piece.snapshot, piece.size_gb) for piece in it.pieces] == [
        ("omero-data", "r-0", 500), ("database-db", "r-1", 250),
    ]  # fmt: skip
    assert it.is_usable and not it.is_good and copied.the(repository.there, SET.id, disproved=True) == it
    assert copied.sets(repository.there, "newidr") == () and manifest.problems(copied.facts(repository.there)) == ()


def test_a_pin_stays_behind_as_nobody_could_take_it_off(repository):
    repository.put(replace(SET, pinned="ada: for the paper", copied="tape 2026-11-26 04:00 UTC"))
    [it] = copied.sets(repository.there)
    assert (it.pinned, it.copied) == (None, None)


def test_one_that_was_cut_off_is_none(repository):
    repository.put(SET, "omero-data")

    [it] = copied.sets(repository.there)
    assert it.phase == TAKING and it.lacks == ()
    with pytest.raises(Refused) as refused:
        copied.the(repository.there, SET.id)
    assert refused.value.problems == [f"{SET.id}: its copy can't be restored: it was never ended"]
    repository.put(SET, "database-db")
    assert copied.sets(repository.there)[0].phase == TAKING  # until it's checked


def test_between_the_tags_of_two_snapshots_it_is_not_ended(repository):
    repository.put(SET)
    old = repository.there[0]
    old["tags"] = [tag.replace(GOOD, TAKING) if tag.startswith("idr_phase=") else tag for tag in old["tags"]]
    assert copied.sets(repository.there)[0].phase == TAKING


def test_what_is_not_ours_there_is_left_alone_and_what_is_and_cannot_be_read_is_told(repository):
    repository.add(["somebody's own"])
    repository.there.append({"id": "r-9", "tags": [], "paths": ["/home"], "time": "2026-11-25T03:00:00.123456789Z"})
    repository.put(SET)
    repository.add(["idr_environment=idr", f"idr_set={SET.id}"])

    assert [it.id for it in copied.sets(repository.there)] == [SET.id]
    [line] = manifest.problems(copied.facts(repository.there))
    assert "no manifest that can be read" in line and line.endswith("Look at it: restic cat snapshot r-4")


def test_one_that_is_not_there_is_refused_with_those_that_are(repository):
    repository.put(SET)
    with pytest.raises(Refused) as refused:
        copied.the(repository.there, "idr-20250101T000000Z")
    assert refused.value.problems == [f"idr-20250101T000000Z: no copy of it is there; there are {SET.id}"]


@pytest.mark.parametrize("days", [-3650, -30, 3650])
def test_a_clock_that_jumped_where_copies_are_pruned_removes_none_that_would_have_stayed(repository, days):
    for number in range(12):
        repository.put(backup_set(NIGHT - timedelta(days=number)))

    def going(now):
        return {it.set.id for it in copied.verdicts(repository.there, VAULT, "idr", now) if it.goes}

    assert len(going(NIGHT)) == 5 and going(NIGHT + timedelta(days=days)) == (going(NIGHT) if days > 0 else set())


def test_one_that_was_begun_by_a_clock_that_was_ahead_is_let_be(repository):
    repository.put(backup_set(), "omero-data", begun=NIGHT + timedelta(days=3650))
    repository.add([f"{copied.UNFINISHED}=2036-01-01T03:00:00Z"])
    assert not [it for it in copied.verdicts(repository.there, VAULT, "idr", NIGHT) if it.goes]
    assert copied.unfinished(repository.there, NIGHT) == []


def test_a_copy_says_what_was_found_of_its_set_later(repository):
    repository.put(replace(SET, disproved=None))
    other = replace(SET, id="idr-20261124T030000Z", disproved=None)
    repository.put(other)
    wrong = "2026-11-26 04:00 UTC: table image, 100%: page 3"

    copied.pass_on(VAULT, SET.id, manifest.proof(disproved=wrong), print)

    it = copied.sets(repository.there)[0]
    assert (it.id, it.disproved, it.verified, it.figures) == (SET.id, wrong, None, None)
    assert not it.is_good and listing.state(it, {}) == "disproved"
    with pytest.raises(Refused, match="refused"):
        copied.the(repository.there, SET.id)
    assert copied.the(repository.there, SET.id, disproved=True) == it
    assert copied.the(repository.there, other.id).verified == NIGHT
    commands = len(repository.commands)
    copied.pass_on(VAULT, SET.id, manifest.proof(disproved=wrong), print)
    copied.pass_on(VAULT, "idr-20250101T000000Z", manifest.proof(disproved=wrong), print)
    assert len(repository.commands) == commands

    copied.pass_on(VAULT, SET.id, manifest.proof(NIGHT, "8 rows"), print)
    it = copied.the(repository.there, SET.id)
    assert (it.is_good, it.verified, it.figures) == (True, NIGHT, "8 rows")


def test_copies_are_kept_by_the_destinations_rules_and_one_in_the_making_stays(repository):
    nights = [backup_set(NIGHT - timedelta(days=number)) for number in range(12)]
    for it in nights[1:]:
        repository.put(it)
    repository.put(nights[0], "omero-data", begun=NIGHT)
    other = backup_set(environment="newidr")
    repository.put(other)

    def going(now):
        return [it.set.id for it in copied.verdicts(repository.there, VAULT, "idr", now) if it.goes]

    assert going(NIGHT) == [it.id for it in nights[8:]]
    assert going(NIGHT + timedelta(days=5)) == [nights[0].id, *(it.id for it in nights[8:])]
    held = copied.in_the_making(repository.there, NIGHT)
    assert listing.state(copied.sets(repository.there, "idr")[0], held) == "taking"


def test_what_is_listed_is_read_if_that_is_asked_for(repository):
    repository.put(SET)

    told = copied.listed(VAULT, "idr", None, print)
    assert [it["set"] for it in told["sets"]] == [SET.id] and told["problems"] == [] and repository.commands == []
    copied.listed(VAULT, "idr", "all", print)
    copied.listed(VAULT, "idr", "5%", print)
    assert [words[-1] for words in repository.commands] == ["--read-data-subset=100%", "--read-data-subset=5%"]
