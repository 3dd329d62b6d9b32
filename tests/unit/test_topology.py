import copy

import pytest
import yaml

from idr import topology
from idr.errors import Refused
from tests.tables import REPO, cases, laid_over

RAW = yaml.safe_load((REPO / "tests/cases/topology_environment.yaml").read_text())


@pytest.mark.parametrize("case", cases("topology"))
def test_a_rule_broken_is_told_with_its_place(case):
    with pytest.raises(Refused) as refused:
        topology.parse(laid_over(copy.deepcopy(RAW), case["change"]), "idr")

    assert refused.value.problems == case["problem"]


def test_the_environment_as_it_is():
    environment = topology.read("idr")

    assert environment.proxy.id == "idr-proxy"
    assert str(environment.proxy.addresses["idr-a"]) == "192.168.2.10"
    assert str(environment.servers["idr-a-database"].address) == "192.168.2.12"
    assert environment.servers["idr-omero"].volumes[0].mount == "/data"


def test_a_server_made_by_hand_has_the_uuid_of_its_filesystem():
    raw = copy.deepcopy(RAW)
    volume = raw["environment"]["servers"]["idr-omero"]["volumes"][0]
    volume["uuid"] = volume.pop("id")

    assert topology.parse(raw, "idr").servers["idr-omero"].volumes[0].uuid == volume["uuid"]


def test_an_environment_without_its_optional_volumes():
    raw = copy.deepcopy(RAW)
    for server in ("idr-proxy", "idr-a-omero", "idr-a-database", "idr-a-dockermanager"):
        raw["environment"]["servers"][server]["volumes"] = []

    assert topology.parse(raw, "idr").servers["idr-a-omero"].volumes == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("environment: [", "broken.sls line 1: expected the node content, but found '<stream end>'"),
        ("environment:\n  name: broken\n  name: broken\n", "broken.sls line 3: name is there twice"),
        ("", "the file: has to be a mapping, not None"),
    ],
)
def test_a_file_that_is_no_such_yaml(tmp_path, text, problem):
    (tmp_path / "broken.sls").write_text(text)

    with pytest.raises(Refused) as refused:
        topology.read("broken", tmp_path)

    assert refused.value.problems == [problem]


@pytest.mark.parametrize("name", ["prod", "../environments/idr", "idr.sls", ""])
def test_a_name_of_no_environment(name):
    with pytest.raises(Refused) as refused:
        topology.read(name)

    assert refused.value.problems == [f"{name}: there is no environment of that name; there is idr"]
