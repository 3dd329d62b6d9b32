"""
The switch of the next Debian, unpacked in the cache and run by its own loader; nothing of it is installed.

That of Debian 12, 3.1, ends by an assertion in its translation of addresses (`conn_type == CT_CONN_TYPE_DEFAULT`): it
was seen to up to once a minute while a proxy was made anew, and what went through it then could be lost.
"""

import hashlib

from lab import base
from lab.cloud.settings import CACHED
from lab.shell import LabError, delete

NEXT, PACKAGE = "trixie", "openvswitch-switch"
SCHEMA, PROGRAM = "usr/share/openvswitch/vswitch.ovsschema", "usr/lib/openvswitch-switch/ovs-vswitchd"


def make():
    """Unpack it unless it is there (half a minute), and delete older ones; returns where."""
    sources = [line.replace(f" {base.codename()} ", f" {NEXT} ") for line in base.sources()
               if f" {base.codename()} " in line]
    directory = CACHED / f"switch-{hashlib.sha256(repr((PACKAGE, sources)).encode()).hexdigest()[:16]}"
    if directory.exists():
        return directory
    for other in CACHED.glob("switch-*"):
        delete(other)
    CACHED.mkdir(parents=True, exist_ok=True)
    unfinished = directory.with_suffix(".unfinished")
    base.bootstrap(NEXT, sources, unfinished, CACHED / "switch.log", "--variant=extract", f"--include={PACKAGE}")
    unfinished.rename(directory)
    return directory


def command(directory):
    """The words that run it, with the libraries that it was built with."""
    loaders = sorted(directory.glob("usr/lib/*/ld-linux*.so.*"))
    if len(loaders) != 1:
        raise LabError(f"{directory} has {len(loaders)} loaders of programs, and has to have one: delete it")
    return loaders[0], "--library-path", loaders[0].parent, directory / PROGRAM
