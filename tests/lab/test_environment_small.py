"""One server is enough to see what an apply mends, takes back, who may be at it, and what keeps it from going."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest

from idr.backup import manifest
from lab.cloud import faults
from tests.backups import backup_set

from .conftest import Lab, until
from .environments import BESIDE, administered, inventory, run, script
from .faulty import rules, type_in
from .test_backup import backup
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = [pytest.mark.lab, pytest.mark.cloud]

SMALL, APPLY, DESTROY = BESIDE.name, BESIDE.apply, BESIDE.destroy

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
disk.wait_for_status(volume, "available")
said = address.floating_ip_address
"""
SOURCES = """
volume = next(disk.volumes(name="idr-proxy-nginxcache"))
snapshot = disk.create_snapshot(volume_id=volume.id, name="of-a-test", force=True)
disk.wait_for_status(snapshot, "available")
said = [volume.id, snapshot.id]
"""
MADE_OF = f"""
volume = next(disk.volumes(name="{SMALL}-proxy-nginxcache"))
said = [volume.metadata["idr_source"], volume.snapshot_id]
"""
# Two at a time ask for the lock of an environment, and who has it makes a file that may not be there yet.
RACE = """
import os, sys
from idr.cloud import lock
from idr.cloud.connection import connect
from idr.errors import Refused
cloud, mine, had, refused = connect("idr"), sys.argv[1], 0, 0
lock.this_process = lambda: f"{mine}@seat:{os.getpid()}"
for turn in range(100):
    try:
        with lock.held(cloud, sys.argv[2], "run-of-a-race", "race") as held:
            os.close(os.open("/tmp/race", os.O_CREAT | os.O_EXCL))
            held.check()
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
    assert BESIDE.steps(lab) == []
    return inventory(lab)


def names(things):
    return {kind: [name for name, *_ in them] for kind, them in things.items()}


def test_what_drifted_is_shown_and_mended(lab, made):
    address = script(lab, DRIFT)
    shown = BESIDE.steps(lab)
    assert [step.split(" (")[0] for step in shown] == [
        f"change address {address}",
        f"change port {SMALL}-proxy-{SMALL}",
        f"make attachment {SMALL}-proxy-nginxcache",
        f"make rule {SMALL}-web-external: ingress tcp 443 from 0.0.0.0/0",
        f"remove rule {SMALL}-web-external: ingress tcp 9000 from 0.0.0.0/0",
    ]
    code, answer = run(lab, *APPLY)
    assert code == 0 and sorted(answer["done"]) == shown, answer
    assert BESIDE.steps(lab) == []
    mended = inventory(lab)
    assert {kind: them for kind, them in mended.items() if kind != "rule"} == {
        kind: them for kind, them in made.items() if kind != "rule"
    }
    assert len(mended["rule"]) == len(made["rule"])


def test_taken_back_is_only_what_that_run_made(lab, made):
    """Of a volume that is made of a single one, by its name; the next time, it's made of a snapshot, by its id."""
    script(lab, DRIFT + "disk.delete_volume(volume); disk.wait_for_delete(volume)")
    volume, snapshot = script(lab, SOURCES)
    drifted = inventory(lab)
    faults.rules({"service": "nova", "method": "POST", "path": "os-volume_attachments", "answer": 413})
    code, answer = run(lab, *APPLY, "idr_volume_proxy_nginxcache_src=idr-proxy-nginxcache")
    faults.rules()
    assert code == 1 and "413" in json.dumps(answer["problems"]), answer
    assert len(inventory(lab)["volume"]) == len(drifted["volume"]) + 1
    source, by = script(lab, MADE_OF)
    assert source == volume and by != snapshot  # by a temporary one

    code, answer = run(lab, "apply", SMALL, "rollback=True", "apply=True")
    assert code == 1 and f"confirm={SMALL}" in answer["problems"][0], answer  # a volume goes
    code, answer = run(lab, "apply", SMALL, "rollback=True", f"confirm={SMALL}", "apply=True")
    assert code == 0, answer
    left = names(inventory(lab))
    assert set(left.pop("rule")) < set((there := names(drifted)).pop("rule"))  # what had to go is not brought back
    assert left == there
    assert run(lab, "apply", SMALL, "rollback=True")[0] == 1  # nothing is unfinished any more
    assert run(lab, *APPLY, f"idr_volume_proxy_nginxcache_src={snapshot}")[0] == 0 and BESIDE.steps(lab) == []
    assert script(lab, MADE_OF) == [snapshot, snapshot]
    gone = "it = disk.get_snapshot(snapshot)\ndisk.delete_snapshot(it)\ndisk.wait_for_delete(it)"
    script(lab, gone, snapshot=snapshot)


