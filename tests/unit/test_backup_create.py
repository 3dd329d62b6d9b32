"""`backup.create` as it's typed: over there from a checkout, by itself on the environment's own master."""

import sys
from contextlib import nullcontext
from datetime import UTC, datetime

import jinja2
import pytest
import yaml

from idr.backup import preparing, schedule, taking
from idr.backup.model import CRASH, FAILED, GOOD, QUIESCED, BackupSet, Piece
from idr.cloud import planning
from tests import clouds
from tests.runners import loaded
from tests.tables import IDR, REPO

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)


@pytest.fixture
def runner(tmp_path):
    """The runner's module, with what Salt's loader gives it in a checkout."""
    return loaded("backup", tmp_path)


@pytest.fixture
def master(runner, monkeypatch):
    """The same on the master of `idr`."""
    runner.__opts__["idr_environment"] = "idr"
    monkeypatch.setattr(runner.table, "of_master", lambda opts: IDR)
    monkeypatch.setattr(runner.wanted, "cloud_of", lambda env: "its cloud")
    monkeypatch.setattr(runner, "connect", lambda cloud: cloud)
    monkeypatch.setattr(runner, "asking", lambda opts: nullcontext("ask"))
    return runner


def ended(phase, consistency=QUIESCED, **further):
    piece = Piece("omero-data", "s-1", "v-1", 500, "available", consistency, True, 3.2)
    it = BackupSet("idr-20261125T030000Z", "idr", NOW, phase, ("omero-data",), (piece,))
    return taking.Taken(it, **{"problems": (), "notes": ()} | further)


def test_from_a_checkout_a_plan_is_the_masters_answer(runner, monkeypatch):
    asked = []
    told = {"result": True, "comment": "a plan"}
    monkeypatch.setattr(runner.at_master, "answer", lambda *given: asked.append(given) or told)

    assert runner.create("idr", frozen=30, site=str(REPO)) == told
    assert asked == [("idr", REPO, ["backup.create", "idr", "frozen=30"])]


def test_from_a_checkout_an_apply_is_a_unit_there_and_ends_as_that_does(runner, monkeypatch):
    asked = []
    told = {"result": False, "comment": "it failed", "retcode": 1}
    monkeypatch.setattr(runner.at_master, "run", lambda *given: asked.append(given) or told)

    assert runner.create("idr", apply=True, even_if="silent", break_lock="ada@desk:4711") == told
    assert runner.__context__["retcode"] == 1
    [(env, _, words, unit, action, _)] = asked
    assert words == [
        "backup.create", "idr", "apply=True", "frozen=20", "even_if=silent", "break_lock=ada@desk:4711",
    ]  # fmt: skip
    assert (env, unit, action) == ("idr", "idr-backup.service", "backup/create")


def test_a_master_takes_its_own_environments_and_tells_how_it_ended(master, monkeypatch):
    asked = []
    monkeypatch.setattr(master.taking, "take", lambda *given: asked.append(given) or ended(GOOD))

    told = master.create("idr", apply=True)

    assert asked[0][:6] == ("its cloud", IDR, "ask", 20, None, None)
    assert (told["result"], told["comment"]) == (True, "idr-20261125T030000Z is good, quiesced")
    assert told["set"]["volumes"]["omero-data"]["frozen"] == 3.2 and "problems" not in told
    assert "retcode" not in master.__context__

    refused = master.create("newidr", apply=True)
    assert refused["problems"] == [
        "newidr: this is the master of idr; from a checkout, backup.create goes to newidr-proxy by itself"
    ]
    assert len(asked) == 1


def test_a_failed_set_is_a_failure_for_the_shell_too_and_says_what_removes_it(master, monkeypatch):
    failed = ended(FAILED, CRASH, problems=("omero-data: its state is error",))
    monkeypatch.setattr(master.taking, "take", lambda *given: failed)

    told = master.create("idr", apply=True)

    assert told["retcode"] == master.__context__["retcode"] == 1
    assert "salt-run backup.prune idr apply=True" in told["comment"]
    assert told["problems"] == ["omero-data: its state is error"]


