"""What one reading of a cloud is, of the answers of real services (tests/cases/cloud_said.json)."""

import copy
import json
from types import SimpleNamespace

import pytest
from openstack.exceptions import HttpException

from idr import topology
from idr.cloud import described, inventory
from idr.errors import Refused
from tests import clouds
from tests.tables import REPO

SAID = json.loads((REPO / "tests/cases/cloud_said.json").read_text())
PROJECT = "1" * 32


@pytest.fixture
def said():
    return copy.deepcopy(SAID)


def facts(said):
    return inventory.of(said, "idr", PROJECT)


def test_whose_things_are_is_told_by_their_marks(said):
    found = facts(said)

    own = {kind: sorted(it.name for it in each if it.environment) for kind, each in found.things.items()}
    assert {kind: names for kind, names in own.items() if names} == {
        "network": ["newidr"],
        "subnet": ["newidr-subnet"],
        "router": ["newidr-router"],
        "interface": ["newidr-subnet"],
        "group": ["newidr", "newidr-bastion-external"],
        "rule": ["newidr"] * 3 + ["newidr-bastion-external"] * 3,
        "port": ["newidr-proxy-newidr"],
        "volume": ["newidr-proxy-nginxcache"],
        "attachment": ["newidr-proxy-nginxcache"],
        "server": ["newidr-proxy"],
        "address": ["198.51.100.22"],
    }
    assert {it.run for it in found.of("newidr", "server")} == {"20261124-050954-664f"}
    assert [it.name for it in found.all("network") if it.environment is None] == ["external"]


def test_a_mark_is_of_a_whole_name(said):
    for network in said["networks"]:
        network["description"] = network["description"].replace("environment newidr", "environment newidr2")

    assert not facts(said).of("newidr", "network") and facts(said).of("newidr2", "network")


def test_what_planning_compares(said):
    found = facts(said)

    (volume,) = found.of("newidr", "volume")
    assert (volume.what["use"], volume.what["size"], volume.what["status"]) == ("proxy-nginxcache", 100, "in-use")
    (server,) = found.of("newidr", "server")
    assert (server.what["flavor"], server.what["role"], server.what["status"]) == ("m1.small", "proxy", "ACTIVE")
    assert volume.what["attachments"][0]["server_id"] == server.id
    (router,) = found.of("newidr", "router")
    assert router.what["external_network_id"] == clouds.find(found, "network", "external").id
    (interface,) = found.of("newidr", "interface")
    assert interface.what["router_id"] == router.id
    (port,) = found.of("newidr", "port")
    assert port.what["device_id"] == server.id and len(port.what["security_group_ids"]) == 3
    assert found.of("newidr", "address")[0].what["port_id"] == port.id


def test_every_quota_is_read_and_reservations_are_used_up(said):
    said["network quota"]["quota"]["port"] = {"limit": 500, "used": 22, "reserved": 3}

    quotas = facts(said).quotas

    assert set(quotas) == set(clouds.QUOTAS)
    assert quotas["port"] == (500, 25)
    assert quotas["instances"] == (20, 12) and quotas["ram"] == (1048576, 24576) and quotas["key_pairs"] == (100, 1)
    assert quotas["gigabytes"] == (20000, 3320) and quotas["volumes"] == (50, 13) and quotas["snapshots"] == (50, 0)


def test_another_projects_things_are_not_there_though_an_administrator_sees_them(said):
    for what in ("networks", "subnets", "routers", "groups", "ports", "addresses"):
        said[what] += [{**it, "project_id": "2" * 32} for it in said[what] if not it.get("router:external")]

    assert facts(said) == facts(copy.deepcopy(SAID))


def test_a_long_list_is_read_to_its_end_and_a_failed_one_is_a_line():
    pages = {
        "http://nova/v2.1/servers/detail": {
            "servers": [1],
            "servers_links": [{"rel": "next", "href": "http://nova/2"}],
        },
        "http://nova/2": {"servers": [2]},
        "http://glance/v2/images?name=Debian+12": {"images": [3], "next": "/v2/images?marker=3"},
        "http://glance/v2/images?marker=3": {"images": [4]},
    }
    services = {"compute": "http://nova/v2.1", "image": "http://glance/v2"}
    config = SimpleNamespace(get_interface=lambda service: "public", get_region_name=lambda service: "lab")
    answer = {"raise_exc": False}
    session = SimpleNamespace(
        get_endpoint=lambda service_type, **_: services[service_type],
        get=lambda url, **how: (
            SimpleNamespace(status_code=200, json=lambda: pages[url], **how) if how == answer else None
        ),
    )
    connection = SimpleNamespace(session=session, config=config)

    assert inventory._read(connection, "p", "servers", {}) == [1, 2]
    assert inventory._read(connection, "p", "images", {"name": "Debian 12"}) == [3, 4]


def test_all_lists_that_can_not_be_had_are_told(monkeypatch):
    def read(connection, project, what, query):
        if what in ("servers", "volumes"):
            raise HttpException(message="down", http_status=503)
        return SAID[what]

    monkeypatch.setattr(inventory, "_read", read)
    connection = SimpleNamespace(session=SimpleNamespace(get_project_id=lambda: PROJECT))

    with pytest.raises(Refused) as refused:
        inventory.facts(connection)

    assert [line.split(":")[0] for line in refused.value.problems] == ["servers", "volumes"]


def test_the_table_of_an_environment_is_what_the_cloud_has_of_it(said):
    table = described.of(facts(said), "newidr", "idr.example.org")

    assert table == {
        "environment": {
            "name": "newidr",
            "public": {"name": "idr.example.org", "address": "198.51.100.22"},
            "networks": {"newidr": {"cidr": "192.168.1.0/24", "gateway": "192.168.1.1"}},
            "servers": {
                "newidr-proxy": {
                    "role": "proxy",
                    "addresses": {"newidr": "192.168.1.114"},
                    "volumes": [
                        {
                            "name": "proxy-nginxcache",
                            "mount": "/var/cache/nginx",
                            "size_gb": 100,
                            "id": "66d29371-e6c1-450d-956d-29d53ac5f15e",
                        }
                    ],
                }
            },
        }
    }
    topology.parse(table, "newidr")
    said["addresses"][0]["port_id"] = said["volumes"][0]["attachments"][0]["server_id"] = None
    table = described.of(facts(said), "newidr", "idr.example.org")["environment"]
    assert table["public"] == {"name": "idr.example.org"} and table["servers"]["newidr-proxy"]["volumes"] == []
