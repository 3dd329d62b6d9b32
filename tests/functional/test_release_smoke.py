"""What a release asks of a site, asked of the real nginx with the real states: pages, certificate, ports."""

import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from idr.release import smoke
from idr.release.expectations import Count, Expectations
from tests.functional.privately import private_network
from tests.functional.proxy_host import PROXY, PROXY_OTHER, PUBLIC

pytest_plugins = ["tests.functional.proxy_fixtures"]

IMAGE = "/webclient/render_image/1/0/0/"
COUNT = "/api/v0/m/screens/?limit=1"
EXPECTED = Expectations(
    redirects={"/about": "/about/", "/mito/page": "/webclient/?show=screen-1101"},
    texts={"/": "Image Data Resource", "/webclient/userdata/": "version 1 of"},
    images={IMAGE: 50001},
    hits=("/api/v0/",),
    counts={COUNT: Count("meta.totalCount", 3)},
)
BODIES = {IMAGE: b"\xff\xd8" + bytes(60000), "/api/v0/m/": b'{"meta": {"totalCount": 3}}'}


def problems(proxy, expected=EXPECTED, reference=PROXY_OTHER):
    return proxy.call("idr.release.smoke", "problems", PUBLIC, PROXY, expected, reference)


def test_a_site_that_shows_what_is_expected(proxy):
    proxy.answering(bodies=BODIES)

    assert problems(proxy) == []


def test_what_is_to_be_rendered_isnt_taken_from_the_cache(proxy):
    proxy.answering(bodies=BODIES)
    assert problems(proxy) == problems(proxy) == []

    asked = [it.target for it in proxy.asked() if it.target.startswith(IMAGE)]
    assert len(set(asked)) == 2


