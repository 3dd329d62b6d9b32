"""What of the lab can be tested without one: what it reads, what it would start, and how it waits."""

import json

import pytest

from lab import base, egress, hosts, keeper, leftovers, topology, volumes
from lab.shell import LabError, wait_until


@pytest.fixture(scope="module")
def here():
    return topology.read()


def test_the_lab_is_the_environment_of_pillar_and_a_seat(here):
    assert [server.name for server in here.servers] == [
        "idr-proxy", "idr-omero", "idr-database", "idr-a-omero", "idr-a-database", "idr-a-dockermanager",
    ]  # fmt: skip
    assert here.machines[-1].addresses == {"out": "198.51.100.2"}
    assert here.proxy.addresses == {"idr": "192.168.1.10", "idr-a": "192.168.2.10"}


def test_a_volume_shows_as_much_of_its_id_as_virtio_does(here):
    for server in here.servers:
        for volume in server.volumes:
            assert volume.id.startswith(volume.serial) and len(volume.serial) == 20


def test_volumes_are_told_apart_by_what_virtio_shows_within_a_server(here):
    for server in here.servers:
        assert len({volume.serial for volume in server.volumes}) == len(server.volumes)


def test_every_cable_has_a_name_of_its_own_that_the_kernel_takes(here):
    names = [topology.port_name(f"idrlab-{machine.name}", f"eth{number}")
             for machine in here.machines for number in range(len(machine.addresses))]
    assert len(set(names)) == len(names) and max(map(len, names)) <= 15


def test_an_unknown_host_is_refused_with_the_names_there_are(here):
    with pytest.raises(LabError, match="no host idr-omreo: it is one of idr-proxy, .*seat"):
        here.machine("idr-omreo")


def test_a_production_address_that_the_outside_network_hasn_t_is_refused(tmp_path):
    pillar = tmp_path / "other.sls"
    pillar.write_text("environment: {name: x, public: {name: x, address: 203.0.113.9}, networks: {}, servers: {}}")
    with pytest.raises(LabError, match="made for the production address 198.51.100.10"):
        topology.read(pillar)


@pytest.mark.parametrize(("line", "usable"), [
    ("nameserver 192.0.2.53", True),
    ("nameserver 127.0.0.53", False),
    ("nameserver fe80::1%eth0", False),
    ("nameserver", False),
    ("search example.org", False),
])  # fmt: skip
def test_only_a_resolver_that_hosts_reach_is_given_to_them(line, usable):
    assert egress.is_resolver(line) is usable


def test_images_are_made_of_this_debian_s_own_packages_only(monkeypatch):
    monkeypatch.setattr(base, "codename", lambda: "bookworm")
    monkeypatch.setattr(base, "run", lambda *_: "\n".join([
        "Debian|http://mirror.example/debian/|bookworm|main",
        "Debian|http://mirror.example/debian-security/|bookworm-security|main",
        "Debian|http://mirror.example/debian/|bookworm|main",
        "Debian|http://mirror.example/debian/|trixie|main",
        "Somebody|http://packages.example/|bookworm|main",
    ]))  # fmt: skip
    assert base.sources() == [
        "deb http://mirror.example/debian-security/ bookworm-security main",
        "deb http://mirror.example/debian/ bookworm main",
    ]


def test_without_package_lists_there_is_a_next_step(monkeypatch):
    monkeypatch.setattr(base, "run", lambda *_: "")
    with pytest.raises(LabError, match="apt-get update"):
        base.sources()


def test_a_host_sees_each_volume_by_device_and_by_id():
    host = {"machine": "idrlab-idr-omero", "hostname": "idr-omero", "directories": {"/root/.cache": "/var/cache/x"},
            "volumes": [{"device": "/dev/loop3", "name": "vdb", "serial": "6c1f0a52-0b57-4bd0-8"}]}
    command = keeper.nspawn(host, "/root")
    assert "--bind=/dev/loop3:/dev/vdb" in command
    assert "--bind=/dev/loop3:/dev/disk/by-id/virtio-6c1f0a52-0b57-4bd0-8" in command
    assert "--bind=/var/cache/x:/root/.cache" in command


def test_loop_devices_are_found_by_what_is_behind_them(monkeypatch, tmp_path):
    monkeypatch.setattr(volumes, "run", lambda *_: json.dumps({"loopdevices": [
        {"name": "/dev/loop1", "back-file": f"{tmp_path}/one"},
        {"name": "/dev/loop2", "back-file": f"{tmp_path}/two (deleted)"},
        {"name": "/dev/loop3", "back-file": f"{tmp_path}-of-others/one"},
        {"name": "/dev/loop4", "back-file": None},
    ]}))  # fmt: skip
    assert volumes.devices(tmp_path / "one") == ["/dev/loop1"]
    assert volumes.devices(tmp_path) == ["/dev/loop1", "/dev/loop2"]


def test_a_host_that_was_never_started_is_off(tmp_path):
    assert hosts.state(tmp_path / "nobody") == "off"
    with pytest.raises(LabError, match="nobody is off: lab/ctl up"):
        hosts.inside(tmp_path / "nobody", "true")


@pytest.mark.parametrize(("line", "ours"), [
    ("1 2 0:3 / /run/netns/idrlab-net rw - nsfs nsfs rw", True),
    ("1 2 0:3 / / rw - overlay idrlab-seat rw", True),
    ("1 2 0:3 / /var/lib/idr-lab/hosts/seat/root rw - overlay x rw", True),
    ("1 2 0:3 / /srv rw - ext4 /dev/vda rw", False),
])  # fmt: skip
def test_mounts_of_the_lab_are_known_by_their_names(line, ours):
    assert leftovers.is_mount_of_the_lab(line) is ours


def test_waiting_ends_when_it_is_so():
    answers = iter([False, False, True])
    wait_until("it is so", lambda: next(answers), 5, every=0)


def test_waiting_is_bounded_and_says_for_what():
    with pytest.raises(LabError, match="it is so: not so after 0.01 s"):
        wait_until("it is so", lambda: False, 0.01, every=0)


def test_waiting_ends_at_once_when_it_is_pointless():
    with pytest.raises(LabError, match="it is so: the host is off"):
        wait_until("it is so", lambda: False, 60, lambda: "the host is off")
