import copy
import re
import uuid

import pytest
import yaml

from idr import topology
from idr.errors import Refused
from tests.tables import IDR, REPO, cases, laid_over

RAW = yaml.safe_load((REPO / "tests/cases/topology_environment.yaml").read_text())


@pytest.mark.parametrize("case", cases("topology"))
def test_a_rule_broken_is_told_with_its_place(case):
    with pytest.raises(Refused) as refused:
        topology.parse(laid_over(copy.deepcopy(RAW), case["change"]), "idr")

    assert refused.value.problems == case["problem"]


def test_the_environment_of_the_lab_without_a_cloud():
    assert IDR.proxy.id == "idr-proxy"
    assert str(IDR.proxy.addresses["idr-a"]) == "192.168.2.10"
    assert str(IDR.servers["idr-a-database"].address) == "192.168.2.12"
    assert IDR.servers["idr-omero"].volumes[0].mount == "/data"


def test_further_servers_are_entries():
    raw = copy.deepcopy(RAW)
    servers = raw["environment"]["servers"]
    servers["idr-management"] = {"role": "management", "addresses": {"idr": "192.168.1.30"}, "volumes": []}
    for id_, address in (("idr-a-omero2", "192.168.2.31"), ("idr-a-omero10", "192.168.2.32")):
        volume = {"name": f"{id_[4:]}-data", "mount": "/data", "size_gb": 1, "uuid": f"{uuid.uuid4()}"}
        servers[id_] = {"role": "omero", "addresses": {"idr-a": address}, "volumes": [volume]}

    read = topology.parse(raw, "idr").servers

    assert {id_: read[id_].prefix for id_ in ("idr-management", "idr-a-omero2", "idr-a-omero10")} == {
        "idr-management": "idr",
        "idr-a-omero2": "idr-a",
        "idr-a-omero10": "idr-a",
    }
    assert read["idr-a-omero10"].volumes[0].name == "a-omero10-data"


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
        ("environment: [", "here line 1: expected the node content, but found '<stream end>'"),
        ("environment:\n  name: broken\n  name: broken\n", "here line 3: name is there twice"),
        ("", "here: the table: has to be a mapping, not None"),
    ],
)
def test_a_text_that_is_no_such_yaml(text, problem):
    with pytest.raises(Refused) as refused:
        topology.read("broken", text, "here")

    assert refused.value.problems == [problem]


def test_what_an_environment_is_made_of_by_default_is_called_as_its_roles_demand():
    text = (REPO / "pillar/environment_defaults.sls").read_text()
    declared = yaml.safe_load(re.sub(r"\bENV\b", "prod42", text))

    names = {}
    for id_, server in declared["servers"].items():
        assert topology.prefix_of(id_, server["role"], "prod42"), topology.wrong_name(server["role"], "prod42")
        assert server["flavour"] in declared
        for volume in server["volumes"]:
            assert volume["name"] == topology.volume_of(id_, server["role"], "prod42")[0]
            names[volume["name"]] = volume
    assert len(declared["servers"]) == len(names) == 6
    assert all(volume.get("source", "omero-data") in names for volume in names.values())
