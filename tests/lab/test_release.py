"""
A release at the operator's seat: a second IDR of the live one's data, looked at, switched to, back again, and once more
to stay: at its end there's no `idr`.
"""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import visitors
from .broken import BROKEN, on_each
from .conftest import PUBLIC, SERVERS, Lab, until
from .environments import SITE_AS_IDRS, inventory, run
from .faulty import killed_at_first
from .test_backup import backup, each_hour_of
from .test_environments import FILES, Load, rows

pytestmark = [pytest.mark.lab, pytest.mark.ending]

PRODUCTION = f"production={PUBLIC}"
USER = "visitor"  # of JupyterHub
LARGEST = r"""
cd /opt/omero/web/OMERO.web/var/static
find -L . -name '*.js' -size +1M -printf '%s %P\n' | sort -n | tail -n 1 | { read -r size path; sha256sum "$path"; }
"""
HOME = "/tmp/desk"
DESK = f"""
rm -rf {HOME}; mkdir -p {HOME}/.config
cp -a ~/.config/openstack ~/.config/idr {HOME}/.config/; rm -f {HOME}/.config/idr/*/known_hosts
"""


def release(lab, function, *words, typed=Lab.outside):
    """`salt-run release.FUNCTION …` at the seat, or where else it's TYPED: its exit code and its answer."""
    done = typed(lab, ".venv/bin/salt-run", "--out=json", f"release.{function}", *words, check=False, seconds=1800)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])


def at_a_desk(lab, *command, **further):
    """Run a command as on another machine, with credentials of the cloud and what the site supplies, and no more."""
    lab.outside("sh", "-ec", DESK)
    there = f'hostname desk; cd ~operator/idr; exec runuser -u operator -- env HOME={HOME} "$@"'
    return lab.exec("seat", "unshare", "--uts", "sh", "-ec", there, "-", *command, **further)


def in_one_go(**given):
    """What types a whole release from idr; its steps that are done already are looked at again."""
    pillar = json.dumps({"from": "idr", **given})
    return ".venv/bin/salt-run", "state.orchestrate", "orch.release", f"pillar={pillar}"


@contextmanager
def visited(lab):
    """Visitors of the public's address while the block lasts (visitors.py); after it, what became of each of them."""
    sha256, path = lab.sh("idr-omero", LARGEST).split()
    words = (".venv/bin/python", "-", PUBLIC, USER, lab.password_of_hub(), f"/static/{path}", sha256)
    there, leave = str(visitors.THERE), str(visitors.LEAVE)
    lab.outside("rm", "-f", there, leave)
    became = {}
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(lab.outside, *words, stdin=Path(visitors.__file__).read_text(), seconds=3000)
        try:
            until(lambda: coming.done() or lab.outside("test", "-e", there, check=False).returncode == 0, 600)
            if coming.done():
                coming.result()  # why they didn't stay
            yield became
        finally:
            lab.outside("touch", leave)
            became.update(json.loads(coming.result().stdout))
            print(became)  # whatever else failed


@pytest.fixture(scope="module")
def newidr(lab, image):
    """A second IDR of the first one's data, and what came of the requests to the first one meanwhile."""
    lab.outside("sh", "-ec", SITE_AS_IDRS.format(env="newidr"))
    load = Load(lab, image)
    try:
        code, answer = release(lab, "prepare", "newidr", "from=idr", "apply=True")
    finally:
        answers = load.end()
    assert code == 0, answer
    if backup(lab, "show", answer["set"])["consistency"] != "quiesced":  # on a busy machine; nothing is switched then
        backup(lab, "create", "idr", "apply=True", "frozen=60")
    return answers


def test_the_first_one_served_without_a_failed_request(newidr):
    assert set(newidr) == {"200"} and newidr["200"] > 100, newidr


def test_it_has_the_first_ones_rows_and_files(lab, newidr):
    assert rows(lab, "newidr") == rows(lab, "idr")
    for side in ("", "-a"):
        assert lab.sh(f"newidr{side}-omero", FILES) == lab.sh("idr-omero", FILES)


