"""The lab's cloud as its users see it: a server and a volume of no environment, in a network of their own."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from lab.cloud import control, faults, settings
from lab.volumes import SHELF

from .conftest import PUBLIC, until
from .environments import script

pytestmark = [pytest.mark.lab, pytest.mark.cloud]

API = f"http://{settings.PUBLIC_ADDRESS}:{settings.PORTS['keystone']}/v3"
# A server beside those of `idr-a`, with nothing of ours on it: what is kept from it is kept by the cloud.
MAKE = """
group = net.create_security_group(name="tryout")
network = net.find_network("idr-a")
port = net.create_port(name="tryout", network_id=network.id, security_group_ids=[group.id])
server = compute.create_server(name="tryout", image_id=compute.find_image("Debian 12").id,
    flavor_id=compute.find_flavor("m1.medium").id, key_name="idr-deployment", networks=[{"port": port.id}])
compute.wait_for_server(server, wait=600)
volume = disk.create_volume(name="tryout", size=2)
disk.wait_for_status(volume, "available")
said = {"server": server.id, "volume": volume.id, "group": group.id, "address": port.fixed_ips[0]["ip_address"]}
"""
UNMAKE = """
for server in compute.servers(name="^tryout$"):
    compute.delete_server(server)
    compute.wait_for_delete(server)
for port in net.ports(name="tryout"):
    net.delete_port(port)
for group in net.security_groups(name="tryout"):
    net.delete_security_group(group)
volumes = list(disk.volumes(name="tryout")) + list(disk.volumes(name="tryout-copy"))
for volume in volumes:
    disk.wait_for_status(volume, "available", wait=300)
    if volume.name != "tryout":
        disk.delete_volume(volume)
        disk.wait_for_delete(volume)
for snapshot in disk.snapshots(name="tryout"):
    disk.delete_snapshot(snapshot)
    disk.wait_for_delete(snapshot)
for volume in volumes:
    if volume.name == "tryout":
        disk.delete_volume(volume)
said = None
"""
# The second of two blocks is never ahead of the first, and one behind at most, whenever one looks.
WRITE = """
dd if=/dev/urandom of={device} bs=1M count=1 seek=700 oflag=direct status=none
cat > /root/write.py <<'EOF'
import itertools, os
disk = os.open("{device}", os.O_WRONLY | os.O_DSYNC)
for number in itertools.count(1):
    for offset in (1 << 20, 1 << 30):
        os.pwrite(disk, number.to_bytes(8, "big") * 512, offset)
EOF
systemd-run --quiet --unit=write python3 /root/write.py
"""
READ = """
import os
disk = os.open("{device}", os.O_RDONLY)
print(*(int.from_bytes(os.pread(disk, 8, offset), "big") for offset in (1 << 20, 1 << 30)))
"""


def device(volume):
    return f"/dev/disk/by-id/virtio-{volume[:20]}"


def is_there(lab, volume):
    return lab.exec("tryout", "test", "-b", device(volume), check=False).returncode == 0


def written(lab, volume):
    """The numbers in the two blocks."""
    return tuple(map(int, lab.sh("tryout", f"python3 -c '{READ.format(device=device(volume))}'").split()))


def blocks(name):
    """Where the blocks of a volume's or snapshot's file lie on the disk: pairs of its own block and the disk's."""
    said = subprocess.run(["filefrag", "-sv", SHELF / name], capture_output=True, text=True, check=True).stdout
    pieces = re.findall(r"^ *\d+: +(\d+)\.\. +(\d+): +(\d+)\.\.", said, re.M)
    pieces = ((range(int(first), int(last) + 1), int(at)) for first, last, at in pieces)
    return {(block, at + block - own.start) for own, at in pieces for block in own}


def since(lab, server):
    """When the server's first process began, which tells one boot from another."""
    return lab.sh(server, "cut -d' ' -f22 /proc/1/stat")


@pytest.fixture(scope="module")
def tryout(lab):
    script(lab, UNMAKE)
    yield script(lab, MAKE)
    script(lab, UNMAKE)


ATTACH = """
compute.create_volume_attachment(server, volume_id=volume)
disk.wait_for_status(disk.get_volume(volume), "in-use")
"""
DETACH = """
compute.delete_volume_attachment(server, volume)
disk.wait_for_status(disk.get_volume(volume), "available", wait=300)
"""


