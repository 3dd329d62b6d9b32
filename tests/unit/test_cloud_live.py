"""Whether an environment is the one that the public sees: one sign is enough, and none is another environment's."""

import socket

import pytest

from idr.cloud import live
from idr.cloud.model import Thing
from tests import clouds

ADDRESS = "198.51.100.10"


def project(tags=("idr-production",), port="p-idr", whose="idr", group_tags=()):
    """Two environments, one's name the beginning of the other's, and a floating IP."""
    return clouds.added(
        clouds.blank(),
        Thing("server", "idr-proxy", "s-idr", "idr"),
        Thing("port", "idr-proxy-idr", "p-idr", "idr", what={"device_id": "s-idr"}),
        Thing("port", "idr-omero-idr", "p-omero", "idr", what={"device_id": ""}),
        Thing("port", "", "p-by-hand", None, what={"device_id": "s-idr"}),
        Thing("port", "idr2-proxy-idr2", "p-idr2", "idr2", what={"device_id": ""}),
        Thing("address", ADDRESS, "a-1", whose, what={"port_id": port, "tags": list(tags)}),
        Thing("group", "idr", "g-idr", "idr", what={"tags": list(group_tags)}),
        Thing("group", "idr2", "g-idr2", "idr2", what={"tags": []}),
    )


def nowhere(_):
    raise socket.gaierror("Name or service not known")


def signs(facts, environment, resolve=nowhere):
    return live.signs(facts, environment, "idr.example.org", resolve)[0]


SIGNS = {
    "its proxy holds the production address": (project(), nowhere, "it holds"),
    "another port of its own holds it": (project(port="p-omero"), nowhere, "it holds"),
    "a port that was put on its server by hand holds it": (project(port="p-by-hand", whose=None), nowhere, "it holds"),
    "its address came off": (project(port=None), nowhere, "was its proxy's last"),
    "DNS leads to its address": (project(tags=()), lambda _: {ADDRESS}, "leads to"),
    "it was released": (project(tags=(), group_tags=["idr-released"]), nowhere, "it was released"),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_one_sign_is_enough_and_is_one_environments_alone(sign):
    facts, resolve, said = SIGNS[sign]
    [told] = signs(facts, "idr", resolve)
    assert said in told
    assert signs(facts, "idr2", resolve) == []


def test_an_address_like_any_other_is_no_sign():
    assert signs(project(tags=()), "idr") == []
    assert signs(project(port=None, whose=None), "idr") == []


def test_dns_that_does_not_answer_is_no_sign_and_is_said():
    _, unknown = live.signs(project(tags=()), "idr", "idr.example.org", nowhere)
    assert unknown == [
        "DNS doesn't say where idr.example.org leads to (Name or service not known); that is no sign of anything"
    ]
