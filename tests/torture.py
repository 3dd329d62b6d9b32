"""
The whole matrix of faults: each kind of call of an apply and of a destroy, spoiled alone in each way, in a run of its
own; afterwards the same command has to get through, and the cloud to be as it should be.

Resumable, by a lab made anew too: what passed with this code under `idr/cloud` isn't done again. Needs the lab up:
``make torture``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

from lab.cloud import faults
from lab.settings import CACHE

from .lab.conftest import Failed, Lab
from .lab.environments import BESIDE, inventory
from .lab.faulty import FAULTS, IMPATIENT, KILLS, calls_of, changing, get_through, killed_at, rules
from .lab.typist import with_clouds

RECORD = CACHE / "torture.jsonl"
APPLY, DESTROY = BESIDE.apply, BESIDE.destroy
CLOUDS = "/home/operator/.config/openstack/clouds.yaml"


def impatient():
    """An operator who types quickly, and waits for no answer longer than IMPATIENT."""
    lab = Lab()
    clouds = yaml.safe_load(lab.outside("cat", CLOUDS).stdout)
    for cloud in clouds["clouds"].values():
        cloud["api_timeout"] = IMPATIENT
    return with_clouds(lab, yaml.safe_dump(clouds))


def case(lab, command, call, how):
    """One command with one call spoiled, and again until it's through."""
    if how in KILLS:
        met, _ = killed_at(lab, command, [call], how)
        assert met, "it made no such call"
        get_through(lab, command)
        return
    rules([(call, how)])
    get_through(lab, command)
    [hits] = faults.hits()
    faults.rules()
    assert hits, "it made no such call"


def cases(lab):
    """Of both commands by turns, as each begins where the other ends: (command, call, how)."""
    calls = {command: changing(calls_of(lab, command)) for command in (APPLY, DESTROY)}
    rows = {command: [(command, call, how) for how in FAULTS for call in calls[command]] for command in calls}
    longest = max(map(len, rows.values()))
    return [row for place in range(longest) for command in rows for row in rows[command][place : place + 1]]


def passed(code):
    """The cases that this code has passed."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    said = map(json.loads, lines)
    return {tuple(each["case"]) for each in said if each["code"] == code and each["failed"] is None}


def main():
    root = Path(__file__).parents[1]
    asked = ["git", "-C", root, "rev-parse", "HEAD:idr/cloud"]
    code = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    with impatient() as lab:
        return matrix(lab, code.strip())


def matrix(lab, code):
    """Every case that this code hasn't passed yet; returns whether one failed."""
    done, failed = passed(code), 0
    before, got_through = inventory(lab), None
    BESIDE.declare(lab)
    try:
        rows = cases(lab)
        named = {(command[0], *map(str, (*call, how))): (command, call, how) for command, call, how in rows}
        left = {name: row for name, row in named.items() if name not in done}
        print(f"{len(named)} cases, {len(named) - len(left)} passed before", flush=True)
        for name, (command, call, how) in left.items():
            began, problem = time.monotonic(), None
            other = DESTROY if command == APPLY else APPLY
            if got_through != other:  # where the last case ended there it has been looked at
                get_through(lab, other)
            got_through = None
            try:
                case(lab, command, call, how)
                assert command != APPLY or BESIDE.steps(lab) == [], "it isn't complete"
                assert command != DESTROY or inventory(lab) == before, "something is left"
                got_through = command
            except (AssertionError, Failed) as error:
                problem, failed = str(error)[:500], failed + 1
            faults.rules()
            seconds = round(time.monotonic() - began, 1)
            with open(RECORD, "a") as record:
                record.write(json.dumps({"code": code, "case": name, "failed": problem, "took": seconds}) + "\n")
            print(f"{'FAILED' if problem else 'passed'} ({seconds} s) {' '.join(name)} {problem or ''}", flush=True)
    finally:
        faults.rules()
        get_through(lab, DESTROY)
        BESIDE.forget(lab)
    print(f"{len(left) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