def test_it_serves_them_at_an_address_of_its_own(lab, newidr, image):
    there = run(lab, "list")[1]["environments"]
    address = there["newidr"]["address"]
    assert address != PUBLIC == there["idr"]["address"]
    assert there["idr"]["live"] and not there["newidr"]["live"]
    page = lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=newidr", f"https://{address}")
    assert page.status == 200


def test_prepared_again_nothing_changes(lab, newidr):
    before = inventory(lab)
    code, answer = run(lab, "apply", "newidr", "apply=True")
    assert (code, answer["comment"]) == (0, "newidr: nothing to change"), answer
    code, answer = release(lab, "prepare", "newidr", "from=idr")
    assert (code, answer["comment"]) == (0, "nothing to change"), answer
    assert inventory(lab) == before


def test_nothing_of_the_two_is_crossed(lab, newidr):
    """They have the same addresses inside, each its own passwords, keys and volumes."""
    assert lab.sh("newidr-proxy", "salt-key -l accepted --out=txt").count("newidr") == 6
    assert "newidr" not in lab.sh("idr-proxy", "salt-key -l accepted --out=txt")
    for side in ("idr", "newidr"):
        table = lab.sh(f"{side}-proxy", "cat /etc/idr/pillar/environment.sls")
        assert f"name: {side}\n" in table
    secrets = [lab.sh(f"{side}-proxy", f"cat /etc/idr/pillar/secrets/{side}/*.sls") for side in ("idr", "newidr")]
    assert secrets[0] != secrets[1]
    ids = [lab.sh(f"{side}-omero", "ls /dev/disk/by-id") for side in ("idr", "newidr")]
    assert ids[0] != ids[1]


def test_what_is_broken_is_refused_line_by_line(lab, newidr):
    before = where(lab)
    try:
        on_each(lab, [(server, breaking) for server, breaking, _, _ in BROKEN.values()])
        code, told = release(lab, "switch", "newidr", PRODUCTION, "apply=True")
    finally:
        on_each(lab, [(server, mending) for server, _, mending, _ in BROKEN.values()])
    said = told.get("problems", [])
    unsaid = [what for what, (*_, line) in BROKEN.items() if not any(re.search(line, it) for it in said)]
    assert (code, unsaid) == (1, []), told
    assert where(lab) == before


def test_another_address_than_the_publics_is_never_moved(lab, newidr):
    before = where(lab)
    for named in ("198.51.100.99", before["newidr"]):
        code, told = release(lab, "switch", "newidr", f"production={named}", "apply=True")
        assert code == 1 and f"the public's address is {PUBLIC}" in json.dumps(told), told
    assert where(lab) == before


def where(lab):
    """The address of each environment."""
    return {name: it["address"] for name, it in run(lab, "list")[1]["environments"].items()}


