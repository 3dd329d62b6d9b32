"""nginx_cache.refresh against the real nginx: what it proves, when it brakes, and how it goes on after a kill."""

import importlib.util

import pytest

from lab.shell import wait_until
from tests.functional.proxy_host import PUBLIC

pytest_plugins = ["tests.functional.proxy_fixtures"]

FILE = "/srv/urls"
JOURNALS = "/var/lib/idr/refresh"


@pytest.fixture
def proxy(proxy):
    """The proxy with an empty cache and no refresh begun."""
    proxy.run(f"rm -rf {JOURNALS}")
    proxy.salt("nginx_cache.purge")
    return proxy


def fill(proxy, targets):
    for target in targets:
        assert proxy.get(target).status == 200
    return targets


def written(proxy, urls):
    """A file of URLs on the proxy."""
    proxy.run(f"cat > {FILE} <<'END'\n# a comment\n\n" + "\n".join(urls) + "\nEND")
    return urls


def test_refresh_replaces_and_proves_it(proxy):
    fill(proxy, ["/mapr/1/", "/static/1.css", "/mapr/other/"])
    proxy.answering(version=2)

    urls = ["/mapr/1/", f"https://{PUBLIC}/static/1.css", "/mapr/new/", "/mapr/1/"]
    done = proxy.salt("nginx_cache.refresh", urls)
    assert (done["urls"], done["refreshed"], done["verified"], done["left"]) == (3, 3, 3, 0)
    assert (done["failed"], done["stopped"], done["braked"]) == ({}, None, 0)

    assert len(proxy.asked()) == 3
    for target in ("/mapr/1/", "/static/1.css", "/mapr/new/"):
        answer = proxy.get(target)
        assert (answer.cache, answer.body[:10]) == ("HIT", b"version 2 ")
    assert proxy.get("/mapr/other/").body.startswith(b"version 1 ")


def test_refresh_with_a_failing_back_end_keeps_the_old_entry_and_says_so(proxy):
    fill(proxy, ["/mapr/1/"])
    proxy.answering(status=500)
    result = proxy.salt("nginx_cache.refresh", ["/mapr/1/"])
    why = "OMERO answered 500; an entry that was there stays"
    assert (result["refreshed"], result["verified"]) == (0, 0)
    assert (result["failed"], result["reasons"]) == ({"/mapr/1/": why}, {why: 1})
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


