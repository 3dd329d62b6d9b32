"""Backup sets of real volumes under continuous writes: rows that name files, on two servers."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lab.cloud import faults

from .conftest import SCHEDULED, Lab, until
from .environments import inventory, script
from .environments import run as run_environment
from .faulty import FAULTS, KILLS, killed_once
from .test_environments import Load
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

FILES = "/data/backup-test"
ACKNOWLEDGED = "/root/acknowledged"
AT_ONCE = 8  # sets, as there are quotas
SETS = int(os.environ.get("IDR_BACKUP_SETS", 5))  # taken under load one after another; `make torture` takes fifty
# A file first, then the row that names it, then, once the row is committed, a note of it where no snapshot is taken. By
# one session, as others than the writer need the processors, too.
WRITE = f"""
set -e
mkdir -p {FILES}; : > {ACKNOWLEDGED}
cat > /root/write.sh <<'EOF'
set -e
coproc psql -qAtX -v ON_ERROR_STOP=1 -h idr-database -U omero idr
for ((n = $(tail -n 1 {ACKNOWLEDGED}) + 1; ; n++)); do
    head -c 2000 /dev/urandom > {FILES}/$n; sync {FILES}/$n
    echo "insert into backup_test values ($n) returning n;" >&${{{{COPROC[1]}}}}
    read -r row <&${{{{COPROC[0]}}}}
    [ "$row" = $n ]
    echo $n >> {ACKNOWLEDGED}
    sleep 0.1
done
EOF
systemd-run -q -G --unit=write -p Restart=always --setenv=PGPASSWORD={{password}} bash /root/write.sh
"""
TIDY = f"systemctl stop write 2>/dev/null || true; rm -rf {FILES} {ACKNOWLEDGED} /root/write.sh"
# The clones of a set on a server that has PostgreSQL, beside its own: what is in them as they are.
CLONE = """
server = next(compute.servers(name="^idr-a-database$"))
made = {}
for of in disk.snapshots():
    use = of.metadata.get("idr_volume")
    if of.metadata.get("idr_set") == set_id and use in ("omero-data", "database-db"):
        made[use] = disk.create_volume(name=f"backup-test-{use}", size=of.size, snapshot_id=of.id)
for clone in made.values():
    disk.wait_for_status(clone, "available", interval=0.3)
    compute.create_volume_attachment(server, volume_id=clone.id)
for clone in made.values():
    disk.wait_for_status(disk.get_volume(clone.id), "in-use", interval=0.3)
said = {use: clone.id for use, clone in made.items()}
"""
REMOVE = """
for it in disk.snapshots():
    if it.metadata.get("idr_set") == set_id:
        disk.delete_snapshot(it)
        disk.wait_for_delete(it)
"""
UNCLONE = """
server = next(compute.servers(name="^idr-a-database$"))
clones = [each for each in disk.volumes() if each.name.startswith("backup-test-")]
for clone in clones:
    if clone.status == "in-use":
        compute.delete_volume_attachment(server, clone)
for clone in clones:
    disk.wait_for_status(disk.get_volume(clone.id), "available", interval=0.3)
    disk.delete_volume(clone)
for clone in clones:
    disk.wait_for_delete(clone, interval=0.3)
"""
LOOK = f"""
set -e
mkdir -p /mnt/data /mnt/db /run/backup-test; chown postgres /run/backup-test
mount -o nouuid,ro,norecovery {{data}} /mnt/data 2>/dev/null || mount {{data}} /mnt/data
mount -o nouuid {{db}} /mnt/db || mount {{db}} /mnt/db
rm -f /mnt/db/*/data/postmaster.pid
echo 'local all all trust' > /run/backup-test/hba; chmod 644 /run/backup-test/hba
data=$(dirname $(ls /mnt/db/*/data/PG_VERSION))
systemd-run --quiet --unit=backup-test --uid=postgres /usr/lib/postgresql/15/bin/postgres -D $data \\
    -c config_file=/dev/null -c hba_file=/run/backup-test/hba -c listen_addresses= \\
    -c unix_socket_directories=/run/backup-test
