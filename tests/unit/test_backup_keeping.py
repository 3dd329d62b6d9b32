"""A pin is on every snapshot of a set, with who and why; a lock on an environment that is gone leaves nothing there."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr.backup import keeping, manifest, project, turn
from idr.backup.model import GOING
from idr.cloud import lock
from idr.cloud.model import Thing
from idr.errors import IdrError, Refused
from tests import clouds
from tests.backups import backup_set, facts
from tests.unit.test_backup_listing import group

IT = backup_set()


def after(seen, pin, id_=IT.id):
    return clouds.after(seen, keeping.plan(project.of(seen), id_, keeping.pinned(pin)))


def test_a_pin_is_on_every_snapshot_the_spare_ones_too():
    seen = facts(replace(IT, spare=(replace(IT.pieces[0], snapshot="second"),)), backup_set(environment="newidr"))

    now = after(seen, "ada@desk: for the paper")

    assert [it.pinned for it in manifest.sets(now, "idr")] == ["ada@desk: for the paper"]
    assert manifest.sets(now, "newidr") == manifest.sets(seen, "newidr")
    assert len([it for it in now.all("snapshot") if it.what["metadata"].get("idr_pinned")]) == 3
    assert keeping.plan(project.of(now), IT.id, keeping.pinned("ada@desk: for the paper")).steps == ()


def test_it_is_taken_off_again_and_that_twice_is_nothing():
    seen = facts(replace(IT, pinned="ada@desk: for the paper"))

    now = after(seen, "")

    assert [it.pinned for it in manifest.sets(now)] == [None]
    assert keeping.plan(project.of(now), IT.id, keeping.pinned("")).steps == ()
    assert keeping.plan(project.of(facts(IT)), IT.id, keeping.pinned("")).steps == ()


def test_what_is_being_removed_is_not_pinned_and_may_be_unpinned():
    seen = project.of(facts(replace(IT, phase=GOING, pinned="ada@desk: for the paper")))

    with pytest.raises(Refused) as refused:
        keeping.plan(seen, IT.id, keeping.pinned("ada@desk: wait"))
    assert "its removal was begun" in refused.value.problems[0]
    assert len(keeping.plan(seen, IT.id, keeping.pinned("")).steps) == 2


def test_a_pin_says_who_and_why_and_fits():
    assert keeping.text("ada@desk", " for the paper ") == "ada@desk: for the paper"
    for wrong in ("", "  ", "x" * 300):
        with pytest.raises(Refused, match="refused"):
            keeping.text("ada@desk", wrong)


class Lock:
    """What was done with a lock."""

    def __init__(self, unfinished):
        self.unfinished, self.done = unfinished, []

    def remove(self):
        self.done.append("removed")

    def finish(self):
        self.done.append("finished")


@pytest.fixture
def taken(monkeypatch):
    """The locks that were taken; MADE is whether the record had to be made for it."""
    made = SimpleNamespace(made=False, locks=[])

    @contextmanager
    def held(cloud, environment, run, purpose, broken, typed):
        made.locks.append(Lock(run if made.made else None))
        yield made.locks[-1]

    monkeypatch.setattr(lock, "held", held)
    return made


STANDS = Thing("server", "idr-omero", "s-1", "idr", None, {"status": "ACTIVE"})


@pytest.mark.parametrize(
    ("there", "made", "done"),
    [
        ([group(), STANDS], False, []),
        ([STANDS], True, ["finished"]),
        ([], True, ["removed"]),
        ([group()], False, ["removed"]),  # of a prune that was killed
    ],
)
def test_a_record_stays_only_where_there_is_an_environment(taken, there, made, done):
    taken.made = made
    with turn.held(None, facts(IT, more=there), "idr", "prune", None):
        assert taken.locks[0].done == []
    assert taken.locks[0].done == done


def test_nor_does_it_stay_after_a_failure(taken):
    with pytest.raises(IdrError, match="the cloud is gone"), turn.held(None, facts(IT), "idr", "prune", None):
        raise IdrError("the cloud is gone")
    assert taken.locks[0].done == ["removed"]
