"""maintenance against the real nginx: what visitors see while the site is closed, and that it opens by itself."""

import email.utils
import time

import pytest

from tests.functional.proxy_host import INSIDE, changed, failed

pytest_plugins = ["tests.functional.proxy_fixtures"]

LINK = "/srv/www/closed"


@pytest.fixture
def proxy(proxy):
    """The proxy with its site open, before and after."""
    yield proxy
    proxy.salt("maintenance.off")
    assert proxy.run(f"ls -d {LINK} /srv/www/maintenance/* 2>/dev/null || true") == ""


def end_in(proxy, seconds):
    """The closure that there is ends in so many seconds, as if it had been made that much earlier."""
    end = int(time.time()) + seconds
    closure = f"/srv/www/maintenance/{end} {email.utils.formatdate(end, usegmt=True)}"
    proxy.run(f'mv "$(readlink {LINK})" "{closure}" && ln -sfn "{closure}" {LINK}')
    return end


def while_closed(proxy, seconds):
    """The answer for the front page before a closure ends, in so many seconds or, where that's too soon, a few more."""
    while True:
        end = end_in(proxy, seconds)
        answer, left = proxy.get("/"), proxy.salt("maintenance.status")["seconds_left"]
        if time.time() < end:
            return answer, left, end
        seconds *= 2


def test_the_site_closes_at_once_and_opens_at_once(proxy):
    proxy.get("/mapr/closed/")
    began = time.time()
    done = proxy.salt("maintenance.on", "The database moves to <new> disks & more.", minutes=90)
    assert (done["closed"], done["seen"], done["problem"]) == (True, 503, None)
    assert 5399 - (time.time() - began) <= done["seconds_left"] <= 5400
    for target in ("/", "/mapr/closed/", "/static/x.css", "/webclient/userdata/", "/aboutish"):
        for port in (80, 443):
            answer = proxy.get(target, port=port)
            assert answer.status == 503
            end = email.utils.parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
            assert began + 5399 <= end <= time.time() + 5400
            assert answer.headers["cache-control"] == "no-store"
            assert b"<p>The database moves to &lt;new&gt; disks &amp; more.</p>" in answer.body
            assert answer.headers["retry-after"].encode() in answer.body
    assert proxy.get("/webclient/userdata/", method="POST", body="x").status == 503
    assert (proxy.get("/about/").status, proxy.get("/about").status) == (200, 301)
    assert proxy.get("/mapr/closed/", port=9000, source=INSIDE).cache == "BYPASS"
    assert proxy.get("/webclient/userdata/", port=9000, source=INSIDE).status == 200

    assert proxy.salt("maintenance.off")["seen"] == 200
    assert proxy.get("/mapr/closed/").cache == "HIT"


def test_it_opens_by_itself_when_its_time_is_over(proxy):
    proxy.get("/mapr/closed/")
    began = time.time()
    proxy.salt("maintenance.on", "Soon over.")
    answer, left, end = while_closed(proxy, 2)
    assert answer.status == 503 and 0 <= left <= end - began
    while time.time() < end + 0.1:
        time.sleep(0.05)
    assert proxy.get("/mapr/closed/").cache == "HIT"
    found = proxy.salt("maintenance.status")
    assert (found["closed"], found["reason"], found["seen"], found["problem"]) == (False, None, 200, None)


@pytest.mark.parametrize("seconds", [-1, -9, -10, -99, -1000, -10**6, -10**8])
def test_a_closure_that_is_over_is_over_whatever_its_digits(proxy, seconds):
    proxy.salt("maintenance.on", "Long ago.")
    end_in(proxy, seconds)
    assert proxy.get("/").status == 200


@pytest.mark.parametrize("seconds", [9, 10, 99, 1000, 10**6, 10**9])
def test_a_closure_that_is_not_over_is_not_whatever_its_digits(proxy, seconds):
    proxy.salt("maintenance.on", "Not yet.")
    answer, _, _ = while_closed(proxy, seconds)
    assert answer.status == 503