def test_a_second_run_is_told_who_is_on_it_and_a_dead_one_is_broken_by_name(lab, made):
    script(lab, DRIFT)
    faults.rules({"service": "neutron", "method": "PUT", "path": "floatingips", "before": 600})
    while_others = Lab()
    first = threading.Thread(target=type_in, args=(while_others, f"environment.{APPLY[0]}", *APPLY[1:]))
    first.start()
    try:
        until(lambda: any(faults.hits()))
        for other in (APPLY, DESTROY):
            code, answer = run(lab, *other)
            [problem] = answer["problems"]
            assert code == 1 and "operator@seat (process " in problem and " is on it since " in problem, answer
        assert while_others.kill(f"salt-run.* environment.apply {SMALL} ")
        first.join()
    finally:
        faults.rules()
    code, answer = run(lab, *APPLY)
    [problem] = answer["problems"]
    assert code == 1 and "which doesn't run any more" in problem, answer
    named = problem.rpartition(" ")[2]
    assert run(lab, *APPLY, "break_lock=operator@seat:1")[0] == 1
    assert run(lab, *APPLY, named)[0] == 0 and BESIDE.steps(lab) == []


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
    assert BESIDE.steps(lab) == []


# What is told to the cloud by enrolment, and a tag: done again and again, as by one who types it until it's done.
TOLD = f"""
import time
from idr.cloud import credential, enrolled, making
from idr.cloud.connection import connect
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused
making.PAUSES = (0.1,) * 4
ours = connect("idr")
port = next(net.ports(name="{SMALL}-proxy-{SMALL}"))
address = next(net.ips(port_id=port.id))
def tag():
    step = Step("tag", "address", address.name, {{"tag": "idr-of-a-test"}}, id=address.id)
    problems = making.carry_out(ours, Plan("{SMALL}", (step,)), lambda line: None, None).problems
    if problems:
        raise Refused(problems)
def again_until_done(deed):
    for _ in range(60):
        try:
            return deed()
        except IdrError as error:
            assert "\\n" not in str(error), error
            time.sleep(0.2)
    raise AssertionError(f"never done: {{deed}}")
files = None
for deed in (lambda: credential.giver("{SMALL}").make(), lambda: enrolled.say(ours, "{SMALL}"), tag):
    files = again_until_done(deed) or files
text, _ = files["/etc/idr/clouds.yaml"]
given = json.loads(text)["clouds"]["idr"]["auth"]["application_credential_id"]
there = cloud.identity.application_credentials(cloud.current_user_id, name="{SMALL}-master")
server = next(compute.servers(name="^{SMALL}-proxy$"))
tags = net.get_ip(address.id).tags
said = [[it.id for it in there] == [given], "idr_enrolled" in server.metadata, tags.count("idr-of-a-test")]
net.delete(f"/floatingips/{{address.id}}/tags/idr-of-a-test")
"""
OF_TOLD = [
    ("keystone", "GET", r"^/v3/users/[0-9a-f]+/application_credentials(\?|$)"),
    ("keystone", "POST", r"^/v3/users/[0-9a-f]+/application_credentials$"),
    ("keystone", "DELETE", r"^/v3/users/[0-9a-f]+/application_credentials/[0-9a-f]+$"),
    ("nova", "POST", r"/servers/[0-9a-f-]+/metadata$"),
    ("neutron", "PUT", r"/floatingips/[0-9a-f-]+/tags/idr-of-a-test$"),
]
# What was lost had its effect, and has to be done once more for the last one to be met, too.
ONE_BY_ONE = ("reset", 500, 503, 409, 429, "refused", 413, "lost", "late")


def test_the_credential_what_says_enrolled_and_a_tag_get_over_every_fault(lab, made):
    done = [True, True, 1]
    assert script(lab, TOLD) == done
    script(lab, f"compute.delete_server_metadata(next(compute.servers(name='^{SMALL}-proxy$')), ['idr_enrolled'])")
    spoiled = [(call, fault) for call in OF_TOLD for fault in ONE_BY_ONE]
    rules(spoiled)
    try:
        assert script(lab, TOLD) == done
        assert [each for each, hit in zip(spoiled, faults.hits(), strict=True) if not hit] == []
    finally:
        faults.rules()


