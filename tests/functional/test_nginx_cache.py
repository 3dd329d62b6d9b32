"""nginx_cache against the real nginx, with visitors meanwhile."""

import pytest
import yaml

from tests.functional.proxy_host import INSIDE, PUBLIC
from tests.tables import REPO

pytest_plugins = ["tests.functional.proxy_fixtures"]

ZONES = yaml.safe_load((REPO / "pillar/roles/proxy.sls").read_text())["nginx"]["cache"]["zones"]


@pytest.fixture
def proxy(proxy):
    """The proxy with an empty cache."""
    assert set(proxy.salt("nginx_cache.purge")) == set(ZONES)
    return proxy


def entries(proxy, zone=""):
    """Every entry's file, as the file system has it."""
    return set(proxy.run(f"find /var/cache/nginx/{zone} -type f").split())


def fill(proxy, targets):
    for target in targets:
        assert proxy.get(target).status == 200
    return targets


# --- looking ----------------------------------------------------------------------------------------------------------


def test_zones_are_those_of_pillar_in_bytes(proxy):
    assert proxy.salt("nginx_cache.zones") == {
        name: {
            "path": f"/var/cache/nginx/{name}",
            "max_bytes": zone["max_size_mb"] * 2**20,
            "keys_bytes": zone["keys_mb"] * 2**20,
            "inactive": zone["inactive"],
        }
        for name, zone in ZONES.items()
    }


def test_zones_of_a_configuration_that_nginx_refuses_are_not_guessed(proxy):
    proxy.run("cp /etc/nginx/nginx.conf /srv/good.conf && echo 'nonsense;' >> /etc/nginx/nginx.conf")
    try:
        refused = proxy.salt("nginx_cache.purge")
    finally:
        proxy.run("cp /srv/good.conf /etc/nginx/nginx.conf")
    assert refused.startswith("ERROR: nginx refuses its own configuration:")
    assert 'unknown directive "nonsense"' in refused


def test_stats_count_what_is_stored_and_how_visitors_were_answered(proxy):
    proxy.run(": > /var/log/nginx/access.log")
    fill(proxy, ["/mapr/1/", "/mapr/2/", "/mapr/2/", "/static/1.css"])
    proxy.get("/mapr/1/", port=9000, source=INSIDE)

    found = proxy.salt("nginx_cache.stats")

    mapr = found["zones"]["omeromapr"]
    size = sum(int(size) for size in proxy.run("find /var/cache/nginx/omeromapr -type f -printf '%s '").split())
    assert (mapr["entries"], mapr["bytes"], mapr["max_bytes"]) == (2, size, 5120 * 2**20)
    assert mapr["answers"] == {"MISS": 2, "HIT": 1, "BYPASS": 1}
    assert 0 <= mapr["oldest"] < 60
    assert found["zones"]["omerorender"]["oldest"] is None
    assert found["free_bytes"] > 0


# --- purge ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [True, False])
def test_purge_of_one_zone(proxy, test):
    fill(proxy, ["/mapr/1/", "/mapr/2/", "/static/1.css"])
    before = entries(proxy)
    size = sum(int(size) for size in proxy.run("find /var/cache/nginx/omeromapr -type f -printf '%s '").split())
    directory = proxy.run("stat -c '%i %a %U' /var/cache/nginx/omeromapr")

    assert proxy.salt("nginx_cache.purge", "omeromapr", test=test) == {"omeromapr": {"entries": 2, "bytes": size}}

    assert entries(proxy) == (before if test else {path for path in before if "/omerostatic/" in path})
    assert proxy.run("stat -c '%i %a %U' /var/cache/nginx/omeromapr") == directory
    assert [proxy.get("/mapr/1/").cache for _ in range(2)] == (["HIT", "HIT"] if test else ["MISS", "HIT"])
    assert proxy.get("/static/1.css").cache == "HIT"


def test_purge_of_everything_leaves_only_the_zones_directories(proxy):
    fill(proxy, ["/mapr/1/", "/static/1.css", "/webclient/api/images/"])
    purged = proxy.salt("nginx_cache.purge")
    assert {name for name, counted in purged.items() if counted["entries"]} == {"omeromapr", "omerostatic", "omeroapi"}
    assert set(proxy.run("ls -A /var/cache/nginx").split()) == set(ZONES)
    assert not proxy.run("find /var/cache/nginx -mindepth 2")


def test_a_complete_refresh_under_load_fails_no_request(proxy):
    stored = fill(proxy, [f"/mapr/load/{number}/" for number in range(120)])
    targets = [*stored, "/webclient/userdata/", "/static/1.css"]
    answers, purged = proxy.under_load(targets, "nginx_cache.purge")
    assert purged["omeromapr"]["entries"] == 120
    assert set(answers) == {200}, answers
    assert answers[200] > 200
    assert {proxy.get(target).status for target in stored} == {200}
    assert {proxy.get(target).cache for target in stored} == {"HIT"}


