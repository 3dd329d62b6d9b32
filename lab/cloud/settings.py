"""Where the cloud of the lab keeps things, and the addresses it answers at."""

from lab.settings import CACHE, NAME, STATE

DIRECTORY = STATE / "cloud"
ETC = DIRECTORY / "etc"
LOG = DIRECTORY / "log"
DATABASE = DIRECTORY / "postgresql"
OVN = DIRECTORY / "ovn"
CACHED = CACHE / "cloud"

API = f"{NAME}-api"              # the namespace in which everything of the cloud listens
HYPERVISOR = f"{NAME}-ovn"       # the namespace of the switch that servers are plugged into
HOST = "lab"                     # the one compute host, by the name that Nova, Neutron, Cinder and OVN give it
REGION = "lab"

# Public endpoints lead through what makes faults, internal ones, which services use among themselves, don't. Region
# TRIAL is the same services by another door, so that who works there has no part in the faults of the first.
ADDRESS = "198.51.100.4"
PUBLIC_ADDRESS = "198.51.100.5"
TRIAL = "trial"
DOORS = {REGION: PUBLIC_ADDRESS, TRIAL: "198.51.100.6"}

# Each service is one process; Nova, Cinder and Neutron have several parts that talk in its memory.
PORTS = {"keystone": 5000, "placement": 8778, "glance": 9292, "neutron": 9696, "cinder": 8776, "nova": 8774}
DATABASES = ("keystone", "placement", "glance", "neutron", "cinder", "nova_api", "nova", "nova_cell0")
