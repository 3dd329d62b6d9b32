"""
A set copied out of the cloud, to where an operator has SSH, and an IDR made of that copy; and servers copied as if
made by hand, and put back.
"""

from __future__ import annotations

import pytest
import yaml

from lab.cloud import faults

from .conftest import PUBLIC, until
from .environments import inventory, run, script
from .faulty import FAULTS, KILLS, killed_once
from .test_backup import backup, forget_sets, kept, states
from .test_backup_faults import MARK
from .test_environments import FILES, rows
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

SEAT = "198.51.100.2"
SITE, BY_HAND = "/home/operator/.config/idr/idr", "/home/operator/.config/idr/byhand"
# An IDR of production's three servers alone, which is as much as a copy is of.
LOOK, OF_ITS_OWN = "look", "/home/operator/.config/idr/look"
DECLARED = f"pillar/environments/{LOOK}.sls"
THREE_SERVERS = "servers: {ENV-a-omero: null, ENV-a-database: null, ENV-a-dockermanager: null}\n"
DECLARE = f"""
cat > {DECLARED} && git add {DECLARED}
git -c user.name=ada -c user.email=ada@example.org commit -qm 'An IDR to look at a copy'
cp -a {SITE} {OF_ITS_OWN} && rm -f {OF_ITS_OWN}/known_hosts
sed -i '/^  jupyter:/,/enabled:/ s/enabled: true/enabled: false/' {OF_ITS_OWN}/site.sls
"""
NO_SNAPSHOTS = """
for each in [it for it in disk.snapshots() if it.metadata.get("idr_set")]:
    disk.delete_snapshot(each)
    disk.wait_for_delete(each)
"""
KEY = """
install -d -m 700 ~/vault.key && ssh-keygen -q -t ed25519 -N '' -f ~/vault.key/key
cp -p ~/.ssh/authorized_keys ~/vault.key/before 2>/dev/null || true
cat ~/vault.key/key.pub >> ~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys
cat ~/vault.key/key && echo === && cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub
"""
WRITE = f"umask 077; mkdir -p {SITE}/copies && cat > {SITE}/copies/vault.yaml"
AS_BY_HAND = f"cp -a {SITE} {BY_HAND} && ssh idr-proxy cat /etc/idr/pillar/environment.sls > {BY_HAND}/environment.sls"
FORGET = f"""
rm -rf ~/vault ~/vault.read {SITE}/copies {BY_HAND} {OF_ITS_OWN}
[ -d ~/vault.key ] || exit 0
rm -f ~/.ssh/authorized_keys
[ ! -e ~/vault.key/before ] || mv ~/vault.key/before ~/.ssh/authorized_keys
rm -r ~/vault.key
"""
IMPORTED = "find /data/OMERO/ManagedRepository -name '*.tif' | sort | head -n 1"
READ = """
import sys
from pathlib import Path
from idr.backup import copied, destinations
with copied.opened(destinations.read(Path(sys.argv[1]), "vault"), print) as repository:
    it = copied.the(repository.snapshots(), sys.argv[2])
    [piece] = [piece for piece in it.pieces if piece.use == "omero-data"]
    repository.run("restore", piece.snapshot, "--target", sys.argv[4], "--include", sys.argv[3])
"""
PSQL = ("runuser", "-u", "postgres", "--", "psql", "-qAtd", "idr", "-c")
ROWS = "select count(*) || ' ' || coalesce(sum(id), 0) from originalfile"
PUT_AWAY = "systemctl stop postgresql-15; mkdir /root/aside; mv /var/lib/pgsql/* /root/aside/"
PUT_BACK = """
[ -d /root/aside ] || exit 0
systemctl stop postgresql-15; rm -rf /var/lib/pgsql/* /var/lib/pgsql/.idr-*
mv /root/aside/* /var/lib/pgsql/; rmdir /root/aside
python3 -c 'import os; os.removexattr("/var/lib/pgsql", "user.idr_restored")' 2>/dev/null || true
systemctl start postgresql-15
"""


@pytest.fixture(scope="module", autouse=True)
def vault(lab):
    """A destination that is the seat's own SSH server; of it and of sets nothing is left."""
    before = inventory(lab)
    lab.outside("sh", "-c", FORGET)  # of a run that was ended
    give_vault(lab)
    lab.outside("sh", "-ec", AS_BY_HAND)
    yield
    lab.outside("sh", "-c", FORGET)
    forget_sets(lab, before)


def give_vault(lab):
    """Say where copies go, and have that place be: the seat's own SSH server."""
    key, _, host_key = lab.outside("sh", "-ec", KEY).stdout.partition("===\n")
    said = {
        "repository": f"sftp:operator@{SEAT}:/home/operator/vault",
        "password": "only-in-the-lab-2",
        "keep": {"daily": 1},
        "ssh_key": key,
        "known_hosts": f"{SEAT} {host_key.strip()}",
    }
    lab.outside("sh", "-ec", WRITE, stdin=yaml.safe_dump(said))


@pytest.fixture
def emptied(lab):
    """The analysis side's database server with an empty volume, for as long as it's put back and looked at."""
    lab.sh("idr-a-database", PUT_BACK)  # of a run that was ended
    lab.sh("idr-a-database", PUT_AWAY)
    yield
    lab.sh("idr-a-database", PUT_BACK)
    lab.sh("idr-a-omero", "systemctl restart omero-server")


