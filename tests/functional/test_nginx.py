"""What the proxy stores, and what it tells whom: the real nginx, asked as visitors and administrators would."""

import time

import pytest

from lab.shell import wait_until
from tests.functional.proxy_host import ANALYSIS, EVERYWHERE, INSIDE, JUPYTER, OUTSIDE, PROXY, PROXY_OTHER, PUBLIC
from tests.tables import cases

pytest_plugins = ["tests.functional.proxy_fixtures"]

TUNNEL = {"port": 9000, "source": "127.0.0.1", "to": "127.0.0.1"}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_the_second_request_is_a_hit_whatever_the_back_end_says_of_caching(proxy):
    first, second, third = proxy.get("/mapr/twice/"), proxy.get("/mapr/twice/", port=443), proxy.get("/mapr/twice/")

    assert [answer.cache for answer in (first, second, third)] == ["MISS", "HIT", "HIT"]
    assert first.body == second.body == third.body
    assert len(proxy.asked()) == 1


def test_a_head_warms(proxy):
    assert proxy.get("/mapr/head/", method="HEAD").cache == "MISS"
    warmed = proxy.get("/mapr/head/")
    assert warmed.cache == "HIT"
    assert b"/mapr/head/" in warmed.body


def test_many_who_miss_at_once_are_one_request_for_omero(proxy):
    proxy.answering(delay=0.3)
    answers = proxy.together(["/mapr/together/"] * 30)
    assert {answer.status for answer in answers} == {200}
    assert len(proxy.asked()) == 1


@pytest.mark.parametrize("status", [201, 206, 301, 302, 403, 404, 410, 500, 503])
def test_nothing_but_200_is_stored(proxy, status):
    target = f"/mapr/status/{status}/"
    proxy.answering(status=status, headers={"Location": "/elsewhere/"})
    assert [proxy.get(target).status for _ in range(2)] == [status, status]
    proxy.answering()
    assert proxy.get(target).cache == "MISS"


@pytest.mark.parametrize("case", cases("nginx_zones"))
def test_a_url_is_stored_in_its_zone(proxy, case):
    assert proxy.get(case["url"]).status == 200
    assert proxy.get(case["url"]).cache == ("HIT" if case["zone"] else None)
    assert proxy.salt("nginx_cache.purge_url", case["url"], test=True)["zone"] == case["zone"]


@pytest.mark.parametrize("case", cases("nginx_cache_keys"))
def test_nginx_and_the_module_agree_on_a_key(proxy, case):
    answer = proxy.get(case["url"], port=9000, source=INSIDE)
    found = proxy.salt("nginx_cache.purge_url", case["url"], test=True)

    assert answer.headers["x-proxy-cache-key"] == found["key"] == case["key"]
    assert found["entries"] == 1      # its file is where the module says that nginx puts it


def test_what_a_purge_would_take_is_told_and_still_there(proxy):
    proxy.get("/mapr/rehearsed/")
    proxy.answering(version=2)

    told = proxy.salt("nginx_cache.purge_url", "/mapr/rehearsed/", test=True)

    assert (told["zone"], told["entries"]) == ("omeromapr", 1) and told["bytes"] > 0
    assert proxy.get("/mapr/rehearsed/").cache == "HIT"
    assert proxy.salt("nginx_cache.purge_url", "/mapr/rehearsed/") == told
    assert proxy.get("/mapr/rehearsed/").cache == "MISS"


def test_a_buster_finds_what_was_stored_without_it(proxy):
    assert proxy.get("/mapr/busted/?x=1").cache == "MISS"
    assert proxy.get("/mapr/busted/?x=1&_=5").cache == "HIT"
    assert proxy.get("/mapr/busted/?x=1&_=6").cache == "HIT"


# --- what is not told, in either direction ----------------------------------------------------------------------------


@pytest.mark.parametrize(("port", "source"), EVERYWHERE)
def test_of_a_visitor_only_the_url_reaches_a_stored_page(proxy, port, source):
    target = f"/webclient/metadata_details/image/{port}/"
    told = {
        "Cookie": "sessionid_idr=of-an-administrator",
        "Authorization": "Basic cm9vdA==",
        "Accept-Encoding": "gzip",
        "X-Forwarded-Host": "evil.example.org",
        "X-Requested-With": "XMLHttpRequest",
        "Host": "localhost:9000",
    }
    answer = proxy.get(target, port=port, source=source, headers=told)

    (asked,) = proxy.asked()
    assert asked.headers == {
        "host": PUBLIC,
        "x-forwarded-host": PUBLIC,
        "x-forwarded-proto": "https",
        "x-forwarded-proto-omero-web": "https",
        "x-forwarded-for": source,
        "x-real-ip": source,
    }
    assert "set-cookie" not in answer.headers
    stored = proxy.get(target)
    assert stored.cache == "HIT"
    assert stored.body == f"version 1 of {target} for the public at {PUBLIC}".encode()
    assert "set-cookie" not in stored.headers
    assert not proxy.run("grep -rliE '^set-cookie:' /var/cache/nginx || true")


def test_a_page_that_is_not_stored_keeps_the_visitors_session(proxy):
    for _ in range(2):
        answer = proxy.get("/webclient/userdata/", headers={"Cookie": "sessionid_idr=mine", "Host": "evil.example.org"})
        assert answer.headers["set-cookie"].startswith("sessionid_idr=")
        assert b"for sessionid_idr=mine at " + PUBLIC.encode() in answer.body
    assert len(proxy.asked()) == 2


