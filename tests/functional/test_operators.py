"""Accounts of operators, made for real where nobody else sees them."""

import os
import subprocess

import pytest
import yaml

from tests.functional.privately import private_mounts, shadow
from tests.tables import REPO

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts")

KEYS = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc0zQY0w8iKs1m1U1iFzGx5o0bQ8bW1m3v0fJ0XkQ8e ada@desk"]
# one that is always there, and every one of this repository's pillar
OPERATORS = {
    "ada": {"fullname": "Ada of the IDR", "uid": 5101, "ssh_keys": KEYS},
    **yaml.safe_load((REPO / "pillar/common.sls").read_text())["base"]["operators"],
}


@pytest.fixture
def apply(loaders, tmp_path):
    """Apply base.operators as one site's pillar has it, in a world without anything that another test made."""
    server = loaders("idr-database")

    def apply_with(**base):
        done = server.modules.state.apply("base.operators", pillar={"base": base})
        assert isinstance(done.raw, dict), done.raw
        return [state for state in done.raw.values() if not state["result"]], [
            state["__id__"] for state in done.raw.values() if state["changes"]
        ]

    with private_mounts():
        shadow(tmp_path / "shadow", "/etc", "/home")
        yield apply_with


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_comes_in_by_key_may_act_as_root_and_leaves(apply, name):
    operator = OPERATORS[name]
    uid, here = operator["uid"], {name: operator}

    failed, changed = apply(operators=here, former_operators=[])
    assert not failed, failed
    assert f"{name} has an account" in changed
    with open(f"/home/{name}/.ssh/authorized_keys") as keys:
        assert keys.read().split() == " ".join(operator["ssh_keys"]).split()
    assert "(ALL) NOPASSWD: ALL" in subprocess.run(["sudo", "-l", "-U", name], capture_output=True, text=True).stdout
    assert apply(operators=here, former_operators=[]) == ([], [])

    failed, changed = apply(operators={}, former_operators=[name, "nobody-ever"])
    assert not failed, failed
    assert not os.path.exists(f"/home/{name}/.ssh/authorized_keys")
    with open("/etc/passwd") as accounts:
        assert f"{name}:x:{uid}:{uid}:{operator['fullname']}:/home/{name}:/usr/sbin/nologin\n" in accounts.read()
    with open("/etc/sudoers.d/idr-operators") as rules:
        assert name not in rules.read()
    assert apply(operators={}, former_operators=[name, "nobody-ever"]) == ([], [])
