"""Every server of both sides renders, on Debian 12 and the RHEL 9 family, and so does what the master orchestrates."""

import subprocess

import pytest
import yaml

ENVIRONMENT = "pillar/environments/idr.sls"


def servers():
    with open(ENVIRONMENT) as table:
        return list(yaml.safe_load(table)["environment"]["servers"])


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
@pytest.mark.parametrize("server", servers())
def test_a_role_renders(loaders, server, os_family):
    low = loaders(server, os_family=os_family).modules.state.show_lowstate()

    assert all(isinstance(chunk, dict) for chunk in low), low
    assert {"base.hosts", "firewall.running", "storage.mounted"} <= {chunk["__sls__"] for chunk in low}


@pytest.mark.parametrize("server", servers())
def test_the_firewall_is_one_that_nft_accepts(loaders, server, tmp_path):
    host = loaders(server)
    pillar = host.modules.pillar.items(unmask=True)
    rules = tmp_path / "firewall.nft"
    host.modules.cp.get_template(
        "salt://firewall/files/firewall.nft.j2", str(rules), server=pillar["server"], environment=pillar["environment"]
    )
    # twice: it replaces itself
    for _ in range(2):
        checked = subprocess.run(["unshare", "-n", "nft", "-f", str(rules)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
    assert ("9000" in rules.read_text()) == (server == "idr-proxy")


def test_a_deploy_renders_on_the_master(loaders):
    deploy = loaders("idr-proxy_master").modules.state.show_sls("orch.deploy")

    assert list(deploy)[0] == "Everything is ready for a deploy of idr", deploy
    databases = deploy["Databases first, since OMERO waits for them"]["salt"]
    assert databases[0] == {"tgt": ["idr-a-database", "idr-database"]}