def test_a_plan_that_is_blocked_is_a_failure_with_every_problem(master, monkeypatch):
    parts = (preparing.Part("omero-data", "idr-omero-data-20261125T030000Z", "v-1", "idr-omero", 500, True),)
    coming = preparing.Coming("idr-20261125T030000Z", "idr", NOW, parts, {}, (), (), ())
    monkeypatch.setattr(master.taking, "plan", lambda *given: coming)
    told = master.create("idr")
    assert told["comment"].endswith("To do it: salt-run backup.create idr apply=True")
    assert told["snapshots"] == {"omero-data": "idr-omero-data-20261125T030000Z"}
    assert told["needed"] == {"snapshots": 1, "gigabytes": 500}
    told = master.create("idr", frozen=40, even_if="silent")
    assert told["comment"].endswith("salt-run backup.create idr frozen=40 even_if=silent apply=True")

    blocked = preparing.Coming("idr-20261125T030000Z", "idr", NOW, parts, {}, (), ("no room", "frozen"), ())
    monkeypatch.setattr(master.taking, "plan", lambda *given: blocked)
    told = master.create("idr")
    assert told["retcode"] == 1 and told["problems"] == ["no room", "frozen"]


@pytest.mark.parametrize(
    ("hour", "is_live", "why_not"),
    [
        (3, True, ""),
        (3, False, "idr isn't live"),
        (4, True, "it's 04:00 UTC, and backup_hours of idr are 3"),
    ],
)
def test_the_clock_alone_backs_up_what_is_live_at_pillars_hours(monkeypatch, hour, is_live, why_not):
    world = clouds.after(clouds.blank(), planning.plan(clouds.wanted("idr"), clouds.blank(), "run-0"))
    world = clouds.changed(world, clouds.find(world, "group", "idr"), tags=[])
    (address,) = world.all("address")
    world = clouds.changed(world, address, tags=["idr-production"] if is_live else [])
    asked = []
    monkeypatch.setattr(schedule.live, "addresses_of", lambda name: set())
    monkeypatch.setattr(schedule.inventory, "facts", lambda connection: asked.append(connection) or world)

    assert schedule.why_not(lambda: "its cloud", "idr", NOW.replace(hour=hour)) == why_not
    assert asked == ([] if hour == 4 else ["its cloud"])


def test_at_another_hour_nothing_is_done_and_that_is_no_failure(master, monkeypatch):
    monkeypatch.setattr(master.schedule, "why_not", lambda connect, env, now: f"{env} isn't live")
    monkeypatch.setattr(master.taking, "take", lambda *given: pytest.fail("a set was taken"))

    assert master.create("idr", apply=True, scheduled=True) == {
        "result": True, "comment": "nothing was done: idr isn't live",
    }  # fmt: skip


def test_the_schedule_begins_a_unit_with_the_current_releases_code_unless_one_goes_on(master, monkeypatch):
    asked, going_on = [], [None, "/var/log/idr/backup/1-create.json"]
    monkeypatch.setattr(master.on_server, "going_on", lambda asked, _: going_on.pop(0))
    monkeypatch.setattr(master.on_server, "begin", lambda *given: asked.append(given[0]) or {"report": "/report"})

    assert master.scheduled("idr")["comment"] == "begun: /report"
    assert master.scheduled("idr")["comment"] == "one is going on: /var/log/idr/backup/1-create.json"
    [begun] = asked
    assert begun["words"] == ["backup.create", "idr", "apply=True", "even_if=silent", "scheduled=True"]
    assert begun["unit"] != master.remotely.UNIT  # who types one follows their own
    assert master.scheduled("newidr")["retcode"] == 1


def test_the_masters_configuration_asks_for_it_each_hour(master):
    text = jinja2.Template((REPO / "etc/master.j2").read_text()).render(environment="newidr")
    (job,) = yaml.safe_load(text)["schedule"].values()

    assert (job["function"], job["args"], job["cron"]) == ("backup.scheduled", ["newidr"], "0 * * * *")
    assert job["function"].split(".")[1] in master.__load__


def test_a_unit_that_couldnt_be_begun_is_one_line(master, monkeypatch):
    monkeypatch.setattr(master.on_server, "going_on", lambda asked, _: None)
    monkeypatch.setattr(master.on_server, "begin", lambda *given: sys.exit("systemd-run: exit 1: no"))

    told = master.scheduled("idr")

    assert (told["comment"], told["retcode"]) == ("systemd-run: exit 1: no", 1)