@pytest.fixture(scope="module")
def copied(lab, vault):
    """
    The id of a set that is at the destination, and what was there before but for snapshots. Of the runs that copied it
    one was killed while a volume was read, and one before the set said so.
    """
    id_ = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    things, words = kept(inventory(lab)), (id_, "to=vault", "even_if=first,unverified", "apply=True")
    assert killed_once(lab, "backup.copy", words, lambda: copies(lab))[0]
    until(lambda: not copies(lab), seconds=300)
    assert backup(lab, "copies", "idr", "at=vault")["sets"][0]["state"] == "taking"
    faults.rules({**MARK, **FAULTS[KILLS[0]], "times": 9})  # each of its snapshots is told
    try:
        assert killed_once(lab, "backup.copy", words, lambda: any(faults.hits()))[0]
    finally:
        faults.rules()
    assert backup(lab, "show", id_)["copied"] is None
    assert backup(lab, "copy", *words)["written"] == {}
    return id_, things


def copies(lab):
    """Whether a scratch server is at a volume."""
    return lab.exec("idrscratch-server", "systemctl", "is-active", "--quiet", "idr-copy", check=False).returncode == 0


@pytest.fixture
def declared(lab):
    """That IDR, so that it can be made: none of it is there before, nor afterwards."""
    before, commit = inventory(lab), lab.outside("git", "rev-parse", "HEAD").stdout.strip()
    lab.outside("sh", "-ec", DECLARE, stdin=THREE_SERVERS)
    yield
    code, answer = run(lab, "destroy", LOOK, f"confirm={LOOK}", "apply=True")
    lab.outside("git", "reset", "-q", "--hard", commit)
    lab.outside("rm", "-rf", OF_ITS_OWN)
    assert code == 0, answer
    assert kept(inventory(lab)) == kept(before)


def test_a_set_is_copied_and_can_be_read_with_the_destinations_file_alone(lab, copied):
    id_, things = copied

    assert backup(lab, "show", id_)["copied"].startswith("vault ")
    [told] = backup(lab, "copies", "idr", "at=vault", "read=all")["sets"]
    assert (told["set"], told["state"]) == (id_, "good")
    file = lab.sh("idr-omero", IMPORTED)
    lab.outside(".venv/bin/python", "-c", READ, SITE, id_, file, "/home/operator/vault.read")
    read = lab.outside("sha256sum", f"/home/operator/vault.read{file}").stdout.split()[0]
    assert read == lab.exec("idr-omero", "sha256sum", file).stdout.split()[0]
    assert kept(inventory(lab)) == things


def test_of_a_copy_alone_an_idr_is_made_by_one_command_with_its_rows_files_and_pages(lab, copied, declared, image):
    """The worst day, but for the fact that `idr` is spared: there are neither volumes nor snapshots to make it of."""
    id_, *_ = copied
    script(lab, NO_SNAPSHOTS)
    assert id_ not in states(lab)

    answer = backup(lab, "restore", id_, f"into={LOOK}", "copy=vault", "apply=True")

    assert answer["restored"].startswith(f"{id_}, in "), answer
    assert sorted(line.partition(":")[0] for line in answer["volumes"]) == [f"{LOOK}-database", f"{LOOK}-omero"]
    assert rows(lab, LOOK) == rows(lab, "idr")
    assert lab.sh(f"{LOOK}-omero", FILES) == lab.sh("idr-omero", FILES)
    there = run(lab, "list")[1]["environments"]
    assert there["idr"]["live"] and not there[LOOK]["live"] and there[LOOK]["address"] != PUBLIC
    page = lab.get(f"/webgateway/render_image/{image}/0/0/?dummy={id_}", f"https://{there[LOOK]['address']}")
    assert page.status == 200 and len(page.body) > 20_000
    code, plan = run(lab, "plan", LOOK)
    assert code == 0 and plan["steps"] == [], plan


def test_servers_made_by_hand_are_copied_as_they_run_and_put_back_into_an_empty_volume(lab, emptied):
    rows = lab.exec("idr-database", *PSQL, ROWS).stdout
    answer = backup(lab, "copy", "env=idr", "to=vault", "even_if=first", f"site={BY_HAND}", "apply=True")
    id_ = answer["comment"].split()[0]
    assert lab.sh("idr-database", "ls -A /var/lib/pgsql") == "15"

    answer = backup(
        lab, "restore", id_, "into=idr", "copy=vault", "volumes=a-database-db", "deploy=False", f"site={BY_HAND}",
        "apply=True",
    )  # fmt: skip

    assert answer["volumes"] == [f"idr-a-database:/var/lib/pgsql: {id_}"], answer
    assert lab.sh("idr-a-database", "ls -A /var/lib/pgsql") == "15"
    lab.exec("idr-a-database", "systemctl", "start", "postgresql-15")
    assert lab.exec("idr-a-database", *PSQL, ROWS).stdout == rows
    assert lab.exec("idr-database", "test", "-e", "/run/idr-copy", check=False).returncode == 1
