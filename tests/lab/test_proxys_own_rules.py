"""
Where the cloud lets everything through to the proxy, its own rules don't. Not beside tests that look at the cloud's
security groups or spoil its calls, as these here change and make some.
"""

from __future__ import annotations

import pytest

from .conftest import PUBLIC
from .test_public import test_tcp_of_all_ports_only_three_answer as only_three_answer

pytestmark = pytest.mark.lab

TRIES = 5  # of all ports, until nearly all of one try have arrived
UDP = """
import socket, sys, time
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, 65536):
    probe.sendto(b"probe", (sys.argv[1], port))
    if port % 100 == 0:
        time.sleep(0.02)   # a switch in userspace loses what comes in one burst
"""
ALL_OPEN = """
import openstack, sys
net = openstack.connect().network
group = net.find_security_group("idr-web-external").id
for protocol in ("tcp", "udp"):
    rule = dict(security_group_id=group, direction="ingress", ether_type="IPv4", protocol=protocol, description="probe")
    if sys.argv[1] == "open":
        net.create_security_group_rule(**rule)
    else:
        [net.delete_security_group_rule(there) for there in net.security_group_rules(**rule)]
"""


@pytest.fixture
def without_the_clouds_help(lab):
    """The cloud lets everything through to the proxy, which has rules of its own."""
    lab.outside(".venv/bin/python", "-c", ALL_OPEN, "open")
    yield
    lab.outside(".venv/bin/python", "-c", ALL_OPEN, "close")


def test_nor_do_more_where_the_cloud_lets_all_through(lab, without_the_clouds_help):
    only_three_answer(lab)


def test_udp_arrives_at_the_proxy_and_none_passes(lab, without_the_clouds_help):
    counters = """
        table inet probe {
            chain arriving { type filter hook input priority -300; ip saddr 198.51.100.2 meta l4proto udp counter; }
            chain passing { type filter hook input priority 300; ip saddr 198.51.100.2 meta l4proto udp counter; }
        }"""
    lab.exec("idr-proxy", "nft", "-f", "-", stdin=counters)
    try:
        arrived, before = [], 0
        while max(arrived, default=0) <= 60_000 and len(arrived) < TRIES:  # a switch that stands still loses some
            lab.outside("python3", "-", PUBLIC, stdin=UDP)
            arrived.append((now := packets(lab, "arriving")) - before)
            before = now
        passed = packets(lab, "passing")
    finally:
        lab.exec("idr-proxy", "nft", "delete", "table", "inet", "probe")
    assert arrived[-1] > 60_000, arrived
    assert passed == 0


def packets(lab, chain: str) -> int:
    words = lab.sh("idr-proxy", f"nft list chain inet probe {chain}").split()
    return int(words[words.index("packets") + 1])