def test_what_an_interrupted_purge_left_goes_with_the_next(proxy):
    proxy.run("mkdir -p /var/cache/nginx/.purged/1/omeromapr/a && touch /var/cache/nginx/.purged/1/omeromapr/a/left")
    assert proxy.salt("nginx_cache.purge", "omerostatic") == {"omerostatic": {"entries": 0, "bytes": 0}}
    assert ".purged" not in proxy.run("ls -A /var/cache/nginx").split()


def test_a_second_purge_at_the_same_time_is_refused(proxy):
    fill(proxy, ["/mapr/1/"])
    proxy.run("flock -n /var/cache/nginx sleep 1 >/dev/null 2>&1 & sleep 0.3")
    assert proxy.salt("nginx_cache.purge") == "ERROR: another purge of this cache is still running"
    assert len(entries(proxy)) == 1
    proxy.run("flock /var/cache/nginx true")


@pytest.mark.parametrize("zone", ["nosuch", "../../etc", "/etc", "omeromapr/a", ""])
def test_an_unknown_zone_is_refused(proxy, zone):
    fill(proxy, ["/mapr/1/"])
    refused = proxy.salt("nginx_cache.purge", zone)
    assert refused.startswith(f"ERROR: {zone} is not a zone of this cache: omero, ")
    assert len(entries(proxy)) == 1


def outside(proxy, how, back):
    """A purge of a zone whose directory is elsewhere, and what is there after."""
    proxy.run("mkdir -p /srv/precious/a && touch /srv/precious/a/0123456789abcdef0123456789abcdef")
    proxy.run(how)
    try:
        return [proxy.salt("nginx_cache.purge", "omeromapr", test=test) for test in (True, False)]
    finally:
        proxy.run(back)
        assert proxy.run("ls /srv/precious/a").strip() == "0123456789abcdef0123456789abcdef"


def test_a_zone_that_leads_out_of_the_cache_volume_by_a_link_is_refused(proxy):
    zone = "/var/cache/nginx/omeromapr"
    how = f"mv {zone} /var/cache/nginx/aside && ln -s /srv/precious {zone}"
    for refused in outside(proxy, how, f"rm {zone} && mv /var/cache/nginx/aside {zone}"):
        assert refused == f"ERROR: {zone}, of zone omeromapr, is not a directory of the cache volume /var/cache/nginx"


def test_a_zone_that_the_configuration_has_elsewhere_is_refused(proxy):
    conf = "/etc/nginx/nginx.conf"
    how = f"cp {conf} /srv/good.conf && sed -i 's|/var/cache/nginx/omeromapr |/srv/precious |' {conf}"
    for refused in outside(proxy, how, f"cp /srv/good.conf {conf}"):
        assert refused.startswith("ERROR: /srv/precious, of zone omeromapr, is not a directory of the cache volume")
    proxy.run("chown root /srv/precious")


def test_without_its_volume_nothing_is_touched(proxy):
    fill(proxy, ["/mapr/1/"])
    proxy.run("mkdir -p /srv/aside && mount --bind /var/cache/nginx /srv/aside && umount /var/cache/nginx -l")
    try:
        refused = proxy.salt("nginx_cache.purge")
    finally:
        proxy.run("mount --bind /srv/aside /var/cache/nginx && umount /srv/aside -l")
    assert refused == "ERROR: no volume is mounted at /var/cache/nginx: nothing is touched there"
    assert proxy.get("/mapr/1/").cache == "HIT"


def test_why_a_zones_own_directory_stays(proxy):
    """What the document advises, to the letter: the reason for all the care above."""
    proxy.get("/mapr/1/")
    proxy.run("rm -r /var/cache/nginx/*")
    with pytest.raises(RuntimeError, match="Remote end closed connection"):
        proxy.get("/mapr/2/")
    assert proxy.get("/webclient/userdata/").status == 200
    proxy.reload()
    assert proxy.get("/mapr/2/").cache == "MISS"


# --- one URL ----------------------------------------------------------------------------------------------------------


def test_purge_of_one_url_and_no_other(proxy):
    fill(proxy, ["/mapr/1/?x=1", "/mapr/2/"])
    proxy.answering(version=2)

    purged = proxy.salt("nginx_cache.purge_url", f"https://{PUBLIC}/mapr/1/?x=1&_=77")

    assert (purged["key"], purged["zone"], purged["entries"]) == ("/mapr/1/?x=1", "omeromapr", 1)
    assert purged["bytes"] > 0
    again = [proxy.get("/mapr/1/?x=1") for _ in range(2)]
    assert [answer.cache for answer in again] == ["MISS", "HIT"]
    assert again[1].body.startswith(b"version 2 ")
    assert proxy.get("/mapr/2/").cache == "HIT"