@pytest.mark.parametrize("is_in_time", [True, False])
def test_an_entry_that_nginx_is_slow_to_put_in_its_place_is_looked_at_again(repo, monkeypatch, is_in_time):
    spec = importlib.util.spec_from_file_location("nginx_cache_refresh", repo / "_modules/nginx_cache_refresh.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    old, new = ({"status": 200, "cache": "HIT", "body": body} for body in ("old", "new"))
    answers = iter([{**new, "cache": "BYPASS"}, old, *([old, new] if is_in_time else [])])
    monkeypatch.setattr(module, "_get", lambda *_: next(answers))
    monkeypatch.setattr(module, "IN_PLACE", 120 if is_in_time else -1)

    why = module._refresh("/mapr/1/", PUBLIC, 60)["why"]

    assert why == (None if is_in_time else "stored, but visitors get 200 HIT, or another body")


def test_refresh_in_test_mode_asks_nobody(proxy):
    fill(proxy, ["/mapr/1/"])
    size = int(proxy.run("find /var/cache/nginx -type f -printf %s"))
    proxy.answering()
    planned = proxy.salt("nginx_cache.refresh", ["/mapr/1/", "/mapr/2/"], test=True)
    assert planned == {"urls": 2, "done_before": 0, "entries": 1, "bytes": size}
    assert not proxy.asked()


def test_refresh_asks_no_more_than_so_many_at_a_time(proxy):
    proxy.answering(delay=0.1, held_after=0)
    urls = [f"/mapr/many/{number}/" for number in range(20)]
    pid = proxy.begun("nginx_cache.refresh", urls, concurrency=3)
    wait_until("three are asked for", lambda: len(proxy.asked()) == 3, 120)
    proxy.let_go()
    assert proxy.ended(pid) == 0
    assert proxy.busiest() == 3
    assert {proxy.get(url).cache for url in urls} == {"HIT"}


@pytest.mark.parametrize("concurrency", [0, 17, "many", None])
def test_refresh_without_bounds_is_refused(proxy, concurrency):
    refused = proxy.salt("nginx_cache.refresh", ["/mapr/1/"], concurrency=concurrency)
    assert refused == f"ERROR: concurrency is {concurrency!r}, not a number from 1 to 16"
    assert not proxy.asked()


def test_visitors_see_no_gap_while_it_refreshes(proxy):
    targets = fill(proxy, [f"/mapr/load/{number}/" for number in range(100)])
    proxy.answering(version=2)
    answers, result = proxy.under_load(targets, "nginx_cache.refresh", targets)
    assert (result["refreshed"], result["verified"], result["failed"]) == (100, 100, {})
    assert set(answers) == {200}, answers


# --- from a file ------------------------------------------------------------------------------------------------------


def test_a_file_of_urls(proxy):
    urls = written(proxy, [f"/mapr/{number}/" for number in range(30)] + [f"https://{PUBLIC}/mapr/1/"])
    planned = proxy.salt("nginx_cache.refresh", file=FILE, test=True)
    assert planned == {"urls": 30, "done_before": 0, "entries": 0, "bytes": 0}
    assert not proxy.asked()
    done = proxy.salt("nginx_cache.refresh", file=FILE)
    assert (done["urls"], done["verified"], done["left"]) == (30, 30, 0)
    assert proxy.get(urls[29]).cache == "HIT"
    assert proxy.run(f"ls {JOURNALS}") == ""                 # done is done: the next run does it all again
    assert proxy.salt("nginx_cache.refresh", file=FILE)["verified"] == 30


def test_a_refresh_killed_in_the_middle_goes_on_where_it_was(proxy):
    written(proxy, [f"/mapr/{number}/" for number in range(200)])
    proxy.answering(held_after=60)
    pid = proxy.begun("nginx_cache.refresh", file=FILE, concurrency=2)
    wait_until("two more are held", lambda: len(proxy.asked()) == 62, 120)    # so that all before are done
    assert proxy.salt("nginx_cache.refresh", file=FILE) == "ERROR: this file is being refreshed already"
    proxy.killed(pid)
    before = proxy.salt("nginx_cache.refresh", file=FILE, test=True)["done_before"]
    assert before == 60
    proxy.run(f"printf 17 >> {JOURNALS}/*")                  # and the crash cut its last number short
    proxy.answering()
    done = proxy.salt("nginx_cache.refresh", file=FILE)
    assert (done["done_before"], done["verified"], done["left"]) == (before, 200 - before, 0)
    assert len(proxy.asked()) == 200 - before
    assert {proxy.get(f"/mapr/{number}/").cache for number in range(200)} == {"HIT"}


def test_what_failed_is_done_again_and_only_that(proxy):
    written(proxy, ["/mapr/1/", "/webclient/userdata/", "/mapr/2/"])
    done = proxy.salt("nginx_cache.refresh", file=FILE)
    assert (done["verified"], list(done["failed"])) == (2, ["/webclient/userdata/"])
    proxy.answering()
    done = proxy.salt("nginx_cache.refresh", file=FILE)
    assert (done["done_before"], [asked.target for asked in proxy.asked()]) == (2, ["/webclient/userdata/"])


def test_another_content_of_the_file_begins_anew_and_an_old_journal_goes(proxy):
    written(proxy, ["/mapr/1/", "/webclient/userdata/"])
    proxy.salt("nginx_cache.refresh", file=FILE)
    written(proxy, ["/mapr/1/", "/mapr/2/", "/webclient/userdata/"])
    assert proxy.salt("nginx_cache.refresh", file=FILE)["done_before"] == 0
    assert len(proxy.run(f"ls {JOURNALS}").split()) == 2
    proxy.run(f"touch -d '8 days ago' {JOURNALS}/*")
    assert proxy.salt("nginx_cache.refresh", file=FILE)["done_before"] == 0
    assert len(proxy.run(f"ls {JOURNALS}").split()) == 1


def test_all_that_is_wrong_with_a_file_is_said_at_once_and_nobody_is_asked(proxy):
    wrong = [f"https://elsewhere.example.org/{number}/" for number in range(5)]
    written(proxy, ["/mapr/1/", *wrong])
    refused = proxy.salt("nginx_cache.refresh", file=FILE)
    assert refused == (
        "ERROR: " + "; ".join(f"{url} is not a URL of {PUBLIC}" for url in wrong[:3]) + "; and 2 more of this kind"
    )
    assert proxy.salt("nginx_cache.refresh", file="/srv/nosuch").startswith("ERROR: /srv/nosuch on this server: ")
    assert proxy.salt("nginx_cache.refresh") == "ERROR: Give either urls or file"
    assert proxy.salt("nginx_cache.refresh", ["/mapr/1/"], file=FILE) == "ERROR: Give either urls or file"
    assert not proxy.asked()


@pytest.mark.parametrize(("name", "value"), [("slow", 0), ("errors", 1.5), ("patience", "long"), ("timeout", None)])
def test_limits_that_are_none_are_refused(proxy, name, value):
    refused = proxy.salt("nginx_cache.refresh", ["/mapr/1/"], **{name: value})
    assert refused.startswith(f"ERROR: {name} is {value!r}, not a number from ")


# --- the brake --------------------------------------------------------------------------------------------------------


def test_a_back_end_that_is_slow_is_asked_less_and_then_left_alone(proxy):
    written(proxy, [f"/mapr/{number}/" for number in range(200)])
    proxy.answering(delay=0.2)
    done = proxy.salt("nginx_cache.refresh", file=FILE, concurrency=8, slow=0.1, patience=0.3)
    assert done["braked"] >= 4                               # 8, 4, 2, 1, and one at a time, too
    assert "half of OMERO's last answers took longer than 0.1 s (" in done["stopped"]
    assert ", even one at a time" in done["stopped"]
    assert done["stopped"].endswith("; the same command goes on from here")
    assert done["left"] == 200 - done["verified"] == 200 - len(proxy.asked()) > 100

    proxy.answering()
    done = proxy.salt("nginx_cache.refresh", file=FILE, concurrency=8)
    assert (done["left"], done["braked"], done["stopped"]) == (0, 0, None)
    assert done["done_before"] + done["verified"] == 200


def test_a_back_end_that_fails_is_left_alone(proxy):
    urls = [f"/mapr/{number}/" for number in range(200)]
    fill(proxy, urls[:3])
    proxy.answering(status=503)
    done = proxy.salt("nginx_cache.refresh", urls, patience=0.2)
    assert done["stopped"].startswith("100% of OMERO's last answers were errors, even one at a time")
    assert done["reasons"] == {"OMERO answered 503; an entry that was there stays": len(proxy.asked())}
    assert len(done["failed"]) == len(proxy.asked()) < 60
    assert {proxy.get(target).cache for target in urls[:3]} == {"HIT"}


def test_a_back_end_that_recovers_is_asked_as_before(proxy):
    written(proxy, [f"/mapr/{number}/" for number in range(160)])
    proxy.answering(errors=30, delay=0.1)
    done = proxy.salt("nginx_cache.refresh", file=FILE, concurrency=4, patience=2)
    assert (done["verified"], done["left"], done["stopped"]) == (130, 0, None)
    assert done["braked"] == 2                               # from 4 to 2, and to one at a time
    assert max(asked.beside for asked in proxy.asked()[-60:]) == 4


def test_pages_that_are_missing_are_no_reason_to_brake(proxy):
    proxy.answering(status=404)
    done = proxy.salt("nginx_cache.refresh", [f"/mapr/{number}/" for number in range(60)])
    assert (done["left"], done["braked"]) == (0, 0)
