"""What a master may do in its cloud: look, and take snapshots. Nothing that it could take away or move."""

from __future__ import annotations

import base64
import json

import pytest

from .environments import administered, inventory, script

pytestmark = [pytest.mark.lab, pytest.mark.cloud]

CONFIG = "/etc/idr/clouds.yaml"
USER_DATA = "OS-EXT-SRV-ATTR:user_data"
SERVERS = """
answer = cloud.compute.get("/servers/detail", params={"all_tenants": 1}, microversion="2.3")
said = answer.json()["servers"]
"""
# Everything is tried on what is really there: refused by the cloud, not by chance.
TRIED = """
import json, openstack
cloud = openstack.connect(cloud="idr")
net, compute, disk = cloud.network, cloud.compute, cloud.block_storage
server = next(compute.servers(name="^idr-a-dockermanager$"))
volume = next(each for each in disk.volumes() if each.name == "idr-proxy-nginxcache")
port = next(net.ports(name="idr-proxy-idr"))
address = next(net.ips(port_id=port.id))
snapshot = disk.create_snapshot(volume_id=volume.id, name="of-the-master", force=True)
disk.wait_for_status(snapshot, "available")
disk.set_snapshot_metadata(snapshot, idr_tried="yes")
deeds = {
    "delete a snapshot": lambda: disk.delete_snapshot(snapshot, ignore_missing=False),
    "delete a volume": lambda: disk.delete_volume(volume, ignore_missing=False, force=True),
    "detach a volume": lambda: compute.delete_volume_attachment(server, volume, ignore_missing=False),
    "make a volume": lambda: disk.create_volume(name="of-the-master", size=1),
    "delete a server": lambda: compute.delete_server(server, ignore_missing=False),
    "stop a server": lambda: compute.stop_server(server),
    "read a console": lambda: compute.get_server_console_output(server),
    "move an address": lambda: net.update_ip(address, port_id=None),
    "delete an address": lambda: net.delete_ip(address, ignore_missing=False),
    "open a port": lambda: net.create_security_group_rule(
        security_group_id=port.security_group_ids[0], direction="ingress", protocol="tcp"),
    "make a credential": lambda: cloud.identity.create_application_credential(cloud.current_user_id, name="another"),
}
answers = {}
for what, deed in deeds.items():
    try:
        deed()
        answers[what] = "done"
    except openstack.exceptions.HttpException as refused:
        answers[what] = refused.status_code
print(json.dumps({"snapshot": snapshot.id, "answers": answers}))
"""


def test_it_sees_and_snapshots_and_all_else_is_refused(lab):
    before = inventory(lab)
    command = ("env", f"OS_CLIENT_CONFIG_FILE={CONFIG}", "/opt/salt/bin/python", "-")
    said = json.loads(lab.exec("idr-proxy", *command, stdin=TRIED).stdout)
    delete = "said = disk.get_snapshot(snapshot).metadata['idr_tried']; disk.delete_snapshot(snapshot)\n"
    assert script(lab, f"{delete}disk.wait_for_delete(disk.get_snapshot(snapshot))", snapshot=said["snapshot"]) == "yes"
    assert {what: answer for what, answer in said["answers"].items() if answer not in (401, 403)} == {}
    assert inventory(lab) == before


def test_its_secret_is_the_masters_alone(lab):
    assert lab.sh("idr-proxy", f"stat -c %a:%U {CONFIG}") == "600:root"
    for server in ("idr-omero", "idr-a-dockermanager"):
        assert lab.exec(server, "test", "-e", CONFIG, check=False).returncode == 1


def test_no_secret_is_in_what_the_cloud_knows_of_a_server(lab):
    """Its metadata and its user data, which whoever is on it can read; the cloud shows the latter to administrators."""
    secret = lab.sh("idr-proxy", f"grep -o '\"application_credential_secret\": \"[^\"]*' {CONFIG}").rpartition('"')[2]
    words = [word for side in ("idr", "idr-a") for group in lab.secrets(side).values() for word in group.values()]
    secrets = [secret, *(word for word in words if word != "public")]
    assert len(secrets) > 8 and min(map(len, secrets)) > 20
    known = administered(SERVERS)
    assert len([each for each in known if each["name"].startswith("idr-") and USER_DATA in each]) == 6
    told = json.dumps(known) + "".join(base64.b64decode(each[USER_DATA] or "").decode() for each in known)
    assert [word for word in secrets if word in told] == []