timeout 300 bash -c 'until pg_isready -qh /run/backup-test; do sleep 0.2; done'
runuser -u postgres -- psql -qAth /run/backup-test idr -c 'select * from backup_test order by 1' > /run/backup-test/rows
systemctl stop backup-test
ls /mnt/data/{FILES.rpartition("/")[2]} > /run/backup-test/files
find /mnt/data/{FILES.rpartition("/")[2]} -size 0 -printf '%f\\n' > /run/backup-test/empty
"""
FORGET = """
systemctl stop backup-test 2>/dev/null || true
umount /mnt/data /mnt/db 2>/dev/null || true; rm -rf /run/backup-test
"""


# The status as it would be then, if no further set were taken
LATER = """
import json
from datetime import UTC, datetime, timedelta
from idr.backup import project, status
from idr.cloud import wanted
from idr.cloud.connection import connect
seen = project.look(connect(wanted.cloud_of("idr")))
print(json.dumps(status.of(seen, "idr", datetime.now(UTC) + timedelta(hours={hours}), [3]).state))
"""


def backup(lab, function, *words, check=True):
    """A runner at the seat: its answer, which is to be a success."""
    done = lab.outside(".venv/bin/salt-run", "--out=json", f"backup.{function}", *words, check=False, seconds=900)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    assert not check or done.returncode == 0, answer
    return answer if check else (done.returncode, answer)


def states(lab):
    return {each["set"]: each["state"] for each in backup(lab, "list", "idr")["sets"]}


def is_frozen(lab):
    """Whether a volume is held still: by a freeze of ours, or for good by whoever, so that a writer never goes on."""
    probe = (
        "systemctl is-active --quiet 'idr-freeze-*' && echo frozen || "
        "timeout 120 sh -c 'echo > {path} && sync {path}' || echo frozen"
    )
    said = lab.sh("idr-omero", probe.format(path="/data/.probe")) + lab.sh(
        "idr-database", probe.format(path="/var/lib/pgsql/.probe")
    )
    return "frozen" in said


def kept(things):
    """What a backup has no business with."""
    return {kind: them for kind, them in things.items() if kind != "snapshot"}


def forget_sets(lab, before):
    """Remove all sets, and wait until what there is, is as before."""
    script(lab, "for it in disk.snapshots():\n    if it.metadata.get('idr_set'):\n        disk.delete_snapshot(it)")
    until(lambda: inventory(lab) == before)


@pytest.fixture(scope="module")
def writers(lab):
    sql = "drop table if exists backup_test; create table backup_test (n int); alter table backup_test owner to omero"
    psql = ("runuser", "-u", "postgres", "--", "psql", "-qd", "idr")
    lab.sh("idr-omero", TIDY)
    lab.exec("idr-database", *psql, stdin=sql)
    lab.sh("idr-omero", WRITE.format(password=lab.secrets("idr")["database"]["password"]))
    until(lambda: acknowledged(lab) > 10)
    yield
    lab.sh("idr-omero", TIDY + "; rm -f /data/.probe")
    lab.exec("idr-database", *psql, stdin="drop table backup_test")
    lab.sh("idr-database", "rm -f /var/lib/pgsql/.probe")


@pytest.fixture(scope="module", autouse=True)
def no_sets(lab):
    """As it was before, at the end: of backups nothing is left."""
    before = inventory(lab)
    yield
    script(lab, UNCLONE)
    forget_sets(lab, before)


def acknowledged(lab):
    return int(lab.sh("idr-omero", f"tail -n 1 {ACKNOWLEDGED}") or 0)


def contents(lab, set_id):
    """The rows and the files in a set, by its clones."""
    clones = script(lab, CLONE, set_id=set_id)
    device = {use: f"/dev/disk/by-id/virtio-{id_[:20]}" for use, id_ in clones.items()}
    try:
        lab.sh("idr-a-database", LOOK.format(data=device["omero-data"], db=device["database-db"]))
        rows, files, empty = (
            {int(line) for line in lab.sh("idr-a-database", f"cat /run/backup-test/{what}").split()}
            for what in ("rows", "files", "empty")
        )
    finally:
        lab.sh("idr-a-database", FORGET)
        script(lab, UNCLONE)
    return rows, files - empty


def test_a_plan_changes_nothing(lab, writers):
    before, sets = inventory(lab), states(lab)
    plan = backup(lab, "create", "idr")
    assert set(plan["snapshots"]) == {
        "omero-data", "database-db", "proxy-nginxcache", "a-omero-data", "a-database-db", "a-dockermanager-data",
    }  # fmt: skip
    assert inventory(lab) == before and states(lab) == sets


def lost_nothing(lab, set_id, known, look):
    """The set is good, and has each row that was acknowledged before it, and no row without its file."""
    rows, files = look.result()
    assert rows >= set(range(1, known + 1)), f"acknowledged and lost: {set(range(1, known + 1)) - rows}"
    assert rows <= files, f"rows whose files aren't there: {rows - files}"
    assert states(lab)[set_id] == "good"


def test_sets_under_load_lose_no_row_and_no_file(lab, writers, image):
    things, looks = kept(inventory(lab)), {}
    with ThreadPoolExecutor(1) as looking:  # at one set while the next is taken
        for _ in range(SETS):
            known, load = acknowledged(lab), Load(lab, image)
            try:
                answer = backup(lab, "create", "idr", "apply=True", "frozen=60")  # the machine may be slow
            finally:
                answers = load.end()
            assert set(answers) == {"200"}, answers
            it = answer["set"]
            assert (it["state"], it["consistency"]) == ("good", "quiesced"), answer
            looks[it["set"]] = known, looking.submit(contents, Lab(), it["set"])
            if len(looks) > AT_ONCE:
                oldest = next(iter(looks))
                lost_nothing(lab, oldest, *looks.pop(oldest))
                script(lab, REMOVE, set_id=oldest)
    for set_id, (known, look) in looks.items():
        lost_nothing(lab, set_id, known, look)
    assert kept(inventory(lab)) == things
    assert not is_frozen(lab)


def test_a_second_one_at_the_same_time_is_refused(lab, writers):
    said = []
    command = ("salt-run", "--out=json", "backup.create", "idr", "apply=True")
    first = threading.Thread(target=lambda: said.append(lab.exec("idr-proxy", *command, check=False).returncode))
    faults.rules({"service": "cinder", "method": "POST", "path": "/snapshots/[0-9a-f-]+/metadata", "before": 600})
    try:
        first.start()
        until(lambda: any(faults.hits()))
        assert "taking" in states(lab).values()
        second = lab.exec("idr-proxy", *command, check=False)
    finally:
        faults.rules()  # and it goes on
        first.join()
    assert second.returncode == 1 and "is on it since" in second.stdout
    assert said == [0] and "taking" not in states(lab).values()


CUT = """
nft 'add table inet cut; add chain inet cut out { type filter hook output priority 0; }
     add rule inet cut out tcp dport { 4505, 4506 } drop'