# What is wrong with the site, or expected of it, and the line that tells it, after its page's address
WRONG = {
    "it leads elsewhere": (
        {"redirects": {"/about": "/contact/"}}, BODIES, "/about: it leads to /about/, and has to lead to /contact/"
    ),
    "it doesn't lead anywhere": (
        {"redirects": {"/webclient/userdata/": "/x"}}, BODIES,
        "/webclient/userdata/: it answers 200, and has to lead to /x",
    ),
    "a page hasn't its text": ({"texts": {"/": "Welcome"}}, BODIES, "/: the text 'Welcome' isn't in it"),
    "a page isn't there": ({"texts": {"/about/nowhere": "x"}}, BODIES, "/about/nowhere: it answers 404, not 200"),
    "what is rendered is no JPEG": (
        {}, {**BODIES, IMAGE: b"\x89PNG" + bytes(60000)},
        f"{IMAGE}: what it renders is no JPEG: it begins with 89 50, not ff d8",
    ),
    "what is rendered is nothing": (
        {}, {**BODIES, IMAGE: b""}, f"{IMAGE}: what it renders is no JPEG: it begins with nothing, not ff d8"
    ),
    "what is rendered is too small": (
        {}, {**BODIES, IMAGE: b"\xff\xd8" + bytes(49998)},
        f"{IMAGE}: the rendered image has 50000 bytes, and has to have 50001",
    ),
    "a page isn't stored": (
        {"hits": ("/webclient/userdata/",)}, BODIES, "/webclient/userdata/: the second request is not of a cached page"
    ),
    "a number is too low": (
        {}, {**BODIES, "/api/v0/m/": b'{"meta": {"totalCount": 2}}'},
        f"{COUNT}: meta.totalCount is 2, and has to be 3 at least",
    ),
    "a number is missing": ({}, {**BODIES, "/api/v0/m/": b"{}"}, f"{COUNT}: meta.totalCount: its JSON doesn't have it"),
    "a number is none": (
        {}, {**BODIES, "/api/v0/m/": b'{"meta": {"totalCount": "3"}}'},
        f"{COUNT}: meta.totalCount: is '3', no whole number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_what_a_site_doesnt_show_is_told_with_its_address(proxy, how):
    expected, bodies, line = WRONG[how]
    proxy.salt("nginx_cache.purge")
    proxy.answering(bodies=bodies)

    [told] = problems(proxy, replace(EXPECTED, **expected))

    path, _, what = line.partition(": ")
    assert told.startswith(f"https://{PUBLIC}{path} at {PROXY}: {what}")


def test_all_that_isnt_shown_is_told_at_once(proxy):
    proxy.answering(status=500)

    told = problems(proxy)

    paths = ["/webclient/userdata/", IMAGE, "/api/v0/", COUNT]
    assert [line.split(" at ")[0] for line in told] == [f"https://{PUBLIC}{path}" for path in paths]
    assert all("answers 500" in line for line in told)


def test_the_live_one_that_doesnt_tell_its_number_is_no_excuse(proxy):
    proxy.answering(bodies=BODIES)

    [told] = problems(proxy, reference="203.0.113.1")

    assert told.startswith(f"https://{PUBLIC}{COUNT} at {PROXY}: no answer: ")


def test_a_site_answers_until_it_is_closed(proxy):
    def answers(address=PROXY):
        return proxy.call("idr.release.smoke", "answers", PUBLIC, address, 120)

    proxy.dead()
    assert answers() is True  # the front page is the proxy's own
    assert answers("203.0.113.1") is False
    assert proxy.salt("maintenance.on", "Disks.")["closed"]
    try:
        assert answers() is False
    finally:
        proxy.salt("maintenance.off")
    assert answers() is True


def test_who_takes_connections_and_says_nothing_doesnt_answer():
    with private_network(), socket.create_server(("127.0.0.1", 443)):
        assert smoke.answers(PUBLIC, "127.0.0.1", 0.5) is False


# ---- the certificate, which is the one that the states made


def shown(proxy, folder, name=PUBLIC, **expected):
    given = replace(EXPECTED, **expected)
    now = datetime.now(UTC)
    return proxy.call("idr.release.certificate", "problems", name, PROXY, "newidr", given, folder, now)


def test_a_certificate_of_its_own_will_do_where_that_is_said(proxy, tmp_path):
    assert shown(proxy, tmp_path, ca="self-signed") == []


def test_a_certificate_will_do_that_the_sites_authorities_have_made(proxy, tmp_path):
    (tmp_path / "ca.pem").write_text(proxy.run("openssl x509 -in /etc/nginx/ssl/site.pem"))

    assert shown(proxy, tmp_path, ca="ca.pem") == []


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        (PUBLIC, {}, "isn't valid for idr.example.org: self-signed certificate"),
        ("idr.example.com", {"ca": "self-signed"}, "isn't valid for idr.example.com: Hostname mismatch"),
        (PUBLIC, {"ca": "self-signed", "certificate_days": 5000}, "days, and 5000 are needed"),
    ],
    ids=["nobody trusts it", "of another name", "over too soon"],
)
def test_a_certificate_that_wont_do_is_told_with_what_to_do(proxy, tmp_path, name, expected, reason):
    [line] = shown(proxy, tmp_path, name, **expected)

    assert line.startswith(f"the certificate of newidr at {PROXY} ") and reason in line
    assert line.endswith(f"put the right pair into {tmp_path}/tls and salt-run environment.update newidr apply=True")


@pytest.mark.parametrize("text", [None, "nothing"], ids=["missing", "no certificates"])
def test_authorities_that_cant_be_read_are_told(proxy, tmp_path, text):
    if text:
        (tmp_path / "ca.pem").write_text(text)

    with pytest.raises(RuntimeError, match=f"{tmp_path}/ca.pem, by which release_ca has certificates checked, can't"):
        shown(proxy, tmp_path, ca="ca.pem")


# ---- ports


def test_ports_that_are_open_and_shouldnt_be_and_the_other_way_round(proxy):
    lines = proxy.call("idr.release.ports", "problems", "newidr", PROXY)

    assert [line.split(": ")[0] for line in lines] == [
        f"port 22 of newidr ({PROXY}) is closed, and has to be open",
        f"port 9000 of newidr ({PROXY}), the cache's refresh, is open to the outside",
    ]