def test_a_new_server_has_its_name_its_key_and_its_host_keys_on_the_console(lab, tryout):
    assert lab.sh("tryout", "hostname") == "tryout"
    key = lab.outside("sh", "-c", "cat ~/.ssh/id_ed25519.pub").stdout
    assert key.split()[1] in lab.sh("tryout", "cat /root/.ssh/authorized_keys")
    console = script(lab, "said = compute.get_server_console_output(server)['output']", server=tryout["server"])
    for host_key in lab.sh("tryout", "cat /etc/ssh/ssh_host_*_key.pub").splitlines():
        assert host_key.split()[1] in console


def test_a_volume_comes_and_goes_while_the_server_runs(lab, tryout):
    boot, words = since(lab, "tryout"), {name: tryout[name] for name in ("server", "volume")}
    script(lab, ATTACH, **words)
    assert is_there(lab, tryout["volume"])
    lab.sh("tryout", f"mkfs.ext4 -q {device(tryout['volume'])} && mount {device(tryout['volume'])} /mnt")

    script(lab, "compute.delete_volume_attachment(server, volume)", **words)
    until(lambda: script(lab, "said = disk.get_volume(volume).status", volume=tryout["volume"]) == "in-use")
    assert is_there(lab, tryout["volume"]), "it was taken away although it was mounted"

    lab.sh("tryout", "umount /mnt")
    script(lab, DETACH, **words)
    assert not is_there(lab, tryout["volume"])
    assert since(lab, "tryout") == boot


def have(lab, deed, status, **words):
    """Have something done with the server, and wait until it's said to be so."""
    script(lab, f"{deed}\ncompute.wait_for_server(compute.get_server(server), {status!r}, wait=600)", **words)


def test_a_server_stops_starts_and_reboots_with_its_volume(lab, tryout):
    words = {name: tryout[name] for name in ("server", "volume")}
    script(lab, ATTACH, **words)
    have(lab, "compute.stop_server(server)", "SHUTOFF", **words)
    assert lab.exec("tryout", "true", check=False).returncode != 0
    have(lab, "compute.start_server(server)", "ACTIVE", **words)
    until(lambda: lab.exec("tryout", "true", check=False).returncode == 0)
    assert is_there(lab, tryout["volume"])
    boot = since(lab, "tryout")
    have(lab, "compute.reboot_server(server, 'SOFT')", "ACTIVE", **words)
    until(lambda: lab.exec("tryout", "true", check=False).returncode == 0)
    assert since(lab, "tryout") != boot and is_there(lab, tryout["volume"])
    script(lab, DETACH, **words)


def test_a_snapshot_is_of_one_moment_while_the_server_writes(lab, tryout):
    """And it shares its bytes with the volume: nothing is copied."""
    words = {name: tryout[name] for name in ("server", "volume")}
    script(lab, ATTACH, **words)
    lab.sh("tryout", WRITE.format(device=device(tryout["volume"])))
    until(lambda: written(lab, tryout["volume"])[1] > 0)
    snapshot, copy = script(
        lab,
        """
snapshot = disk.create_snapshot(volume_id=volume, name="tryout", force=True)
disk.wait_for_status(snapshot, "available")
copy = disk.create_volume(name="tryout-copy", size=2, snapshot_id=snapshot.id)
disk.wait_for_status(copy, "available")
compute.create_volume_attachment(server, volume_id=copy.id)
disk.wait_for_status(disk.get_volume(copy.id), "in-use")
said = [snapshot.id, copy.id]
""",
        **words,
    )
    taken = blocks(f"snapshot-{snapshot}")
    assert taken and taken == blocks(f"volume-{copy}")
    still = taken & blocks(f"volume-{tryout['volume']}")
    assert len(still) >= 256  # the MiB that isn't written any more; to what is, the disk has given other blocks
    first, second = written(lab, copy)
    assert first - second in (0, 1) and first > 0
    until(lambda: written(lab, tryout["volume"])[0] > first)
    lab.sh("tryout", "systemctl stop write")
    script(lab, DETACH, server=tryout["server"], volume=copy)
    script(lab, DETACH, **words)


