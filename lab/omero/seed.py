#!/usr/bin/env python3
"""Puts a small study into the lab's OMERO, on both sides: a screen with a plate, and a project with a dataset. The
study lies in the archive of the stand-in (server/lab/seed); this runs it on the hosts.

CLI:  python3 lab/omero/seed.py
      python3 lab/omero/seed.py --host idr-omero -- --repaint 1
"""
import argparse
import subprocess
import sys
from pathlib import Path

CTL = Path(__file__).resolve().parents[1] / "ctl"
SEED = "/opt/omero/server/OMERO.server/lab/seed"
HOSTS = ("idr-omero", "idr-a-omero")


def seed(hosts, arguments=()):
    """Run the seed on these hosts of the lab, some seconds each; what is there already stays as it is.

    Returns what they print, JSON with the ids, by host. Refuses (CalledProcessError) where a host has no OMERO yet.
    """
    return {host: subprocess.run([CTL, "exec", host, SEED, *arguments], check=True, stdout=subprocess.PIPE,
                                 text=True).stdout.strip() for host in hosts}


def main():
    """The command line: hosts, and what goes to server/lab/seed after `--`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", action="append", help=f"instead of {' and '.join(HOSTS)}")
    parser.add_argument("arguments", nargs="*", help="e.g. --rename-image ID NAME, or --repaint ID")
    arguments = parser.parse_args()
    try:
        for host, said in seed(arguments.host or HOSTS, arguments.arguments).items():
            print(f"{host}: {said}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"seed: it failed on {failed.cmd[2]}, see above")


if __name__ == "__main__":
    main()
