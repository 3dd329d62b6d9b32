"""
Whatever goes wrong between an operator and the cloud, the same command typed again ends complete, and nothing leaks:
each kind of call of an apply and of a destroy is killed, cut, lost or refused once, on an environment of one server.
"""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from lab.cloud import faults

from .environments import APPLY, DESTROY, inventory, run, steps

pytestmark = pytest.mark.lab

RUNS = 40  # of one command until it has to have got through


@pytest.fixture(scope="module")
def calls(lab, before):
    """The kinds of calls of each command, in the order in which they come: service, method, pattern of the path."""
    found = {}
    for command in (APPLY, DESTROY):
        faults.forget()
        code, answer = run(lab, *command)
        assert code == 0, answer
        found[command] = list(dict.fromkeys(kind(*call) for call in faults.calls()))
    assert inventory(lab) == before
    return found


def kind(service, method, path):
    return service, method, "^" + re.sub("[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", "[0-9a-f-]+", path) + r"(\?|$)"


def changing(calls):
    """The calls that change something, but for those that log in."""
    return [call for call in calls if call[1] != "GET" and call[0] != "keystone"]


def rules(calls, **what):
    faults.rules(*({"service": it[0], "method": it[1], "path": it[2], "times": 1, **what} for it in calls))


def get_through(lab, command):
    """Type a command until it succeeds; every failure on the way has to say in lines what was wrong."""
    more, answer = [], None
    for _ in range(RUNS):
        code, answer = run(lab, *command, *more)
        if code == 0:
            return
        assert answer["problems"] and answer["result"] is False, answer
        more = broken(answer)
    pytest.fail(f"{command} doesn't get through: {answer}")


def broken(answer):
    """What the refusal says to type where a run that is dead has the lock."""
    return re.findall(r"break_lock=[^\s\"']+", json.dumps(answer))[:1]


@pytest.mark.parametrize("answer", ["lost", "reset", 503, 409, 413])
def test_every_kind_of_call_is_answered_wrongly_once(lab, before, calls, answer):
    for command in (APPLY, DESTROY):
        # a quota ends the whole run, so that each is met in a run of its own
        met = changing(calls[command]) if answer == 413 else calls[command]
        rules(met, answer=answer)
        get_through(lab, command)
        hits = faults.hits()
        faults.rules()
        assert [it for it, hit in zip(met, hits, strict=True) if not hit and it in changing(met)] == []
        if command == APPLY:
            assert steps(lab) == []
    assert inventory(lab) == before


def killed_at(lab, command, calls, moment):
    """Type a command and kill it at the first of these calls that it makes: those it met, and what it said if none."""
    rules(calls, **{moment: 20})
    said = []
    typed = threading.Thread(target=lambda: said.append(run_raw(lab, *command)))
    typed.start()
    while typed.is_alive() and not any(faults.hits()):
        time.sleep(0.1)
    met = [call for call, hit in zip(calls, faults.hits(), strict=True) if hit]
    if met:
        lab.exec("seat", "pkill", "-KILL", "-f", f"salt-run.* environment.{command[0]} {command[1]} ", check=False)
    typed.join()
    faults.rules()
    return met, said[0]


def run_raw(lab, function, *words):
    return lab.outside(
        ".venv/bin/salt-run", "--out=json", f"environment.{function}", *words, check=False, seconds=600
    ).stdout


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_kind_of_call(lab, before, calls, moment):
    """BEFORE the call has got to the cloud, and AFTER it had its effect there."""
    for command, other in ((APPLY, DESTROY), (DESTROY, APPLY)):
        left, more = changing(calls[command]), []
        for _ in range(4 * len(left)):
            if not left:
                break
            met, said = killed_at(lab, (*command, *more), left, moment)
            left = [call for call in left if call not in met]
            more = broken(said)
            if not met and not more:  # it went through without these; once more from the beginning
                get_through(lab, other)
        assert left == []
        get_through(lab, command)
        if command == APPLY:
            assert steps(lab) == []
    assert inventory(lab) == before
