"""What is typed about backups beside `create`: plans with the command that does them, exit codes, what was done."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from idr.backup import copying, files, project, refilling, restoring, verifying
from idr.backup.model import FAILED
from idr.cloud.applying import Applied
from idr.cloud.model import Plan, Step
from idr.errors import Refused
from tests import clouds
from tests.backups import backup_set, facts
from tests.repositories import VAULT, Repository
from tests.runners import loaded
from tests.unit.test_backup_listing import OUTPUTTER, group

TODAY = datetime.now(UTC).replace(microsecond=0)
NEW, OLD = backup_set(TODAY - timedelta(hours=1)), backup_set(TODAY - timedelta(days=400))


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The runner's module as Salt's loader makes it, on a project with one set of today and one of last year."""
    module = loaded("backup", tmp_path)
    module.seen = facts(NEW, OLD)
    access = SimpleNamespace(application_credential_access_rules=None)
    cloud = SimpleNamespace(session=SimpleNamespace(auth=SimpleNamespace(get_access=lambda _: access)))
    monkeypatch.setattr(module, "connect", lambda name: cloud)
    monkeypatch.setattr(module.live, "addresses_of", lambda name: set())
    monkeypatch.setattr(project, "look", lambda _: project.of(module.seen))
    module.access = access
    return module


def lines(told):
    return OUTPUTTER.output(told["data"]).splitlines()


def test_a_pin_is_planned_with_the_very_command_that_does_it(runner):
    told = runner.pin(NEW.id, "for the paper, it's cited")

    assert lines(told)[-1] == (
        "a plan, nothing was changed. To do it: salt-run backup.pin "
        f"{NEW.id} 'reason=for the paper, it'\"'\"'s cited' apply=True"
    )
    [plan] = told["data"]["plans"]
    assert [step["what"] for step in plan["steps"]][0]["metadata"]["idr_pinned"].endswith(": for the paper, it's cited")
    assert runner.unpin(NEW.id)["data"]["comment"] == "nothing to change"


def test_what_was_done_is_told_as_done(runner, monkeypatch):
    step = Step("change", "snapshot", "idr-omero-data", id="s-1")
    monkeypatch.setattr(runner.keeping, "say", lambda *_: Plan("idr", (step,)))
    assert runner.unpin(NEW.id, apply=True) == {
        "result": True, "comment": f"{NEW.id} is unpinned", "done": ["change snapshot idr-omero-data"],
    }  # fmt: skip

    pruning = SimpleNamespace(plan=Plan("idr", (step,)))
    monkeypatch.setattr(runner.pruning, "prune", lambda *_: (pruning, pruning))
    assert runner.prune(apply=True)["done"] == ["change snapshot idr-omero-data"] * 2
    monkeypatch.setattr(runner.pruning, "prune", lambda *_: ())
    assert runner.prune(apply=True) == {"result": True, "comment": "nothing to remove"}


def test_a_prune_is_planned_with_every_set_and_its_reason(runner):
    told = runner.prune("idr")

    assert lines(told)[0] == "idr: 0 of 2 sets to remove, 0 GB"  # the other is the newest of its month and year
    assert told["data"]["comment"] == "nothing to change"

    runner.seen = facts(NEW, backup_set(TODAY - timedelta(days=401), phase=FAILED))
    told = runner.prune("idr")
    assert f"  - {backup_set(TODAY - timedelta(days=401)).id}: it failed" in lines(told)
    assert lines(told)[-1].endswith("To do it: salt-run backup.prune idr apply=True")
    assert "retcode" not in runner.__context__


def test_another_cloud_than_pillars_is_in_the_command_that_does_it(runner):
    runner.seen = facts(NEW, backup_set(TODAY - timedelta(days=401), phase=FAILED))
    assert lines(runner.prune("idr", cloud="other"))[-1].endswith("salt-run backup.prune idr cloud=other apply=True")
    pinned = lines(runner.pin(NEW.id, "paper", cloud="other"))[-1]
    assert pinned.endswith(f"salt-run backup.pin {NEW.id} reason=paper cloud=other apply=True")


def test_a_prune_that_is_blocked_exits_1(runner):
    runner.seen = facts(NEW, backup_set(TODAY - timedelta(days=401), phase=FAILED))
    runner.access.application_credential_access_rules = [  # a master's: it takes its own lock's tags off, and no more
        {"service": "volume", "method": "GET", "path": "/**"},
        {"service": "network", "method": "DELETE", "path": "/**/security-groups/4f/tags/idr-claim-*"},
    ]

    told = runner.prune("idr")

    assert told["data"]["retcode"] == runner.__context__["retcode"] == 1
    assert any(line.startswith("BLOCKED: this credential may not delete") for line in lines(told))


