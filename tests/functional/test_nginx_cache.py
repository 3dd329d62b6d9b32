"""What nginx_cache finds and removes, against the real nginx, with visitors meanwhile."""

import time

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
    proxy.reload()          # what workers have still in their buffers is written when they end
    proxy.run(": > /var/log/nginx/access.log")
    began = time.time()
    fill(proxy, ["/mapr/1/", "/mapr/2/", "/mapr/2/", "/static/1.css"])
    proxy.get("/mapr/1/", port=9000, source=INSIDE)
    proxy.reload()

    found = proxy.salt("nginx_cache.stats")

    mapr = found["zones"]["omeromapr"]
    size = sum(int(size) for size in proxy.run("find /var/cache/nginx/omeromapr -type f -printf '%s '").split())
    assert (mapr["entries"], mapr["bytes"], mapr["max_bytes"]) == (2, size, 5120 * 2**20)
    assert mapr["answers"] == {"MISS": 2, "HIT": 1, "BYPASS": 1}
    assert mapr["hit_ratio"] == 0.333
    assert found["zones"]["omerorender"]["hit_ratio"] is None
    on_disk = sum(int(blocks) for blocks in proxy.run("find /var/cache/nginx/omeromapr -type f -printf '%b '").split())
    assert mapr["filled"] == round(512 * on_disk / (5120 * 2**20), 3)
    assert (found["purging"], found["trash"]) == (False, {"entries": 0, "bytes": 0})
    assert 0 <= mapr["oldest"] <= time.time() - began + 1
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
    held = "touch /run/held; while test -e /run/held; do sleep 0.1; done"
    proxy.run(f"flock -n /var/cache/nginx sh -c '{held}' >/dev/null 2>&1 & until test -e /run/held; do sleep 0.1; done")
    try:
        assert proxy.salt("nginx_cache.purge") == "ERROR: another purge of this cache is still running"
    finally:
        proxy.run("rm /run/held; flock /var/cache/nginx true")
    assert len(entries(proxy)) == 1


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


# --- killed -----------------------------------------------------------------------------------------------------------


def files(proxy, where):
    return proxy.run(f"find /var/cache/nginx -path '/var/cache/nginx/{where}' -type f").split()


def test_a_purge_killed_at_any_step_is_told_truly_and_finished_by_the_next(proxy):
    targets = [f"/mapr/killed/{number}/" for number in range(3)]
    states, step, killed = set(), 0, True
    while killed:
        step += 1
        fill(proxy, targets)
        killed = proxy.killed_at(step, "/var/cache/nginx", "nginx_cache.purge", "omeromapr")

        found = proxy.salt("nginx_cache.stats")
        kept, trash = len(files(proxy, "omeromapr/*")), len(files(proxy, ".purged/*"))
        assert (found["zones"]["omeromapr"]["entries"], found["trash"]["entries"]) == (kept, trash)
        assert found["purging"] is False
        if kept < 3:        # what is gone without nginx knowing is in the trash or noted
            assert found["zones"]["omeromapr"]["gone_bytes"] > 0
        states.add((kept, trash))

        answers = proxy.together(targets)
        assert {answer.status for answer in answers} == {200}
        assert sum(answer.cache == "HIT" for answer in answers) == kept
        proxy.salt("nginx_cache.purge", "omeromapr")
        assert not proxy.run("find /var/cache/nginx -mindepth 2")
        assert ".purged" not in proxy.run("ls -A /var/cache/nginx").split()
    assert {(3, 0), (0, 3), (0, 1), (0, 0)} <= states, states