def test_closing_again_gives_a_new_reason_and_end_and_leaves_nothing_of_the_old(proxy):
    proxy.salt("maintenance.on", "First.", minutes=5)
    assert proxy.salt("maintenance.on", "Second.", minutes=7)["reason"] == "Second."
    assert b"<p>Second.</p>" in proxy.get("/").body
    assert len(proxy.run("ls -A /srv/www/maintenance").splitlines()) == 1


@pytest.mark.parametrize("closed", [True, False])
def test_in_test_mode_nothing_happens(proxy, closed):
    if closed:
        proxy.salt("maintenance.on", "Closed before.")
    before = proxy.run("ls -AR /srv/www/maintenance; readlink /srv/www/closed || true")
    assert proxy.salt("maintenance.on", "Why not.", minutes=5, test=True)["would"].startswith("close the site until 2")
    would = "open the site" if closed else "do nothing: the site is open"
    assert proxy.salt("maintenance.off", test=True) == {"would": would}
    assert proxy.run("ls -AR /srv/www/maintenance; readlink /srv/www/closed || true") == before
    assert proxy.get("/").status == (503 if closed else 200)


def test_opening_an_open_site_changes_nothing(proxy):
    assert proxy.salt("maintenance.off") == {
        "closed": False, "reason": None, "until": None, "seconds_left": 0, "seen": 200, "problem": None,
    }  # fmt: skip


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "two\nlines", "bell\a", "\t"])
def test_a_reason_that_nobody_could_read_is_refused(proxy, reason):
    refused = proxy.salt("maintenance.on", reason)
    assert refused == "ERROR: reason is what visitors read: one line of 1 to 500 printable characters"
    assert proxy.get("/").status == 200


@pytest.mark.parametrize("minutes", [0, -5, 10081, "soon", 1.5, True, None])
def test_a_closure_without_a_sensible_end_is_refused(proxy, minutes):
    refused = proxy.salt("maintenance.on", "Why.", minutes=minutes)
    assert refused == f"ERROR: minutes is {minutes!r}, not a number from 1 to 10080 (a week)"
    assert proxy.get("/").status == 200


def test_a_configuration_that_does_not_know_of_it_is_told_and_nothing_stays(proxy):
    conf = "/etc/nginx/nginx.conf"
    proxy.run(f"cp {conf} /srv/good.conf && sed -i 's/if (.closed)/if ($host = none)/' {conf}")
    try:
        proxy.reload()
        refused = proxy.salt("maintenance.on", "Nobody sees it.")
    finally:
        proxy.run(f"cp /srv/good.conf {conf}")
        proxy.reload()
    assert refused.startswith("ERROR: The site is as it was: the site should be closed, but visitors get 200")
    assert proxy.get("/").status == 200
    assert not proxy.salt("maintenance.status")["closed"]


def test_a_highstate_neither_opens_the_site_nor_finds_anything_to_do(proxy):
    proxy.salt("maintenance.on", "Deploying.")
    applied = proxy.salt("state.apply", "nginx.configured")
    assert not failed(applied) and not changed(applied)
    assert proxy.get("/").status == 503


def test_a_caller_killed_at_any_step_leaves_one_closure_or_the_other(proxy):
    """Whatever is on disk then, status says what visitors get, and the next call cleans up."""
    step, reasons = 0, []
    killed = True
    while killed:
        step += 1
        proxy.salt("maintenance.on", "Before.", minutes=60)
        killed = proxy.killed_at(step, "/srv/www", "maintenance.on", "After.", minutes=5)
        found = proxy.salt("maintenance.status")
        assert found["closed"] and found["problem"] is None
        assert f"<p>{found['reason']}</p>".encode() in proxy.get("/").body
        reasons.append(found["reason"])
        assert proxy.salt("maintenance.off")["seen"] == 200
        assert proxy.run("ls -A /srv/www/maintenance").split() == []
    assert reasons == sorted(reasons, reverse=True) and reasons.count("Before.") > 5 and reasons.count("After.") > 2