def test_which_environment_is_retired_has_to_be_said(runner):
    assert runner.prune(retired=True)["problems"] == ["retired: say which environment is gone for good: env=…"]


@pytest.fixture
def restored(runner, monkeypatch):
    """The runner, and what it asked of a restore."""
    asked = []
    step = Step("make", "server", "idr-proxy", {"metadata": {"idr_role": "proxy"}})

    def apply(*given, **_):
        asked.append(given)
        return Applied(Plan("idr", (step,), notes=("idr-omero-data is put aside",)), 40)

    def plan(*given, **_):
        asked.append(given)
        return Plan("idr", (step,))

    monkeypatch.setattr(runner.restoring, "plan", plan)
    monkeypatch.setattr(runner.restoring, "restore", apply)
    runner.asked = asked
    return runner


def test_a_restore_is_planned_with_the_very_command_that_does_it(restored, tmp_path):
    (tmp_path / "site.sls").touch()
    told = restored.restore(NEW.id, "idr", volumes="a-omero-data", even_if="live,failing", address="198.51.100.7",
                            commit="0a1b2c3", site=str(tmp_path))  # fmt: skip

    assert lines(told)[-2:] == [
        f"note: there is no {tmp_path}/tls: the new proxy makes a certificate of its own, which no browser trusts",
        f"a plan, nothing was changed. To do it: salt-run backup.restore {NEW.id} into=idr volumes=a-omero-data "
        f"even_if=live,failing address=198.51.100.7 commit=0a1b2c3 site={tmp_path} apply=True",
    ]
    asked = restoring.Restore(NEW.id, ("a-omero-data",), frozenset({"live"}))
    assert restored.asked == [(asked, "idr", {"address": "198.51.100.7"})]


def test_a_restore_that_was_done_is_told_with_its_time_and_what_was_put_aside(restored, tmp_path):
    (tmp_path / "tls").mkdir()
    (tmp_path / "site.sls").touch()

    told = restored.restore(NEW.id, "idr", apply=True, deploy=False, site=str(tmp_path))

    assert told["result"] and told["restored"].startswith(f"{NEW.id}, in ")
    assert told["notes"] == ["idr-omero-data is put aside"] and told["done"] == ["make server idr-proxy"]
    [(asked, name, given, broken, deploy, folder, _)] = restored.asked
    assert (asked, name, given, broken, deploy, folder) == (restoring.Restore(NEW.id), "idr", {}, None, None, tmp_path)


def test_a_deploy_goes_on_though_states_fail_only_where_that_was_said(restored, tmp_path):
    for even_if, passed in ((None, None), ("failing", "failing"), ("live", None)):
        restored.restore(NEW.id, "idr", apply=True, even_if=even_if, commit="0a1b2c", site=str(tmp_path))
        assert restored.asked[-1][4] == {"named": "0a1b2c", "even_if": passed}


def test_a_master_restores_nothing(restored):
    restored.__opts__["idr_environment"] = "idr"

    told = restored.restore(NEW.id, "idr", apply=True)

    assert told["retcode"] == 1 and told["problems"][0].endswith("type it in a checkout of yours")
    assert not restored.asked


@pytest.fixture
def brought(runner, monkeypatch):
    """The runner, and what it asked of files that are to be brought back."""
    runner.asked = []
    step = Step("make", "volume", "idr-omero-data-files-run-1", {"size": 500, "snapshot_id": "s-1"})

    def plan(*given):
        runner.asked.append(given)
        return Plan("idr", (step,))

    def bring(*given):
        runner.asked.append(given)
        return ["idr-omero:/data/restored/OMERO/12"]

    monkeypatch.setattr(runner.bringing, "plan", plan)
    monkeypatch.setattr(runner.bringing, "bring", bring)
    return runner


@pytest.fixture
def proved(runner, monkeypatch):
    """The runner, and what it asked of a verification."""
    told = "3120 pages, 60 s"
    runner.asked, runner.proof = [], verifying.Proof(NEW.id, (), (), ("a note",), told, {"pages": 3120}, True, {})

    def verify(cloud, id_, folder, sample, broken, tell):
        assert folder == Path("~/.config/idr/idr").expanduser()
        runner.asked.append((id_, sample, broken))
        return runner.proof

    step = Step("make", "server", "idrscratch-server", {"metadata": {"idr_role": "scratch"}})
    monkeypatch.setattr(runner.verifying, "verify", verify)
    monkeypatch.setattr(runner.verifying, "plan", lambda cloud, id_: Plan("idrscratch", (step,), notes=(id_,)))
    monkeypatch.setattr(runner.verifying, "pick", lambda cloud, env: {"idr": NEW.id, None: OLD.id}[env])
    return runner