def test_purge_of_a_url_that_is_not_stored(proxy):
    nothing = {"key": "/mapr/never/", "zone": None, "entries": 0, "bytes": 0}
    assert proxy.salt("nginx_cache.purge_url", "/mapr/never/") == nothing


@pytest.mark.parametrize("function", ["nginx_cache.purge_url", "nginx_cache.refresh"])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://elsewhere.example.org/mapr/", "https://elsewhere.example.org/mapr/ is not a URL of idr.example.org"),
        ("//elsewhere.example.org/mapr/", "//elsewhere.example.org/mapr/ is not a URL of idr.example.org"),
        ("mapr/", "mapr/ is not a URL of idr.example.org"),
        ("/mapr/?value=two words", "'/mapr/?value=two words' has characters that a browser sends percent-encoded"),
        ("/mapr/\r\nHost: x", "'/mapr/\\r\\nHost: x' has characters that a browser sends percent-encoded"),
    ],
)
def test_a_url_that_is_none_of_this_site_is_refused(proxy, function, url, why):
    assert proxy.salt(function, url).startswith(f"ERROR: {why}")
    assert not proxy.asked()


# --- refresh ----------------------------------------------------------------------------------------------------------


def test_refresh_replaces_and_proves_it(proxy):
    fill(proxy, ["/mapr/1/", "/static/1.css", "/mapr/other/"])
    proxy.answering(version=2)

    urls = ["/mapr/1/", f"https://{PUBLIC}/static/1.css", "/mapr/new/", "/mapr/1/"]
    assert proxy.salt("nginx_cache.refresh", urls) == {"refreshed": 3, "verified": 3, "failed": {}}

    assert len(proxy.asked()) == 3
    for target in ("/mapr/1/", "/static/1.css", "/mapr/new/"):
        answer = proxy.get(target)
        assert (answer.cache, answer.body[:10]) == ("HIT", b"version 2 ")
    assert proxy.get("/mapr/other/").body.startswith(b"version 1 ")


def test_refresh_with_a_failing_back_end_keeps_the_old_entry_and_says_so(proxy):
    fill(proxy, ["/mapr/1/"])
    proxy.answering(status=500)
    result = proxy.salt("nginx_cache.refresh", ["/mapr/1/"])
    assert result == {
        "refreshed": 0,
        "verified": 0,
        "failed": {"/mapr/1/": "OMERO answered 500; an entry that was there stays"},
    }
    assert proxy.get("/mapr/1/").cache == "HIT"


def test_refresh_of_a_page_that_no_zone_stores(proxy):
    assert proxy.salt("nginx_cache.refresh", "/webclient/userdata/")["failed"] == {
        "/webclient/userdata/": "no zone stores this URL"
    }


def test_refresh_during_maintenance_stores_but_is_not_proved(proxy):
    proxy.salt("maintenance.on", "Refreshing.")
    try:
        result = proxy.salt("nginx_cache.refresh", "/mapr/1/")
    finally:
        proxy.salt("maintenance.off")
    assert (result["refreshed"], result["verified"]) == (1, 0)
    assert result["failed"]["/mapr/1/"] == "stored, but visitors get 503 uncached, or another body"
    assert proxy.get("/mapr/1/").cache == "HIT"


def test_refresh_in_test_mode_asks_nobody(proxy):
    fill(proxy, ["/mapr/1/"])
    size = int(proxy.run("find /var/cache/nginx -type f -printf %s"))
    proxy.answering()
    planned = proxy.salt("nginx_cache.refresh", ["/mapr/1/", "/mapr/2/"], test=True)
    assert planned == {"urls": 2, "entries": 1, "bytes": size}
    assert not proxy.asked()


def test_refresh_asks_no_more_than_so_many_at_a_time(proxy):
    proxy.answering(delay=0.1)
    urls = [f"/mapr/many/{number}/" for number in range(20)]
    assert proxy.salt("nginx_cache.refresh", urls, concurrency=3)["verified"] == 20
    assert proxy.busiest() == 3


@pytest.mark.parametrize("concurrency", [0, 17, "many", None])
def test_refresh_without_bounds_is_refused(proxy, concurrency):
    refused = proxy.salt("nginx_cache.refresh", ["/mapr/1/"], concurrency=concurrency)
    assert refused == f"ERROR: concurrency is {concurrency!r}, not a number from 1 to 16"
    assert not proxy.asked()


def test_visitors_see_no_gap_while_it_refreshes(proxy):
    targets = fill(proxy, [f"/mapr/load/{number}/" for number in range(100)])
    proxy.answering(version=2)
    answers, result = proxy.under_load(targets, "nginx_cache.refresh", targets)
    assert result == {"refreshed": 100, "verified": 100, "failed": {}}
    assert set(answers) == {200}, answers
