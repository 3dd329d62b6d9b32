"""What the document says of the cache: stale until refreshed on 9000, and a complete refresh that nobody notices."""

from __future__ import annotations

import contextlib
import email.utils
import time

import pytest

from .conftest import Failed, answer
from .test_environments import Load

pytestmark = [pytest.mark.lab, pytest.mark.hosts]


@contextlib.contextmanager
def renamed(lab, image: int, name: str):
    """The image has another name in OMERO's database for a while."""

    def rename(to: str) -> None:
        lab.exec(
            "idr-database", "runuser", "-u", "postgres", "--", "psql", "-qd", "idr", "-v", f"name={to}",
            stdin=f"UPDATE image SET name = :'name' WHERE id = {image};",
        )  # fmt: skip

    asked = f"SELECT name FROM image WHERE id = {image}"
    before = lab.sh("idr-database", f"runuser -u postgres -- psql -Atd idr -c '{asked}'")
    rename(name)
    try:
        yield before
    finally:
        rename(before)
        lab.salt("idr-proxy", "nginx_cache.refresh", f'["{details(image)}"]')


def details(image: int) -> str:
    return f"/webclient/metadata_details/image/{image}/"


def through_tunnel(lab, path: str):
    """A request to port 9000 as the document says: through an SSH tunnel, by the name of the tunnel's own end."""
    script = f"""
        ssh -fN -o ExitOnForwardFailure=yes -M -S /tmp/tunnel -L 9000:localhost:9000 idr-proxy
        trap 'ssh -q -S /tmp/tunnel -O exit idr-proxy 2>/dev/null' EXIT
        curl -sSi --max-time 60 http://localhost:9000{path}"""
    return answer(lab.outside("bash", "-ec", script).stdout)


def test_a_change_is_stale_until_9000_is_asked_and_other_entries_stay(lab, image):
    other = f"/webgateway/render_thumbnail/{image}/"
    for _ in range(2):
        lab.get(details(image)), lab.get(other)
    with renamed(lab, image, "renamed by a test"):
        stale = lab.get(details(image))
        assert stale.cache == "HIT" and "renamed by a test" not in stale.body
        refreshed = through_tunnel(lab, details(image))
        assert refreshed.status == 200 and "renamed by a test" in refreshed.body
        fresh = lab.get(details(image))
        assert fresh.cache == "HIT" and "renamed by a test" in fresh.body
        assert "localhost" not in fresh.body
        assert lab.get(other).cache == "HIT"


def test_nginx_cache_refreshes_and_proves_it(lab, image):
    lab.get(details(image))
    with renamed(lab, image, "renamed by another test"):
        result = lab.salt("idr-proxy", "nginx_cache.refresh", f'["{details(image)}"]')["idr-proxy"]
        assert not result["failed"], result
        fresh = lab.get(details(image))
        assert fresh.cache == "HIT" and "renamed by another test" in fresh.body


def test_a_complete_refresh_under_load_fails_no_request(lab, image):
    lab.get(f"/webgateway/render_thumbnail/{image}/")
    load = Load(lab, image)
    try:
        planned = lab.salt("idr-proxy", "nginx_cache.purge", "test=True")["idr-proxy"]
        purged = lab.salt("idr-proxy", "nginx_cache.purge")["idr-proxy"]
    finally:
        answers = load.end()
    assert sum(zone["entries"] for zone in planned.values()) > 0
    assert sum(zone["entries"] for zone in purged.values()) > 0
    assert set(answers) == {"200"}, answers
    lab.sh("idr-proxy", "test -d /var/cache/nginx/omerothumbnail")


def test_a_purge_by_expression_takes_what_it_names_and_nginx_counts_anew(lab, image):
    other = f"/webgateway/render_thumbnail/{image}/"
    for _ in range(2):
        lab.get(details(image)), lab.get(other)
    wanted = f"^/webclient/metadata_details/image/{image}/"
    purged = lab.salt("idr-proxy", "nginx_cache.purge_matching", wanted)["idr-proxy"]
    assert purged["omerometadata"]["keys"] == [details(image)]
    assert lab.get(details(image)).cache == "MISS"
    assert lab.get(other).cache == "HIT"
    assert lab.salt("idr-proxy", "nginx_cache.stats")["idr-proxy"]["zones"]["omerometadata"]["gone_bytes"] > 0
    done = lab.salt("idr-proxy", "nginx_cache.recount")["idr-proxy"]
    assert lab.get(other).cache == "HIT"
    assert lab.salt("idr-proxy", "nginx_cache.stats")["idr-proxy"]["zones"]["omerometadata"]["gone_bytes"] == 0
    lab.sh("idr-proxy", f"timeout 300 sh -c 'while test -e /proc/{done['was']}; do sleep 0.2; done'")
    assert lab.sh("idr-proxy", "systemctl show -p MainPID --value nginx") == str(done["is"])
    lab.sh("idr-proxy", "systemctl reload nginx && systemctl is-active nginx")


def test_the_site_is_closed_for_stored_pages_too_and_opens_by_itself(lab, image):
    lab.get(details(image))
    try:
        closed = lab.salt("idr-proxy", "maintenance.on", "A test closes the site.", "minutes=1")["idr-proxy"]
        page = lab.get(details(image))
        assert (page.status, closed["seen"]) == (503, 503)
        assert "A test closes the site." in page.body
        end = email.utils.parsedate_to_datetime(page.headers["retry-after"]).timestamp()
        assert 0 < end - time.time() <= 60
        assert lab.get("/about/").status == 200
        assert through_tunnel(lab, details(image)).status == 200
        while page.status == 503 and time.time() < end + 120:      # nobody opens it
            time.sleep(1)
            page = lab.get(details(image))
        assert page.cache == "HIT" and time.time() >= end
        assert lab.salt("idr-proxy", "maintenance.status")["idr-proxy"]["closed"] is False
    finally:
        lab.salt("idr-proxy", "maintenance.off")


def test_an_unknown_zone_is_refused_in_one_line(lab):
    with pytest.raises(Failed) as refused:
        lab.exec("idr-proxy", "salt-call", "nginx_cache.purge", "zone=../../etc")
    assert refused.value.code != 0
    assert "Traceback" not in refused.value.output
