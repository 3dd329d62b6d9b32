"""What is made of servers' answers for a person: what has to run and doesn't, and the table."""

import importlib.util

import pytest

from idr import show, topology
from tests.tables import REPO

spec = importlib.util.spec_from_file_location("environment_table", REPO / "_output/environment.py")
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)


def server(**kwargs):
    about = {"role": "omero", "address": "192.168.1.11", "up": True, "os": "debian 12", "versions": {"nginx": "1.22.1"},
             "services": {"nginx": "active"}, "drift": []}  # fmt: skip
    return {**about, **kwargs}


def shown(**servers):
    lines = [line for id_, one in servers.items() for line in show.down(id_, one)]
    return {"environment": "idr", "public": "https://idr.example.org/ (198.51.100.10)", "commit": "c0ffee" * 7,
            "compared": "this checkout's", "deploying": None, "servers": servers, "down": lines}  # fmt: skip


def test_a_unit_that_has_to_run_and_isnt_there_is_absent_whatever_its_version():
    found = {"postgresql-15.service": "active", "salt-minion.service": "active"}

    assert show.services("database", found) == {
        "postgresql-15": "active",
        "salt-minion": "active",
        "idr-firewall": "absent",
    }


def test_an_optional_unit_counts_only_where_it_is():
    found = dict.fromkeys(("docker.service", "salt-minion.service", "idr-firewall.service"), "active")

    assert show.down("x", server(services=show.services("dockermanager", found))) == []
    found["docker-jupyterhub.service"] = "failed"
    assert show.down("x", server(services=show.services("dockermanager", found))) == ["x: docker-jupyterhub is failed"]


def test_every_role_has_its_services_and_versions():
    assert show.SERVICES.keys() == show.VERSIONS.keys() == topology.ROLES.keys()


@pytest.mark.parametrize(
    ("one", "cell"),
    [
        (server(), "1 of 1    0      nginx 1.22.1"),
        (server(drift=["a", "b"]), "1 of 1    2      nginx 1.22.1"),
        (server(drift=None, why="idr-omero: no Salt"), "1 of 1    unknown  nginx 1.22.1"),
        (server(services={"nginx": "failed", "redis": "active"}, versions={"nginx": None}),
         "1 of 2    0      nginx unknown"),
    ],
    ids=["fine", "drifted", "no rehearsal", "down"],
)  # fmt: skip
def test_a_server_is_a_line_of_the_table(one, cell):
    [line] = [line for line in table.output(shown(**{"idr-omero": one})).splitlines() if "debian 12" in line]

    assert line.endswith(cell)


def test_what_is_wrong_is_told_below_the_table():
    text = table.output(
        shown(
            **{
                "idr-proxy": server(drift=["the journal is kept on disk", "journald keeps to it"]),
                "idr-omero": server(services={"omero-web": "failed"}),
                "idr-database": server(up=False, why="idr-database: unreachable by SSH: no route"),
            }
        )
    ).splitlines()

    assert text[-3:] == [
        "idr-proxy would change: the journal is kept on disk; journald keeps to it",
        "idr-omero: omero-web is failed",
        "idr-database: unreachable by SSH: no route",
    ]
    assert table.output(shown(**{"idr-omero": server()})).endswith("\neverything is up")


def test_without_rehearsals_drift_isnt_told_as_none():
    one = server()
    del one["drift"]

    assert "not asked" in table.output(shown(**{"idr-omero": one}))