@pytest.mark.parametrize(
    ("typed", "paths", "shown"),
    [
        ({"file": "/data/OMERO/12"}, ("/data/OMERO/12",), "file=/data/OMERO/12"),
        ({"file": "/data/1,/data/2"}, ("/data/1", "/data/2"), "file=/data/1,/data/2"),
        ({"file": ["/data/a b", "/data/2"]}, ("/data/a b", "/data/2"), "'file=/data/a b,/data/2'"),
        ({"file": ["/data/1,2"]}, ("/data/1,2",), """'file=["/data/1,2"]'"""),
        ({"file": "/data/1", "volumes": "a-omero-data"}, ("/data/1",), "file=/data/1 volumes=a-omero-data"),
    ],
)
def test_files_are_planned_with_the_very_command_that_brings_them(brought, tmp_path, typed, paths, shown):
    told = brought.restore(NEW.id, "idr", site=str(tmp_path), **typed)

    how = f"salt-run backup.restore {NEW.id} into=idr {shown} site={tmp_path} apply=True"
    assert lines(told)[-1] == f"a plan, nothing was changed. To do it: {how}"
    asked = files.Files(NEW.id, paths, typed.get("volumes", "omero-data"))
    assert brought.asked == [(asked, "idr")]


def test_files_that_were_brought_are_told_with_their_places(brought, tmp_path):
    told = brought.restore(
        NEW.id, "idr", file="/data/OMERO/12", apply=True, break_lock="ada@desk:1", site=str(tmp_path)
    )

    assert told == {
        "result": True,
        "comment": f"of {NEW.id}, brought back beside what is there",
        "restored": ["idr-omero:/data/restored/OMERO/12"],
    }
    [(asked, name, broken, folder, typed, _)] = brought.asked
    assert (asked, name, broken, folder) == (files.Files(NEW.id, ("/data/OMERO/12",)), "idr", "ada@desk:1", tmp_path)
    assert typed == f"backup.restore {NEW.id} into=idr file=/data/OMERO/12"


def test_what_is_about_servers_means_nothing_where_files_are_asked_for(brought):
    told = brought.restore(NEW.id, "idr", file="/data/1", even_if="live", deploy=False, address="198.51.100.7")

    assert told["retcode"] == 1 and not brought.asked
    assert told["problems"] == [f"{key}: means nothing with file=" for key in ("even_if", "deploy", "address")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"set": NEW.id}, NEW.id),
        ({"set": NEW.id, "sample": "all"}, f"{NEW.id} sample=all"),
        ({"pick": "random", "env": "idr", "sample": 0}, "pick=random env=idr sample=0"),
        ({"set": NEW.id, "cloud": "other", "site": "/tmp"}, f"{NEW.id} cloud=other site=/tmp"),
    ],
)
def test_a_verification_is_planned_with_the_very_command_that_does_it(proved, given, words):
    told = lines(proved.verify(**given))

    assert f"note: {NEW.id}" in told and "  + idrscratch-server: scratch" in told
    assert told[-1] == f"a plan, nothing was changed. To do it: salt-run backup.verify {words} apply=True"
    assert proved.asked == []


def test_a_verification_is_told_with_its_figures(proved):
    assert proved.verify(NEW.id, apply=True) == {
        "result": True, "comment": f"{NEW.id} is verified: 3120 pages, 60 s", "figures": "3120 pages, 60 s",
        "counted": {"pages": 3120}, "marked": True, "notes": ["a note"],
    }  # fmt: skip
    proved.verify(pick="random", apply=True, sample="all", break_lock="ada@desk:1")
    assert proved.asked == [(NEW.id, 1000, None), (OLD.id, None, "ada@desk:1")]