"""


@pytest.mark.parametrize("who", ["runner", "minion", "master", "link"])
def test_whoever_is_killed_nothing_stays_frozen_and_the_next_one_works(lab, writers, who):
    killed = {
        "runner": ("idr-proxy", "pkill -9 -f 'salt-run.*backup.create'"),
        "minion": ("idr-omero", "systemctl kill -s KILL salt-minion"),
        "master": ("idr-proxy", "systemctl kill -s KILL salt-master"),
        "link": ("idr-omero", CUT),
    }[who]
    command = ("salt-run", "backup.create", "idr", "apply=True", "frozen=10")
    typed = threading.Thread(target=lambda: lab.exec("idr-proxy", *command, check=False))
    faults.rules({"service": "cinder", "method": "POST", "path": "/snapshots$", "after": 600})
    try:
        typed.start()
        until(lambda: any(faults.effects()))  # while volumes are held still for it
        lab.sh(*killed)
    finally:
        faults.rules()  # and it goes on, if it does
    until(lambda: not is_frozen(lab))
    lab.sh("idr-omero", "nft delete table inet cut 2>/dev/null || true")
    typed.join()
    lab.sh("idr-omero", "systemctl start salt-minion")
    lab.sh("idr-proxy", "systemctl start salt-master")
    lab.wait_for_minions()

    code, answer = backup(lab, "create", "idr", "apply=True", check=False)
    if code:
        [problem] = answer["problems"]
        named = problem.rpartition(" ")[2]
        assert who == "runner" and named.startswith("break_lock="), answer
        answer = backup(lab, "create", "idr", "apply=True", named)
    assert answer["set"]["state"] == "good", answer
    assert ("abandoned" in states(lab).values()) == (who == "runner")
    for each, state in states(lab).items():
        if state == "abandoned":
            backup(lab, "prune", "idr", "apply=True")
            assert each not in states(lab)


@pytest.mark.parametrize("answers", [("lost", "reset", 500), (503, 429, 409)], ids=str)
def test_faults_of_the_cloud_are_got_over(lab, writers, answers):
    calls = [("POST", "/snapshots$", answer) for answer in answers]
    calls += [("GET", "/snapshots/[0-9a-f]{8}-", answer) for answer in answers if answer != 409]  # of a write alone
    faults.rules(
        *(
            {"service": "cinder", "method": method, "path": path, "times": 1, "answer": answer}
            for method, path, answer in calls
        )
    )
    try:
        it = backup(lab, "create", "idr", "apply=True")["set"]
        assert all(faults.hits()), dict(zip(calls, faults.hits(), strict=True))
    finally:
        faults.rules()
    assert it["state"] == "good"
    assert len(it["volumes"]) == 6
    assert not is_frozen(lab)


def test_a_required_snapshot_that_fails_fails_the_set_and_status_tells(lab, writers):
    backup(lab, "create", "idr", "apply=True", "frozen=60")
    assert backup(lab, "status", "idr")["state"] == "ok"
    faults.rules({"service": "cinder", "method": "POST", "path": "/snapshots$", "answer": 413})
    try:
        code, answer = backup(lab, "create", "idr", "apply=True", check=False)
    finally:
        faults.rules()
    assert code == 1 and "413" in json.dumps(answer["problems"]), answer
    assert not is_frozen(lab)
    code, answer = backup(lab, "status", "idr", check=False)
    assert code == 1 and "failed" in json.dumps(answer), answer
    backup(lab, "create", "idr", "apply=True")
    assert backup(lab, "status", "idr")["last_good"]


def test_single_files_come_back_beside_also_after_a_run_that_was_killed(lab, writers):
    newest = max(each for each, state in states(lab).items() if state == "good")
    things, asked = inventory(lab), f"file={FILES}/1,{FILES}/2"
    was = lab.sh("idr-omero", f"cd {FILES}; stat -c '%n %u %g %a %Y' 1 2; sha256sum 1 2")
    lab.sh("idr-omero", f"echo changed > {FILES}/1; rm {FILES}/2")

    faults.rules({"service": "cinder", "method": "POST", "path": "/volumes$", "times": 1, **FAULTS[KILLS[1]]})
    words = (newest, "into=idr", asked, "apply=True")
    killed, said = killed_once(lab, "backup.restore", words, lambda: any(faults.effects()))
    faults.rules()
    assert killed and len(inventory(lab)["volume"]) > len(things["volume"]), said
    _, answer = backup(lab, "restore", newest, "into=idr", asked, "apply=True", check=False)
    [problem] = answer["problems"]
    named = problem.rpartition(" ")[2]
    assert named.startswith("break_lock="), answer

    missing = f"file={FILES}/1,{FILES}/none"
    code, answer = backup(lab, "restore", newest, "into=idr", missing, "apply=True", named, check=False)
    assert code == 1 and answer["problems"] == [f"idr-omero: {FILES}/none isn't in {newest}; {FILES} is"], answer
    assert inventory(lab) == things
    brought = backup(lab, "restore", newest, "into=idr", asked, "apply=True")["restored"]

    folder = brought[0].removeprefix("idr-omero:").rpartition("/")[0]
    assert brought == [f"idr-omero:{folder}/{name}" for name in ("1", "2")]
    assert lab.sh("idr-omero", f"cd {folder}; stat -c '%n %u %g %a %Y' 1 2; sha256sum 1 2") == was
    assert lab.sh("idr-omero", f"cat {FILES}/1") == "changed"
    assert lab.sh("idr-omero", "grep -c idr-restore-files /proc/self/mountinfo || true") == "0"
    assert inventory(lab) == things
    lab.sh("idr-omero", f"cp -a {folder}/1 {folder}/2 {FILES}; rm -r /data/restored-{newest}-*")


def test_prune_does_what_its_plan_says_and_keeps_what_is_pinned(lab, writers):
    while len(states(lab)) < 6:
        backup(lab, "create", "idr", "apply=True")
    before = states(lab)
    oldest, newest = min(before), max(each for each, state in before.items() if state == "good")
    backup(lab, "pin", oldest, "reason=of a test", "apply=True")
    planned = backup(lab, "prune", "idr")
    gone = sorted(step["name"] for plan in planned["plans"] for step in plan["steps"] if step["verb"] == "remove")
    assert gone
    things = inventory(lab)
    at_master = lab.exec("idr-proxy", "salt-run", "backup.prune", "idr", check=False)
    assert at_master.returncode == 1 and "may not delete" in at_master.stdout
    done = backup(lab, "prune", "idr", "apply=True")
    assert sorted(line.split()[-1] for line in done["done"] if line.startswith("remove")) == gone
    assert {oldest, newest} <= set(states(lab)) < set(before)
    after = inventory(lab)
    assert kept(after) == kept(things)
    assert {name for name, *_ in things["snapshot"]} - {name for name, *_ in after["snapshot"]} == set(gone)
    assert backup(lab, "prune", "idr", "apply=True")["comment"] == "nothing to remove"


def scheduled(lab):
    """What the master's schedule begins each hour: the answer at the end of its report."""
    lab.exec("idr-proxy", "systemctl", "stop", SCHEDULED, check=False)
    lab.exec("idr-proxy", "salt-run", "backup.scheduled", "idr")
    until(lambda: lab.sh("idr-proxy", f"systemctl is-active {SCHEDULED} || true") != "active")
    [report] = lab.sh("idr-proxy", "ls -t /var/log/idr/backup | head -1").split()
    text = lab.sh("idr-proxy", f"cat /var/log/idr/backup/{report}")
    return json.loads(text[text.index("{") :])