def test_an_administrators_session_of_another_tunnel_does_not_pass_9000(proxy):
    page = proxy.get("/webclient/userdata/", **TUNNEL, headers={"Cookie": "sessionid_idr=root"})
    assert b"for the public" in page.body
    assert "set-cookie" not in page.headers


def test_a_stored_page_takes_no_post(proxy):
    assert proxy.get("/webclient/api/images/", method="POST", body="x=1").status == 403
    assert proxy.get("/webclient/action/", method="POST", body="x=1").status == 200
    assert [asked.target for asked in proxy.asked()] == ["/webclient/action/"]


def test_any_site_may_use_it_and_the_back_end_has_no_say(proxy):
    assert proxy.get("/api/v0/m/images/").headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(("port", "source"), EVERYWHERE)
@pytest.mark.parametrize("case", cases("nginx_logins"))
def test_nobody_logs_in(proxy, case, port, source):
    answer = proxy.get(case["url"], port=port, source=source)
    assert answer.status == (403 if case["blocked"] else 200)
    assert bool(proxy.asked()) != case["blocked"]


def test_a_password_in_a_query_is_not_logged(proxy):
    proxy.get("/webclient/userdata/?username=root&password=hunter2")
    written = "until grep -q withheld /var/log/nginx/access.log; do nginx -s reopen; sleep 0.2; done"
    log = proxy.run(f"timeout 120 sh -c '{written}'; cat /var/log/nginx/access.log")
    assert "/webclient/userdata/ (query withheld)" in log
    assert "hunter2" not in log


# --- port 9000 --------------------------------------------------------------------------------------------------------


def test_9000_replaces_the_public_entry_and_no_other(proxy):
    proxy.get("/mapr/stale/"), proxy.get("/mapr/other/")
    proxy.answering(version=2)

    assert proxy.get("/mapr/stale/").body.startswith(b"version 1 ")
    assert proxy.get("/mapr/stale/", port=9000, source=INSIDE).cache == "BYPASS"
    fresh = proxy.get("/mapr/stale/", port=443)
    assert (fresh.cache, fresh.body[:10]) == ("HIT", b"version 2 ")
    assert proxy.get("/mapr/other/").body.startswith(b"version 1 ")


def test_9000_by_a_tunnels_name_stores_nothing_of_that_name(proxy):
    answer = proxy.get("/mapr/tunnel/", **TUNNEL, headers={"Host": "localhost:9000"})
    assert answer.status == 200
    stored = proxy.get("/mapr/tunnel/")
    assert stored.cache == "HIT"
    assert b"localhost" not in stored.body


@pytest.mark.parametrize("status", [500, 502, 404])
def test_a_failing_back_end_leaves_the_old_entry(proxy, status):
    target = f"/mapr/failing/{status}/"
    proxy.get(target)
    proxy.answering(status=status)
    assert proxy.get(target, port=9000, source=INSIDE).status == status
    assert proxy.get(target).cache == "HIT"


def test_a_dead_back_end_leaves_the_old_entry(proxy):
    proxy.get("/mapr/dead/")
    proxy.dead()
    assert proxy.get("/mapr/dead/", port=9000, source=INSIDE).status == 502
    assert proxy.get("/mapr/dead/").cache == "HIT"


@pytest.mark.parametrize("target", ["/mapr/source/", "/", "/about/", "/webclient/userdata/", "/mito"])
@pytest.mark.parametrize(
    ("source", "to", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        (PROXY, PROXY, True),
        (PROXY_OTHER, PROXY_OTHER, True),
        (INSIDE, PROXY, True),
        (ANALYSIS, PROXY, False),
        (ANALYSIS, PROXY_OTHER, False),
        (JUPYTER, PROXY_OTHER, False),
        (OUTSIDE, PROXY, False),
    ],
)
def test_9000_is_for_loopback_and_the_production_side(proxy, source, to, allowed, target):
    answer = proxy.get(target, port=9000, source=source, to=to)
    assert (answer.status != 403) == allowed
    if not allowed:
        assert not proxy.asked()


# --- stale ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def brief(configured):
    """Entries that are valid for one second."""
    return configured(cache={"zones": {"omeromapr": {"valid": "1s"}}})


def test_an_old_entry_is_better_than_an_error(brief):
    errors = (500, 502, 503, 504)
    for error in (*errors, "dead"):
        brief.get(f"/mapr/trouble/{error}/")
    time.sleep(2.1)
    for error in errors:
        brief.answering(status=error)
        answer = brief.get(f"/mapr/trouble/{error}/")
        assert (answer.status, answer.cache) == (200, "STALE")
    brief.dead()
    assert brief.get("/mapr/trouble/dead/").cache == "STALE"


def test_nobody_waits_while_an_old_entry_is_fetched_anew(brief):
    brief.get("/mapr/slow/")
    time.sleep(2.1)
    brief.answering(version=2, held_after=0)
    answers = [brief.get("/mapr/slow/") for _ in range(5)]
    assert {answer.body[:10] for answer in answers} == {b"version 1 "}
    wait_until("it is fetched anew", brief.asked, 120)
    assert len(brief.asked()) == 1
    brief.let_go()
    wait_until("the new one is there", lambda: brief.get("/mapr/slow/").body.startswith(b"version 2 "), 120)
