"""Operators' commands while the cloud between them and their effect goes wrong, or they themselves are killed."""

from __future__ import annotations

import json
import re
import threading
import time

from lab.cloud import faults
from lab.shell import wait_until

from .environments import run

IMPATIENT = 8  # seconds that one waits for an answer who would else wait for a minute
RUNS = 40  # of one command until it has to have got through
KILLS = ("killed before", "killed after")  # a call gets to the cloud, and it had its effect there
# What may go wrong with a call, by its name. Who tries again does so within a second, and finds a port still closed.
FAULTS = {
    **{answer: {"answer": answer} for answer in ("lost", "reset", 500, 503, 409, 413, 429)},
    "refused": {"answer": "refused", "closed": 1.2},
    "late": {"after": 0.3},
    "too late": {"after": 10},  # for an operator who is IMPATIENT
    # held long enough for who is to be killed meanwhile, and not until it has waited for a minute and tries again
    **dict(zip(KILLS, ({"before": 50}, {"after": 50}), strict=True)),
}


def calls_of(lab, command):
    """The kinds of calls that a command makes, in their order: service, method, pattern of the path."""
    faults.forget()
    code, answer = run(lab, *command)
    assert code == 0, answer
    return list(dict.fromkeys(kind(*call) for call in faults.calls()))


def kind(service, method, path):
    path = re.sub("[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", "[0-9a-f-]+", path)
    path = re.sub("idr-claim-[^/]+", "idr-claim-[^/]+", path)  # a run's own
    return service, method, f"^{path}" + r"(\?|$)"


def changing(calls):
    """The calls that change something, but for those that log in."""
    return [call for call in calls if call[1] != "GET" and call[0] != "keystone"]


def rules(spoiled):
    """SPOILED: pairs of a kind of call and what goes wrong with it; of one kind they are met one after another."""
    kinds = ({"service": service, "method": method, "path": path} for (service, method, path), _ in spoiled)
    faults.rules(*({**kind, "times": 1, **FAULTS[how]} for kind, (_, how) in zip(kinds, spoiled, strict=True)))


def get_through(lab, command):
    """Type a command until it succeeds; every failure on the way has to say in a line what was wrong."""
    more, answer = [], None
    for _ in range(RUNS):
        code, answer = run(lab, *command, *more)
        if code == 0:
            return
        assert answer["result"] is False and answer["comment"] and "bug" not in answer["comment"], answer
        more = broken(answer)
    raise AssertionError(f"{command} doesn't get through in {RUNS} runs: {answer}")


def broken(answer):
    """What the refusal says to type, at its end, where a run that is dead has the lock."""
    return re.findall(r"break_lock=[^\s\"'\\]+", json.dumps(answer))[-1:]


def killed_at(typist, command, calls, how):
    """
    Type a command and kill it at the first of these calls that it makes: those it met by then, and what the next one
    has to say to break its lock. Without any it goes through, or is refused for the lock of an earlier one.
    What it had sent besides may still have its effect, which is waited for: nobody has typed it again by then.

    how:  one of KILLS
    """
    rules([(call, how) for call in calls])
    reached = {"killed before": faults.hits, "killed after": faults.effects}[how]
    pid, said = killed_once(typist, f"environment.{command[0]}", command[1:], lambda: any(reached()))
    wait_until("what was sent is done with", lambda: faults.in_hand() == 0, 300)
    met = [call for call, times in zip(calls, reached(), strict=True) if times]  # those beside it hadn't gone on either
    faults.rules()
    return (met, [f"break_lock=operator@seat:{pid}"]) if pid else ([], broken(said))


def killed_at_first(lab, function, words, call):
    """Type a command and kill it at the first of these calls, before it's sent; returns what breaks its lock."""
    rules([(call, "killed before")])
    try:
        pid, said = killed_once(lab, function, words, lambda: any(faults.hits()))
    finally:
        faults.rules()
    assert pid, said
    wait_until("what was sent is done with", lambda: faults.in_hand() == 0, 300)
    return f"break_lock=operator@seat:{pid}"


def killed_once(lab, function, words, so):
    """
    Type a command and kill it once something is SO, which needn't last; returns its process, None where it had ended by
    then, and what it said until then.
    """
    pid, said = None, []
    typed = threading.Thread(target=lambda: said.append(type_in(lab, function, *words)))
    typed.start()
    while typed.is_alive() and not so():
        time.sleep(0.05)
    if typed.is_alive():
        pid = lab.kill(f"salt-run.* {function} {words[0]} ")
    typed.join()
    return pid, said


def type_in(lab, function, *words):
    """What a command says that may end in any way, as it's killed."""
    return lab.outside(".venv/bin/salt-run", function, *words, check=False, seconds=900).stdout
