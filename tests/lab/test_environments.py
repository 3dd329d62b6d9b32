"""Environments at the operator's seat: what is refused, what changes nothing, and a proxy that comes back."""

from __future__ import annotations

import threading

import pytest

from .conftest import PUBLIC
from .environments import inventory, run
from .typist import quickly

__all__ = ["quickly"]  # a fixture
pytestmark = pytest.mark.lab

ROWS = "; ".join(
    f"SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
    for table in ("image", "plate", "screen", "well", "pixels", "originalfile", "experimenter", "dbpatch")
)
FILES = "cd /data/OMERO; find Pixels ManagedRepository -type f | sort | xargs sha256sum"
BY_HAND = """
import openstack
compute = openstack.connect().compute
server = compute.find_server("idr-proxy")
compute.delete_server(server)
compute.wait_for_delete(server)
"""
LOAD = """
until [ -e /tmp/load-ends ] && [ "$answered" ]; do
    for path in '/webclient/userdata/?load='$RANDOM /webgateway/render_thumbnail/{image}/; do
        curl -ksS -m 120 -o /dev/null -w '%{{http_code}}\\n' "https://{public}$path" || echo curl:$?
        answered=yes
        sleep 0.3
    done
done"""


def rows(lab, environment):
    psql = ("runuser", "-u", "postgres", "--", "psql", "-Atd", "idr")
    return lab.exec(f"{environment}-database", *psql, stdin=ROWS).stdout


class Load:
    """Requests from outside that go on until they are told to end, and the answers they got."""

    def __init__(self, lab, image):
        self.lab, self.answers = lab, []
        lab.outside("rm", "-f", "/tmp/load-ends")
        self.thread = threading.Thread(target=self._run, args=(LOAD.format(public=PUBLIC, image=image),))
        self.thread.start()

    def _run(self, script):
        self.answers = self.lab.outside("bash", "-c", script, seconds=3000).stdout.split()

    def end(self):
        self.lab.outside("touch", "/tmp/load-ends")
        self.thread.join()
        return {answer: self.answers.count(answer) for answer in set(self.answers)}


def test_applied_again_nothing_changes_and_little_is_asked(lab):
    before = inventory(lab)

    code, answer = run(lab, "apply", "idr", "apply=True", "deploy=False")

    assert (code, answer["comment"]) == (0, "idr: nothing to change")
    assert answer["calls"] < 25
    assert inventory(lab) == before


def test_the_live_one_is_never_destroyed(lab):
    before = inventory(lab)
    for words in ([], ["apply=True"], ["confirm=idr", "apply=True"]):
        code, answer = run(lab, "destroy", "idr", *words)
        assert code == 1
        said = "confirm=idr" if words == ["apply=True"] else f"idr is live: it holds {PUBLIC}"
        assert any(said in problem for problem in answer["problems"]), answer
    assert inventory(lab) == before


# What is typed, with what the refusal has to say: all of it at once.
REFUSED = {
    "what can't be declared": (
        ["apply", "newidr", "vm_flavor=m1.large", "idr_environment_analysis_subnet=192.168.1.0/24", "apply=True"],
        ["vm_flavor", "overlaps 192.168.1.0/24"],
    ),
    "what the cloud hasn't got, and sources that can't be": (
        [
            "apply", "newidr", "vm_image=CentOS 7", "address=198.51.100.99", "sources=newidr", "apply=True",
            "idr_volume_omero_data_src=idr-database-db", "idr_volume_proxy_nginxcache_src=nowhere",
        ],
        [
            "no image CentOS 7", "address=198.51.100.99: this project has no", "sources=newidr: is the target itself",
            "is smaller than asked", "of the role database, not omero", "nowhere: this project has no",
        ],
    ),
    "the address of the public": (
        ["apply", "newidr", f"address={PUBLIC}", "apply=True"], [f"address={PUBLIC}: is on the port idr-proxy-idr"]
    ),
    "more than the project may have": (["apply", "vast", "apply=True"], ["quota of gigabytes: 41510 GB needed"]),
    "a name that can't be": (["apply", "New_IDR", "apply=True"], ["New_IDR"]),
    "a server that isn't there": (["replace", "idr", "server=idr-proxi", "apply=True"], ["idr-proxi"]),
    "a server that isn't dead": (["replace", "idr", "server=idr-omero", "apply=True"], ["even_if=running"]),
    "another's confirmation": (["destroy", "newidr", "confirm=idr", "apply=True"], ["confirm=newidr"]),
}  # fmt: skip
VAST = """
servers:
  ENV-proxy: {role: proxy, volumes: [{name: proxy-nginxcache, size_gb: 40000}]}
"""


def test_what_cannot_be_is_all_said_in_lines_and_changes_nothing(lab):
    declared, wrong = "pillar/environments/vast.sls", {}
    before = inventory(lab)
    lab.outside("tee", declared, stdin=VAST)
    try:
        for what, (words, reasons) in REFUSED.items():
            code, answer = run(lab, *words)
            problems = answer.get("problems", [])
            unsaid = [reason for reason in reasons if not any(reason in problem for problem in problems)]
            if code != 1 or unsaid:
                wrong[what] = code, unsaid, answer
    finally:
        lab.outside("rm", declared)
    assert wrong == {}
    assert inventory(lab) == before


def test_a_proxy_destroyed_by_hand_comes_back_with_its_cache_and_address(lab, image):
    details = f"/webclient/metadata_details/image/{image}/"
    for _ in range(2):
        lab.get(details)
    assert lab.get(details).cache == "HIT"
    lab.outside(".venv/bin/python", "-c", BY_HAND)

    code, answer = run(lab, "replace", "idr", "server=idr-proxy", "apply=True")

    assert code == 0, answer
    assert lab.get(details).cache == "HIT"
    assert run(lab, "list")[1]["environments"]["idr"]["address"] == PUBLIC
    lab.wait_for_minions()
    assert lab.salt("*", "test.ping").keys() == {
        "idr-proxy", "idr-omero", "idr-database", "idr-a-omero", "idr-a-database", "idr-a-dockermanager",
    }  # fmt: skip
    assert run(lab, "update", "idr")[1]["comment"] == "idr: nothing to change"