def test_a_disproof_exits_1_and_so_does_what_was_not_all_done(proved):
    proved.proof = replace(proved.proof, wrong=("a page", "a file"), problems=("a page", "a file"))
    told = proved.verify(NEW.id, apply=True)
    assert (told["retcode"], told["comment"]) == (1, f"{NEW.id} is disproved: a page")
    assert told["problems"] == ["a page", "a file"]

    proved.proof = replace(proved.proof, wrong=(), problems=("a volume is left",))
    told = proved.verify(NEW.id, apply=True)
    assert (told["retcode"], told["comment"]) == (1, f"{NEW.id} is whole, but not all was done: a volume is left")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "say either a set or pick=random"),
        ({"set": NEW.id, "pick": "random"}, "say either a set or pick=random"),
        ({"set": "idr"}, "idr: no id of a backup set"),
        ({"pick": "newest"}, "pick: only `random` can be said, not newest"),
        ({"set": NEW.id, "env": "idr"}, "env: goes with pick=random"),
        ({"set": NEW.id, "sample": "some"}, "sample: a number of files, or `all`, not 'some'"),
        ({"set": NEW.id, "sample": -1}, "sample: a number of files, or `all`, not -1"),
    ],
)
def test_what_is_typed_wrong_of_a_verification_is_refused(proved, given, problem):
    assert proved.verify(**given)["problems"] == [problem]


def test_a_master_verifies_nothing_not_even_in_a_plan(proved):
    proved.__opts__["idr_environment"] = "idr"
    assert proved.verify(NEW.id)["problems"] == [verifying.MAY_NOT]


@pytest.fixture
def vault(runner, monkeypatch, tmp_path):
    """The runner with a destination that has a copy of the new set, and what it asked for."""
    runner.repository, runner.asked = Repository(monkeypatch), []
    runner.repository.put(NEW)
    runner.repository.put(OLD)
    monkeypatch.setattr(runner.destinations, "read", lambda folder, name: {"vault": VAULT}[name])
    monkeypatch.setattr(runner.table, "is_by_hand", lambda folder: folder == tmp_path)
    step = Step("make", "server", "idrscratch-server", {"metadata": {"idr_role": "scratch"}})
    monkeypatch.setattr(runner.copying, "plan", lambda cloud, asked: Plan("idrscratch", (step,), notes=(asked.set,)))

    def done(*given):
        runner.asked.append(given)
        return runner.result

    monkeypatch.setattr(runner.copying, "copy", done)
    monkeypatch.setattr(runner.copying, "copy_by_hand", done)
    monkeypatch.setattr(runner.refilling, "refill", done)
    runner.result = copying.Done(NEW, {"omero-data": {"bytes": 5}})
    return runner


def test_a_copy_is_planned_with_the_very_command_that_does_it(vault):
    told = lines(vault.copy(NEW.id, to="vault", even_if="first,unverified", cloud="other", site="/tmp"))
    how = f"salt-run backup.copy {NEW.id} to=vault even_if=first,unverified cloud=other site=/tmp apply=True"
    assert f"note: {NEW.id}" in told and told[-1] == f"a plan, nothing was changed. To do it: {how}"
    assert vault.asked == []


def test_a_copy_is_told_and_what_was_not_all_done_exits_1(vault, tmp_path):
    told = vault.copy(NEW.id, to="vault", apply=True, break_lock="ada@desk:1")
    assert told == {
        "result": True, "comment": f"{NEW.id} is copied to vault", "written": {"omero-data": {"bytes": 5}},
    }  # fmt: skip
    [(_, asked, broken, _)] = vault.asked
    assert (asked, broken) == (copying.Copy(NEW.id, VAULT), "ada@desk:1")
    vault.result = replace(vault.result, problems=("it wasn't marked",))
    told = vault.copy(env="idr", to="vault", apply=True, site=str(tmp_path))
    assert told["retcode"] == 1 and told["comment"].endswith("but not all was done: it wasn't marked")
    assert vault.asked[-1][:3] == ("idr", tmp_path, copying.Copy(None, VAULT))
    vault.result = None
    assert vault.copy(NEW.id, to="vault", apply=True)["comment"] == "it is at vault already"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"to": "vault"}, "say either a set, or env= of servers that were made by hand"),
        ({"set": NEW.id, "env": "idr", "to": "vault"}, "say either a set, or env= of servers that were made by hand"),
        ({"set": NEW.id}, "to: say which destination"),
        ({"set": "idr", "to": "vault"}, "idr: no id of a backup set"),
    ],
)
def test_what_is_typed_wrong_of_a_copy_is_refused(vault, given, problem):
    assert vault.copy(**given)["problems"] == [problem] and vault.asked == []


def test_an_environment_in_a_cloud_is_copied_by_its_sets_and_by_no_master(vault):
    [problem] = vault.copy(env="idr", to="vault")["problems"]
    assert problem.endswith("has no environment.sls with servers made by hand: say a set of it to copy")
    vault.__opts__["idr_environment"] = "idr"
    assert vault.copy(NEW.id, to="vault")["problems"] == [verifying.MAY_NOT]


