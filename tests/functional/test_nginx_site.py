"""What the proxy serves itself, its certificate, and the states that make it, with the real nginx."""

import pytest
import yaml

from tests.functional.proxy_host import EVERYWHERE, INSIDE, JUPYTER, OMERO, PROXY, PUBLIC, changed, failed
from tests.tables import REPO

pytest_plugins = ["tests.functional.proxy_fixtures"]

REDIRECTS = yaml.safe_load((REPO / "pillar/roles/proxy.sls").read_text())["nginx"]["redirects"]
MOVED = [*REDIRECTS["pages"].items(), *REDIRECTS["queries"].items(), *REDIRECTS["below"].items()]


# --- pages of its own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("port", "source"), EVERYWHERE)
@pytest.mark.parametrize(("came", "goes"), MOVED)
def test_an_address_that_moved(proxy, came, goes, port, source):
    answer = proxy.get(came, port=port, source=source, headers={"Host": f"localhost:{port}"})
    assert (answer.status, answer.headers["location"]) == (302, goes)
    assert proxy.get(goes, port=port, source=source).status == 200


@pytest.mark.parametrize("came", ["/webclient?utm=x", "/mito/", "/mito/webclient/?show=screen-2", "/mito?x"])
def test_an_address_that_moved_with_whatever_follows(proxy, came):
    assert proxy.get(came).status == 302


@pytest.mark.parametrize("url", ["/mitosis/", "/webclient/", "/webclients"])
def test_an_address_that_only_looks_as_if_it_moved(proxy, url):
    assert proxy.get(url).status == 200


@pytest.mark.parametrize("port", [80, 443, 9000])
def test_the_front_page_is_the_idrs_and_needs_no_redirect(proxy, port):
    page = proxy.get("/?from=a-link", port=port, source=INSIDE)
    assert page.status == 200
    assert b"<title>IDR: Image Data Resource</title>" in page.body


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_of_the_back_end_leads_back_to_where_the_visitor_came_in(proxy, scheme):
    proxy.answering(status=302, headers={"Location": f"{scheme}://{PUBLIC}/webclient/?show=x"})
    assert proxy.get("/webclient/old/", port=9000, source=INSIDE).headers["location"] == "/webclient/?show=x"


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
    mine = {"Cookie": "jupyterhub=mine", "Host": "localhost:8443"}
    page = proxy.get("/jupyter/hub/login", port=443, headers=mine)
    assert page.headers["set-cookie"]
    (asked,) = proxy.asked((JUPYTER, 8000))
    assert (asked.headers["host"], asked.headers["cookie"]) == ("localhost:8443", "jupyterhub=mine")
    assert (asked.headers["x-forwarded-proto"], asked.headers["x-scheme"]) == ("https", "https")
    assert "access-control-allow-origin" not in page.headers
    assert proxy.websocket("/jupyter/user/x/api/kernels/1/channels", b"ping") == (101, b"gnip")
    assert proxy.get("/jupyter/hub/login", port=9000, source=INSIDE).status == 200
    assert len(proxy.asked((JUPYTER, 8000))) == 2


def test_nobody_logs_in_to_jupyter_in_the_clear(configured):
    proxy = configured(jupyter={"enabled": True})
    there = proxy.get("/jupyter/hub/login?next=1")
    assert (there.status, there.headers["location"]) == (301, "https://idr.example.org/jupyter/hub/login?next=1")
    assert not proxy.asked((JUPYTER, 8000))


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
    before = proxy.run("cat /etc/nginx/nginx.conf")
    other = {"nginx": {"jupyter": {"enabled": True}}}
    planned = proxy.salt("state.apply", "nginx.configured", test=True, pillar=other)
    assert changed(planned) == {"the proxy's configuration is in place"}
    assert proxy.run("cat /etc/nginx/nginx.conf") == before


def test_zones_whose_keys_have_no_room_are_refused_before_anything_is_done(proxy):
    before = proxy.run("cat /etc/nginx/nginx.conf")
    pillar = {"nginx": {"cache": {"zones": {"omeroapi": {"keys_mb": 900000}}}}}
    refused = proxy.salt("state.apply", "nginx.configured", pillar=pillar)
    assert isinstance(refused, list)
    why = "The keys of the cache's zones take 900502 MB, but 25 % of this server's memory is"
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
    known = "server 192.168.", "server 127.0.0.1:", "proxy_pass http://omero;", "proxy_pass http://for_everyone;"
    for line in proxy.run("grep -E '^ *(server [0-9a-z]|proxy_pass )' /etc/nginx/nginx.conf").splitlines():
        assert line.strip().startswith(known), line


def test_the_rhel_family_has_its_own_user(loaders, tmp_path):
    server = loaders("idr-proxy", os_family="RedHat")
    server.modules.cp.get_template("salt://nginx/files/nginx.conf.j2", str(tmp_path / "nginx.conf"))
    assert "\nuser nginx;\n" in (tmp_path / "nginx.conf").read_text()
    low = server.modules.state.show_low_sls("nginx.running")
    assert {chunk["user"] for chunk in low if chunk["__id__"] == "every zone has a directory"} == {"nginx"}
