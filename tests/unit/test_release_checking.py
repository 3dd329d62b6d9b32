"""`release.check`: every guard, on a release that may go on, and on the same one broken in each way."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from idr.backup import project
from idr.backup.model import CRASH
from idr.cloud import planning
from idr.cloud.model import PRODUCTION_TAG
from idr.errors import IdrError, Refused
from idr.release import checking, record, seat
from idr.release.expectations import Count, Expectations
from idr.release.record import NO_SET
from idr.release.smoke import Answer
from tests import clouds
from tests.backups import backup_set, things
from tests.runners import loaded

NOW = datetime.now(UTC).replace(microsecond=0)
SET = backup_set(NOW - timedelta(hours=2))
COMMIT = "c0ffee" * 6 + "c0ff"
SITE = "idr.example.org"
SERVERS = {
    "proxy": "proxy", "omero": "omero", "database": "database", "a-omero": "omero", "a-database": "database",
    "a-dockermanager": "dockermanager",
}  # fmt: skip
EXPECTED = Expectations(
    redirects={"/about": "/about/"},
    texts={"/": "Image Data Resource"},
    images={"/webclient/render_image/1/0/0/": 50001},
    hits=("/api/v0/",),
    counts={"/mapr/count/": Count("experimenter.childCount", 6)},
)


def page(status=200, body=b"", **headers):
    return Answer("https://idr.example.org/about", status, headers, body)


class World:
    """Two environments that a release may go on with, as everybody who is asked tells of them; a test breaks one."""

    def __init__(self):
        facts = clouds.blank()
        for name in ("idr", "newidr"):
            facts = clouds.after(facts, planning.plan(clouds.wanted(name), facts, "run-0"))
        tag = record.release_tag(record.Release("idr", SET.id, COMMIT[:12], "20261125T050000Z"))
        group = clouds.find(facts, "group", "newidr")
        self.facts, self.sets = clouds.changed(facts, group, tags=[tag]), [SET]
        self.public, self.spare = (clouds.find(facts, "address", f"198.51.100.{number}") for number in (10, 11))
        assert PRODUCTION_TAG in self.public.what["tags"]
        services = {"nginx": "active", "docker-jupyterhub": "active"}
        self.shown = {
            "commit": COMMIT,
            "deploying": None,
            "down": [],
            "servers": {
                f"newidr-{key}": {"role": role, "up": True, "services": dict(services), "drift": []}
                for key, role in SERVERS.items()
            },
        }
        self.seen = {name: self.health(name) for name in ("idr", "newidr")}
        self.written = {"asked": ["idr-omero"], "writes": {"idr-omero": {"rows": [], "files": [], "complete": True}}}
        self.certificate = {"notAfter": (NOW + timedelta(days=60)).strftime("%b %d %H:%M:%S %Y GMT")}
        self.open, self.leads = [22, 80, 443], {self.public.name}
        self.pages = {
            "/": page(body=b"<title>IDR: Image Data Resource"),
            "/about": page(301, location="/about/"),
            "/webclient/render_image/1/0/0/": page(body=b"\xff\xd8" + bytes(60000)),
            "/api/v0/": page(**{"x-proxy-cache": "HIT"}),
            "/mapr/count/": page(body=b'{"experimenter": {"childCount": 7}}'),
        }
        self.at_production = {"/mapr/count/": page(body=b'{"experimenter": {"childCount": 7}}')}
        self.expected = EXPECTED

    def health(self, name):
        return {
            "status": {f"{name}-omero": {"problems": []}, f"{name}-a-omero": {"problems": []}},
            "activity": {f"{name}-omero": {"imports": []}, f"{name}-a-omero": {"imports": []}},
            "schema": {f"{name}-omero": [{"schema": "OMERO5.4 0"}]},
            "site": {f"{name}-proxy": {"closed": False, "problem": None}},
            "hub": {f"{name}-a-dockermanager": {"servers": {}, "draining": None}},
        }

    def look(self, _):
        return project.of(clouds.added(self.facts, *things(*self.sets)))

    def answer(self, name, folder, words, seconds):
        assert folder.name == name
        if words[0] == "release.seen":
            told = self.seen[name]
            return {"result": True, "seen": told} if isinstance(told, dict) else told
        assert words == ["release.writes", name, f"since={SET.taken:%Y%m%dT%H%M%SZ}"]
        return {"result": True, **self.written} if isinstance(self.written, dict) else self.written

    def ask(self, public_name, address, path, *_):
        assert public_name == SITE
        at = {self.public.name: self.at_production, self.spare.name: self.pages}[address]
        return at[path.split("?")[0]]

    def show_certificate(self, public_name, address, _):
        assert (public_name, address) == (SITE, self.spare.name)
        if isinstance(self.certificate, Exception):
            raise self.certificate
        return self.certificate

    def expectations(self, name, folder):
        if isinstance(self.expected, Exception):
            raise self.expected
        return self.expected

    def resolve(self, name):
        if isinstance(self.leads, Exception):
            raise self.leads
        return self.leads


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(checking, "connect", lambda cloud: cloud)
    monkeypatch.setattr(checking, "datetime", SimpleNamespace(now=lambda zone: NOW))  # however late it is
    monkeypatch.setattr(checking.backups, "look", made.look)
    monkeypatch.setattr(checking.show, "show", lambda name, drift, folder, tell: made.shown)
    monkeypatch.setattr(checking.at_master, "answer", lambda *asked: made.answer(*asked))
    monkeypatch.setattr(checking.live, "addresses_of", made.resolve)
    monkeypatch.setattr(checking.smoke, "ask", made.ask)
    monkeypatch.setattr(checking.certificate, "_shown", made.show_certificate)
    monkeypatch.setattr(checking.ports, "connectable", lambda address, ports: [it for it in ports if it in made.open])
    monkeypatch.setattr(checking.wanted, "release_expectations", made.expectations)
    monkeypatch.setattr(checking.wanted, "public_name_of", lambda name: SITE)
    return made


def check(new="newidr", old=None, **given):
    said = []
    return checking.check(new, old, folders=lambda name: Path("/sites") / name, tell=said.append, **given)


def test_a_release_that_may_go_on_passes_every_guard(world):
    found = check(address=world.public.name)

    assert found.problems == () and len(found.passed) == 15
    assert (found.new, found.old, found.commit, found.writes) == ("newidr", "idr", COMMIT, ())


def service(world):
    world.shown["down"] = ["newidr-omero: omero-web is failed"]


def drift(world):
    world.shown["servers"]["newidr-proxy"]["drift"] = ["nginx serves the site", "the journal is kept on disk"]


def patch(world):
    world.seen["newidr"]["schema"]["newidr-omero"] = [{"schema": "OMERO5.3DEV 9"}]


def bad_certificate(world):
    world.certificate = ssl.SSLCertVerificationError(1, "refused")
    world.certificate.verify_message = "Hostname mismatch, certificate is not valid for 'idr.example.org'."


def expiring_certificate(world):
    until = datetime.now(UTC) + timedelta(days=3, hours=1)
    world.certificate = {"notAfter": until.strftime("%b %d %H:%M:%S %Y GMT")}


def text(world):
    world.pages["/"] = page(body=b"<title>Welcome to nginx!")


def image(world):
    world.pages["/webclient/render_image/1/0/0/"] = page(500, b"no such pixels")


def hit(world):
    world.pages["/api/v0/"] = page(**{"x-proxy-cache": "BYPASS"})


def port(world):
    world.open = [22, 80, 443, 5432]


def old_set(world):
    world.sets = [backup_set(NOW - timedelta(hours=30))]
    tag = record.release_tag(record.Release("idr", SET.id, COMMIT[:12], "20261125T050000Z"))
    world.facts = clouds.changed(world.facts, clouds.find(world.facts, "group", "newidr"), tags=[tag])


def writes(world):
    world.written["writes"]["idr-omero"] = {
        "rows": [
            {"by": "ada", "kind": "MapAnnotation", "action": "insert", "count": 12, "newest": "2026-11-25T04:10:00"}
        ],
        "files": [
            {"by": "root", "kind": "/data/OMERO/Files", "count": 2, "bytes": 99, "newest": "2026-11-25T04:11:00"}
        ],
        "complete": True,
    }


AT = f"https://{SITE}"
BROKEN = {
    "a service is down": (service, ["newidr-omero: omero-web is failed: salt-run environment.show newidr"]),
    "a state has drifted": (
        drift,
        [
            "newidr-proxy: its highstate would change nginx serves the site, the journal is kept on disk: see why, "
            "salt-run environment.update newidr"
        ],
    ),
    "its database's patch is older": (
        patch,
        [
            "the database of newidr has OMERO5.3DEV 9, older than OMERO5.4 0 of idr: on newidr-proxy, salt-run "
            "omero.upgrade_database newidr, or prepare it anew of a set of today"
        ],
    ),
    "its certificate is another's": (
        bad_certificate,
        [
            "the certificate of newidr at 198.51.100.11 isn't valid for idr.example.org: Hostname mismatch, "
            "certificate is not valid for 'idr.example.org'.: put the right pair into /sites/newidr/tls and salt-run "
            "environment.update newidr apply=True"
        ],
    ),
    "a page hasn't its text": (
        text, [f"{AT}/ at 198.51.100.11: the text 'Image Data Resource' isn't in it"]
    ),
    "an image isn't rendered": (
        image,
        [
            f"{AT}/webclient/render_image/1/0/0/ at 198.51.100.11: it answers 500 instead of a rendered image: is its "
            f"data there? omero.status of its OMERO"
        ],
    ),
    "nothing is stored": (hit, [f"{AT}/api/v0/ at 198.51.100.11: the second request is BYPASS, not a HIT"]),
    "a port is open": (
        port,
        [
            "port 5432 of newidr (198.51.100.11), PostgreSQL, is open to the outside: salt-run environment.plan newidr "
            "tells which rules are others than they should be"
        ],
    ),
    "the live one's newest set is old": (
        old_set,
        [
            f"the newest quiesced set of idr, {backup_set(NOW - timedelta(hours=30)).id}, is 30.0 h old, and may be "
            "28 h: salt-run backup.create idr apply=True"
        ],
    ),
    "the live one was written to": (
        writes,
        [
            f"written to idr since {SET.id}: 12 × MapAnnotation insert, the last at 2026-11-25T04:10:00 UTC, by ada: "
            "prepare it anew of a set of now, or if it may be lost, say so: even_if=writes",
            f"written to idr since {SET.id}: 2 × file in idr-omero:/data/OMERO/Files, 99 bytes, the last at "
            "2026-11-25T04:11:00 UTC, by root: prepare it anew of a set of now, or if it may be lost, say so: "
            "even_if=writes",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_one_is_told_by_its_line_and_no_other(world, how):
    break_, lines = BROKEN[how]
    break_(world)

    found = check()

    assert list(found.problems) == lines
    assert len(found.passed) == 14


def test_a_certificate_that_will_soon_be_over(world):
    expiring_certificate(world)

    [line] = check().problems

    assert "in 3.0 days, and 14 are needed: put the right pair into /sites/newidr/tls" in line


def test_a_dead_ones_lock_that_is_to_be_broken_is_in_nobodys_way(world):
    on_it(world)
    [line] = check(broken="eve@desk:2").problems
    assert "idr since 2026-11-25T04:00:00.000Z" in line and "break_lock=ada@desk:1" in line
    assert check(broken="ada@desk:1").problems == ()


def test_all_that_is_broken_is_told_at_once(world):
    for break_, _ in BROKEN.values():
        break_(world)

    found = check()

    assert set(found.problems) == {line for _, lines in BROKEN.values() for line in lines}
    assert len(found.passed) == 15 - 7


def no_room(world):
    quotas = {"snapshots": (10, 5), "gigabytes": (4000, 3000)}
    world.facts = replace(world.facts, quotas={**world.facts.quotas, **quotas})


def just_room(world):
    quotas = {"snapshots": (10, 4), "gigabytes": (-1, 3000)}
    world.facts = replace(world.facts, quotas={**world.facts.quotas, **quotas})


def closed(world):
    world.seen["idr"]["site"]["idr-proxy"] = {
        "closed": True, "until": "2026-11-25T05:00:00Z", "reason": "Disks.", "problem": None
    }  # fmt: skip


def importing(world):
    world.seen["idr"]["activity"]["idr-omero"]["imports"] = [{"user": "ada", "since": "03:00", "sign": "a fileset"}]


def on_it(world):
    group = clouds.find(world.facts, "group", "idr")
    description = "IDR environment idr; held by ada@desk:1 since 2026-11-25T04:00:00.000Z to back up"
    world.facts = clouds.changed(world.facts, group, description=description)


def unfinished(world):
    group = clouds.find(world.facts, "group", "newidr")
    world.facts = clouds.changed(world.facts, group, description="IDR environment newidr; unfinished run-7")


def crashed(world):
    pieces = tuple(
        SimpleNamespace(**{**it.__dict__, "consistency": CRASH}) for it in SET.pieces
    )
    world.sets = [backup_set(SET.taken, pieces=pieces)]


def silent_hub(world):
    world.seen["newidr"]["hub"]["newidr-a-dockermanager"] = None


def no_hub(world):
    silent_hub(world)
    del world.shown["servers"]["newidr-a-dockermanager"]["services"]["docker-jupyterhub"]


def silent_omero(world):
    world.seen["newidr"]["status"]["newidr-a-omero"] = None


def unrehearsed(world):
    world.shown["servers"]["newidr-omero"] |= {"drift": None, "why": "newidr-omero: no Salt"}


def no_spare(world):
    world.facts = clouds.changed(world.facts, world.spare, port_id=None)


def untagged(world):
    world.facts = clouds.changed(world.facts, world.public, tags=[])


def fewer(world):
    world.at_production["/mapr/count/"] = page(body=b'{"experimenter": {"childCount": 8}}')


def elsewhere(world):
    world.leads = {"203.0.113.9"}


def no_dns(world):
    world.leads = OSError("no answer in 5 s")


def no_set(world):
    world.facts = clouds.changed(world.facts, clouds.find(world.facts, "group", "newidr"), tags=[])


def not_all_files(world):
    world.written["writes"]["idr-omero"]["complete"] = False


def old_code(world):
    world.seen["idr"] = "'release.seen' is not available."


def mistaken(world):
    world.expected = Refused(["/sites/newidr/release.sls: release_hits: has to be a mapping, not 7"])


# what else is told, with a part of each line
MORE = {
    "closed for maintenance": (closed, ["idr is closed for maintenance until 2026-11-25T05:00:00Z (Disks.)"]),
    "an import": (importing, ["idr-omero: an import runs: ada since 03:00, a fileset: wait for its end"]),
    "another run": (on_it, ["ada@desk:1 is on idr since 2026-11-25T04:00:00.000Z, to back up: wait for its end"]),
    "a run that isn't finished": (unfinished, ["newidr: its last run (run-7) isn't finished: salt-run environment"]),
    "only a set as after a power cut": (crashed, ["idr has no quiesced backup set that can be restored"]),
    "a hub that is silent": (silent_hub, ["newidr-a-dockermanager: JupyterHub doesn't answer: its minion doesn't"]),
    "no hub at all is no problem": (no_hub, []),
    "a minion that is silent": (silent_omero, ["newidr-a-omero: how OMERO is isn't known: its minion doesn't"]),
    "a rehearsal that couldn't be": (unrehearsed, ["newidr-omero: what its highstate would change isn't known"]),
    "no spare address": (no_spare, ["newidr has no floating IP: salt-run environment.apply newidr apply=True"]),
    "no room for its backups": (
        no_room,
        [
            "no room for a backup set of newidr: quota of gigabytes: 1610 GB needed, 1000 GB free",
            "no room for a backup set of newidr: quota of snapshots: 6 needed, 5 free (5 of 10 used)",
        ],
    ),
    "just room for them": (just_room, []),
    "fewer studies": (fewer, ["experimenter.childCount is 7, and 8 at 198.51.100.10, which is live"]),
    "a name that leads elsewhere": (elsewhere, ["idr.example.org leads to 203.0.113.9, and the production address is"]),
    "no DNS": (no_dns, ["DNS doesn't say where idr.example.org leads to (no answer in 5 s)"]),
    "no tagged address": (untagged, ["no floating IP carries the tag idr-production, and exactly one has to"]),
    "no record of the set": (no_set, ["newidr: no record says of which set of idr it was made"]),
    "files that weren't all looked at": (not_all_files, [": perhaps more files in idr-omero:/data, which couldn't"]),
    "a master without this runner": (old_code, ["idr: its master has no release.seen yet: salt-run environment"]),
    "pillar that can't be meant": (mistaken, ["/sites/newidr/release.sls: release_hits: has to be a mapping, not 7"]),
}


@pytest.mark.parametrize("how", MORE)
def test_what_else_is_wrong_is_told_once(world, how):
    break_, parts = MORE[how]
    break_(world)

    found = check(old="idr")

    assert len(found.problems) == len(parts), found.problems
    assert all(part in line for part, line in zip(parts, found.problems, strict=True)), found.problems


def test_what_its_backups_leave_out_needs_no_room(world, monkeypatch):
    no_room(world)
    monkeypatch.setattr(checking.wanted, "backup_leave_out", lambda name: ["a-omero-data", "a-database-db"])
    assert check().problems == ()


def test_another_address_than_the_one_that_was_named(world):
    [line] = check(address="198.51.100.99").problems
    assert line == "production=198.51.100.99: the production address is 198.51.100.10; is this the right cloud?"


def test_writes_that_may_be_lost_are_told_all_the_same(world):
    writes(world)

    found = check(even_if=("writes",))

    assert found.problems == () and len(found.writes) == 2
    assert "what was written to idr since may be lost" in found.passed


@pytest.mark.parametrize("answers", [{}, {"idr-omero": "Database idr on 192.168.1.12: no route"}])
def test_a_server_that_doesnt_tell_is_no_excuse_whatever_may_be_lost(world, answers):
    world.written["writes"] = answers

    [line] = check(even_if=("writes",)).problems

    assert line.startswith("idr-omero: what was written isn't known: ") and check().problems == (line,)


def test_that_writes_may_be_lost_doesnt_say_that_nobody_looks(world):
    world.written = "no such runner"

    [line] = check(even_if=("writes",)).problems

    assert line.startswith("idr: its master has no release.writes yet")


def test_a_release_whose_set_is_yet_to_be_taken_is_to_be_prepared_first(world):
    group = clouds.find(world.facts, "group", "newidr")
    begun = record.release_tag(record.Release("idr", NO_SET, COMMIT[:12], "20261125T050000Z"))
    world.facts = clouds.changed(world.facts, group, tags=[begun])

    [line] = check().problems

    assert line.startswith("newidr: no record says of which set of idr it was made: salt-run release.prepare newidr ")


def test_a_set_whose_snapshots_are_gone_still_says_when_it_was_taken(world):
    world.sets = [backup_set(NOW - timedelta(hours=1))]

    assert check().problems == ()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"new": "nowhere"}, "nowhere: no such environment"),
        ({"old": "nowhere"}, "nowhere: no such environment"),
        ({"new": "idr"}, "idr: it can't be checked for its own place"),
        ({"even_if": ("busy",)}, "even_if: only `writes` can be said, not busy"),
    ],
)
def test_what_cant_be_checked_is_refused(world, words, reason):
    with pytest.raises(Refused) as refused:
        check(**words)
    assert reason in refused.value.problems[0]


def test_a_master_that_cant_be_reached_is_told_once_though_many_ask_for_it(world, monkeypatch):
    def unreachable(*_):
        raise IdrError("idr-proxy: unreachable by SSH: no route")

    monkeypatch.setattr(checking.at_master, "answer", unreachable)

    assert check().problems == ("idr-proxy: unreachable by SSH: no route",)


# ---- as it's typed


@pytest.fixture
def runner(world, tmp_path):
    return loaded("release", tmp_path)


def test_typed_it_tells_every_line_and_ends_with_one(runner, world):
    service(world)
    hit(world)

    answer = runner.check("newidr")

    assert answer["outputter"] == "environment" and runner.__context__["retcode"] == 1
    told = answer["data"]
    assert (told["result"], told["comment"], told["retcode"]) == (False, "newidr may not take over", 1)
    assert [line[:4].strip() for line in told["lines"]].count("NO") == 2 == len(told["problems"])


def test_the_production_address_may_be_named_as_for_a_switch(runner, monkeypatch):
    monkeypatch.setattr(seat.live, "addresses_of", lambda name: {"198.51.100.10"})

    assert runner.check("newidr", production="idr.example.org")["data"]["result"] is True


def test_typed_on_a_master_it_says_where_it_belongs(runner):
    runner.__opts__["idr_environment"] = "idr"

    answer = runner.check("newidr")

    assert answer["problems"] == [
        "this is the master of idr, which reaches no other environment: at a checkout, salt-run release.check newidr"
    ]