def test_copies_are_listed_and_kept_by_their_own_rules(vault):
    listed = lines(vault.copies("idr", at="vault"))
    assert [line.split()[0] for line in listed[1:]] == [NEW.id, OLD.id]
    assert vault.copies("idr", at="vault", read="some")["problems"] == ["read: a part like `5%`, or `all`, not some"]
    vault.copies("idr", at="vault", read="5%")
    assert vault.repository.commands == [("check", "--quiet", "--read-data-subset=5%")]

    told = lines(vault.prune_copies("idr", at="vault"))
    assert told[0] == "idr: 0 of 2 sets to remove, 0 GB" and told[-1] == "nothing to change"
    vault.repository.put(backup_set(OLD.taken + timedelta(days=1)))
    for number in range(1, 9):
        vault.repository.put(backup_set(NEW.taken - timedelta(days=number)))
    told = lines(vault.prune_copies("idr", at="vault"))
    assert told[0] == "idr: 4 of 11 sets to remove, 3000 GB"
    assert told[-1].endswith("To do it: salt-run backup.prune_copies idr at=vault apply=True")
    assert len(vault.prune_copies("idr", at="vault", apply=True)["done"]) == 4


def test_a_restore_from_a_copy_is_told_with_its_volumes(vault, tmp_path):
    notes = ("there is no tls",)
    vault.result = refilling.Refilled(["idr-omero: install Salt"], [f"idr-omero:/data: {NEW.id}"], None, notes)
    told = vault.restore(NEW.id, "idr", copy="vault", apply=True, deploy=False, commit="0a1b", site=str(tmp_path))
    assert told["volumes"] == [f"idr-omero:/data: {NEW.id}"] and told["done"] == ["idr-omero: install Salt"]
    assert told["result"] and told["comment"].endswith("it isn't deployed") and told["notes"] == ["there is no tls"]
    [(asked, name, given, broken, *then, folder, _)] = vault.asked
    assert (asked, name, given, broken, folder) == (refilling.Refill(NEW.id, VAULT), "idr", {}, None, tmp_path)
    assert then == ["0a1b", False]  # the commit, and no deploy
    words = {"volumes": "omero-data", "even_if": "failing,mismatch", "site": str(tmp_path)}
    vault.restore(NEW.id, "idr", copy="vault", apply=True, **words)
    assert vault.asked[-1][0] == refilling.Refill(NEW.id, VAULT, ("omero-data",), frozenset({"mismatch"}))
    assert vault.asked[-1][4:6] == (None, True)


def test_of_a_copy_no_single_files_are_restored(vault):
    for given in ({"file": "/data/1"}, {"even_if": "live"}):
        told = vault.restore(NEW.id, "idr", copy="vault", **given)
        assert told["problems"] == [
            "with copy=, volumes are restored whole: no file=, and of even_if only failing, mismatch, disproved"
        ] and not vault.asked  # fmt: skip


def test_a_status_is_told_and_written_for_prometheus(runner, tmp_path):
    told = runner.status("idr", textfile=str(tmp_path / "idr.prom"))

    assert lines(told)[0] == "idr: ok" and "retcode" not in runner.__context__
    assert "next one by itself: none, it is not live or has no backup_hours" in lines(told)
    assert (
        f'last_good_timestamp_seconds{{environment="idr"}} {NEW.taken.timestamp():.0f}\n'
        in (tmp_path / "idr.prom").read_text()
    )


def test_the_next_one_is_due_where_the_environment_is_live(runner):
    released = group()
    released.what["tags"].append("idr-released")
    runner.seen = clouds.added(runner.seen, released)

    [line] = [line for line in lines(runner.status("idr")) if line.startswith("next one by itself: ")]
    assert line.endswith("T03:00+00:00")


def test_a_status_that_is_not_ok_exits_1_and_writes_all_the_same(runner, tmp_path):
    runner.seen = facts(OLD)

    told = runner.status("idr", textfile=str(tmp_path / "idr.prom"))

    assert lines(told)[0] == "idr: critical"
    assert told["data"]["retcode"] == runner.__context__["retcode"] == 1 and (tmp_path / "idr.prom").exists()


def test_an_error_is_one_line_and_recorded(runner, monkeypatch):
    def refused(*_):
        raise Refused(["idr: ada@desk is on it"])

    monkeypatch.setattr(runner.pruning, "prune", refused)
    assert runner.prune("idr", apply=True)["problems"] == ["idr: ada@desk is on it"]
    recorded = json.loads(Path(runner.__opts__["idr_record"]).read_text().splitlines()[-1])
    assert (recorded["what"], recorded["arguments"], recorded["result"]) == (
        "backup.prune",
        ["idr", "apply=True"],
        False,
    )
