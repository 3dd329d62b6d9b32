"""The caching proxy: the real states and the real nginx, asked as visitors and administrators would."""

import time

import pytest
import yaml

from tests.functional import proxy_host
from tests.functional.proxy_host import ANALYSIS, INSIDE, JUPYTER, OMERO, OUTSIDE, PROXY, PROXY_OTHER, PUBLIC
from tests.tables import REPO, cases

REDIRECTS = yaml.safe_load((REPO / "pillar/roles/proxy.sls").read_text())["nginx"]["redirects"]
MOVED = [*REDIRECTS["pages"].items(), *REDIRECTS["queries"].items(), *REDIRECTS["below"].items()]
TUNNEL = {"port": 9000, "source": "127.0.0.1", "to": "127.0.0.1"}
EVERYWHERE = [(80, OUTSIDE), (443, OUTSIDE), (9000, INSIDE)]


@pytest.fixture(scope="module")
def host(_loaders_made, tmp_path_factory):
    with proxy_host.made(_loaders_made("idr-proxy", "Debian", False).opts, tmp_path_factory) as host:
        yield host


@pytest.fixture
def proxy(host):
    host.answering()
    return host


@pytest.fixture
def configured(proxy):
    """The proxy with other pillar, for one test."""

    def configure(**pillar):
        assert not failed(proxy.salt("state.apply", "nginx.configured", pillar={"nginx": pillar}))
        proxy.reload()
        return proxy

    yield configure
    configure()


def failed(states):
    assert isinstance(states, dict), states
    return {state["__id__"]: state["comment"] for state in states.values() if state["result"] is False}


def changed(states):
    assert isinstance(states, dict), states
    return {state["__id__"] for state in states.values() if state["changes"]}


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
    last = proxy.run("tail -n 1 /var/log/nginx/access.log")
    assert "/webclient/userdata/ (query withheld)" in last
    assert "hunter2" not in last


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
    brief.answering(version=2, delay=1)
    before = time.monotonic()
    answers = [brief.get("/mapr/slow/") for _ in range(5)]
    assert time.monotonic() - before < 0.7
    assert {answer.body[:10] for answer in answers} == {b"version 1 "}
    brief.answering(version=3)
    time.sleep(1.3)
    # expired again by now, it is the answer of the one request that went upstream
    assert brief.get("/mapr/slow/").body.startswith(b"version 2 ")


# --- pages of its own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("port", "source"), EVERYWHERE)
@pytest.mark.parametrize(("came", "goes"), MOVED)
def test_an_address_that_moved(proxy, came, goes, port, source):
    answer = proxy.get(came, port=port, source=source, headers={"Host": f"localhost:{port}"})
    assert (answer.status, answer.headers["location"]) == (302, goes)
    assert proxy.get(goes, port=port, source=source).status == 200


@pytest.mark.parametrize("came", ["/?utm=x", "/mito/", "/mito/webclient/?show=screen-2", "/mito?x"])
def test_an_address_that_moved_with_whatever_follows(proxy, came):
    assert proxy.get(came).status == 302


@pytest.mark.parametrize("url", ["/mitosis/", "/webclient/", "/webclients"])
def test_an_address_that_only_looks_as_if_it_moved(proxy, url):
    assert proxy.get(url).status == 200


def test_the_front_page_is_the_idrs(proxy):
    page = proxy.get(proxy.get("/").headers["location"])
    assert b"<title>IDR: Image Data Resource</title>" in page.body


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_of_the_back_end_leads_back_to_where_the_visitor_came_in(proxy, scheme):
    proxy.answering(status=302, headers={"Location": f"{scheme}://{PUBLIC}/webclient/?show=x"})
    assert proxy.get("/webclient/old/", port=9000, source=INSIDE).headers["location"] == "/webclient/?show=x"


def test_maintenance_closes_the_site_at_once_and_opens_it_at_once(proxy):
    proxy.get("/mapr/closed/")
    proxy.run("touch /srv/www/maintenance.flag")
    try:
        for target in ("/", "/mapr/closed/", "/static/x.css", "/webclient/userdata/"):
            for port in (80, 443):
                answer = proxy.get(target, port=port)
                assert answer.status == 503
                assert answer.headers["retry-after"] == "600"
                assert b"being looked after" in answer.body
        assert proxy.get("/webclient/userdata/", method="POST", body="x").status == 503
        assert proxy.get("/about/").status == 200
        assert proxy.get("/mapr/closed/", port=9000, source=INSIDE).cache == "BYPASS"
        assert proxy.get("/webclient/userdata/", port=9000, source=INSIDE).status == 200
    finally:
        proxy.run("rm /srv/www/maintenance.flag")
    assert proxy.get("/mapr/closed/").cache == "HIT"


