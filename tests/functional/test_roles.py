"""Every server of both sides renders, on Debian 12 and the RHEL 9 family, and so does what the master orchestrates."""

import subprocess

import pytest
import yaml
from saltfactories.utils.functional import Loaders

from tests.functional.conftest import minion_opts
from tests.tables import BY_HAND, IDR


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
@pytest.mark.parametrize("server", IDR.servers)
def test_a_role_renders(loaders, server, os_family):
    low = loaders(server, os_family=os_family).modules.state.show_lowstate()

    assert all(isinstance(chunk, dict) for chunk in low), low
    assert {"base.hosts", "firewall.running", "storage.mounted"} <= {chunk["__sls__"] for chunk in low}


def test_a_further_server_renders(repo, tmp_path):
    """A second OMERO and a management server are entries of the table, and no code."""
    table = yaml.safe_load(BY_HAND.read_text())
    servers = table["environment"]["servers"]
    servers["idr-omero2"] = {
        "role": "omero",
        "addresses": {"idr": "192.168.1.31"},
        "volumes": [
            {"name": "omero2-data", "mount": "/data", "size_gb": 1, "id": "0f3c9a11-5b7e-4d20-9c41-8a6de2b0f777"}
        ],
    }
    servers["idr-management"] = {"role": "management", "addresses": {"idr": "192.168.1.30"}, "volumes": []}
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/environment.sls").write_text(yaml.safe_dump(table))
    rendered = {}
    for id_ in ("idr-omero2", "idr-management", "idr-proxy_master"):
        (tmp_path / id_).mkdir()
        opts = minion_opts(repo, tmp_path / id_, id_)
        opts["pillar_roots"]["base"].insert(0, str(tmp_path / "pillar"))
        state = Loaders(opts, loaded_base_name=f"further_{id_}").modules.state
        rendered[id_] = state.show_sls("orch.deploy") if id_.endswith("_master") else state.show_lowstate()

    sls = {id_: {chunk["__sls__"] for chunk in rendered[id_]} for id_ in ("idr-omero2", "idr-management")}
    assert {"omero_server.running", "base.hosts", "firewall.running"} <= sls["idr-omero2"]
    assert {name.partition(".")[0] for name in sls["idr-management"]} == {"base", "firewall", "salt_minion", "storage"}
    assert [step for step, chunk in rendered["idr-proxy_master"].items() if "idr-management" in str(chunk)] == [
        "Every server has this release's modules",
        "Every server has this release's states",
        "OMERO of both sides, Docker for the analysis side's users, and what nothing waits for",
    ]


@pytest.mark.parametrize("server", IDR.servers)
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