def test_a_purge_by_expression_killed_at_any_step_is_told_truly(proxy):
    targets = [f"/mapr/killed/{number}/" for number in range(3)]
    kept, step, killed = set(), 0, True
    while killed:
        step += 1
        fill(proxy, targets)
        killed = proxy.killed_at(step, "/var/cache/nginx", "nginx_cache.purge_matching", "/killed/")
        found = proxy.salt("nginx_cache.stats")["zones"]["omeromapr"]
        assert found["entries"] == len(files(proxy, "omeromapr/*"))
        assert found["entries"] == 3 or found["gone_bytes"] > 0
        kept.add(found["entries"])
        assert {answer.status for answer in proxy.together(targets)} == {200}
    assert kept == {0, 1, 2, 3}


# --- by expression ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [True, False])
def test_purge_of_what_an_expression_finds(proxy, test):
    seventeen = ["/mapr/image/17/", "/mapr/image/17/?x=1", "/webclient/api/image/17/"]
    fill(proxy, [*seventeen, "/mapr/image/170/", "/static/17/"])
    before = entries(proxy)
    purged = proxy.salt("nginx_cache.purge_matching", "/image/17/", test=test)
    assert set(purged) == set(ZONES)
    assert sum(found["entries"] for found in purged.values()) == 3
    assert sorted(purged["omeromapr"]["keys"] + purged["omeroapi"]["keys"]) == seventeen
    assert purged["omeroapi"]["bytes"] > 300
    assert len(entries(proxy)) == (5 if test else 2)
    assert not test or entries(proxy) == before
    assert proxy.get("/mapr/image/17/?x=1").cache == ("HIT" if test else "MISS")
    assert proxy.get("/mapr/image/170/").cache == proxy.get("/static/17/").cache == "HIT"


def test_purge_by_expression_of_one_zone_and_no_other(proxy):
    fill(proxy, ["/mapr/both/", "/static/both/"])
    purged = proxy.salt("nginx_cache.purge_matching", "both/$", "omerostatic")
    assert {name: found["entries"] for name, found in purged.items()} == {"omerostatic": 1}
    assert proxy.get("/mapr/both/").cache == "HIT"


def test_a_long_key_is_found(proxy):
    long = "/mapr/" + "x" * 3000 + "/end/"
    fill(proxy, [long])
    assert proxy.salt("nginx_cache.purge_matching", "x/end/$")["omeromapr"]["keys"] == [long]
    assert proxy.get(long).cache == "MISS"


@pytest.mark.parametrize("regex", ["", ".", "/", "^/", ".*", "a*", r"\w", "x|", "[a-z]", "$", "^"])
def test_an_expression_that_finds_just_any_key_is_refused(proxy, regex):
    fill(proxy, ["/mapr/1/"])
    refused = proxy.salt("nginx_cache.purge_matching", regex)
    assert refused == f"ERROR: {regex!r} finds just any key. To remove them all: nginx_cache.purge"
    assert len(entries(proxy)) == 1


def test_what_is_no_expression_or_no_zone_is_refused(proxy):
    fill(proxy, ["/mapr/1/"])
    refused = proxy.salt("nginx_cache.purge_matching", "mapr/(1")
    assert refused.startswith("ERROR: 'mapr/(1' is no regular expression: missing ), ")
    assert proxy.salt("nginx_cache.purge_matching", "mapr/1", "nosuch").startswith("ERROR: nosuch is not a zone")
    assert len(entries(proxy)) == 1


def test_visitors_see_no_error_while_it_purges_by_expression(proxy):
    targets = fill(proxy, [f"/mapr/load/{number}/" for number in range(120)])
    answers, purged = proxy.under_load(targets, "nginx_cache.purge_matching", "/load/[0-9]*[02468]/")
    assert purged["omeromapr"]["entries"] == 60
    assert set(answers) == {200}, answers


# --- what nginx goes on counting --------------------------------------------------------------------------------------


def gone(proxy):
    zones = proxy.salt("nginx_cache.stats")["zones"]
    return {name: zone["gone_bytes"] for name, zone in zones.items() if zone["gone_bytes"]}