def test_the_clock_begins_one_by_itself_in_its_unit(lab, writers):
    """As the master's schedule does it each hour: outside pillar's hours it's told why not, and nothing is done."""
    before = states(lab)
    said = scheduled(lab)
    now = time.gmtime().tm_hour
    assert ("nothing was done" in said["comment"]) == (now != 3), said
    assert states(lab) == before or now == 3
    assert run_environment(lab, "show", "idr", "drift=False")[0] == 0


@contextmanager
def each_hour_of(lab, environment):
    """Its master's release asks for a set at whatever hour it is, while the block lasts: not when one begins, too."""
    until(lambda: 0 < time.gmtime().tm_min < 58, 300)
    own = f"/srv/idr/current/pillar/environments/{environment}.sls"
    hours = ", ".join(map(str, range(24)))
    lab.sh(f"{environment}-proxy", f"test ! -e {own}; echo 'backup_hours: [{hours}]' > {own}")
    yield
    lab.sh(f"{environment}-proxy", f"rm {own}")


@pytest.fixture
def each_hour(lab):
    with each_hour_of(lab, "idr"):
        yield


def test_a_scheduled_one_that_fails_shows_at_once_and_one_that_is_missed_by_its_age(lab, writers, each_hour):
    assert scheduled(lab)["set"]["state"] == "good"
    assert backup(lab, "status", "idr")["state"] == "ok"
    faults.rules({"service": "cinder", "method": "POST", "path": "/snapshots$", "answer": 413})
    try:
        assert not scheduled(lab)["result"]
    finally:
        faults.rules()
    code, answer = backup(lab, "status", "idr", check=False)
    assert code == 1 and answer["state"] == "warning" and "failed" in answer["problems"][0], answer
    assert scheduled(lab)["set"]["state"] == "good"
    assert backup(lab, "status", "idr")["state"] == "ok"
    for hours, state in ((27, "ok"), (29, "warning"), (33, "critical")):
        assert json.loads(lab.outside(".venv/bin/python", "-c", LATER.format(hours=hours)).stdout) == state
