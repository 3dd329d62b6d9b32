#!/usr/bin/env python3
"""
What an administrator makes before anybody uses a cloud: `bootstrap.py identity` first, and `bootstrap.py resources`
when the services are up. Run in the services' environment; what is there already stays.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[2]))

import openstack  # noqa: E402

from lab.cloud.config import FILES, PASSWORD  # noqa: E402
from lab.cloud.settings import ADDRESS, DOORS, PORTS, REGION, TRIAL  # noqa: E402

USER = "idr"
# Nominal sizes: Nova counts them against the quota, and nothing takes so much of this machine.
FLAVORS = {"m1.medium": (2, 4, 40), "m1.large": (4, 8, 80), "m1.xlarge": (8, 16, 160)}   # CPUs, GB of memory and disk
IMAGE = "Debian 12"   # a name and no bytes: what a server boots from is the lab's base image
PUBLIC_CIDR, GATEWAY, POOL = "198.51.100.0/24", "198.51.100.1", ("198.51.100.10", "198.51.100.60")
PRODUCTION_ADDRESS = "198.51.100.10"
# Two environments of six servers and six volumes, a third on the way, what clones are made of, and a dozen
# backup sets.
COMPUTE_QUOTA = {"instances": 18, "cores": 144, "ram": 288 << 10, "key_pairs": 20}
VOLUME_QUOTA = {"volumes": 30, "snapshots": 96, "gigabytes": 30000}
NETWORK_QUOTA = {"networks": 10, "subnets": 10, "routers": 5, "ports": 80, "floating_ips": 8, "security_groups": 20,
                 "security_group_rules": 150}
PATHS = {"compute": "/v2.1", "block-storage": "/v3", "identity": "/v3"}


def identity(cloud):
    """The services and their endpoints, the user that they are, and the ordinary ones, each with a project."""
    keystone = cloud.identity
    if not keystone.find_region(TRIAL):
        keystone.create_region(id=TRIAL)
    doors = [("internal", REGION, ADDRESS), *(("public", region, address) for region, address in DOORS.items())]
    for name, (_, kind) in FILES.items():   # Keystone's own in the first region are made by keystone-manage
        service = keystone.find_service(name) or keystone.create_service(name=name, type=kind)
        there = {(endpoint.interface, endpoint.region_id) for endpoint in keystone.endpoints(service_id=service.id)}
        for interface, region, address in doors:
            if (interface, region) not in there:
                keystone.create_endpoint(service_id=service.id, interface=interface, region_id=region,
                                         url=f"http://{address}:{PORTS[name]}{PATHS.get(kind, '')}")
    # last: once the services are let in, all is there
    roles = {role.name: role.id for role in keystone.roles()}
    for name, granted in ((USER, ("member",)), (TRIAL, ("member",)), ("services", ("admin", "service"))):
        project = keystone.find_project(name) or keystone.create_project(name=name, domain_id="default")
        user = keystone.find_user(name) or keystone.create_user(
            name=name, password=PASSWORD, domain_id="default", default_project_id=project.id)
        for role in granted:
            keystone.assign_project_role_to_user(project, user, roles[role])


def resources(cloud):
    """Flavors, the image, the outside network with one address for production, quotas, and what new groups allow."""
    for name, (cpus, memory, disk) in FLAVORS.items():
        if not cloud.compute.find_flavor(name):
            cloud.compute.create_flavor(name=name, vcpus=cpus, ram=memory << 10, disk=disk)
    image = cloud.image.find_image(IMAGE)
    if image and image.status != "active":   # its upload was cut short
        cloud.image.delete_image(image)
    if not image or image.status != "active":
        cloud.image.create_image(name=IMAGE, disk_format="raw", container_format="bare", visibility="public",
                                 data=b"\0" * 512, allow_duplicates=True)
    neutron = cloud.network
    # from Neutron's own migrations, which don't run on PostgreSQL
    there = {(rule.direction, rule.ether_type) for rule in neutron.default_security_group_rules()}
    for family in ("IPv4", "IPv6"):
        if ("egress", family) not in there:
            neutron.create_default_security_group_rule(
                direction="egress", ether_type=family, used_in_default_sg=True, used_in_non_default_sg=True)
        if ("ingress", family) not in there:
            neutron.create_default_security_group_rule(
                direction="ingress", ether_type=family, remote_group_id="PARENT", used_in_default_sg=True,
                used_in_non_default_sg=False)
    outside = neutron.find_network("external") or neutron.create_network(
        name="external", is_router_external=True, provider_network_type="flat", provider_physical_network="outside")
    if not neutron.find_subnet("external-subnet"):
        neutron.create_subnet(name="external-subnet", network_id=outside.id, ip_version=4, cidr=PUBLIC_CIDR,
                              gateway_ip=GATEWAY, is_dhcp_enabled=False,
                              allocation_pools=[{"start": POOL[0], "end": POOL[1]}])
    project = cloud.identity.find_project(USER).id
    if not list(neutron.ips(floating_ip_address=PRODUCTION_ADDRESS)):
        neutron.create_ip(floating_network_id=outside.id, floating_ip_address=PRODUCTION_ADDRESS, project_id=project)
    cloud.compute.update_quota_set(project, **COMPUTE_QUOTA)
    cloud.block_storage.update_quota_set(project, **VOLUME_QUOTA)
    neutron.update_quota(project, **NETWORK_QUOTA)


def administrator():
    """A connection as the cloud's administrator, straight to the services."""
    return openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_url=f"http://{ADDRESS}:{PORTS['keystone']}/v3",
        username="admin", password=PASSWORD, project_name="admin", user_domain_name="Default",
        project_domain_name="Default", region_name=REGION, interface="internal")


if __name__ == "__main__":
    {"identity": identity, "resources": resources}[sys.argv[1]](administrator())
