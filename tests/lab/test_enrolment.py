"""Enrolment at the operator's seat: what it refuses, all at once, with an unchanged world; and what it finds again."""

import json

import pytest

from .conftest import until

MASTER = "/etc/salt/pki/master"
PLACES = "/etc/salt /etc/idr /etc/systemd/system /opt/salt* /srv/idr"
WORLD = f"find {PLACES} -not -path '*/__pycache__*' -printf '%p %m %T@ %l\\n' | sort | sha256sum"
SOME = ("idr-proxy", "idr-omero", "idr-a-database")


def world(lab):
    """What enrolment could have changed on a server of each kind."""
    return {server: lab.sh(server, WORLD) for server in SOME}


def enrol(lab, *words, home=None):
    """`salt-run environment.enrol idr` at the seat; returns its exit code and its answer."""
    place = ["env", f"HOME={home}"] if home else []
    done = lab.outside(
        *place, ".venv/bin/salt-run", "--out=json", "environment.enrol", "idr", *words, check=False, seconds=900
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])


@pytest.fixture
def strangers(lab):
    """A key that nobody knows asks for itself, and once asked in the name of a server."""
    key = lab.sh("idr-proxy", f"cat {MASTER}/minions/idr-database")
    put = ("minions_pre/stranger", "minions_denied/idr-omero")
    for name in put:
        lab.exec("idr-proxy", "install", "-m", "600", "/dev/stdin", f"{MASTER}/{name}", stdin=key + "\n")
    yield
    for name in put:
        lab.exec("idr-proxy", "rm", f"{MASTER}/{name}")


@pytest.fixture
def home_that_knows_less(lab):
    """A home in which idr-a-omero's host key isn't known and idr-database's is idr-omero's."""
    home = "/tmp/knows-less"
    known = ".config/idr/idr/known_hosts"
    script = f"""umask 077; mkdir -p {home}; cp -a ~/.config {home}
        omero=$(grep '^idr-omero ssh-ed25519 ' ~/{known} | cut -d' ' -f2-)
        grep -v -e '^idr-a-omero ' -e '^idr-database ' ~/{known} > {home}/{known}
        echo "idr-database $omero" >> {home}/{known}"""
    lab.outside("bash", "-ec", script)
    yield home
    lab.outside("rm", "-r", home)


def test_again_it_changes_nothing(lab):
    before = world(lab)

    code, answer = enrol(lab, "apply=True")

    assert (code, answer["comment"]) == (0, "idr is enrolled: nothing to change")
    assert world(lab) == before


def test_strangers_and_unknown_host_keys_are_all_told_and_nothing_is_changed(lab, strangers, home_that_knows_less):
    before = world(lab)

    code, answer = enrol(lab, "apply=True", home=home_that_knows_less)

    assert code == 1
    problems = {problem.split(":")[0]: problem for problem in answer["problems"]}
    assert sorted(problems) == ["idr-a-omero", "idr-database", "idr-omero", "stranger"], answer
    assert "its SSH host key isn't known" in problems["idr-a-omero"]
    assert "its SSH host key is another than the known one" in problems["idr-database"]
    assert "(denied, " in problems["idr-omero"]
    assert "no server of idr, but the master has a key of that name (pending, " in problems["stranger"]
    assert world(lab) == before


def test_a_server_with_another_key_than_the_masters_is_told_by_both_fingerprints(lab):
    held = f"{MASTER}/minions/idr-a-database"
    key = lab.sh("idr-proxy", f"cat {held}")
    other = lab.sh("idr-proxy", f"cat {MASTER}/minions/idr-omero")
    lab.exec("idr-proxy", "tee", held, stdin=other + "\n")
    try:
        before = world(lab)
        code, answer = enrol(lab, "apply=True")
        assert code == 1
        [problem] = answer["problems"]
        assert problem.startswith("idr-a-database: the master has a key under its name (accepted, ")
        assert problem.endswith("If idr-a-database was remade, say so: replace=idr-a-database")
        assert world(lab) == before
    finally:
        lab.exec("idr-proxy", "tee", held, stdin=key + "\n")


def test_a_server_that_is_off_is_told_with_the_others(lab, strangers):
    lab.ctl("kill", "idr-a-dockermanager")
    try:
        code, answer = enrol(lab, "apply=True")
        assert code == 1
        assert any(problem.startswith("idr-a-dockermanager: unreachable by SSH: ") for problem in answer["problems"])
        assert any(problem.startswith("stranger: ") for problem in answer["problems"])
    finally:
        lab.ctl("up", "--bare")
    lab.wait_for_minions("idr-a-dockermanager")  # one that has just started hears nothing of what was asked before


def test_a_checkout_with_a_change_is_refused(lab):
    lab.outside("touch", "salt/stray.sls")
    try:
        code, answer = enrol(lab, "apply=True")
    finally:
        lab.outside("rm", "salt/stray.sls")
    assert code == 1
    assert answer["problems"][0].endswith(
        "salt/stray.sls isn't committed, and a commit is what is installed: commit it, or take it away"
    )


def test_a_changed_configuration_restarts_the_minion_after_the_run_and_the_run_ends_well(lab):
    before = lab.sh("idr-a-dockermanager", "systemctl show -p MainPID --value salt-minion")
    lab.sh("idr-a-dockermanager", "echo '# by hand' >> /etc/salt/minion")

    states = lab.salt("idr-a-dockermanager", "state.apply", "salt_minion.running")["idr-a-dockermanager"]

    assert all(state["result"] for state in states.values()), states
    assert "# by hand" not in lab.sh("idr-a-dockermanager", "cat /etc/salt/minion")
    until(lambda: lab.sh("idr-a-dockermanager", "systemctl show -p MainPID --value salt-minion") not in (before, "0"))
    lab.wait_for_minions("idr-a-dockermanager")  # one that has just started hears nothing of what was asked before


def test_what_is_secret_is_roots_alone(lab):
    assert lab.sh("idr-proxy", "find /etc/idr /var/log/idr /etc/salt/pki -maxdepth 0 -perm /077") == ""
    assert lab.sh("idr-proxy", "find /etc/idr /var/log/idr -perm /077") == ""
