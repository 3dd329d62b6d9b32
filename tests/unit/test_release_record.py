"""What is known of a release is in tags that Neutron takes, and is read as it was written."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr.errors import IdrError
from idr.release import record
from tests.neutron import Neutron

BEGAN = "20261124T050000Z"
RELEASE = record.Release("idr", "idr-20261124T030000Z", "0a1b2c3d4e5f", BEGAN)
MOVE = record.Move(record.SWITCH, "idr", "newidr", "198.51.100.11", BEGAN, "ada@desk")
MOVED = record.Moved(record.SWITCH, "idr", "newidr", BEGAN, record.CONFIRMED, "0a1b2c3d4e5f", 41, 0.3, 23, "ada@desk")


def test_each_is_read_as_it_was_written():
    tags = ["idr-production", record.moved_tag(MOVED), record.moving_tag(MOVE)]

    assert record.moving(tags) == MOVE and record.history(tags) == [MOVED]
    assert record.release_of([record.release_tag(RELEASE)]) == RELEASE
    ready = [record.ready_tag("20261124T060000Z"), record.release_tag(RELEASE)]
    begun = record.release_tag(replace(RELEASE, set=record.NO_SET))  # a run died before it took that off
    assert record.release_of([begun, *ready]) == record.release_of([*ready, begun]) == record.release_of(ready)
    assert record.release_of(ready) == replace(RELEASE, ready="20261124T060000Z")
    assert record.moving([*tags, record.back_tag(MOVE)]) == replace(MOVE, is_undone=True)
    assert record.moving([record.moving_tag(replace(MOVE, spare=None))]).spare is None
    assert record.release_tag(RELEASE) == (
        "idr-release~from=idr~set=idr-20261124T030000Z~commit=0a1b2c3d4e5f~began=20261124T050000Z"
    )


def test_nothing_is_read_of_what_says_nothing():
    assert record.moving(["idr-production"]) is None and record.release_of(["idr-released"]) is None
    assert record.history(["idr-moved", "idr-moved~kind=switch", "of another"]) == []


def test_what_is_not_known_is_not_written_and_a_long_name_is_cut():
    bare = record.Moved(record.ROLLBACK, "newidr", "idr", BEGAN, record.UNDONE)
    assert record.history([record.moved_tag(bare)]) == [bare]
    tag = record.moved_tag(replace(MOVED, who="a" * 300))
    assert len(tag) == 255 and record.history([tag])[0].checks == 23
    assert record.moving([record.moving_tag(replace(MOVE, who="a b/c,d~e@desk"))]).who == "a-b-c-d-e@desk"


@pytest.mark.parametrize("tags", [["idr-moving~kind=switch"], [record.moving_tag(MOVE), record.moving_tag(MOVE.back)]])
def test_a_move_that_cannot_be_understood_is_no_move_that_is_none(tags):
    with pytest.raises(IdrError, match="can't be understood"):
        record.moving(tags)


def test_an_entry_takes_the_place_of_an_earlier_one_of_the_same_move_and_the_oldest_go():
    neutron = Neutron()
    cloud = SimpleNamespace(network=neutron)
    id_ = neutron.add_address("198.51.100.10", tags=["idr-production", "of-a-site"])
    for day in range(1, 32):
        moved = replace(MOVED, began=f"202610{day:02}T050000Z")
        record.say_moved(cloud, id_, tuple(neutron.addresses[id_].tags), moved)
    for end in (record.UNDONE, record.UNDONE, record.CONFIRMED):
        record.say_moved(cloud, id_, tuple(neutron.addresses[id_].tags), replace(MOVED, end=end))

    found = record.history(neutron.addresses[id_].tags)
    assert (len(found), found[0], found[-1].began) == (record.KEPT, MOVED, "20261003T050000Z")
    assert neutron.addresses[id_].tags[:2] == ["idr-production", "of-a-site"]
