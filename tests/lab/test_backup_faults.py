"""
A verification that is killed, refused and wrongly answered at its steps: its set is marked only by what was found, and
the next run clears away what was left.
"""

from __future__ import annotations

import pytest

from lab.cloud import faults

from .environments import inventory
from .faulty import FAULTS, KILLS, changing, killed_once, kind, rules
from .test_backup import backup, forget_sets, kept
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

RUNS = 4  # until it has to have got through
SERVER = {"service": "nova", "method": "POST", "path": r"/servers$", "times": 1}
MARK = {"service": "cinder", "method": "POST", "path": r"/snapshots/[0-9a-f-]+/metadata", "times": 1}
LOOKS = ("systemctl", "is-active", "--quiet", "idr-verify")


@pytest.fixture(scope="module")
def taken(lab):
    """The id of a set, and what there is besides; at the end all is as it was before."""
    before = inventory(lab)
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    yield id_, kept(inventory(lab))
    faults.rules()
    forget_sets(lab, before)


def marks(lab, id_):
    told = backup(lab, "show", id_)
    return told["verified"], told["disproved"]


def looks(lab):
    """Whether a scratch server is looking at clones."""
    return lab.exec("idrscratch-server", *LOOKS, check=False).returncode == 0


def test_one_whose_server_is_refused_leaves_nothing_and_marks_nothing(lab, taken):
    id_, things = taken
    faults.rules({**SERVER, **FAULTS[413]})
    code, answer = backup(lab, "verify", id_, "apply=True", check=False)
    faults.rules()

    assert code == 1 and any("413" in line for line in answer["problems"]), answer
    assert marks(lab, id_) == (None, None) and kept(inventory(lab)) == things


def test_one_that_is_killed_at_each_of_its_steps_marks_nothing_and_the_next_gets_through_wrong_answers(lab, taken):
    id_, things = taken
    before, after = KILLS
    words = (id_, "apply=True")
    faults.rules({**SERVER, **FAULTS[after]})
    assert killed_once(lab, "backup.verify", words, lambda: any(faults.effects()))[0]
    faults.rules()
    assert kept(inventory(lab)) != things
    faults.rules({**MARK, **FAULTS[before]})  # nor does one that is killed late get further
    assert killed_once(lab, "backup.verify", words, lambda: looks(lab))[0]
    faults.rules({**MARK, **FAULTS[before]})
    faults.forget()
    assert killed_once(lab, "backup.verify", words, lambda: any(faults.hits()))[0]
    calls = list(dict.fromkeys(kind(*call) for call in faults.calls()))
    faults.rules()
    assert marks(lab, id_) == (None, None)

    writes = changing(calls)
    assert {method for _, method, _ in writes} >= {"POST", "DELETE"}, calls
    reads = [call for call in calls if call[1] == "GET"]
    rules([(call, how) for call in writes for how in (500, "lost")] + [(call, 503) for call in reads])
    for _ in range(RUNS):
        code, answer = backup(lab, "verify", id_, "apply=True", check=False)
        if code == 0:
            break
        assert answer["comment"] and "bug" not in answer["comment"], answer
    spoiled = faults.hits()
    faults.rules()

    assert code == 0 and answer["marked"] and sum(map(bool, spoiled)) > len(spoiled) / 2, (answer, spoiled)
    assert marks(lab, id_)[0] and kept(inventory(lab)) == things
