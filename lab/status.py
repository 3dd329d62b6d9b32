"""`status`: what of the lab is there, for people and as JSON."""

import json
from concurrent.futures import ThreadPoolExecutor

from lab import downloads, hosts, leftovers, network
from lab.cloud import control
from lab.settings import PUBLIC_ADDRESS
from lab.topology import CLOUD


def status():
    """What is there: each host with its state, addresses and volumes; the networks; what a lab that is off left."""
    made = list(filter(None, map(hosts.known, hosts.made())))
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda host: hosts.state(host.directory), made))
    is_on = network.is_up() or any(state != "off" for state in states)
    return {
        "public": f"https://{PUBLIC_ADDRESS}/",
        "network": "up" if network.is_up() else "down",
        "downloads": "up" if downloads.is_up() else "down",
        "cloud": ("up" if control.is_up() else "down") if CLOUD.exists() else None,
        "hosts": {
            host.directory.name: {
                "name": host.hostname,
                "state": state,
                "addresses": network.addresses(host.netns),
                "volumes": [f"/dev/disk/by-id/virtio-{disk.serial}" for disk in host.disks],
            }
            for host, state in zip(made, states, strict=True)
        },
        "leftovers": [] if is_on else leftovers.leftovers(),
    }


def show(as_json):
    """Print the status."""
    now = status()
    if as_json:
        print(json.dumps(now, indent=1))
        return
    for host in sorted(now["hosts"].values(), key=lambda host: host["name"]):
        print(f"{host['name']:22}{host['state']:10}{' '.join(host['addresses']):28}{' '.join(host['volumes'])}")
    parts = [f"{part} {now[part]}" for part in ("network", "downloads", "cloud") if now[part]]
    print(f"{', '.join(parts)}, public address {now['public']}")
    for line in now["leftovers"]:
        print(f"left: {line}")
