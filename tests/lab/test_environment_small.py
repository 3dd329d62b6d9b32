"""One server is enough to see what an apply mends, takes back, and who may be at it."""

from __future__ import annotations

import json
import threading

import pytest

from lab.cloud import faults

from .conftest import until
from .environments import APPLY, DESTROY, SMALL, inventory, run, script, steps
from .faulty import type_in

pytestmark = pytest.mark.lab

DRIFT = f"""
web = next(net.security_groups(name="{SMALL}-web-external"))
for rule in net.security_group_rules(security_group_id=web.id, direction="ingress"):
    if rule.port_range_min == 443:
        net.delete_security_group_rule(rule)
net.create_security_group_rule(security_group_id=web.id, direction="ingress", protocol="tcp", port_range_min=9000,
    port_range_max=9000, remote_ip_prefix="0.0.0.0/0")
port = next(net.ports(name="{SMALL}-proxy-{SMALL}"))
net.update_port(port, security_group_ids=[web.id])
address = next(net.ips(port_id=port.id))
net.update_ip(address, port_id=None)
server = next(compute.servers(name="^{SMALL}-proxy$"))
volume = next(disk.volumes(name="{SMALL}-proxy-nginxcache"))
compute.delete_volume_attachment(server, volume)
disk.wait_for_status(volume, "available", wait=60)
said = address.floating_ip_address
"""
# Two at a time ask for the lock of an environment, and who has it makes a file that may not be there yet.
RACE = """
import os, sys, time
from idr.cloud import lock
from idr.cloud.connection import connect
from idr.errors import Refused
cloud, mine, had, refused = connect("idr"), sys.argv[1], 0, 0
lock.this_process = lambda: f"{mine}@seat:{os.getpid()}"
for turn in range(200):
    try:
        with lock.held(cloud, sys.argv[2], "run-of-a-race", "race"):
            os.close(os.open("/tmp/race", os.O_CREAT | os.O_EXCL))
            time.sleep(0.1)
            had += 1
            os.unlink("/tmp/race")
    except Refused:
        refused += 1
print(had, refused)
"""


@pytest.fixture(scope="module")
def made(lab, before):
    code, answer = run(lab, *APPLY)
    assert code == 0, answer
    assert steps(lab) == []
    return inventory(lab)


def names(things):
    return {kind: [name for name, *_ in them] for kind, them in things.items()}


def test_what_drifted_is_shown_and_mended(lab, made):
    address = script(lab, DRIFT)
    shown = steps(lab)
    assert [step.split(" (")[0] for step in shown] == [
        f"change address {address}",
        f"change port {SMALL}-proxy-{SMALL}",
        f"make attachment {SMALL}-proxy-nginxcache",
        f"make rule {SMALL}-web-external: ingress tcp 443 from 0.0.0.0/0",
        f"remove rule {SMALL}-web-external: ingress tcp 9000 from 0.0.0.0/0",
    ]
    code, answer = run(lab, *APPLY)
    assert code == 0 and sorted(answer["done"]) == shown, answer
    assert steps(lab) == []
    mended = inventory(lab)
    assert {kind: them for kind, them in mended.items() if kind != "rule"} == {
        kind: them for kind, them in made.items() if kind != "rule"
    }
    assert len(mended["rule"]) == len(made["rule"])


def test_taken_back_is_only_what_that_run_made(lab, made):
    script(lab, DRIFT + "disk.delete_volume(volume); disk.wait_for_delete(volume)")
    drifted = inventory(lab)
    faults.rules({"service": "nova", "method": "POST", "path": "os-volume_attachments", "answer": 413})
    code, answer = run(lab, *APPLY)
    faults.rules()
    assert code == 1 and "413" in json.dumps(answer["problems"]), answer
    assert len(inventory(lab)["volume"]) == len(drifted["volume"]) + 1

    code, answer = run(lab, "apply", SMALL, "rollback=True", "apply=True")
    assert code == 1 and f"confirm={SMALL}" in answer["problems"][0], answer  # a volume goes
    code, answer = run(lab, "apply", SMALL, "rollback=True", f"confirm={SMALL}", "apply=True")
    assert code == 0, answer
    left = names(inventory(lab))
    assert set(left.pop("rule")) < set((there := names(drifted)).pop("rule"))  # what had to go is not brought back
    assert left == there
    assert run(lab, "apply", SMALL, "rollback=True")[0] == 1  # nothing is unfinished any more
    assert run(lab, *APPLY)[0] == 0 and steps(lab) == []


def test_a_second_run_is_told_who_is_on_it_and_a_dead_one_is_broken_by_name(lab, made):
    script(lab, DRIFT)
    faults.rules({"service": "neutron", "method": "PUT", "path": "floatingips", "before": 600})
    first = threading.Thread(target=type_in, args=(lab, *APPLY))
    first.start()
    try:
        until(lambda: any(faults.hits()), 120)
        for other in (APPLY, DESTROY):
            code, answer = run(lab, *other)
            [problem] = answer["problems"]
            assert code == 1 and "operator@seat (process " in problem and " is on it since " in problem, answer
        lab.exec("seat", "pkill", "-KILL", "-f", f"salt-run.* environment.apply {SMALL} ")
        first.join()
    finally:
        faults.rules()
    code, answer = run(lab, *APPLY)
    [problem] = answer["problems"]
    assert code == 1 and "which doesn't run any more" in problem, answer
    named = problem.rpartition(" ")[2]
    assert run(lab, *APPLY, "break_lock=operator@seat:1")[0] == 1
    assert run(lab, *APPLY, named)[0] == 0 and steps(lab) == []


def test_two_processes_race_200_times_and_never_both_have_it(lab, made):
    answers: dict[str, str] = {}

    def go(name):
        answers[name] = lab.outside(".venv/bin/python", "-", name, SMALL, stdin=RACE, seconds=1500).stdout

    both = [threading.Thread(target=go, args=(name,)) for name in ("ada", "ben")]
    [each.start() for each in both]
    [each.join() for each in both]
    counts = {name: [int(word) for word in answer.split()] for name, answer in answers.items()}
    assert set(counts) == {"ada", "ben"} and all(had > 0 for had, _ in counts.values()), counts
    assert sum(refused for _, refused in counts.values()) > 0, "they never met"
    assert steps(lab) == []
