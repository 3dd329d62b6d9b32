"""The moves of a release, planned, and made in a Neutron that refuses, forgets and dies: one owner, the right one."""

import pytest
from keystoneauth1.exceptions import ConnectFailure, Unauthorized
from openstack.exceptions import NotSupported

from idr.cloud import mark
from idr.errors import IdrError, Refused
from idr.release import moves, record
from tests.neutron import BEFORE, Killed
from tests.releases import BEGAN, PUBLIC, SPARE, Project, quickly

MOVE = record.Move(record.SWITCH, "idr", "newidr", SPARE, BEGAN, "ada@desk")
STEPS = [
    f"take {SPARE} off newidr-proxy-newidr",
    f"move {PUBLIC} to newidr-proxy-newidr, in one call",
    f"put {SPARE} on idr-proxy-idr",
    "write on newidr that it is the public's",
    "take that off idr",
]


@pytest.fixture
def project(monkeypatch):
    project = Project()
    project.clock = quickly(monkeypatch)
    return project


def carry_out(project, move=MOVE, seconds=100):
    until = project.clock.now + seconds
    moves.carry_out(lambda: project.cloud, move, until, lambda line: None)


def test_the_spare_one_makes_room_the_publics_goes_over_in_one_call_and_the_spare_one_to_the_old(project):
    assert [str(step) for step in moves.left(project.now(), MOVE)] == STEPS

    carry_out(project)

    assert project.owners() == ("newidr", "idr", ["newidr"])
    changes = [call for call in project.neutron.calls if not call.startswith("list")]
    assert changes == ["change address"] * 3 + ["change group"] * 2
    assert moves.left(project.now(), MOVE) == []
    back = [str(step) for step in moves.left(project.now(), MOVE.back)]
    assert back[:2] == [f"take {SPARE} off idr-proxy-idr", f"move {PUBLIC} to idr-proxy-idr, in one call"]


def test_whose_they_are_is_told_by_the_call_that_moves_them(project):
    carry_out(project)

    assert project.address(PUBLIC).description == mark.description("newidr")  # no run's own: no destroy gives it back
    assert project.address(SPARE).description == "IDR environment idr, made by run-newidr"
    carry_out(project, MOVE.back)
    assert project.address(PUBLIC).description == mark.description("idr")
    assert project.address(SPARE).description == "IDR environment newidr, made by run-newidr"


def test_a_cloud_that_refuses_the_one_call_gets_two(project):
    project.neutron.has_moves = False

    carry_out(project)

    assert project.owners() == ("newidr", "idr", ["newidr"])


def test_one_refusal_of_the_one_call_may_pass_and_makes_no_gap(project):
    first = 3 + 1 + 3  # a look, the spare one off, another look
    with project.spoiled({first: 409}):
        carry_out(project)
        offs = [call for call in project.neutron.calls if call == "change address"]
    assert len(offs) == 4 and project.owners()[0] == "newidr"  # that one, and no second one for it


def test_one_that_was_refused_is_put_off_and_on_without_a_look_between(project):
    project.neutron.has_moves = False
    carry_out(project)
    together = [n for n, call in enumerate(project.neutron.calls) if call == "change address"]
    assert any(b - a == 1 for a, b in zip(together, together[1:], strict=False))


OTHERS = {
    "the public's is on neither": ("public", "p-idr-omero-idr", f"{PUBLIC} is on idr-omero-idr, which is neither"),
    "the spare one is on neither": ("spare", "p-idr-omero-idr", f"{SPARE} is on idr-omero-idr, which is neither"),
    "another is on the new one's": ("other", "p-newidr-proxy-newidr", "newidr-proxy-newidr holds 198.51.100.12 too"),
    "another is on the old one's": ("other", "p-idr-proxy-idr", "idr-proxy-idr holds 198.51.100.12 too"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_nothing_is_moved_where_something_is_in_the_way_that_is_not_of_this_move(project, case):
    which, port, said = OTHERS[case]
    other = project.neutron.add_address("198.51.100.12")
    ids = {"public": project.public, "spare": project.spare, "other": other}
    project.neutron.addresses[ids[which]].port_id = port
    before = project.now()

    with pytest.raises(Refused) as refused:
        carry_out(project)

    assert any(said in line for line in refused.value.problems), refused.value.problems
    assert project.now() == before


def test_an_old_one_that_is_gone_keeps_nobody_from_the_new_one(project):
    project.neutron.there = {id_: it for id_, it in project.neutron.there.items() if "newidr" in it.name}
    project.address(PUBLIC).port_id = None

    carry_out(project)

    assert project.owners()[0] == "newidr"


def numbers(project, move=MOVE):
    """How many calls a whole move takes."""
    carry_out(project, move)
    return len(project.neutron.calls)


COUNT = 3 * 6 + 5  # looks, and changes


def test_so_many_calls_it_takes(project):
    assert numbers(project) == COUNT


@pytest.mark.parametrize("fault", [*BEFORE, "lost"])
@pytest.mark.parametrize("at", range(COUNT))
def test_each_fault_of_each_call_is_got_over(project, at, fault):
    with project.spoiled({at: fault}):
        carry_out(project)
    assert project.owners() == ("newidr", "idr", ["newidr"])


@pytest.mark.parametrize("at", range(COUNT))
@pytest.mark.parametrize("how", ["killed before", "killed after"])
@pytest.mark.parametrize("is_back", [False, True])
def test_killed_at_any_call_there_is_one_owner_and_another_run_goes_on_or_back(project, at, how, is_back):
    with project.spoiled({at: how}), pytest.raises(Killed):
        carry_out(project)
    public, _, released = project.owners()
    assert public in ("idr", "newidr") and released  # never nobody's
    carry_out(project, MOVE.back if is_back else MOVE)
    assert project.owners() == (("idr", "newidr", ["idr"]) if is_back else ("newidr", "idr", ["newidr"]))


def test_what_does_not_pass_is_given_up_in_time(project):
    began = project.clock.now
    with project.spoiled(dict.fromkeys(range(10_000), 503)), pytest.raises(moves.OverLimit, match="a fault"):
        carry_out(project, seconds=30)
    assert project.clock.now - began <= 30
    assert project.owners() == ("idr", "newidr", ["idr"])


def test_what_is_refused_for_good_is_not_tried_again(project, monkeypatch):
    monkeypatch.setattr("tests.neutron.BEFORE", (*BEFORE, 403))
    with project.spoiled({3: 403}), pytest.raises(Exception, match="a fault"):
        carry_out(project)
    assert len(project.neutron.calls) == 4


def connecting(project, *failures):
    """What makes a connection, after these failures."""
    left = list(failures)

    def fresh():
        if left:
            raise left.pop(0)
        return project.cloud

    return fresh


def told(cause):
    """As connecting tells what it raises: in a line, with what it was."""
    error = IdrError("cloud idr: it doesn't answer")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("failure", [told(ConnectFailure("cut")), NotSupported("exists but has no supported versions")])
def test_a_connection_that_cannot_be_made_is_made_again(project, failure):
    moves.carry_out(connecting(project, failure), MOVE, project.clock.now + 100, print)
    assert project.owners()[0] == "newidr"


def test_credentials_that_are_wrong_are_not_tried_again(project):
    with pytest.raises(IdrError, match="doesn't answer"):
        moves.carry_out(connecting(project, told(Unauthorized("no"))), MOVE, project.clock.now + 100, print)
    assert project.owners()[0] == "idr" and not project.neutron.calls