BACKED_UP = f"""
next(net.security_groups(name="{SMALL}")).add_tag(net, "idr-released")
made = {{}}
for name, metadata in sets.items():
    volume = next(disk.volumes(name=f"{{name}}-proxy-nginxcache"))
    made[name] = disk.create_snapshot(volume_id=volume.id, name=metadata["idr_set"], force=True, metadata=metadata)
    disk.wait_for_status(made[name], "available")
of = made["{SMALL}"]
copy = disk.create_volume(name="of-a-test", size=of.size, snapshot_id=of.id)
disk.wait_for_status(copy, "available")
"""
NOTHING_KEEPS_IT = f"""
for group in net.security_groups(name="{SMALL}"):
    if "idr-released" in group.tags:
        group.remove_tag(net, "idr-released")
for copy in disk.volumes(name="of-a-test"):
    disk.delete_volume(copy)
    disk.wait_for_delete(copy)
for snapshot in disk.snapshots():
    if "idr_verified" in snapshot.metadata and snapshot.metadata["idr_environment"] == "{SMALL}":
        disk.delete_snapshot_metadata(snapshot, ["idr_verified"])
"""
TIDY = f"""
for snapshot in list(disk.snapshots()):
    if snapshot.metadata.get("idr_set") in sets:
        disk.delete_snapshot(snapshot)
        disk.wait_for_delete(snapshot)
for volume in list(disk.volumes()):
    if "{SMALL}-proxy-nginxcache-retained" in volume.name:
        disk.delete_volume(volume)
        disk.wait_for_delete(volume)
"""
STATUS = """
for copy in cloud.block_storage.volumes(all_projects=True, name="of-a-test"):
    asked = {{"os-reset_status": {{"status": "{status}"}}}}
    said = cloud.block_storage.post(f"/volumes/{{copy.id}}/action", json=asked).status_code
"""
OWN = f"""
own = [it for it in disk.volumes() if it.metadata.get("idr_environment") == "{SMALL}"]
said = [[it.name, it.status, it.attachments] for it in own]
"""


@pytest.fixture(scope="module")
def backed_up(lab, made):
    """It was released, the newest verified set is of it, and a volume is made of that. Of `idr` there's a later one."""
    now = datetime.now(UTC).replace(microsecond=0)
    sets = {
        SMALL: backup_set(taken=now, environment=SMALL, uses=["proxy-nginxcache"], verified=now),
        "idr": backup_set(taken=now, environment="idr", uses=["proxy-nginxcache"]),
    }
    script(lab, BACKED_UP, sets={name: manifest.metadata(it, it.pieces[0]) for name, it in sets.items()})
    ids = {name: it.id for name, it in sets.items()}
    yield ids
    nothing_keeps_it(lab)
    script(lab, TIDY, sets=list(ids.values()))


def nothing_keeps_it(lab):
    administered(STATUS.format(status="available"))
    script(lab, NOTHING_KEEPS_IT)


def test_it_is_not_destroyed_as_long_as_anything_speaks_against_it(lab, backed_up):
    assert administered(STATUS.format(status="creating")) == 202
    there = inventory(lab)
    code, answer = run(lab, *DESTROY)
    assert code == 1 and inventory(lab) == there
    assert sorted(answer["problems"]) == [
        f"{SMALL} holds the newest verified backup set, {backed_up[SMALL]}: make and verify another one first",
        f"{SMALL} is live: it was released, and no other since: its security group {SMALL} is tagged idr-released",
        f"volume {SMALL}-proxy-nginxcache: of-a-test is being cloned from it (creating): wait until it is",
    ]


def test_a_volume_whose_snapshot_is_kept_stays_and_goes_with_the_last_one(lab, before, backed_up):
    nothing_keeps_it(lab)
    code, answer = run(lab, *DESTROY)
    assert code == 0 and any(" is retained as " in note for note in answer["notes"]), answer
    [[name, status, attachments]] = script(lab, OWN)
    assert name.startswith(f"{SMALL}-proxy-nginxcache-retained-") and (status, attachments) == ("available", [])
    left = inventory(lab)
    more = {kind: len(them) - len(before[kind]) for kind, them in left.items() if them != before[kind]}
    assert more == {"volume": 1, "snapshot": 2}

    backup(lab, "prune", SMALL, "retired=True", "apply=True")
    left = inventory(lab)
    assert left["volume"] == before["volume"]
    assert {name for name, *_ in left["snapshot"]} - {name for name, *_ in before["snapshot"]} == {backed_up["idr"]}
