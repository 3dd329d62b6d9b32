"""Where the lab keeps things, and the names by which they are found again after a crash."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
STATE = Path(os.environ.get("IDR_LAB_STATE", "/var/lib/idr-lab"))   # hosts, volumes, keys: gone with `destroy`
STATE_FILE = STATE.with_name(f"{STATE.name}.xfs")                     # the filesystem that is mounted there
CACHE = Path(os.environ.get("IDR_LAB_CACHE", "/var/cache/idr-lab"))  # images, wheels, downloads: kept

# Namespaces, interfaces of this machine, machines and control groups of the lab begin with NAME, so that whatever
# a killed run left behind is found by looking, not by remembering.
NAME = "idrlab"
NFT_TABLE = "idr_lab"

HOSTS = STATE / "hosts"
VOLUMES = STATE / "volumes"
DOWNLOADS = CACHE / "downloads"

PUBLIC_ADDRESS = "198.51.100.10"
PUBLIC_NAME = "idr.example.org"  # no DNS has it: the seat knows where it leads to
SEAT = "seat"
