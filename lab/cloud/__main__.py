"""`python3 -m lab.cloud up|down|status|restart SERVICE`: the cloud alone, on its outside network."""

import os
import sys
import time

os.environ["PATH"] += ":/usr/sbin:/sbin"

from lab import filesystem, network  # noqa: E402
from lab.cloud import control, processes  # noqa: E402
from lab.cloud.settings import PORTS  # noqa: E402
from lab.shell import LabError  # noqa: E402


def main(command="", *names):
    began = time.monotonic()
    if command == "up":
        filesystem.mount()
        network.outside_up()
        control.up(lambda text: print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True))
    elif command == "restart":
        for name in names:
            control.restart(name)
    elif command == "status":
        for name in ("postgresql", "ovsdb-server", "ovs-vswitchd", "ovn-northd", "ovn-controller", "faults", *PORTS):
            print(f"{name:16}{'on' if processes.is_on(name) else 'off'}")
        print(f"cloud is {'up' if control.is_up() else 'down'}")
    elif command == "down":
        control.down()
    else:
        sys.exit(f"{__doc__} `lab/ctl destroy` deletes it.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LabError as problem:
        sys.exit(f"lab.cloud: {problem}")