def test_what_nginx_goes_on_counting_is_told_until_it_counts_anew(proxy):
    proxy.salt("nginx_cache.recount")
    assert gone(proxy) == {}
    fill(proxy, ["/mapr/1/", "/mapr/2/", "/mapr/3/", "/static/1.css"])
    sizes = {path: int(proxy.run(f"stat -c %s {path}")) for path in entries(proxy)}
    one = proxy.salt("nginx_cache.purge_url", "/mapr/1/")["bytes"]
    two = proxy.salt("nginx_cache.purge_matching", "/mapr/2/")["omeromapr"]["bytes"]
    assert gone(proxy) == {"omeromapr": one + two}
    proxy.salt("nginx_cache.purge")
    zone = sum(size for path, size in sizes.items() if "/omeromapr/" in path)
    assert gone(proxy) == {"omeromapr": zone, "omerostatic": sum(sizes.values()) - zone}
    proxy.reload()
    assert set(gone(proxy)) == {"omeromapr", "omerostatic"}      # a reload keeps nginx's count, too
    proxy.salt("nginx_cache.recount")
    assert gone(proxy) == {}


def test_nginx_counts_anew_without_a_request_that_fails(proxy):
    targets = fill(proxy, [f"/mapr/load/{number}/" for number in range(50)])
    was = int(proxy.run("cat /run/nginx.pid"))
    answers, done = proxy.under_load(targets, "nginx_cache.recount", limit=120)
    assert done == {"was": was, "is": int(proxy.run("cat /run/nginx.pid"))}
    assert done["is"] != was
    assert set(answers) == {200} and answers[200] > 100, answers
    assert {proxy.get(target).cache for target in targets} == {"HIT"}
    proxy.run(f"timeout 120 sh -c 'while test -e /proc/{was}; do sleep 0.1; done'")


def test_in_test_mode_nginx_goes_on(proxy):
    was = proxy.run("cat /run/nginx.pid").strip()
    assert proxy.salt("nginx_cache.recount", test=True) == {"would": f"replace nginx {was} by another"}
    assert proxy.run("cat /run/nginx.pid").strip() == was


def test_a_recount_that_was_killed_is_finished_by_the_next(proxy):
    was = int(proxy.run("cat /run/nginx.pid"))
    proxy.run(f"kill -USR2 {was}; timeout 120 sh -c 'until [ $(cat /run/nginx.pid) != {was} ]; do sleep 0.1; done'")
    now = int(proxy.run("cat /run/nginx.pid"))
    assert proxy.salt("nginx_cache.recount", test=True) == {"would": f"end {was}, which {now} replaces"}
    assert proxy.salt("nginx_cache.recount") == {"was": was, "is": now}
    proxy.run(f"timeout 120 sh -c 'while test -e /proc/{was}; do sleep 0.1; done'")
    assert proxy.get("/about/").status == 200


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


@pytest.mark.parametrize("function", ["nginx_cache.purge_url", "nginx_cache.stored", "nginx_cache.refresh"])
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


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_keys_that_expressions_find_are_those_that_can_be_refreshed(proxy):
    fill(proxy, ["/static/1.css?_2.0", "/static/2.js", "/mapr/1/?a=1&_=17", "/mapr/2/"])

    assert proxy.salt("nginx_cache.keys", "^/static/") == ["/static/1.css?_2.0", "/static/2.js"]
    written = proxy.salt("nginx_cache.keys", ["^/static/", "/mapr/1/"], file="/var/lib/idr/warm.urls")

    assert written == {"file": "/var/lib/idr/warm.urls", "urls": 3}
    keys = proxy.run("cat /var/lib/idr/warm.urls").splitlines()
    assert keys == ["/mapr/1/?a=1", "/static/1.css?_2.0", "/static/2.js"]
    assert set(proxy.salt("nginx_cache.stored", keys)) == set(keys)
    assert proxy.salt("nginx_cache.keys", "").startswith("ERROR: '' finds just any key")