def test_a_503_of_the_back_end_is_not_called_maintenance(proxy):
    proxy.answering(status=503)
    assert b"being looked after" not in proxy.get("/webclient/userdata/").body


def test_a_version_of_the_static_pages_is_unpacked_and_linked(proxy):
    proxy.run("mkdir -p /srv/site && echo '<title>the real site</title>' > /srv/site/index.html")
    proxy.run("tar -czf /srv/site.tar.gz -C /srv/site .")
    digest = proxy.run("sha256sum /srv/site.tar.gz").split()[0]
    about = {"version": "2026.11", "source": "/srv/site.tar.gz", "source_hash": f"sha256={digest}"}
    try:
        assert not failed(proxy.salt("state.apply", "nginx.pages", pillar={"nginx": {"about": about}}))
        assert b"the real site" in proxy.get("/about/").body
        assert not changed(proxy.salt("state.apply", "nginx.pages", pillar={"nginx": {"about": about}}))
        wrong = about | {"version": "2026.12", "source_hash": "sha256=" + "0" * 64}
        assert failed(proxy.salt("state.apply", "nginx.pages", pillar={"nginx": {"about": wrong}}))
        assert b"the real site" in proxy.get("/about/").body
    finally:
        proxy.salt("state.apply", "nginx.pages")
    assert b"the real site" not in proxy.get("/about/").body


# --- Jupyter ----------------------------------------------------------------------------------------------------------


def test_jupyter_is_not_served_unless_it_is_enabled(proxy):
    proxy.get("/jupyter/hub/login")
    assert not proxy.asked((JUPYTER, 8000))


def test_jupyter_has_its_own_host_cookies_and_websockets(configured):
    proxy = configured(jupyter={"enabled": True})
    page = proxy.get("/jupyter/hub/login", headers={"Cookie": "jupyterhub=mine", "Host": "idr.example.org"})
    assert page.headers["set-cookie"]
    (asked,) = proxy.asked((JUPYTER, 8000))
    assert (asked.headers["host"], asked.headers["cookie"]) == ("idr.example.org", "jupyterhub=mine")
    assert proxy.websocket("/jupyter/user/x/api/kernels/1/channels", b"ping") == (101, b"gnip")
    assert proxy.get("/jupyter/hub/login", port=9000, source=INSIDE).status == 200
    assert len(proxy.asked((JUPYTER, 8000))) == 2


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_old_tls_is_refused_and_http2_spoken(proxy):
    assert proxy.run(f"curl -sko /dev/null -w '%{{http_version}}' https://{PROXY}/about/") == "2"
    with pytest.raises(RuntimeError):
        proxy.run(f"curl -sko /dev/null --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 https://{PROXY}/about/")


def pair(proxy, name):
    """A key and its certificate."""
    proxy.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN={name} -keyout /srv/{name}.key -out /srv/{name}.pem 2>/dev/null"
    )
    return {"privkey": proxy.run(f"cat /srv/{name}.key"), "fullchain": proxy.run(f"cat /srv/{name}.pem")}


def served(proxy):
    return proxy.run(f"openssl s_client -connect {PROXY}:443 </dev/null 2>/dev/null | openssl x509 -noout -subject")


def test_the_certificate_of_its_own_is_made_once_and_private(proxy):
    modes = proxy.run("stat -c '%a %U' /etc/nginx/ssl /etc/nginx/ssl/site.pem")
    assert modes.splitlines() == ["700 root", "600 root"]
    assert PUBLIC in served(proxy)
    assert not changed(proxy.salt("state.apply", "nginx.certificate"))


def test_a_supplied_certificate_takes_its_place_and_a_wrong_pair_does_not(proxy):
    one, other = pair(proxy, "one"), pair(proxy, "other")
    proxy.run("cp /etc/nginx/ssl/site.pem /etc/nginx/ssl/before.pem")
    try:
        applied = proxy.salt("state.apply", "nginx.certificate", pillar={"secrets": {"tls": one}})
        assert changed(applied) == {"the supplied certificate is in place"}
        assert not changed(proxy.salt("state.apply", "nginx.certificate", pillar={"secrets": {"tls": one}}))
        proxy.reload()
        assert "CN = one" in served(proxy)

        mixed = {"privkey": one["privkey"], "fullchain": other["fullchain"]}
        refused = proxy.salt("state.apply", "nginx.certificate", pillar={"secrets": {"tls": mixed}})
        assert "is not the key of" in failed(refused)["the supplied certificate is in place"]
        proxy.reload()
        assert "CN = one" in served(proxy)
        assert one["privkey"].split("\n")[1] not in str([applied, refused])
        assert proxy.run("stat -c '%a' /etc/nginx/ssl/site.pem").strip() == "600"
    finally:
        proxy.run("mv /etc/nginx/ssl/before.pem /etc/nginx/ssl/site.pem")
        proxy.reload()


