"""What of the lab can be tested without one: what it reads, what it would start, and how it waits."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from lab import archives, base, cgroups, downloads, egress, hosts, keeper, leftovers, machines, topology, volumes
from lab.jupyter import docker_archive, image
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


def test_only_a_host_that_limits_is_given_this_machine_s_controllers():
    host = {"machine": "x", "hostname": "x", "directories": {}, "volumes": []}
    memory = Path("/sys/fs/cgroup/memory")
    shown = ["--tmpfs=/sys/fs/cgroup", "--bind=/sys/fs/cgroup/memory/idrlab/x:/sys/fs/cgroup/memory"]
    assert not set(shown) & set(keeper.nspawn(host, "/root"))
    assert [word for word in keeper.nspawn(host, "/root", {memory: memory / "idrlab/x"}) if word in shown] == shown


def test_only_the_docker_server_limits(here, monkeypatch, tmp_path):
    monkeypatch.setattr(machines, "made_on", lambda directory: ())
    monkeypatch.setattr(machines, "directories", lambda name, role, directory: {})
    monkeypatch.setattr(volumes, "file_of", lambda volume: tmp_path)
    assert [m.name for m in here.machines if machines.host(m).limits] == ["idr-a-dockermanager"]


def test_a_limiting_host_has_its_own_groups_and_nothing_of_the_boot_before(tmp_path):
    """As files: the groups of version 2 down to the host's, and one hierarchy of version 1 with a group left in it."""
    group = tmp_path / "v2/idrlab/x"
    group.mkdir(parents=True)
    for directory in (group.parent.parent, group.parent, group):
        (directory / "cgroup.controllers").write_text("hugetlb memory pids")
    cpuset = tmp_path / "cpuset"
    (cpuset / "idrlab/x/docker/5d1").mkdir(parents=True)
    for name, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        (cpuset / name).write_text(value)
        (cpuset / "idrlab/x" / name).write_text("")
    assert keeper.let_limit(group, [cpuset]) == {cpuset: cpuset / "idrlab/x"}
    assert (group / "cgroup.subtree_control").read_text() == "+pids"   # the last of those it asks for
    assert not (cpuset / "idrlab/x/docker").exists()
    assert (cpuset / "idrlab/x/cpuset.cpus").read_text() == "0-1"


def test_a_group_that_version_2_no_longer_has_is_removed_from_the_other_hierarchies(tmp_path, monkeypatch):
    mounts = [f"cgroup {tmp_path}/memory cgroup rw,memory", f"cgroup2 {tmp_path}/v2 cgroup2 rw"]
    monkeypatch.setattr(cgroups, "_mounts", lambda: mounts)
    (tmp_path / "memory/idrlab/x/docker/5d1").mkdir(parents=True)
    (tmp_path / "memory/idrlab/y").mkdir()
    cgroups.end(tmp_path / "v2/idrlab/x")
    assert [path.name for path in (tmp_path / "memory/idrlab").iterdir()] == ["y"]


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
    ("1 2 7:0 / /var/lib/idr-lab rw - xfs /dev/loop0 rw", True),
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


@pytest.fixture
def system(tmp_path):
    """The root of a small system."""
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/usr/bin/true").write_text("#!/bin/sh\n")
    (tmp_path / "root/usr/bin/true").chmod(0o755)
    (tmp_path / "root/bin").symlink_to("usr/bin")
    return tmp_path / "root"


def test_an_image_is_what_its_archive_says(system, tmp_path):
    """By the rules that `docker load` goes by."""
    named = docker_archive.write(system, tmp_path / "a.tar", "idr-lab/x:1", {"User": "nobody"}, "amd64")
    with tarfile.open(tmp_path / "a.tar") as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        config, layer = (archive.extractfile(name).read() for name in (manifest["Config"], *manifest["Layers"]))
    assert named == f"sha256:{hashlib.sha256(config).hexdigest()}" == "sha256:" + manifest["Config"][:-len(".json")]
    assert manifest["RepoTags"] == ["idr-lab/x:1"]
    described = json.loads(config)
    assert described["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert (described["config"], described["architecture"], described["os"]) == ({"User": "nobody"}, "amd64", "linux")
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getnames() == ["bin", "usr", "usr/bin", "usr/bin/true"]
        assert files.getmember("bin").linkname == "usr/bin"
        assert files.getmember("usr/bin/true").mode == 0o755
        assert files.extractfile("usr/bin/true").read() == b"#!/bin/sh\n"


def test_the_same_files_give_the_same_image_and_others_another(system, tmp_path):
    def archived():
        return docker_archive.write(system, tmp_path / "a.tar", "idr-lab/x:1", {}, "amd64"), \
            (tmp_path / "a.tar").read_bytes()

    first = archived()
    (system / "usr/bin/true").touch()
    (system / "usr/bin/false").hardlink_to(system / "usr/bin/true")
    (system / "usr/bin/false").unlink()
    assert archived() == first
    (system / "usr/bin/true").write_text("#!/bin/sh -e\n")
    assert archived()[0] != first[0]


def test_an_image_is_made_once_and_again_when_its_recipe_changes(tmp_path, monkeypatch):
    made = []
    for step in ("_debian", "_pythons", "_compile"):
        monkeypatch.setattr(image, step, lambda *_: None)
    monkeypatch.setattr(image, "_workplace", lambda directory: (made.append(1), (directory / "root").mkdir(
        parents=True, exist_ok=True), directory)[-1])
    monkeypatch.setattr(image, "run", lambda *_: "amd64")
    recipe = ["one"]
    monkeypatch.setattr(image, "_recipe", lambda: recipe[0])
    for recipe[0], times in (("one", 1), ("one", 1), ("two", 2)):
        assert image.build(tmp_path, tmp_path) == tmp_path / "jupyter.tar"
        assert len(made) == times
    (tmp_path / "jupyter.tar").unlink()
    image.build(tmp_path, tmp_path)
    assert len(made) == 3


def test_what_is_offered_is_found_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "DOWNLOADS", tmp_path / "site")
    built = tmp_path / "jupyter.tar"
    built.write_text("an image")
    for _ in range(2):   # the second time it is the same file already
        assert downloads.offer(built) == {"source": "http://198.51.100.3/jupyter.tar",
                                          "source_hash": f"sha256={hashlib.sha256(b'an image').hexdigest()}"}
        assert [path.name for path in (tmp_path / "site").iterdir()] == ["jupyter.tar"]


def test_a_builder_that_fails_is_named_with_its_log(tmp_path, monkeypatch):
    for name in ("BUILT", "LOG"):
        monkeypatch.setattr(archives, name, tmp_path / name)
    monkeypatch.setattr(archives, "BUILDERS", {"JupyterHub's image": ("lab.jupyter.nothing", "build")})
    with pytest.raises(LabError, match=f"JupyterHub's image wasn't built: see {tmp_path}/LOG"):
        archives.offer(archives.start())
