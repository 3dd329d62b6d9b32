"""The services' configuration files, made from the templates in `etc`."""

import base64
import os
import string
import uuid
from pathlib import Path

from lab.cloud.settings import ADDRESS, DIRECTORY, DOORS, ETC, HOST, LOG, OVN, PORTS, PUBLIC_ADDRESS, REGION

TEMPLATES = Path(__file__).with_name("etc")
PASSWORD = "only-in-the-lab"
# service: its file, and the type under which it is in the catalog
FILES = {
    "keystone": ("keystone.conf", "identity"),
    "placement": ("placement.conf", "placement"),
    "glance": ("glance-api.conf", "image"),
    "neutron": ("neutron.conf", "network"),
    "cinder": ("cinder.conf", "block-storage"),
    "nova": ("nova.conf", "compute"),
}
COMPUTE_ID = uuid.uuid5(uuid.NAMESPACE_DNS, HOST)


def write(venv):
    """Write every service's configuration, and the directories and keys that it names; VENV: what services run from."""
    for name in ("locks", "keystone", "glance/images", "glance/staging", "glance/tasks", "neutron", "cinder", "nova"):
        (DIRECTORY / name).mkdir(parents=True, exist_ok=True)
    for directory in (ETC, LOG):
        directory.mkdir(parents=True, exist_ok=True)
    for service, (name, kind) in FILES.items():
        (ETC / name).write_text(text(service, kind, venv))
    for keys in ("tokens", "receipts", "credentials"):
        _make_keys(DIRECTORY / "keystone" / keys)
    # of its own accord, Nova makes one once and then won't start on the same database without it
    (DIRECTORY / "nova/compute_id").write_text(str(COMPUTE_ID))


def outdated(venv):
    """The services whose configuration is another than would be written now, or isn't there."""
    return [service for service, (name, kind) in FILES.items()
            if not (ETC / name).exists() or (ETC / name).read_text() != text(service, kind, venv)]


def text(service, kind, venv):
    """The configuration of a SERVICE whose type in the catalog is KIND."""
    parts = [FILES[service][0], *([] if service == "keystone" else ["common.conf"])]
    return string.Template("\n".join((TEMPLATES / part).read_text() for part in parts)).substitute(
        PORTS, address=ADDRESS, public_address=PUBLIC_ADDRESS, region=REGION, host=HOST, state=DIRECTORY, log=LOG,
        ovn=OVN, venv=venv, password=PASSWORD, service_type=kind)


def clouds_yaml(user="idr", region=REGION):
    """A clouds.yaml with one cloud, `idr`: of an ordinary USER in the project of that name, by the door of a REGION."""
    return f"""clouds:
  idr:
    auth:
      auth_url: http://{DOORS[region]}:{PORTS["keystone"]}/v3
      username: {user}
      password: {PASSWORD}
      project_name: {user}
      user_domain_name: Default
      project_domain_name: Default
    region_name: {region}
    interface: public
"""


def _make_keys(directory):
    """Keystone's keys: one in use and one for the next time, which never comes."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for number in ("0", "1"):
        path = directory / number
        if not path.exists():
            unfinished = path.with_suffix(".new")
            unfinished.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
            unfinished.chmod(0o600)
            unfinished.rename(path)
