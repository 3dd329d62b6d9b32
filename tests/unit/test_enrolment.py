import copy
from dataclasses import replace

import pytest
import salt.utils.crypt

from idr import enrolment
from tests.tables import IDR, cases

WANTED = enrolment.Wanted("c0ffee", "this salt", {"/etc/idr/pillar/site.sls": "{}\n"})


def key(name):
    """A public key as Salt writes them, told from others by NAME."""
    return f"-----BEGIN PUBLIC KEY-----\n{name}\n-----END PUBLIC KEY-----\n"


def keyed(value):
    """VALUE with every `KEY name` in it made a key."""
    if isinstance(value, dict):
        return {name: keyed(inner) for name, inner in value.items()}
    return key(value[4:]) if isinstance(value, str) and value.startswith("KEY ") else value


def enrolled(environment):
    """The facts of an environment that is enrolled completely."""
    facts = {}
    for server in environment.servers.values():
        asked = enrolment.questions(environment, server, WANTED)
        is_master = server == environment.proxy
        wanted = enrolment._files(environment, server, enrolment.finger(key("master")))
        files = {path: enrolment._state(text, mode) for path, (text, mode) in wanted.items()}
        files |= enrolment._links(is_master)
        files |= {path: f"directory {mode:04o}" for path, mode in enrolment._directories(is_master).items()}
        files |= {path: enrolment._state(text, 0o600) for path, text in WANTED.site.items() if is_master}
        assert files.keys() == set(asked["files"])
        nobody = {state: {} for state in ("pending", "rejected", "denied")}
        facts[server.id] = {
            "os": "debian 12",
            "python": True,
            "salt": WANTED.salt,
            "files": files,
            "key": key(server.id),
            "knows_master": key("master"),
            "units": {unit: {"enabled": True, "active": True, "current": True} for unit in asked["units"]},
            "master_key": key("master") if is_master else None,
            "keys": {"accepted": {id_: key(id_) for id_ in environment.servers} if is_master else {}, **nobody},
            "release": WANTED.commit if is_master else None,
            "unfit_credential": "",
            "secrets": {name: sorted(keys) for name, keys in enrolment.generated(environment).items()}
            if is_master
            else {},
        }
    return facts


def scene(case):
    """The environment, facts and wish of a case."""
    environment = IDR
    if "only" in case:
        environment = replace(IDR, servers={id_: IDR.servers[id_] for id_ in case["only"]})
    facts = enrolled(environment)
    for id_, change in case["there"].items():
        if change is None:
            del facts[id_]
            continue
        for name, value in keyed(copy.deepcopy(change)).items():
            if name == "files" and value is None:
                facts[id_]["files"] = dict.fromkeys(facts[id_]["files"])
            elif name in ("files", "secrets") and value:
                facts[id_][name] |= value
            elif name == "keys":
                for state, keys in value.items():
                    held = facts[id_]["keys"][state]
                    held.update(keys or {})
                    for other in [other for other in held if keys is None or keys.get(other, "") is None]:
                        del held[other]
            else:
                facts[id_][name] = value
    return environment, facts, replace(WANTED, replace=frozenset(case.get("replace", ())))


@pytest.mark.parametrize("case", cases("enrolment_steps"))
def test_steps(case):
    found = enrolment.steps(*scene(case))

    assert [[step.server, step.deed] + (["waits"] if step.asked is None else []) for step in found] == case["steps"]


@pytest.mark.parametrize("case", cases("enrolment_problems"))
def test_problems(case):
    found = enrolment.problems(*scene(case))

    assert len(found) == len(case["problems"]), found
    for line, beginning in zip(found, case["problems"], strict=True):
        assert line.startswith(beginning)


def test_a_refused_key_is_told_by_both_fingerprints_and_what_to_do():
    [line] = enrolment.problems(*scene({"there": {"idr-omero": {"key": "KEY new"}}}))

    assert enrolment.finger(key("idr-omero")) in line
    assert enrolment.finger(key("new")) in line
    assert line.endswith("If idr-omero was remade, say so: replace=idr-omero")


def test_a_step_never_shows_what_it_writes():
    _, facts, _ = scene({"there": {"idr-proxy": {"files": {"/etc/idr/pillar/site.sls": "another 0600"}}}})

    [step] = enrolment.steps(IDR, facts, replace(WANTED, site={"/etc/idr/pillar/site.sls": "key: hunter2\n"}))

    assert str(step) == "idr-proxy: write the site's own /etc/idr/pillar/site.sls"
    assert step.asked["files"] == {"/etc/idr/pillar/site.sls": ("key: hunter2\n", 0o600)}


def test_each_minion_is_given_the_master_of_its_own_network():
    minion = {id_: enrolment._files(IDR, server, "x")["/etc/salt/minion"][0] for id_, server in IDR.servers.items()}

    assert "master: 192.168.1.10\n" in minion["idr-omero"]
    assert "master: 192.168.2.10\n" in minion["idr-a-omero"]


def test_passwords_are_random_but_for_the_public_user_of_the_analysis_side():
    assert enrolment.generated(IDR) == {
        "idr/database": {"password": None, "readonly_password": None},
        "idr/omero": {"root_password": None, "public_password": None},
        "idr-a/database": {"password": None, "readonly_password": None},
        "idr-a/omero": {"root_password": None, "public_password": "public"},
        "idr-a/jupyterhub": {"api_token": None},
    }


def test_a_fingerprint_is_the_one_that_salt_compares(tmp_path):
    (tmp_path / "minion.pub").write_text(key("AAAA\nBBBB"))

    assert enrolment.finger(key("AAAA\nBBBB")) == salt.utils.crypt.pem_finger(str(tmp_path / "minion.pub"))