def test_the_public_is_given_the_new_one_under_load(lab, newidr):
    spare = where(lab)["newidr"]
    try:
        with visited(lab) as became:
            done = lab.outside(*in_one_go(new="newidr", production=PUBLIC, bake=10), check=False, seconds=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        lab.sh("newidr-a-dockermanager", f"test -d /data/notebooks/{USER}")  # whose server ran there at last
    finally:
        lab.sh("idr-a-dockermanager", f"rm -rf /data/notebooks/{USER}")
    new = became.pop("new")
    assert new["answered"] > 1000 and new["cut"] + new["failed"] <= 10, new  # none but those of that moment
    # Who was connected is cut, as the new proxy doesn't know that connection; the notebook's user by the drain before,
    # which lets nobody come until the address has moved. All came again by themselves, the other two at the first try.
    for name, it in became.items():
        assert it["cut"] <= 1 and it["wrong"] == [], (name, became)
    assert became["kept"]["failed"] == became["download"]["failed"] == 0, became
    assert where(lab) == {"idr": spare, "newidr": PUBLIC}
    assert run(lab, "list")[1]["environments"]["newidr"]["live"]
    code, stands = release(lab, "status")
    assert code == 0, stands
    [moved, *_] = release(lab, "history")[1]["history"]
    assert (moved["kind"], moved["from"], moved["to"], moved["end"]) == ("switch", "idr", "newidr", "confirmed")
    for name, is_live in (("idr", False), ("newidr", True)):
        assert run(lab, "plan", name)[1]["steps"] == []
        with each_hour_of(lab, name):  # only the live one's clock takes sets
            assert ("isn't live" in backup(lab, "create", name, "scheduled=True")["comment"]) is not is_live
    code, refused = run(lab, "destroy", "newidr", "confirm=newidr", "apply=True")
    assert code == 1 and any("newidr is live" in line for line in refused["problems"]), refused


def test_the_way_back_goes_on_without_its_terminal_and_once_killed_is_ended_from_another_machine(lab, newidr):
    back = "release.rollback newidr bake=120 apply=True"
    typed = threading.Thread(
        target=lab.outside, args=(".venv/bin/salt-run", *back.split()), kwargs={"check": False, "seconds": 1800}
    )
    typed.start()
    until(lambda: where(lab)["idr"] == PUBLIC, 900)
    assert lab.kill(f"{back} MainProcess$")  # as Salt calls itself
    typed.join()
    code, stands = release(lab, "status")
    assert (code, stands["state"]) == (1, "rollback from newidr to idr under way"), stands

    assert lab.kill(f"{back} here=True MainProcess$")
    code, stands = release(lab, "status", typed=at_a_desk)
    assert code == 1 and "break_lock=operator@seat:" in stands["next"], stands
    _, function, *words = stands["next"].split()
    code, told = release(lab, function.removeprefix("release."), *words, "bake=4", typed=at_a_desk)
    assert code == 0, told
    assert where(lab)["idr"] == PUBLIC and release(lab, "status")[0] == 0
    [moved, *_] = release(lab, "history")[1]["history"]
    assert (moved["kind"], moved["from"], moved["to"], moved["end"]) == ("rollback", "newidr", "idr", "confirmed")


def test_a_new_one_that_dies_while_it_is_watched_gives_the_public_back(lab, newidr):
    answers = []
    go = ("switch", "newidr", PRODUCTION, "bake=120", "apply=True")
    typed = threading.Thread(target=lambda: answers.append(release(lab, *go)))
    typed.start()
    until(lambda: where(lab)["newidr"] == PUBLIC, 900)
    lab.sh("newidr-proxy", "systemctl stop nginx")
    typed.join()
    lab.sh("newidr-proxy", "systemctl start nginx")
    [(code, told)] = answers
    # while it was watched, or before, while it was looked at
    assert code == 1 and re.search(rf"gave no answer|at {PUBLIC}: no answer", json.dumps(told["problems"])), told
    assert where(lab)["idr"] == PUBLIC and release(lab, "status")[0] == 0
    assert lab.get("/webclient/userdata/?after=undone").status == 200
    assert release(lab, "history")[1]["history"][0]["end"] == "undone"


def test_switched_to_once_more_and_finished_the_first_one_is_gone_also_after_a_finish_that_was_killed(
    lab, newidr, image
):
    code, told = release(lab, "switch", "newidr", PRODUCTION, "bake=4", "apply=True")
    assert code == 0, told
    its, sets = rows(lab, "newidr"), [it["set"] for it in backup(lab, "list", "idr")["sets"]]
    finish = ("newidr", "confirm=idr", "even_if=early", "apply=True")
    code, told = release(lab, "finish", "newidr", "confirm=idr", "apply=True")
    assert code == 1 and "idr is kept until" in told["problems"][0], told  # for a way back

    broken = killed_at_first(lab, "release.finish", finish, ("nova", "DELETE", r"/servers/[0-9a-f-]+(\?|$)"))
    code, told = release(lab, "finish", *finish, broken)
    assert code == 0, told

    assert not {name for name, *_ in inventory(lab)["server"]} & set(SERVERS) and where(lab) == {"newidr": PUBLIC}
    assert rows(lab, "newidr") == its
    assert lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=finished").status == 200
    assert release(lab, "history")[1]["history"][0]["kind"] == "finish" and release(lab, "status")[0] == 0
    # the backups are the new one's, by its own clock, and those of the old one are kept
    with each_hour_of(lab, "newidr"):
        backup(lab, "create", "newidr", "scheduled=True", "apply=True")
    assert len(backup(lab, "list", "newidr")["sets"]) == 1
    assert [it["set"] for it in backup(lab, "list", "idr")["sets"]] == sets
    assert "JupyterHub" in lab.get("/jupyter/hub/login").body
