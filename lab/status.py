"""`status`: what of the lab is there, for people and as JSON."""

import json
from concurrent.futures import ThreadPoolExecutor

from lab import downloads, hosts, leftovers, machines, network
from lab.settings import PUBLIC_ADDRESS


def status(topology):
    """What is there: each host with its state, addresses and volumes; the networks; what a lab that is off left."""
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda machine: hosts.state(machines.directory_of(machine)), topology.machines))
    is_on = network.is_up() or any(state != "off" for state in states)
    return {
        "environment": topology.environment,
        "public": f"https://{PUBLIC_ADDRESS}/",
        "network": "up" if network.is_up() else "down",
        "downloads": "up" if downloads.is_up() else "down",
        "hosts": {
            machine.name: {
                "role": machine.role,
                "state": state,
                "addresses": machine.addresses,
                "volumes": {volume.name: f"/dev/disk/by-id/virtio-{volume.serial}" for volume in machine.volumes},
            }
            for machine, state in zip(topology.machines, states, strict=True)
        },
        "leftovers": [] if is_on else leftovers.leftovers(),
    }


def show(topology, as_json):
    """Print the status."""
    now = status(topology)
    if as_json:
        print(json.dumps(now, indent=1))
        return
    for name, host in now["hosts"].items():
        print(f"{name:22}{host['state']:10}{' '.join(host['addresses'].values()):28}{' '.join(host['volumes'])}")
    print(f"network {now['network']}, downloads {now['downloads']}, public address {now['public']}")
    for line in now["leftovers"]:
        print(f"left: {line}")
