"""
Whatever goes wrong between an operator and the cloud, the same command typed again ends complete, and nothing leaks:
each kind of call of an apply and of a destroy is killed, cut, lost or refused once, on an environment of one server.
"""

from __future__ import annotations

import pytest

from lab.cloud import faults

from .environments import APPLY, DESTROY, inventory, steps
from .faulty import calls_of, changing, get_through, killed_at, rules

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def calls(lab, before):
    """The kinds of calls of each command."""
    found = {command: calls_of(lab, command) for command in (APPLY, DESTROY)}
    assert inventory(lab) == before
    return found


@pytest.mark.parametrize("answer", ["lost", "reset", 503, 409, 413])
def test_every_kind_of_call_is_answered_wrongly_once(lab, before, calls, answer):
    for command, other in ((APPLY, DESTROY), (DESTROY, APPLY)):
        left = calls[command]
        if answer == 413:  # a quota ends the whole run, so that each is met in a run of its own; only making has one
            left = [call for call in changing(left) if call[1] == "POST"] if command == APPLY else []
        for _ in range(4):  # a run that goes on from another one has no reason for some calls
            rules(left, answer=answer)
            get_through(lab, command)
            hits = faults.hits()
            faults.rules()
            left = [it for it, hit in zip(left, hits, strict=True) if not hit and it in changing(left)]
            if not left:
                break
            get_through(lab, other)
        assert left == []
        get_through(lab, command)
        assert command == DESTROY or steps(lab) == []
    assert inventory(lab) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_kind_of_call(lab, before, calls, moment):
    """BEFORE the call has got to the cloud, and AFTER it had its effect there."""
    for command, other in ((APPLY, DESTROY), (DESTROY, APPLY)):
        left, more = changing(calls[command]), []
        for _ in range(2 * len(left)):
            met, more = killed_at(lab, (*command, *more), left, moment)
            left = [call for call in left if call not in met]
            if not left:
                break
            if not met:  # it went through without these; once more from the beginning
                get_through(lab, other)
        assert left == []
        get_through(lab, command)
        assert command == DESTROY or steps(lab) == []
    assert inventory(lab) == before
