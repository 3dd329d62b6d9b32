"""Where an environment's table comes from: the operator's directory, the cloud, or the master's own pillar."""

import sys
from types import SimpleNamespace

import pytest
import yaml

from idr import table
from idr.errors import IdrError, Refused
from tests.tables import BY_HAND, IDR, REPO

TEXT = BY_HAND.read_text()


@pytest.fixture
def cloud(monkeypatch):
    """What the cloud says of an environment, or raises; nobody may ask it unless a test says so."""
    said = []

    def environment(name):
        if isinstance(said[0], Exception):
            raise said[0]
        assert name == "idr"
        return said[0]

    monkeypatch.setitem(sys.modules, "idr.cloud", SimpleNamespace(described=SimpleNamespace(environment=environment)))
    return said


def refusal(name, folder):
    with pytest.raises(Refused) as refused:
        table.of_operator(name, folder)
    return refused.value.problems


def test_servers_made_by_hand_go_before_the_cloud_and_to_the_master_as_they_are_written(tmp_path, cloud):
    (tmp_path / "environment.sls").write_text(TEXT)

    assert table.of_operator("idr", tmp_path) == (IDR, TEXT)


def test_a_table_of_the_cloud_is_text_that_is_read_and_the_same_each_time(tmp_path, cloud):
    cloud.append(yaml.safe_load(TEXT))
    environment, text = table.of_operator("idr", tmp_path / "none")
    servers = cloud[0]["environment"]["servers"]
    cloud[0]["environment"]["servers"] = dict(reversed(servers.items()))

    assert environment == IDR
    assert table.of_operator("idr", tmp_path / "none") == (environment, text)
    assert text.startswith("# The servers of idr, as the cloud described them")
    assert "    idr-omero:\n      addresses: {idr: 192.168.1.11}\n      role: omero\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_what_the_cloud_has_only_in_part_is_told_with_its_place(tmp_path, cloud):
    cloud.append(yaml.safe_load(TEXT))
    del cloud[0]["environment"]["servers"]["idr-proxy"], cloud[0]["environment"]["public"]["address"]

    assert refusal("idr", tmp_path) == [
        "idr in the cloud: environment.public.address: missing",
        "idr in the cloud: environment.servers.idr-proxy: missing: it is the way in, and the master",
    ]


@pytest.mark.parametrize("said", [IdrError("no server of it"), Refused(["no server of it"])])
def test_servers_that_neither_knows_are_a_line_that_names_both(tmp_path, cloud, said):
    cloud.append(said)

    assert refusal("idr", tmp_path) == [
        f"idr: there is no {tmp_path}/environment.sls, which would say where servers made by hand are, "
        "and the cloud doesn't say it: no server of it"
    ]


def test_a_table_that_is_broken_is_not_made_up_for_by_the_cloud(tmp_path, cloud):
    (tmp_path / "environment.sls").write_text(TEXT.replace("198.51.100.10", "198.51.100.256"))

    assert refusal("idr", tmp_path) == [
        f"{tmp_path}/environment.sls: environment.public.address: has to be an IPv4 address, not '198.51.100.256'"
    ]


def test_a_table_that_can_not_be_read(tmp_path, cloud):
    (tmp_path / "environment.sls").mkdir()

    assert refusal("idr", tmp_path) == [f"{tmp_path}/environment.sls: can't be read: Is a directory"]


@pytest.mark.parametrize("name", ["../idr", "idr.sls", "idr-a", "Idr", "", 7])
def test_a_name_of_no_environment_asks_nobody(tmp_path, cloud, name):
    assert refusal(name, tmp_path) == [
        f"{name}: no name of an environment, which is of small letters and digits, e.g. newidr"
    ]


def test_a_master_reads_what_its_pillar_is_made_from(tmp_path):
    (tmp_path / "environment.sls").write_text(TEXT)
    opts = {"idr_environment": "idr", "pillar_roots": {"base": [str(REPO / "pillar"), str(tmp_path)]}}

    assert table.of_master(opts) == IDR