SLOWLY = """
import time
def seconds(make, **of):
    began = time.monotonic()
    made = make(**of)
    disk.wait_for_status(made, "available")
    return made, time.monotonic() - began
snapshot, took = seconds(disk.create_snapshot, volume_id=volume, name="tryout")
said = [took]
for of in ({"snapshot_id": snapshot.id}, {"source_volume_id": volume}):
    copy, took = seconds(disk.create_volume, name="tryout-copy", size=2, **of)
    said.append(took)
    disk.delete_volume(copy)
    disk.wait_for_delete(copy)
disk.delete_snapshot(snapshot)
disk.wait_for_delete(snapshot)
"""


def test_slow_storage_is_a_knob(lab, tryout):
    knob = settings.DIRECTORY / "slow.json"
    knob.write_text(json.dumps({"snapshot": 2, "clone": 4}))
    try:
        snapshot, of_snapshot, of_volume = script(lab, SLOWLY, volume=tryout["volume"])
    finally:
        knob.unlink()
    assert snapshot >= 2 and min(of_snapshot, of_volume) >= 4


def test_groups_are_enforced_before_a_server_s_own_firewall(lab, tryout):
    """Nothing of ours runs on this one, so what doesn't arrive was stopped by OVN."""
    lab.sh("tryout", "systemd-run --quiet --unit=listen python3 -m http.server 7777 --directory /mnt")
    reach = f"timeout 3 bash -c '</dev/tcp/{tryout['address']}/7777'"
    lab.sh("tryout", "timeout 300 bash -c 'until </dev/tcp/127.0.0.1/7777; do sleep 0.2; done' 2>/dev/null")
    assert lab.exec("idr-a-omero", "bash", "-c", reach, check=False).returncode != 0
    rule = """
said = net.create_security_group_rule(security_group_id=group, direction="ingress", protocol="tcp",
    port_range_min=7777, port_range_max=7777, remote_ip_prefix="192.168.2.0/24").id
"""
    script(lab, rule, group=tryout["group"])
    until(lambda: lab.exec("idr-a-omero", "bash", "-c", reach, check=False).returncode == 0)


@pytest.mark.parametrize("server", ["idr-proxy", "idr-a-omero"])
def test_servers_reach_the_api_at_its_outside_address(lab, server):
    """One through its floating IP, the other through the router."""
    assert "v3" in lab.exec(server, "curl", "-sS", "-m", "120", API).stdout


def test_outside_reaches_floating_ips_and_the_api_only(lab, tryout):
    assert lab.outside("curl", "-sS", "-m", "120", "-o", "/dev/null", API).returncode == 0
    assert lab.get("/").status == 200
    for address in ("192.168.1.10", "192.168.1.11", tryout["address"]):
        assert lab.outside("ping", "-c1", "-W2", address, check=False).returncode != 0
        assert lab.outside("timeout", "3", "bash", "-c", f"</dev/tcp/{address}/22", check=False).returncode != 0
    assert lab.outside("timeout", "120", "bash", "-c", f"</dev/tcp/{PUBLIC}/22", check=False).returncode == 0


@pytest.mark.parametrize("answer", [500, 503, 409, 413, 429, "lost", "reset", "refused"])
def test_faults_are_made_by_method_and_path_and_counted(lab, answer):
    where = f"http://{settings.PUBLIC_ADDRESS}:{settings.PORTS['glance']}/v2/images"
    faults.forget()
    faults.rules({"service": "glance", "method": "GET", "path": "^/v2/images", "times": 1, "answer": answer})
    try:
        seen = lab.outside("curl", "-sS", "-m", "120", "-o", "/dev/null", "-w", "%{http_code}", where, check=False)
        assert seen.stdout == (str(answer) if isinstance(answer, int) else "000")
        if answer != "refused":
            assert faults.hits() == [1] and faults.calls() == {("glance", "GET", "/v2/images"): 1}
            again = lab.outside("curl", "-sS", "-m", "120", "-o", "/dev/null", "-w", "%{http_code}", where)
            assert again.stdout == "401"
    finally:
        faults.rules()


def test_a_deleted_server_leaves_nothing(lab, tryout):
    gone = "it = compute.get_server(server); compute.delete_server(it); compute.wait_for_delete(it)"
    script(lab, gone, server=tryout["server"])
    assert lab.exec("tryout", "true", check=False).returncode != 0
    assert tryout["server"] not in {directory.name for directory in control.servers()}