# --- the states -------------------------------------------------------------------------------------------------------


def test_applied_again_nothing_changes(proxy):
    assert not changed(proxy.salt("state.apply", "nginx.configured"))


def test_a_configuration_that_nginx_refuses_changes_nothing(proxy):
    before = proxy.run("cat /etc/nginx/nginx.conf")
    wrong = {"nginx": {"cache": {"zones": {"omeromapr": {"inactive": "soon"}}}}}

    refused = failed(proxy.salt("state.apply", "nginx.configured", pillar=wrong))

    assert "invalid inactive value" in refused["the proxy's configuration is in place"]
    assert proxy.run("cat /etc/nginx/nginx.conf") == before
    proxy.reload()
    assert proxy.get("/mapr/after-refusal/").status == 200


def test_test_mode_changes_nothing_and_says_what_it_would(proxy):
    other = {"nginx": {"maintenance": {"retry_after": 60}}}
    planned = proxy.salt("state.apply", "nginx.configured", test=True, pillar=other)
    assert changed(planned) == {"the proxy's configuration is in place"}
    assert "Retry-After 600 " in proxy.run("cat /etc/nginx/nginx.conf")


@pytest.mark.parametrize(
    ("pillar", "why"),
    [
        (
            {"nginx": {"cache": {"zones": {"omerorender": {"max_size_mb": 45000}}}}},
            "The cache's zones may grow to 97424 MB, but 95 % of proxy-nginxcache is 97280 MB",
        ),
        (
            {"nginx": {"cache": {"zones": {"omeroapi": {"keys_mb": 900000}}}}},
            "The keys of the cache's zones take 900502 MB, but 25 % of this server's memory is",
        ),
        ({"server": {"volumes": []}}, "No volume of idr-proxy is mounted at /var/cache/nginx"),
    ],
)
def test_zones_that_have_no_room_are_refused_before_anything_is_done(proxy, pillar, why):
    before = proxy.run("cat /etc/nginx/nginx.conf")
    refused = proxy.salt("state.apply", "nginx.configured", pillar=pillar)
    assert isinstance(refused, list)
    assert f"Jinja error: {why}" in refused[0]
    assert proxy.run("cat /etc/nginx/nginx.conf") == before


def test_entries_of_another_systems_nginx_are_given_to_this_one(proxy):
    proxy.get("/mapr/foreign/")
    proxy.run("chown -R 998:998 /var/cache/nginx/omeromapr")

    applied = proxy.salt("state.apply", "nginx.configured")
    assert "entries of another system's nginx are given to this one" in changed(applied)

    assert not proxy.run("find /var/cache/nginx ! -user www-data -mindepth 1").strip()
    assert proxy.get("/mapr/foreign/").cache == "HIT"


@pytest.mark.parametrize("dead", [OMERO, INSIDE])
def test_of_several_back_ends_a_dead_one_is_passed_over(configured, dead):
    proxy = configured(upstream=["idr-omero", "idr-database"])
    proxy.dead(dead)
    for number in range(10):
        assert proxy.get(f"/webclient/userdata/{number}/").status == 200
    other = INSIDE if dead == OMERO else OMERO
    assert len(proxy.asked((other, 8080))) == 10


def test_several_back_ends_know_their_visitors(configured):
    proxy = configured(upstream=["idr-omero", "idr-database"])
    for number in range(10):
        proxy.get(f"/webclient/userdata/{number}/")
    assert {len(proxy.asked((address, 8080))) for address in (OMERO, INSIDE)} == {0, 10}
    upstream = proxy.run("sed -n '/upstream omero {/,/}/p' /etc/nginx/nginx.conf")
    assert "ip_hash;" in upstream
    assert "server 192.168.1.11:80 max_fails=3 fail_timeout=10s;" in upstream
    assert "server 192.168.1.12:80 max_fails=3 fail_timeout=10s;" in upstream


def test_the_configuration_names_no_host_that_would_be_looked_up(proxy):
    for line in proxy.run("grep -E '^ *(server [0-9a-z]|proxy_pass )' /etc/nginx/nginx.conf").splitlines():
        assert line.strip().startswith(("server 192.168.", "proxy_pass http://omero;")), line


def test_the_rhel_family_has_its_own_user(loaders, tmp_path):
    server = loaders("idr-proxy", os_family="RedHat")
    server.modules.cp.get_template("salt://nginx/files/nginx.conf.j2", str(tmp_path / "nginx.conf"))
    assert "\nuser nginx;\n" in (tmp_path / "nginx.conf").read_text()
    low = server.modules.state.show_low_sls("nginx.running")
    assert {chunk["user"] for chunk in low if chunk["__id__"] == "every zone has a directory"} == {"nginx"}
