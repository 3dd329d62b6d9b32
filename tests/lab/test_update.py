"""The daily change at the operator's seat: planned, carried to the servers, taken back; and a hand edit undone."""

import json
import re

import pytest

from .conftest import SERVERS
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

EDIT = r"""
sed -i 's#^      /webclient: .*#&\n      /idr-was-here: /about/#' pillar/roles/proxy.sls
sed -i '0,/^    config: {} /s//    config: {omero.search.batch: "4999"} /' pillar/roles/omero.sls
git -c user.name=ada -c user.email=ada@example.org commit -qam 'A redirect and a property'
"""
JOURNALD = "/etc/systemd/journald.conf.d/idr.conf"
SERVING = """
readlink /srv/idr/current
find /etc/idr/pillar /etc/salt -type f -printf '%p %T@\\n' | sort
ls /var/log/idr/deploys
"""


def run(lab, function, *words):
    """`salt-run environment.FUNCTION idr …` at the seat: its exit code and its answer."""
    done = lab.outside(
        ".venv/bin/salt-run", "--out=json", f"environment.{function}", "idr", *words, check=False, seconds=900
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])


def redirect(lab):
    return lab.get("/idr-was-here").headers.get("location", "")


def search_batch(lab, server):
    """The property as it is in force; the server's default is 5000."""
    return lab.sh(server, "omero config get omero.search.batch")


@pytest.fixture(scope="module")
def before(lab):
    """The deployed commit, which the seat's checkout and the servers are brought back to, whatever happened."""
    commit = lab.outside("git", "rev-parse", "HEAD").stdout.strip()
    yield commit
    lab.outside("git", "reset", "-q", "--hard", commit)
    lab.operator("salt-run", "environment.update", "idr", "apply=True", f"commit={commit}")
    assert lab.sh("idr-proxy", "readlink /srv/idr/current") == f"/srv/idr/releases/{commit}"


@pytest.fixture(scope="module")
def after(lab, before):
    """A commit that changes a redirect and a property of OMERO, at the seat."""
    lab.outside("sh", "-ec", EDIT)
    return lab.outside("git", "rev-parse", "HEAD").stdout.strip()


def added(diff):
    return [line for line in diff.splitlines() if re.match(r"[+-](?![+-]|$)", line)]


def test_the_plan_is_exactly_what_the_commit_changes_and_changes_nothing(lab, after):
    serving = lab.sh("idr-proxy", SERVING)

    code, plan = run(lab, "update")

    assert (code, plan["commits"]) == (0, [f"{after[:12]} A redirect and a property"])
    assert [line.split(",")[0] for line in plan["plan"]] == [f"idr-proxy: install commit {after[:12]}"]
    proxy, *omeros = (plan["changes"].pop(server) for server in ("idr-proxy", "idr-omero", "idr-a-omero"))
    assert plan["changes"] == {}
    assert sorted(proxy) == ["nginx serves the site", "the proxy's configuration is in place"]
    assert added(proxy["the proxy's configuration is in place"]) == [
        r'+        "~^/idr\-was\-here(?:\?|$)" "/about/";',
    ]
    for omero in omeros:
        assert sorted(omero) == ["OMERO.server runs", "OMERO.server's configuration is this"]
        assert added(omero["OMERO.server's configuration is this"]) == ["+config set -- omero.search.batch 4999"]
    assert lab.sh("idr-proxy", SERVING) == serving
    assert redirect(lab) != "/about/" and search_batch(lab, "idr-omero") != "4999"


@pytest.mark.parametrize(
    ("make", "words", "undo", "problem"),
    [
        ("touch salt/stray.sls", (), "rm salt/stray.sls", "salt/stray.sls isn't committed"),
        ("git checkout -q HEAD~2", (), "git checkout -q main", "isn't a descendant of the deployed"),
        ("true", ("commit=0123abc",), "true", "commit=0123abc: this checkout is at"),
    ],
    ids=["dirty", "no descendant", "another name"],
)
def test_what_may_not_be_deployed_is_refused_in_one_line(lab, after, make, words, undo, problem):
    serving = lab.sh("idr-proxy", SERVING)
    lab.outside("sh", "-ec", make)
    try:
        code, refusal = run(lab, "update", "apply=True", *words)
    finally:
        lab.outside("sh", "-ec", undo)

    assert code == 1
    [line] = refusal["problems"]
    assert problem in line and "\n" not in line
    assert lab.sh("idr-proxy", SERVING) == serving


def test_it_is_carried_to_the_servers(lab, after):
    code, done = run(lab, "update", "apply=True")

    assert code == 0, done
    assert sorted(done["changed"]) == ["idr-a-omero", "idr-omero", "idr-proxy"]
    assert redirect(lab) == "/about/"
    for server in ("idr-omero", "idr-a-omero"):
        assert search_batch(lab, server) == "4999"


def test_a_hand_edit_shows_as_drift(lab, after):
    lab.sh("idr-a-database", f"echo '# by hand' >> {JOURNALD}")

    code, seen = run(lab, "show")

    assert code == 0, "drift alone isn't being down"
    assert (seen["commit"], seen["compared"], seen["down"]) == (after, "this checkout's", [])
    drift = {id_: server["drift"] for id_, server in seen["servers"].items()}
    assert drift.pop("idr-a-database") == ["the journal is kept on disk", "journald keeps to it"]
    assert drift == dict.fromkeys(set(SERVERS) - {"idr-a-database"}, [])


def test_a_service_that_is_down_is_told_by_name_and_exit_code(lab):
    lab.sh("idr-a-dockermanager", "systemctl stop idr-firewall")
    try:
        code, seen = run(lab, "show", "drift=False")
    finally:
        lab.sh("idr-a-dockermanager", "systemctl start idr-firewall")

    assert (code, seen["down"]) == (1, ["idr-a-dockermanager: idr-firewall is inactive"])


def test_a_named_commit_takes_it_all_back_and_undoes_the_hand_edit(lab, before, after):
    lab.outside("git", "checkout", "-q", before)
    try:
        code, done = run(lab, "update", "apply=True", f"commit={before[:12]}")
    finally:
        lab.outside("git", "checkout", "-q", "main")

    assert code == 0, done
    assert sorted(done["changed"]) == ["idr-a-database", "idr-a-omero", "idr-omero", "idr-proxy"]
    assert "# by hand" not in lab.sh("idr-a-database", f"cat {JOURNALD}")
    assert redirect(lab) != "/about/" and search_batch(lab, "idr-omero") != "4999"
