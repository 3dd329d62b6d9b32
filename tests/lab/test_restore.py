"""
The worst day: of an environment only its volumes are left, with a backup set of them. The document: it is sufficient to
restore these directories into a clean server before running the deployment.
"""

from __future__ import annotations

import pytest

from .conftest import PUBLIC
from .environments import inventory, run, script
from .test_backup import REMOVE, backup, kept
from .test_convergence import changes
from .test_environments import rows
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

# Everything but the volumes, their snapshots and the floating IP, by hand and without a plan.
GONE = """
for server in compute.servers():
    compute.delete_server(server)
for server in compute.servers():
    compute.wait_for_delete(server)
for address in net.ips():
    net.update_ip(address, port_id=None)
project = cloud.current_project_id
for router in net.routers(project_id=project):
    for port in net.ports(device_id=router.id, project_id=project):
        net.remove_interface_from_router(router, port_id=port.id)
    net.delete_router(router)
for port in net.ports(project_id=project):
    net.delete_port(port)
for network in net.networks(project_id=project):
    net.delete_network(network)
for group in net.security_groups(project_id=project):
    if group.name != "default":
        net.delete_security_group(group)
for key in compute.keypairs():
    compute.delete_keypair(key)
said = [each.name for each in disk.volumes() if each.status == "available"]
"""
MANIFEST = "cd /data && find . -printf '%p %U:%G %m %y\\n' -type f -exec sha256sum {} + | sort"
IDENTITY = "/usr/lib/postgresql/15/bin/pg_controldata /var/lib/pgsql/15/data | grep 'system identifier'"
TIDY = """
for each in disk.volumes():
    if "idr_aside" in each.metadata:
        disk.delete_volume(each)
        disk.wait_for_delete(each)
"""


def data(lab):
    """Production's files with their owners and modes, which cluster it has, and its rows."""
    return lab.sh("idr-omero", MANIFEST), lab.sh("idr-database", IDENTITY), rows(lab, "idr")


@pytest.fixture(scope="module")
def restored(lab):
    """What was in the set, which has been put back."""
    was = data(lab)
    things = inventory(lab)
    set_id = backup(lab, "create", "idr", "apply=True")["set"]["set"]
    lab.sh("idr-omero", "rm -r /data/OMERO/Pixels; echo lost > /data/lost")
    assert lab.sh("idr-omero", MANIFEST) != was[0]
    assert len(script(lab, GONE)) == 6
    lab.outside("sh", "-c", "rm ~/.config/idr/idr/known_hosts")  # as on a machine that has never seen it
    backup(lab, "restore", set_id, "into=idr", f"address={PUBLIC}", "apply=True")
    yield was
    script(lab, REMOVE, set_id=set_id)
    script(lab, TIDY)
    assert named(inventory(lab)) == named(things)


def named(things):
    """The names of what is there; rules and the routers' own ports have none."""
    return {
        kind: sorted(name for name, *_ in them) for kind, them in kept(things).items() if kind not in ("rule", "port")
    }


def test_its_data_is_that_of_the_set(lab, restored):
    assert data(lab) == restored


def test_its_pages_are_at_the_public_address(lab, restored, image):
    page = lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=restored")
    assert page.status == 200 and len(page.body) > 20_000
    assert run(lab, "list")[1]["environments"]["idr"]["live"]


def test_what_was_in_its_place_is_kept(lab, restored):
    aside = "said = [[it.name, it.status] for it in disk.volumes() if 'idr_aside' in it.metadata]"
    names = script(lab, aside)
    assert sorted(name.split("-before-")[0] for name, _ in names) == ["idr-database-db", "idr-omero-data"]
    assert {status for _, status in names} == {"available"}


def test_again_nothing_is_to_be_done(lab, restored):
    code, plan = run(lab, "plan", "idr")
    assert code == 0 and plan["steps"] == [], plan
    assert changes(lab) == {}
