"""The OpenSSH configuration, as OpenSSH reads it."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from idr import ssh_config
from tests.tables import IDR


@pytest.fixture
def ssh(tmp_path):
    """What `ssh -G` makes of a host, by option in lower case."""

    def read(host, user=None):
        (tmp_path / "idr.conf").write_text(ssh_config.text(IDR, Path("/site"), user) + "\n")
        (tmp_path / "config").write_text(f"Include {tmp_path}/idr.conf\n")
        command = ["ssh", "-G", "-F", tmp_path / "config", host]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(line.partition(" ")[::2] for line in said.stdout.splitlines())

    return read


@pytest.mark.parametrize("server", IDR.servers)
def test_every_server_is_reached_under_its_own_host_key_and_the_inner_ones_through_the_proxy(ssh, server):
    read = ssh(server, "ada")

    assert (read["user"], read["hostkeyalias"], read["stricthostkeychecking"]) == ("ada", server, "true")
    if server == "idr-proxy":
        assert read["hostname"] == "198.51.100.10" and "proxyjump" not in read
    else:
        assert read["hostname"] == str(IDR.servers[server].address) and read["proxyjump"] == "idr-proxy"
    assert read["userknownhostsfile"].endswith("/.ssh/known_hosts /site/known_hosts")
    assert "localforward" not in read


@pytest.mark.parametrize(
    ("tunnel", "server", "forward"),
    [
        ("idr-tunnel-cache-refresh", "idr-proxy", "9000 [localhost]:9000"),
        ("idr-tunnel-omero-web", "idr-omero", "8080 [localhost]:80"),
        ("idr-a-tunnel-omero-web", "idr-a-omero", "8080 [localhost]:80"),
        ("idr-tunnel-database", "idr-database", "5432 [localhost]:5432"),
        ("idr-a-tunnel-database", "idr-a-database", "5432 [localhost]:5432"),
        ("idr-a-tunnel-jupyterhub", "idr-a-dockermanager", "8000 [localhost]:8000"),
    ],
)
def test_a_tunnel_is_a_host_named_after_its_use(ssh, tunnel, server, forward):
    read = ssh(tunnel)

    assert (read["hostkeyalias"], read["localforward"], read["exitonforwardfailure"]) == (server, forward, "yes")


def test_without_a_user_it_is_ones_own(ssh):
    import getpass

    assert ssh("idr-omero")["user"] == getpass.getuser()


def test_the_tunnels_of_a_second_server_have_its_number():
    second = replace(IDR.servers["idr-a-omero"], id="idr-a-omero2")
    text = ssh_config.text(replace(IDR, servers={**IDR.servers, second.id: second}), Path("/site"))

    assert re.findall("^Host (.*-tunnel-omero-web.*)$", text, re.MULTILINE) == [
        "idr-tunnel-omero-web",
        "idr-a-tunnel-omero-web",
        "idr-a-tunnel-omero-web2",
    ]
