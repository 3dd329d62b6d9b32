"""
What may leave the lab: names to this machine's resolvers, HTTP and HTTPS to the package registries, nothing else.

Which registries those are is asked of apt and pip, so the list follows this machine's own configuration.
"""

import functools
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lab.settings import NAME, NFT_TABLE, STATE
from lab.shell import LabError, run, succeeds

OUTER = f"{NAME}-up"      # this machine's end of the cable
INSIDE = "uplink"           # the router's end
OUTER_ADDRESS, INSIDE_ADDRESS = "169.254.215.1", "169.254.215.2"
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
FORWARD_BEFORE = STATE / "ip_forward.before"

RULES = """
table ip {table}
delete table ip {table}
table ip {table} {{
  set resolvers {{ type ipv4_addr; elements = {{ {resolvers} }} }}
  set registries {{ type ipv4_addr; elements = {{ {registries} }} }}
  chain forward {{
    type filter hook forward priority filter;
    iifname "{outer}" jump from_lab
    oifname "{outer}" ct state != {{ established, related }} drop
  }}
  chain from_lab {{
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr @registries tcp dport {{ 80, 443 }} accept
    reject with icmp type admin-prohibited
  }}
  chain input {{
    type filter hook input priority filter;
    iifname "{outer}" ct state != {{ established, related }} drop
  }}
  chain leave {{
    type nat hook postrouting priority srcnat;
    ip saddr {inside} masquerade
  }}
}}
"""


def up(router):
    """Join the namespace ROUTER to this machine, and let through only what the lab needs. Resolves the names anew."""
    addresses = registry_addresses()
    if not succeeds("ip", "link", "show", OUTER):
        run("ip", "link", "add", OUTER, "type", "veth", "peer", "name", INSIDE, "netns", router)
    run("ip", "address", "replace", f"{OUTER_ADDRESS}/30", "dev", OUTER)
    run("ip", "link", "set", OUTER, "up")
    run("ip", "-n", router, "address", "replace", f"{INSIDE_ADDRESS}/30", "dev", INSIDE)
    run("ip", "-n", router, "link", "set", INSIDE, "up")
    run("ip", "-n", router, "route", "replace", "default", "via", OUTER_ADDRESS)
    run("nft", "-f", "-", stdin=RULES.format(
        table=NFT_TABLE, outer=OUTER, inside=INSIDE_ADDRESS,
        resolvers=", ".join(resolvers()), registries=", ".join(addresses)))
    if not FORWARD_BEFORE.exists():
        FORWARD_BEFORE.parent.mkdir(parents=True, exist_ok=True)
        unfinished = FORWARD_BEFORE.with_suffix(".new")
        unfinished.write_text(FORWARD.read_text())
        unfinished.rename(FORWARD_BEFORE)
    FORWARD.write_text("1")


def is_up():
    """Whether this machine's end of the cable and its rules are there."""
    return succeeds("ip", "link", "show", OUTER) and succeeds("nft", "list", "table", "ip", NFT_TABLE)


def down():
    """Take the way out away and give this machine its forwarding setting back."""
    succeeds("ip", "link", "delete", OUTER)
    succeeds("nft", "delete", "table", "ip", NFT_TABLE)
    if FORWARD_BEFORE.exists():
        FORWARD.write_text(FORWARD_BEFORE.read_text())
        FORWARD_BEFORE.unlink()


def resolvers():
    """The IPv4 name servers that hosts of the lab can use: this machine's, or those behind its local stub."""
    return [line.split()[1] for line in resolv_conf().read_text().splitlines() if is_resolver(line)]


def resolv_conf():
    """The resolv.conf that hosts get: systemd-resolved's own where /etc/resolv.conf names only its local stub."""
    ours, upstream = Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")
    usable = any(is_resolver(line) for line in ours.read_text().splitlines())
    return upstream if not usable and upstream.exists() else ours


def is_resolver(line):
    """Whether a line of resolv.conf names a resolver that hosts can reach: IPv4, and not this machine's own stub."""
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    address = ip_address(words[1].partition("%")[0])
    return address.version == 4 and not address.is_loopback


@functools.cache
def registries():
    """The host names of the package registries that apt and pip of this machine use."""
    sites = run("apt-get", "indextargets", "--format", "$(SITE)").split()
    asked = subprocess.run(
        ["/usr/bin/python3", "-c", "from pip._internal.models.index import PyPI;"
         "print(PyPI.url, 'https://' + PyPI.file_storage_domain)"], capture_output=True, text=True)
    configured = subprocess.run(["/usr/bin/python3", "-m", "pip", "config", "list"], capture_output=True, text=True)
    sites += asked.stdout.split()
    sites += [word for word in configured.stdout.replace("'", " ").split() if word.startswith(("http:", "https:"))]
    sites += os.environ.get("IDR_LAB_REGISTRIES", "").split()
    return sorted({name for site in sites if (name := urlsplit(site).hostname)})


@functools.cache
def registry_addresses():
    """The IPv4 addresses of all registries. Refuses, naming those without one."""
    names = registries()
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(names, pool.map(_addresses, names), strict=True))
    unknown = [name for name, addresses in found.items() if not addresses]
    if unknown or not found:
        raise LabError(f"no address found for the package registries {', '.join(unknown) or '(none configured)'}")
    return sorted(set().union(*found.values()))


def _addresses(name):
    try:
        return {entry[4][0] for entry in socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)}
    except OSError:
        return set()
