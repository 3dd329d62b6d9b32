"""What the cloud's servers are made of, as far as it can be said without one: their hosts' files, disks and ports."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from lab import firstboot, hosts, machines, volumes
from lab.cloud.drivers import ports
from lab.shell import LabError

UUID = "6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a03"


@pytest.fixture
def off(tmp_path, monkeypatch):
    """The directory of a host that was started with one disk and is off now."""
    monkeypatch.setattr(hosts, "is_on", lambda directory: False)
    monkeypatch.setattr(volumes, "detach", lambda path: None)
    disk = {"file": "/v/one", "device": "/dev/loop1", "name": "vdb", "serial": "one"}
    said = {"hostname": "idr-omero", "netns": "idrlab-x", "machine": "idrlab-x", "group": "idrlab/x", "limits": True,
            "layers": ["/omero", "/base"], "directories": {"/root/.cache": "/cache"}, "volumes": [disk]}  # fmt: skip
    (tmp_path / "host.json").write_text(json.dumps(said))
    return tmp_path


def test_a_host_is_known_as_it_was_started(off):
    assert hosts.known(off) == hosts.Host(
        off, "idr-omero", "idrlab-x", (Path("/omero"), Path("/base")), (hosts.Disk(Path("/v/one"), "vdb", "one"),),
        {"/root/.cache": Path("/cache")}, limits=True)  # fmt: skip


def test_a_host_that_was_never_started_is_not_known(tmp_path):
    assert hosts.known(tmp_path) is None


def test_a_disk_attached_while_a_host_is_off_is_there_at_its_next_boot(off):
    two = hosts.Disk(Path("/v/two"), "vdc", "two")
    hosts.attach(off, two)
    hosts.attach(off, two)
    assert [disk.name for disk in hosts.known(off).disks] == ["vdb", "vdc"]
    hosts.detach(off, "one")
    hosts.detach(off, "one")
    assert hosts.known(off).disks == (two,)
    assert os.listdir(off) == ["host.json"]


def test_two_disks_of_a_host_never_have_one_name(off):
    with pytest.raises(LabError, match="idr-omero has another volume at /dev/vdb"):
        hosts.attach(off, hosts.Disk(Path("/v/two"), "vdb", "two"))
    assert [disk.serial for disk in hosts.known(off).disks] == ["one"]


def test_a_disk_that_a_running_host_holds_is_not_taken_from_it(off, monkeypatch):
    monkeypatch.setattr(hosts, "is_on", lambda directory: True)
    monkeypatch.setattr(volumes, "is_held", lambda path: True)
    with pytest.raises(LabError, match="idr-omero has /dev/vdb mounted or else in use"):
        hosts.detach(off, "one")
    assert [disk.serial for disk in hosts.known(off).disks] == ["one"]


def test_a_new_server_shows_its_host_keys_on_its_console_as_cloud_init_does(tmp_path):
    firstboot.seed(tmp_path / "upper", "idr-proxy", "ssh-ed25519 AAAA operator\n")
    firstboot.show_host_keys(tmp_path / "upper", tmp_path / "console.log")
    first, *keys, last = (tmp_path / "console.log").read_text().splitlines()
    assert (first, last) == ("-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----")
    assert [tuple(line.split()[:2]) for line in keys] == firstboot.host_keys(tmp_path / "upper")
    assert {line.split()[2] for line in keys} == {"root@idr-proxy"}


def test_what_differs_in_a_cloud_is_not_in_other_hosts(tmp_path):
    firstboot.seed(tmp_path / "alone", "a", None)
    firstboot.seed(tmp_path / "cloud", "a", None, resolvers=["192.0.2.53"], clones=True)
    helper = Path("usr/sbin/mount.xfs")
    assert not (tmp_path / "alone" / helper).exists()
    assert stat.S_IMODE((tmp_path / "cloud" / helper).stat().st_mode) == 0o755
    assert (tmp_path / "cloud/etc/resolv.conf").read_text().startswith("nameserver 192.0.2.53\noptions ")


def test_user_data_may_name_further_keys():
    config = b"#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAA one, ssh-ed25519 BBBB two]\n"
    assert firstboot.further_keys(base64.b64encode(config)) == ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"]
    assert firstboot.further_keys(None) == []


@pytest.mark.parametrize("text", [b"#!/bin/sh\n", b"#cloud-config\npackages: [x]\n", b"#cloud-config\n- a\n", b"\xff"])
def test_user_data_that_the_lab_would_ignore_is_refused(text):
    with pytest.raises(LabError, match="of user data the lab's servers take a cloud-config of ssh_authorized_keys"):
        firstboot.further_keys(base64.b64encode(text))


@pytest.mark.parametrize(("name", "metadata", "role"), [
    ("newidr-a-dockermanager", {"idr_role": "dockermanager"}, "dockermanager"),
    ("newidr-management", {"idr_role": "omero"}, "omero"),
    ("idr-a-omero", {}, "omero"),
    ("try", {}, "try"),
])  # fmt: skip
def test_a_server_s_role_is_its_metadata_s_or_in_its_name(name, metadata, role):
    assert machines.role_of(name, metadata) == role


def test_a_server_boots_from_what_the_lab_prepared_for_its_role(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "LAYERS", tmp_path / "layers.json")
    (tmp_path / "layers.json").write_text('{"": ["/base"], "omero": ["/omero", "/base"]}')
    assert machines.prepared("omero") == (Path("/omero"), Path("/base"))
    assert machines.prepared("proxy") == (Path("/base"),)


def vif(port, **more):
    subnet = {"cidr": "192.168.1.0/24", "ips": [{"address": "192.168.1.7"}], "routes": [], "dns": [],
              "gateway": {"address": "192.168.1.1"}, **more}  # fmt: skip
    return {"id": port, "address": "fa:16:3e:00:00:01", "network": {"meta": {"mtu": 1442}, "subnets": [subnet]}}


def test_only_the_first_port_s_gateway_is_the_way_out():
    routed = [{"cidr": "10.0.0.0/8", "gateway": {"address": "192.168.1.9"}}]
    one, two = ports.read([vif(UUID), vif(UUID, routes=routed)])
    assert one.routes == (("default", "192.168.1.1"),)
    assert two.routes == (("10.0.0.0/8", "192.168.1.9"),)
    assert one.addresses == ("192.168.1.7/24",)


def test_a_cable_has_a_name_that_the_kernel_takes():
    (port,) = ports.read([vif(UUID)])
    assert port.cable == "tap6c1f0a52-0b" and len(port.cable) <= 15


def test_a_server_without_ports_has_none():
    assert ports.read(None) == []
