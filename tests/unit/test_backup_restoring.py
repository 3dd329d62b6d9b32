"""A restore is a plan: what is put aside and kept, what takes its place, what is made anew, what blocks it."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr.backup import restoring
from idr.backup.model import FAILED
from idr.backup.restoring import Restore
from idr.cloud import applying, live, planning, removal, telling
from idr.cloud.making import Outcome
from idr.errors import Refused
from tests import clouds
from tests.backups import NIGHT, USES, of_volumes, things
from tests.neutron import Neutron
from tests.unit.test_cloud_planning import IDR, complete

SET = of_volumes(IDR)
EARLIER = of_volumes(IDR, taken=NIGHT.replace(day=20))
BACKED_UP = clouds.added(IDR, *things(SET, EARLIER))
OLD = {use: clouds.find(IDR, "volume", f"idr-{use}").id for use in USES}


@pytest.fixture(autouse=True)
def no_dns(monkeypatch):
    monkeypatch.setattr(live, "addresses_of", lambda name: set())


def seen(facts, name="idr", run="run-2", goes_on=False, **further):
    wanted = clouds.wanted(name, sources=f"sources:{SET.id}", **further)
    return applying.Seen(wanted, facts, planning.plan(wanted, facts, run), run, goes_on)


def planned(facts, volumes=None, even_if=("live",), backup=SET, **further):
    return restoring.restoration(Restore(backup.id, volumes, frozenset(even_if)), seen(facts, **further)).plan


def names(plan, *verbs):
    return [str(step) for step in plan.steps if not verbs or step.verb in verbs]


def current(facts, use, name="idr"):
    return clouds.find(facts, "volume", f"{name}-{use}")


def applied(facts, name="idr"):
    """What a plain apply would do."""
    return planning.plan(clouds.wanted(name), facts, "run-9")


def test_an_environment_that_is_not_there_is_made_of_the_set():
    plan = planned(BACKED_UP, name="newidr", even_if=())

    assert not plan.problems
    assert names(plan) == names(seen(BACKED_UP, "newidr").plan)


def test_a_clone_takes_the_place_of_what_is_put_aside_and_its_server_is_made_anew_when_that_is_there():
    plan = planned(BACKED_UP)

    assert not plan.problems
    assert names(plan) == [
        f"change volume idr-omero-data ({OLD['omero-data']})",
        f"change volume idr-database-db ({OLD['database-db']})",
        "make volume idr-omero-data",
        "make volume idr-database-db",
        "remove server idr-omero",
        "remove server idr-database",
        "make server idr-omero",
        "make server idr-database",
        "make attachment idr-omero-data",
        "make attachment idr-database-db",
    ]
    needs = next(step.needs for step in plan.steps if step.key == ("remove server", "idr-omero"))
    assert {("volume", "idr-omero-data"), ("volume", "idr-database-db")} <= set(needs)
    clone = next(step for step in plan.steps if step.key == ("volume", "idr-omero-data"))
    assert ("volume", f"idr-omero-data ({OLD['omero-data']})") in clone.needs  # it's looked for by its name
    after = clouds.after(BACKED_UP, plan)
    for use, old in OLD.items():
        aside = clouds.find_id(after, "volume", old)
        assert (aside.name, aside.what["attachments"]) == (f"idr-{use}-before-run-2", [])
        assert aside.what["metadata"]["idr_aside"] == "run-2" and aside.what["metadata"]["idr_aside_for"] == SET.id
        assert current(after, use).what["snapshot_id"] == f"{SET.id}/{use}" and current(after, use).what["attachments"]


def test_what_was_put_aside_is_kept_and_told_of_and_all_else_is_as_it_should_be():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))

    plan = applied(after)

    assert (plan.steps, plan.problems) == ((), ())
    assert (
        f"volume idr-omero-data-before-run-2 was put aside for {SET.id}, and is kept. Once nobody needs it any more: "
        f"openstack volume delete {OLD['omero-data']}"
    ) in plan.notes
    assert OLD["omero-data"] in {thing.id for thing in plan.kept}
    assert not [note for note in plan.notes if "isn't in pillar any more" in note]


def test_a_disproved_set_is_restored_only_where_that_is_said():
    disproved = replace(SET, disproved="2026-11-25 05:00 UTC: a page")
    facts = clouds.added(IDR, *things(disproved))

    assert planned(facts).problems == (
        f"{SET.id} was disproved, 2026-11-25 05:00 UTC: a page. If it's the best there is: even_if=disproved",
    )
    plan = planned(facts, even_if=("live", "disproved"))
    assert plan.problems == () and f"{SET.id} was disproved, 2026-11-25 05:00 UTC: a page" in plan.notes


def test_restored_once_more_nothing_changes_unless_that_is_said():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))

    assert names(planned(after, run="run-3")) == []
    again = planned(after, run="run-3", even_if=("live", "again"))
    assert len(names(again, "make")) == 6 and not again.problems
    twice = clouds.after(after, again)
    assert names(planned(twice, run="run-3", goes_on=True, even_if=("live", "again"))) == []
    assert sorted(it.name for it in twice.of("idr", "volume") if "database-db-before" in it.name) == [
        "idr-database-db-before-run-2",
        "idr-database-db-before-run-3",
    ]


@pytest.mark.parametrize("run", ["run-2", "run-3"])
@pytest.mark.parametrize("volumes", [None, ("omero-data", "database-db", "a-omero-data", "proxy-nginxcache")])
def test_a_run_that_was_cut_off_at_any_step_is_gone_on_with_and_nothing_is_lost(run, volumes):
    cache = of_volumes(IDR, uses=[*USES, "proxy-nginxcache"])
    facts = clouds.added(IDR, *things(cache))
    plan = planned(facts, volumes)
    count_aside = sum(step.kind == "volume" and step.verb == "change" for step in plan.steps)

    for count in range(len(plan.steps) + 1):
        cut = clouds.after(facts, replace(plan, steps=plan.steps[:count]))
        second = planned(cut, volumes, run=run, goes_on=run == "run-2")
        assert not second.problems, (count, second.problems)
        done = clouds.after(cut, second)
        assert (applied(done).steps, applied(done).problems) == ((), ())
        assert {it.id for it in facts.all("volume")} <= {it.id for it in done.all("volume")}
        assert sum("idr_aside" in it.what["metadata"] for it in done.all("volume")) == count_aside
        assert {current(done, use).what["metadata"]["idr_set"] for use in volumes or USES} == {cache.id}
        assert names(planned(done, volumes, run="run-4")) == []


def test_one_that_was_cut_off_before_a_volume_got_its_other_name_is_gone_on_with():
    old = current(BACKED_UP, "omero-data")
    said = {"idr_aside": "run-1", "idr_aside_for": SET.id}
    cut = clouds.changed(BACKED_UP, old, metadata={**old.what["metadata"], **said})

    done = clouds.after(cut, planned(cut))

    assert clouds.find_id(done, "volume", old.id).name == "idr-omero-data-before-run-1"
    assert not applied(done).problems


def test_one_that_was_cut_off_is_not_ended_by_an_apply_which_would_make_or_mount_something_else():
    plan = planned(BACKED_UP)
    line = f"was put aside for {SET.id}, and that restore was cut off: salt-run backup.restore {SET.id} into=idr"

    for count in range(1, len(plan.steps)):
        cut = clouds.after(BACKED_UP, replace(plan, steps=plan.steps[:count]))
        whole = applied(cut)
        if count < 6:  # the old one is still mounted, or nothing is there in its place
            assert [it for it in whole.problems if it.endswith(line)], count
        else:  # what is left is the same as an apply's
            assert not whole.problems and not names(whole, "change", "remove")


@pytest.mark.parametrize(
    ("asked", "typed"),
    [
        (Restore(SET.id, ("a-omero-data",)), f"backup.restore {SET.id} into=idr volumes=a-omero-data"),
        (Restore(SET.id, ("a-omero-data",), of_production=True), f"analysis.refresh idr set={SET.id}"),
    ],
)
def test_one_that_was_cut_off_is_told_with_the_command_that_goes_on_with_it_and_not_with_productions(asked, typed):
    plan = restoring.restoration(asked, seen(BACKED_UP)).plan

    cut = clouds.after(BACKED_UP, replace(plan, steps=plan.steps[:1]))

    [problem] = [it for it in applied(cut).problems if "was cut off" in it]
    assert problem.endswith(f"that restore was cut off: salt-run {typed}")


def test_what_says_how_it_is_gone_on_with_goes_into_metadata(monkeypatch):
    monkeypatch.setattr(restoring.manifest, "LONGEST", 50)
    plan = planned(BACKED_UP, ("omero-data", "database-db"))
    assert {step.what["metadata"]["idr_aside_by"] for step in plan.steps if step.verb == "change"} == {
        f"backup.restore {SET.id} into=idr"
    }


def test_another_set_than_the_one_that_was_cut_off():
    plan = planned(BACKED_UP)

    for count in range(1, len(plan.steps)):
        cut = clouds.after(BACKED_UP, replace(plan, steps=plan.steps[:count]))
        other = planned(cut, backup=EARLIER, run="run-3")
        assert not other.problems, (count, other.problems)
        done = clouds.after(cut, other)
        assert {current(done, use).what["snapshot_id"] for use in USES} == {f"{EARLIER.id}/{use}" for use in USES}
        assert not applied(done).steps and not applied(done).problems


def test_only_detached_volumes_are_left():
    gone = ("server", "port", "network", "subnet", "router", "interface", "group", "rule", "key", "attachment")
    facts = clouds.without(BACKED_UP, lambda it: it.kind in gone and it.environment == "idr")
    for volume in facts.of("idr", "volume"):
        facts = clouds.changed(facts, volume, attachments=[], status="available")
    address = clouds.find(facts, "address", "198.51.100.10")
    facts = clouds.changed(facts, address, port_id=None)

    plan = planned(facts, even_if=(), address="198.51.100.10")

    assert not plan.problems and len([step for step in plan.steps if step.kind == "volume"]) == 4
    done = clouds.after(facts, plan)
    assert not applied(done).steps
    assert {it.name for it in done.of("idr", "volume") if not it.what["attachments"]} == {
        "idr-omero-data-before-run-2",
        "idr-database-db-before-run-2",
    }


def test_one_volume_alone_is_refused_unless_that_is_said_and_then_written_on_it():
    plan = planned(BACKED_UP, ("omero-data",))
    assert list(plan.problems) == [
        f"omero-data of {SET.id} beside database-db as it is: rows would name files that aren't there, or the other "
        f"way round. Restore them together; or even_if=mismatch"
    ]

    plan = planned(BACKED_UP, ("omero-data",), even_if=("live", "mismatch"))

    after = clouds.after(BACKED_UP, plan)
    assert not plan.problems and names(plan, "remove") == ["remove server idr-omero"]
    assert current(after, "omero-data").what["metadata"]["idr_mismatch"] == "database-db"
    assert not planned(after, ("database-db",)).problems  # the other half


def test_a_missing_volume_beside_one_that_stays_is_a_mismatch_too():
    facts = clouds.without(BACKED_UP, lambda it: it.kind in ("volume", "attachment") and it.name == "idr-omero-data")

    plan = planned(facts, ("a-omero-data",))

    assert [it for it in plan.problems if it.startswith(f"omero-data of {SET.id} beside database-db as it is")]


def test_what_is_live_has_to_be_named_and_is_told_of():
    plan = planned(BACKED_UP, even_if=())

    assert list(plan.problems) == [
        "idr is live, and idr-omero, idr-database would be made anew. If that's meant: even_if=live"
    ]
    assert (
        "idr is live (it holds 198.51.100.10, which is tagged idr-production): the site is down from then until "
        "they are deployed, but for what the proxy has in its cache"
    ) in plan.notes
    other = complete("newidr", BACKED_UP, sources="sources:idr")
    assert not planned(other, even_if=(), name="newidr").problems


def test_the_analysis_side_stays_and_is_told_of_unless_it_is_named():
    plan = planned(BACKED_UP)
    assert [note for note in plan.notes if note.startswith("volume idr-a-omero-data stays as it is, a clone of what")]

    plan = planned(BACKED_UP, ("omero-data", "database-db", "a-omero-data"))

    assert not plan.problems and "remove server idr-a-omero" in names(plan)
    after = clouds.after(BACKED_UP, plan)
    assert current(after, "a-omero-data").what["snapshot_id"] == f"{SET.id}/omero-data"


def test_an_analysis_volume_that_is_named_is_the_sets_own_where_it_has_one():
    own = of_volumes(IDR, uses=[*USES, "a-omero-data"])
    facts = clouds.added(IDR, *things(own))

    plan = planned(facts, ("a-omero-data",))

    assert not plan.problems and names(plan, "remove") == ["remove server idr-a-omero"]
    made = next(step for step in plan.steps if step.key == ("volume", "idr-a-omero-data"))
    assert made.what["snapshot_id"] == f"{own.id}/a-omero-data"


def test_everything_that_keeps_it_from_being_done_is_said_at_once():
    attachment = clouds.find(BACKED_UP, "attachment", "idr-omero-data")
    facts = clouds.changed(BACKED_UP, attachment, server_id="s-9")
    facts = replace(facts, quotas={**facts.quotas, "gigabytes": (1000, 900), "instances": (6, 6)})

    plan = planned(facts, ("omero-data", "database-db", "ftp-data", "a-dockermanager-data"), even_if=())

    uses = ", ".join(use for _, use, _ in clouds.ROLES.values())
    assert list(plan.problems) == [
        f"volumes: idr has no ftp-data; it has {uses}",
        f"volumes: {SET.id} has no a-dockermanager-data; it has omero-data, database-db",
        f"volume idr-omero-data isn't on a server that is made anew, but on a server that is gone (s-9): once more in "
        f"a minute, and if that lasts, openstack volume attachment delete {attachment.id}",
        "idr is live, and idr-database would be made anew. If that's meant: even_if=live",
        "quota of gigabytes: 750 GB needed, 100 GB free (900 of 1000 used): have it raised, or remove what nobody "
        "needs",
    ]  # of instances there are enough: those that are removed make room


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ([], "no backup set of this project; salt-run backup.list tells which there are"),
        ([replace(SET, phase=FAILED)], "can't be restored: it failed"),
        ([replace(SET, pieces=SET.pieces[:1])], "can't be restored: it has lost its snapshot of database-db"),
    ],
)
def test_a_set_that_cannot_be_restored_is_refused(sets, why):
    with pytest.raises(Refused) as refused:
        planned(clouds.added(IDR, *things(*sets)))
    assert refused.value.problems == [f"{SET.id}: {why}"]


def test_a_volume_of_the_set_for_which_there_is_no_server_is_told_of():
    second = of_volumes(IDR)
    spare = replace(second.pieces[0], use="omero2-data", snapshot="sn-2")
    second = replace(second, uses=(*second.uses, "omero2-data"), pieces=(*second.pieces, spare))

    plan = planned(clouds.added(IDR, *things(second)))

    assert f"omero2-data is in {SET.id}, and idr has no server for it: it's left out" in plan.notes


def test_what_is_typed_wrong_is_refused_at_once():
    with pytest.raises(Refused) as refused:
        restoring.plan(Restore("yesterday", None, frozenset({"force"})), "idr", {"sources": "idr", "vm_image": "x"})
    assert refused.value.problems == [
        "yesterday: no id of a backup set",
        "even_if: only mismatch, live, again, disproved can be said, not force",
        "sources=: what is restored comes from yesterday",
    ]


def test_an_environment_that_was_restored_is_a_source_as_it_is_now():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))

    plan = planning.plan(clouds.wanted("newidr", sources="sources:idr"), after, "run-3")

    assert not plan.problems
    snapshots = {step.what["volume_id"] for step in plan.steps if step.key[0] == "snapshot"}
    assert {current(after, use).id for use in USES} <= snapshots and not snapshots & set(OLD.values())
    cut = clouds.after(BACKED_UP, replace(planned(BACKED_UP), steps=planned(BACKED_UP).steps[:2]))
    assert "sources=idr: idr has no omero-data, which can't be made again" in (
        planning.plan(clouds.wanted("newidr", sources="sources:idr"), cut, "run-3").problems
    )


def test_what_was_put_aside_goes_with_its_environment_unless_its_snapshots_are_kept():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))
    pruned = clouds.without(after, lambda it: it.kind == "snapshot")

    goes, stays = (removal.plan(facts, "idr", "run-5") for facts in (pruned, after))

    assert "remove volume idr-omero-data-before-run-2" in names(goes)
    assert f"volume idr-omero-data-before-run-2 was put aside for {SET.id}: it goes, too" in goes.notes
    assert "change volume idr-omero-data-before-run-2" in names(stays)
    left = clouds.after(after, stays).of("idr", "volume")
    assert {it.name for it in left} == {f"idr-{use}-before-run-2-retained-run-5" for use in USES}


def test_an_environment_that_was_restored_removed_and_is_to_be_there_again_is_made_of_a_set():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))
    group = [it for it in after.all("group") if it.name == "idr"]
    left = clouds.without(clouds.after(after, removal.plan(after, "idr", "run-5")), lambda it: it in group)

    plan = planned(left, even_if=(), run="run-6")

    assert not plan.problems and not names(plan, "change", "remove")
    assert not applied(clouds.after(left, plan)).steps


def test_back_to_what_was_put_aside_by_hand():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))
    for use, old in OLD.items():
        after = clouds.changed(after, current(after, use), name=f"idr-{use}-of-the-set")
        aside = clouds.find_id(after, "volume", old)
        said = {key: text for key, text in aside.what["metadata"].items() if not key.startswith("idr_aside")}
        after = clouds.changed(after, aside, name=f"idr-{use}", metadata=said)

    for server in ("idr-omero", "idr-database"):
        wanted = clouds.wanted("idr")
        first = applying.Seen(wanted, after, planning.plan(wanted, after, "run-7"), "run-7", False)
        plan = applying._replacing(first, server, "running").plan
        assert not plan.problems
        after = clouds.after(after, plan)

    assert not applied(after).steps
    assert all(clouds.find_id(after, "volume", old).what["attachments"] for old in OLD.values())


def test_a_set_of_another_environment():
    facts = complete("newidr", BACKED_UP)

    plan = planned(facts, name="newidr", even_if=())

    assert not plan.problems
    assert current(clouds.after(facts, plan), "omero-data", "newidr").what["snapshot_id"] == f"{SET.id}/omero-data"


def test_a_server_that_is_just_gone_may_have_its_old_volume_for_a_moment():
    after = clouds.after(BACKED_UP, planned(BACKED_UP))
    aside = clouds.find_id(after, "volume", OLD["omero-data"])
    lingering = [{"server_id": "s-gone", "attachment_id": "at-1", "device": "/dev/vdb"}]
    after = clouds.changed(after, aside, attachments=lingering, status="detaching")

    assert not applied(after).problems and not planned(after, run="run-3").problems


def test_what_the_set_is_good_for_is_in_the_plan():
    assert planned(BACKED_UP).notes[0] == f"{SET.id} is of 2026-11-25 03:00 UTC, quiesced, never verified"
    verified = replace(SET, verified=NIGHT, facts={"omero_version": "5.6.4"})

    notes = planned(clouds.added(IDR, *things(verified))).notes

    assert notes[0] == f"{SET.id} is of 2026-11-25 03:00 UTC, quiesced, verified, OMERO 5.6.4"


def test_the_plan_says_what_becomes_of_a_volume_and_where_it_comes_from():
    lines = telling.lines(planned(BACKED_UP))

    old = OLD["omero-data"]
    assert f"  ~ idr-omero-data ({old}): metadata, its name becomes idr-omero-data-before-run-2" in lines
    assert f"  + idr-omero-data: 500 GB, a clone by snapshot {SET.id}/omero-data" in lines
    assert (
        "  - idr-omero" in lines and "note: made anew as soon as the clones are there: idr-omero, idr-database" in lines
    )


def test_what_was_not_supplied_is_told_with_what_stands_in_where_the_proxy_is_made(tmp_path):
    with_proxy = planned(BACKED_UP, name="newidr")
    certificate = f"there is no {tmp_path}/tls: the new proxy makes a certificate of its own, which no browser trusts"
    site = f"there is no {tmp_path}/site.sls: defaults stand in, and what only a site can give isn't set up without it"
    oauth = f"there is no {tmp_path}/oauth_client_secret: nothing stands in, and nobody logs in to JupyterHub"

    assert restoring.not_supplied(with_proxy, tmp_path) == [certificate, site]
    assert restoring.not_supplied(planned(BACKED_UP), tmp_path) == []
    (tmp_path / "tls").mkdir()
    (tmp_path / "site.sls").write_text("jupyterhub: {authenticator: {class: dummy}}\n")
    assert restoring.not_supplied(with_proxy, tmp_path) == []
    by_oauth = "jupyterhub: {authenticator: {class: github, config: {GitHubOAuthenticator: {client_id: 0a1b2c}}}}\n"
    (tmp_path / "site.sls").write_text(by_oauth)
    assert restoring.not_supplied(with_proxy, tmp_path) == [oauth]
    (tmp_path / "oauth_client_secret").write_text("a word\n")
    assert restoring.not_supplied(with_proxy, tmp_path) == []


def test_an_apply_of_it_holds_the_lock_under_its_own_name_and_plans_once_more_when_it_has_it(monkeypatch, tmp_path):
    network = Neutron()
    network.create_security_group("idr", "IDR environment idr")
    [group] = network.kept.values()
    session = SimpleNamespace(get_project_id=lambda: "p")
    cloud = SimpleNamespace(network=network, calls=SimpleNamespace(total=7), session=session)
    enrolled = BACKED_UP
    for server in BACKED_UP.all("server"):
        enrolled = clouds.changed(enrolled, server, metadata={**server.what["metadata"], "idr_enrolled": "2026"})
    states, carried, said = [enrolled], [], []
    monkeypatch.setattr(applying, "connect", lambda name: cloud)
    monkeypatch.setattr(applying.wanted, "read", lambda name, given: clouds.wanted(name, f"sources:{given['sources']}"))
    monkeypatch.setattr(applying, "facts", lambda *_, **__: states[-1])
    monkeypatch.setattr(applying, "unfinished", lambda *_: None)
    monkeypatch.setattr(applying.host_keys, "bring", lambda *given: said.append(given[3]))

    def carry_out(cloud, plan, tell, held, look_first):
        carried.append((plan, group.description))
        states.append(clouds.after(states[-1], plan))
        return Outcome(list(plan.steps))

    monkeypatch.setattr(applying, "carry_out", carry_out)
    asked = Restore(SET.id, None, frozenset({"live"}))

    done = restoring.restore(asked, "idr", {}, None, None, tmp_path, lambda line: None)

    [(plan, held)] = carried
    assert done.plan == plan and re.search(r"; unfinished \S+; held by \S+ since \S+ to restore$", held)
    assert group.description == "IDR environment idr"
    assert [sorted(made) for made in said] == [["idr-database", "idr-omero"]]  # the servers whose host keys are new
    group.description += "; held by eve@desk:1 since 2026-11-25T03:00:00.000Z to apply"
    with pytest.raises(Refused) as refused:
        restoring.restore(Restore(EARLIER.id, None, frozenset({"live"})), "idr", {}, None, None, tmp_path, print)
    assert refused.value.problems[0].endswith(
        f"salt-run backup.restore {EARLIER.id} into=idr apply=True break_lock=eve@desk:1"
    )


def test_the_analysis_side_alone_leaves_the_live_site_up_and_asks_for_nothing_to_be_said():
    plan = planned(BACKED_UP, ("a-omero-data", "a-database-db"), even_if=())

    assert not plan.problems and names(plan, "remove") == ["remove server idr-a-omero", "remove server idr-a-database"]
    assert not [note for note in plan.notes if "the site is down" in note]


def test_the_analysis_side_is_made_of_productions_where_that_is_asked_for():
    own = of_volumes(IDR, uses=[*USES, "a-omero-data"])
    facts = clouds.added(IDR, *things(own))

    plan = restoring.restoration(Restore(own.id, ("a-omero-data",), of_production=True), seen(facts)).plan

    made = next(step for step in plan.steps if step.key == ("volume", "idr-a-omero-data"))
    assert made.what["snapshot_id"] == f"{own.id}/omero-data"


def test_the_sets_own_analysis_volume_is_not_what_productions_would_be_nor_the_other_way_round():
    own = of_volumes(IDR, uses=[*USES, "a-omero-data"])
    facts = clouds.added(IDR, *things(own))
    kinds = {
        "omero-data": Restore(own.id, ("a-omero-data",), of_production=True),
        "a-omero-data": Restore(own.id, ("a-omero-data",)),
    }

    for first, second in (("omero-data", "a-omero-data"), ("a-omero-data", "omero-data")):
        after = clouds.after(facts, restoring.restoration(kinds[first], seen(facts)).plan)
        assert names(restoring.restoration(kinds[first], seen(after, run="run-3")).plan) == []
        other = clouds.after(after, restoring.restoration(kinds[second], seen(after, run="run-3")).plan)
        assert current(other, "a-omero-data").what["snapshot_id"] == f"{own.id}/{second}"
