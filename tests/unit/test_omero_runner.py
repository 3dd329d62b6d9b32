"""`omero.upgrade_database` as it's typed: what it refuses, and what is asked of the server when it's done."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from idr import upgrading
from idr.backup import project
from idr.backup.model import FAILED, PARTIAL
from idr.cloud import live, lock, mark, planning
from tests import clouds
from tests.backups import USES, backup_set, things
from tests.neutron import Neutron
from tests.runners import loaded
from tests.tables import IDR

TODAY = datetime.now(UTC).replace(microsecond=0)
FRESH = backup_set(TODAY - timedelta(hours=2))
STEPS = ["pg_dump to /data/database-dumps/now.dump", "/opt/OMERO5.3__1.sql", "check that the schema is OMERO5.4 0"]
DONE = {"from": "OMERO5.3 1", "to": "OMERO5.4 0", "backup": FRESH.id, "dump": "/data/database-dumps/now.dump"}
BY_HAND = "No backup set stands for it. Type it there: salt-run omero.upgrade_database idr apply=True"
NONE = "salt-run backup.create idr apply=True"
BLANK = clouds.after(clouds.blank(), planning.plan(clouds.wanted("idr"), clouds.blank(), "run-0"))


class Servers:
    """The minions, as the modules on them answer; `calls` are what each was asked, and who had the lock meanwhile."""

    def __init__(self, network):
        self.network, self.calls = network, []
        self.would, self.refused, self.answer = STEPS, [], DONE

    def ask(self, servers, function, arguments, timeout, *, test, backup=None):
        assert (function, arguments) == ("omero.upgrade_database", []) and timeout > 0
        [description] = self.network.descriptions
        self.calls.append((*servers, "test" if test else "deed", backup, lock.record(description).purpose))
        if not test:
            return {} if self.answer is None else {servers[0]: self.answer}
        if isinstance(self.would, str):
            return {servers[0]: self.would}
        if not self.would and not self.refused:
            return {servers[0]: {"would": []}}
        refused = [*self.refused, *([] if backup else [BY_HAND])]
        return {servers[0]: {"would": [] if refused else self.would, "refused": refused}}

    @property
    def deeds(self):
        return [call for call in self.calls if "deed" in call]


@pytest.fixture
def master(tmp_path, monkeypatch):
    """The runner's module on the master of `idr`, which isn't live and has a fresh set, and whose server may."""
    runner = loaded("omero", tmp_path)
    runner.__opts__["idr_environment"] = "idr"
    network = Neutron()
    network.create_security_group("idr", mark.description("idr", "run-0"))
    cloud = SimpleNamespace(network=network, session=SimpleNamespace(get_project_id=lambda: "p"))
    runner.network, runner.servers = network, Servers(network)
    runner.tags, runner.group_tags, runner.sets = [], [], [FRESH]

    def look(_):
        seen = clouds.added(BLANK, *things(*runner.sets))
        group = clouds.find(seen, "group", "idr")
        if network.descriptions:
            description = network.descriptions[0]
            seen = clouds.changed(seen, group, tags=runner.group_tags, description=description)
        else:
            seen = clouds.without(seen, lambda it: it is group)
        return project.of(clouds.changed(seen, seen.all("address")[0], tags=runner.tags))

    monkeypatch.setattr(project, "look", look)
    monkeypatch.setattr(upgrading, "datetime", SimpleNamespace(now=lambda zone: TODAY))  # however late it is
    monkeypatch.setattr(live, "addresses_of", lambda name: set())
    monkeypatch.setattr(runner.table, "of_master", lambda opts: IDR)
    monkeypatch.setattr(runner.wanted, "cloud_of", lambda env: "its cloud")
    monkeypatch.setattr(runner, "connect", lambda name: cloud)
    monkeypatch.setattr(runner, "asking", lambda opts: nullcontext(runner.servers.ask))
    return runner


def refused(runner, *reasons, **given):
    """Refused in the plan and in the deed alike, for these reasons and no other; the server was only looked at."""
    planned = runner.upgrade_database("idr", **given)
    assert (planned["retcode"], runner.__context__.pop("retcode")) == (1, 1)
    done = runner.upgrade_database("idr", apply=True, **given)
    assert (done["retcode"], runner.__context__.pop("retcode")) == (1, 1)
    assert done["problems"] == planned["problems"]
    assert len(done["problems"]) == len(reasons), done["problems"]
    for reason, problem in zip(reasons, done["problems"], strict=True):
        assert reason in problem
    assert not runner.servers.deeds
    assert not any("held by" in description for description in runner.network.descriptions)
    return done["problems"]


def test_it_is_planned_with_the_set_that_stands_for_it_and_the_modules_own_steps(master):
    assert master.upgrade_database("idr") == {
        "result": True,
        "comment": "a plan, nothing was changed. To do it: salt-run omero.upgrade_database idr apply=True",
        "server": "idr-omero",
        "steps": STEPS,
        "backup": f"{FRESH.id}, 2.0 h old",
    }
    assert master.servers.calls == [("idr-omero", "test", FRESH.id, None)]
    assert "retcode" not in master.__context__


def test_it_is_done_under_the_lock_by_the_server_which_is_told_of_the_set(master):
    told = master.upgrade_database("idr", apply=True)

    assert told == {
        "result": True,
        "comment": "idr-omero: OMERO5.3 1 is OMERO5.4 0 now; before it: /data/database-dumps/now.dump there, "
        f"and backup set {FRESH.id}",
        "upgraded": DONE,
    }
    purpose = "upgrade the database of idr-omero"
    assert master.servers.calls == [("idr-omero", mode, FRESH.id, purpose) for mode in ("test", "deed")]
    assert master.network.descriptions == [mark.description("idr", "run-0")]
    recorded = json.loads(Path(master.__opts__["idr_record"]).read_text().splitlines()[-1])
    assert recorded["what"] == "omero.upgrade_database" and FRESH.id in recorded["comment"]


def test_the_analysis_side_is_its_own_servers_and_wants_its_own_database_in_the_set(master):
    refused(master, f"{FRESH.id}, 2.0 h old, has no snapshot of a-database-db that can be restored", side="analysis")

    whole = backup_set(TODAY - timedelta(hours=1), uses={**USES, "a-database-db": 250})
    master.sets = [whole, FRESH]
    planned = master.upgrade_database("idr", side="analysis")
    assert planned["comment"].endswith("salt-run omero.upgrade_database idr side=analysis apply=True")
    assert master.upgrade_database("idr", side="analysis", apply=True)["result"]
    assert [call[:3] for call in master.servers.deeds] == [("idr-a-omero", "deed", whole.id)]


def test_where_the_schema_is_right_there_is_nothing_to_do(master):
    master.servers.would, master.sets = [], []

    assert master.upgrade_database("idr")["comment"] == "nothing to change"
    assert master.upgrade_database("idr", apply=True) == {"result": True, "comment": "nothing to change"}
    assert not master.servers.deeds and "retcode" not in master.__context__


@pytest.mark.parametrize("here", [None, "newidr"])
def test_it_is_refused_elsewhere_in_one_line_and_nobody_is_asked(master, monkeypatch, here):
    master.__opts__["idr_environment"] = here
    monkeypatch.setattr(master, "connect", lambda name: pytest.fail("a cloud was asked"))

    told = master.upgrade_database("idr", apply=True)

    assert told["retcode"] == master.__context__["retcode"] == 1
    where = f"this is the master of {here}" if here else "only its own master can"
    assert told["problems"] == [f"idr: {where}; type it there: ssh idr-proxy"]
    assert not master.servers.calls


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        ({"tags": ["idr-production"]}, "it holds"),
        ({"group_tags": ["idr-released"]}, "it was released"),
        ({"dns": True}, "leads to"),
    ],
)
def test_what_is_live_is_never_upgraded(master, monkeypatch, sign, said):
    if sign.pop("dns", False):
        monkeypatch.setattr(live, "addresses_of", lambda name: {it.name for it in BLANK.all("address")})
    vars(master).update(sign)

    [told] = refused(master, said)
    assert told.startswith("idr is live, and what is live is never upgraded: ")
    told = master.upgrade_database("idr", apply=True, even_if="live")
    assert told["retcode"] == 1 and told["problems"][0].startswith("even_if: unknown argument")
    master.servers.would = []  # nor is it said that there's nothing to do, as there is nothing to be done here ever
    refused(master, said)


def test_without_a_fresh_set_it_is_refused_with_the_newest_and_its_age(master):
    old = backup_set(TODAY - timedelta(hours=29))
    master.sets = [backup_set(TODAY - timedelta(hours=1), phase=FAILED), old, backup_set(TODAY - timedelta(hours=60))]
    [told] = refused(master, f"the newest backup set of idr that can be restored, {old.id}, is 29.0 h old")
    assert told.endswith(f"and more than 28 h is too old: {NONE}")
    assert {call[2] for call in master.servers.calls} == {None}

    master.sets = [backup_set(TODAY - timedelta(hours=1), environment="newidr"), backup_set(TODAY + timedelta(days=1))]
    assert refused(master, "idr has no backup set") == [f"idr has no backup set that can be restored: {NONE}"]

    master.sets = [backup_set(TODAY - timedelta(hours=27, minutes=55), phase=PARTIAL)]
    assert master.upgrade_database("idr", apply=True)["result"]


def test_what_the_server_has_against_it_is_a_refusal_too(master):
    master.servers.refused = ["Whether this environment is live isn't known here. set pillar", "is active. Stop it"]
    refused(master, "idr-omero: Whether this environment is live isn't known", "idr-omero: is active. Stop it")


@pytest.mark.parametrize(
    ("said", "reason"),
    [("", "idr-omero: its minion doesn't answer"), ("ERROR: omero-server.service names no database", "names no")],
)
def test_a_server_that_cant_say_is_a_refusal(master, said, reason):
    master.servers.would = said
    refused(master, reason)


def test_every_reason_is_told_at_once(master):
    master.tags, master.sets, master.servers.refused = ["idr-production"], [], ["is active. Stop it"]
    refused(master, "idr is live", "idr has no backup set", "idr-omero: is active")


def test_a_set_that_the_server_doesnt_take_is_a_refusal(master):
    master.servers.refused = [BY_HAND]  # by its own clock, say
    refused(master, f"idr-omero: {BY_HAND}")


def test_while_another_run_is_on_the_environment_it_is_refused_and_told_how_to_break_in(master):
    [group] = master.network.kept.values()
    group.description += "; held by ada@desk:4711 since 2026-11-25T03:00:00Z to apply"

    planned = master.upgrade_database("idr")
    assert planned["problems"] == ["ada@desk:4711 is on idr since 2026-11-25T03:00:00Z, to apply"]
    [told] = master.upgrade_database("idr", apply=True)["problems"]
    assert told.endswith("salt-run omero.upgrade_database idr apply=True break_lock=ada@desk:4711")
    assert not master.servers.deeds

    assert master.upgrade_database("idr", apply=True, break_lock="ada@desk:4711")["result"]


def test_without_a_record_in_the_cloud_it_is_refused_and_none_is_made(master, monkeypatch):
    master.network.kept.clear()
    monkeypatch.setattr(master.servers, "ask", lambda *_, **__: {"idr-omero": {"would": STEPS, "refused": []}})
    refused(master, "security group idr, which is the lock, isn't there")
    assert master.network.descriptions == []


def test_a_side_that_there_isnt_is_one_line(master):
    told = master.upgrade_database("idr", side="analytics")
    assert (told["retcode"], told["problems"]) == (1, ["side: production or analysis, not analytics"])


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("ERROR: OMERO5.3__1.sql failed and changed nothing", "idr-omero: OMERO5.3__1.sql failed and changed nothing"),
        (None, "idr-omero doesn't answer any more, and may be at it still"),
        ({"would": []}, "idr-omero: its minion says {'would': []}"),
    ],
)
def test_a_failure_is_one_line_and_exits_1_and_the_lock_is_given_back(master, answer, line):
    master.servers.answer = answer

    told = master.upgrade_database("idr", apply=True)

    assert told["retcode"] == master.__context__["retcode"] == 1
    assert told["comment"].startswith(line) and "\n" not in told["comment"]
    assert len(master.servers.deeds) == 1
    assert master.network.descriptions == [mark.description("idr", "run-0")]
