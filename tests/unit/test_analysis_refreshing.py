"""The analysis side made anew by itself: users are told first, production isn't touched, what was there is kept."""

import hashlib
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr import at_master, hub, update
from idr.analysis import refreshing
from idr.analysis.refreshing import Refresh
from idr.cloud import applying
from idr.errors import IdrError, Refused
from tests import clouds
from tests.backups import NIGHT, of_volumes, things
from tests.prepared import EVERY, HEAD, World
from tests.tables import IDR as TABLE

ASKED = Refresh("idr", minutes=0)
OURS = ("a-omero-data", "a-database-db")
STAYING = {"idr-proxy", "idr-omero", "idr-database", "idr-a-dockermanager"}
UNDRAIN = "ssh idr-proxy salt -L idr-a-dockermanager jupyterhub.undrain"


def state(id_, would="a diff", fails=""):
    return {"id": id_, "name": id_, "would": would, "fails": fails}


class Site(World):
    """The project, with its servers' answers: users on the hub, what OMERO says, passwords as digests, drift."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        self.users, self.draining, self.status, self.drift, self.deployed = ["ada"], None, [], {}, HEAD
        self.digests = {"idr-database": {"omero": "1"}, "idr-a-database": {"omero": "2"}}
        self.schema, self.files, self.cut = "OMERO5.4 0", {}, None
        monkeypatch.setattr(refreshing, "connect", lambda name: self)
        monkeypatch.setattr(at_master, "execute", self.execute)
        monkeypatch.setattr(at_master, "reached", self.reached)
        monkeypatch.setattr(update, "rehearsed", self.rehearsed)
        monkeypatch.setattr(hub.time, "sleep", lambda seconds: self.users.clear())
        self.verified = self.has(NIGHT, verified=NIGHT)
        self.newer = self.has(NIGHT.replace(day=26))

    def has(self, taken, **further):
        it = replace(of_volumes(self.facts, uses=EVERY, taken=taken), **further)
        self.facts = clouds.added(self.facts, *things(it))
        return it

    def carry_out(self, cloud, plan, *_, **__):
        """As any World; or CUT off when so many steps in the cloud are done."""
        if self.cut is None or self.cut >= len(plan.steps):
            self.cut = self.cut and self.cut - len(plan.steps)
            return super().carry_out(cloud, plan)
        self.facts = clouds.after(self.facts, replace(plan, steps=plan.steps[: self.cut]))
        raise KeyboardInterrupt

    @contextmanager
    def reached(self, name, folder):
        yield SimpleNamespace(do=self.facts_of_the_proxy, environment=TABLE), TABLE.proxy

    def facts_of_the_proxy(self, server, deed, asked):
        assert (server, deed) == (TABLE.proxy, "facts")
        return {"release": self.deployed, "files": {path: self.files.get(path) for path in asked["files"]}}

    def rehearsed(self, ssh, servers, saltenv, tell):
        assert saltenv == "base" and {it.id for it in servers} == STAYING
        return {it.id: self.drift.get(it.id, []) for it in servers}, {}

    def execute(self, env, folder, server, function, **values):
        if function == "omero.status":
            assert server == "idr-a-omero"
            return {"problems": self.status}
        if function == "omero.query":
            assert server == "idr-omero"
            return [{"schema": self.schema}]
        if function == "pg_sql.query":
            if "database" in values:
                return []
            return [{"name": name, "digest": digest} for name, digest in self.digests[server].items()]
        assert server == "idr-a-dockermanager"
        return getattr(self, function.partition(".")[2])(**values)

    def servers(self):
        return {"servers": {user: {} for user in self.users}, "draining": self.draining}

    def drain(self, minutes, notice):
        self.step("drain")
        self.draining = {"until": "soon", "notice": notice}
        return {**self.draining, "on": list(self.users)}

    def undrain(self):
        if self.draining is None:
            return {"did": None}
        self.step("undrain")
        self.draining = None
        return {"did": "end the drain"}


@pytest.fixture
def site(monkeypatch):
    return Site(monkeypatch)


def refresh(asked=ASKED):
    return refreshing.refresh(asked, None, "/folder", print)


def problems(asked=ASKED):
    with pytest.raises(Refused) as refused:
        refresh(asked)
    return refused.value.problems


def current(site, use):
    return clouds.find(site.facts, "volume", f"idr-{use}")


def test_the_newest_verified_set_its_production_volumes_and_nothing_else(site):
    before = {use: current(site, use).id for use in EVERY}

    coming = refreshing.plan(ASKED, "/folder", print)

    assert (coming.set, coming.problems, coming.on) == (site.verified.id, (), {"idr-a-dockermanager": ["ada"]})
    assert {step.name for step in coming.plan.steps if step.verb in ("make", "remove")} == {
        "idr-a-omero-data", "idr-a-database-db", "idr-a-omero", "idr-a-database",
    }  # fmt: skip
    assert site.done == []

    done = refresh()

    for use, of in zip(OURS, ("omero-data", "database-db"), strict=True):
        made = current(site, use).what
        assert made["snapshot_id"] == f"{site.verified.id}/{of}" and made["attachments"]
    assert {use: current(site, use).id for use in set(EVERY) - set(OURS)} == {
        use: id_ for use, id_ in before.items() if use not in OURS
    }
    assert {(it.id, it.snapshots) for it in done.aside} == {(before[use], 2) for use in OURS}  # one of each set
    assert [step.key for step in done.applied.plan.steps] == [step.key for step in coming.plan.steps]


def test_users_work_on_until_the_clones_are_there_and_all_is_looked_at_before_they_are_let_in_again(site, monkeypatch):
    at_drain, drain = [], site.drain

    def seen(**values):
        at_drain.append([current(site, use).what["snapshot_id"] for use in OURS])
        assert clouds.find(site.facts, "server", "idr-a-omero")  # it's up
        return drain(**values)

    site.drain = seen
    refresh()

    assert at_drain == [[f"{site.verified.id}/omero-data", f"{site.verified.id}/database-db"]]
    assert site.done == ["lock idr", "carry out idr", "drain", "carry out idr", "undrain"] and site.draining is None


def test_again_it_only_looks(site):
    refresh()
    facts, site.done = site.facts, []

    refresh()

    assert (site.facts, site.done) == (facts, [])


def test_wherever_it_was_cut_off_it_goes_on(site, monkeypatch):
    refresh()
    steps = len(site.done)

    for number in range(steps):
        fresh = Site(monkeypatch)
        fresh.dies = number
        with pytest.raises(KeyboardInterrupt):
            refresh()
        done = refresh()
        assert fresh.draining is None and len(done.aside) == 2, number
        assert {current(fresh, use).what["metadata"]["idr_set"] for use in OURS} == {fresh.verified.id}
        assert all(current(fresh, use).what["attachments"] for use in OURS)


@pytest.mark.parametrize("count", range(10))
def test_whatever_was_done_in_the_cloud_when_it_was_cut_off_the_rest_is_done(site, count):
    site.cut = count
    before = {use: current(site, use).id for use in EVERY}
    with pytest.raises(KeyboardInterrupt):
        refresh()
    site.cut = None

    coming = refreshing.plan(ASKED, "/folder", print)
    done = refresh()

    assert len(coming.plan.steps) == 10 - count
    assert {it.id for it in done.aside} == {before[use] for use in OURS} and site.draining is None
    assert {current(site, use).what["snapshot_id"].partition("/")[0] for use in OURS} == {site.verified.id}
    assert all(current(site, use).what["attachments"] for use in OURS)
    assert {use: current(site, use).id for use in EVERY if use not in OURS} == {
        use: id_ for use, id_ in before.items() if use not in OURS
    }


def test_one_that_was_cut_off_is_gone_on_with_though_a_newer_set_was_verified_meanwhile(site, capsys):
    site.cut = 4
    with pytest.raises(KeyboardInterrupt):
        refresh()
    site.cut = None
    newest = site.has(NIGHT.replace(day=28), verified=NIGHT.replace(day=28))

    assert refreshing.plan(ASKED, "/folder", print).set == site.verified.id
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"a refresh of {site.verified.id} was cut off, and is gone on with. The newest verified one, if that's meant: "
        f"set={newest.id}"
    )
    assert refresh().set == site.verified.id
    assert refresh().set == newest.id  # that is another refresh


def test_what_an_earlier_one_put_aside_is_told_of_as_long_as_it_is_there(site):
    first = {it.id for it in refresh().aside}
    site.has(NIGHT.replace(day=28), verified=NIGHT.replace(day=28))

    second = refresh().aside

    assert len(second) == 4 and first < {it.id for it in second}


def test_an_interrupt_is_told_with_what_has_become_of_the_users(site, monkeypatch, capsys):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(hub.time, "sleep", interrupted)

    with pytest.raises(KeyboardInterrupt):
        refresh()

    assert capsys.readouterr().out.splitlines()[-1] == (
        f"interrupted: nothing is swapped, the hub may be drained. To go on: salt-run analysis.refresh idr "
        f"set={site.verified.id} minutes=0 apply=True; to let users in again: {UNDRAIN}"
    )


def test_a_failure_before_users_are_told_says_nothing_of_them(site, monkeypatch):
    def carry_out(*_, **__):
        raise IdrError("idr-a-omero-data: its state is error after 3 s")

    monkeypatch.setattr(applying, "carry_out", carry_out)

    with pytest.raises(IdrError) as error:
        refresh()

    assert str(error.value) == "idr-a-omero-data: its state is error after 3 s" and site.draining is None


def test_a_deploy_that_is_refused_when_all_is_swapped_says_how_users_stand_and_does_not_clone_once_more(
    site, monkeypatch
):
    refresh()
    asked = replace(ASKED, even_if=frozenset(["again"]))

    def on_its_servers(*_):
        raise Refused(["idr-proxy: nginx serves the site: no"], "refused, nothing was changed: these states fail")

    with monkeypatch.context() as broken:
        broken.setattr(applying, "_on_its_servers", on_its_servers)
        with pytest.raises(Refused) as refused:
            refresh(asked)

    assert refused.value.problems == ["idr-proxy: nginx serves the site: no"]
    typed = f"analysis.refresh idr set={site.verified.id} minutes=0"
    assert str(refused.value) == (
        f"stopped: the hub stays drained, and what was there is kept. To go on, once that is mended: salt-run {typed} "
        f"apply=True; to let users in as it is: {UNDRAIN}"
    )
    assert refreshing.plan(ASKED, "/folder", print).drained == ("idr-a-dockermanager",)
    there = site.facts
    refresh()  # as that says
    assert site.facts == there and site.draining is None


def test_production_is_not_touched_either_where_something_comes_off_it_while_users_have_their_notice(site):
    order = site.drain

    def drain(**values):
        off = clouds.find(site.facts, "attachment", "idr-omero-data")
        site.facts = clouds.without(site.facts, lambda it: it is off)
        site.facts = clouds.changed(site.facts, current(site, "omero-data"), attachments=[], status="available")
        return order(**values)

    site.drain = drain

    [problem] = problems()

    assert problem.startswith("make attachment idr-omero-data: isn't the analysis side's")
    assert not current(site, "omero-data").what["attachments"] and site.draining


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"status": ["OMERO.web answers 502"]}, "idr-a-omero: OMERO.web answers 502"),
        (
            {"digests": {"idr-database": {"omero": "1"}, "idr-a-database": {"omero": "1"}}},
            "idr-a-database: omero has the password that it has in production; salt-run environment.update idr sets "
            "this side's own",
        ),
    ],
)
def test_a_new_side_that_is_not_well_lets_nobody_in_and_once_mended_does(site, wrong, why):
    well = {key: getattr(site, key) for key in wrong}
    vars(site).update(wrong)

    with pytest.raises(Refused) as refused:
        refresh()
    assert refused.value.problems == [why] and str(refused.value).startswith("stopped: the hub stays drained")
    assert site.draining and "undrain" not in site.done

    vars(site).update(well)
    refresh()
    assert site.draining is None


def test_a_drain_that_somebody_ordered_stays(site):
    site.draining = {"until": "2026-11-25T08:00:00Z", "notice": "We move."}

    refresh()

    assert site.draining["notice"] == "We move."


def test_who_does_not_go_keeps_it_from_being_swapped(site, monkeypatch):
    monkeypatch.setattr(hub, "LATE", -1)
    old = clouds.find(site.facts, "server", "idr-a-omero").id

    with pytest.raises(IdrError) as error:
        refresh()

    assert error.value.problems == ["still on -1 s after their time: idr-a-dockermanager: ada"]
    assert str(error.value) == (
        f"stopped: nothing is swapped, the hub may be drained. To go on: salt-run analysis.refresh idr "
        f"set={site.verified.id} minutes=0 apply=True; to let users in again: {UNDRAIN}"
    )
    assert clouds.find(site.facts, "server", "idr-a-omero").id == old


def test_production_would_be_touched(site):
    volume = clouds.find(site.facts, "attachment", "idr-omero-data")
    site.facts = clouds.without(site.facts, lambda it: it is volume)
    site.facts = clouds.changed(site.facts, current(site, "omero-data"), attachments=[], status="available")
    site.deployed = "b" * 40
    site.drift = {"idr-omero": [state("a file"), state("another")], "idr-a-dockermanager": [state("a file")]}

    first, second, third = problems()

    assert first.startswith("make attachment idr-omero-data: isn't the analysis side's, and production isn't touched")
    assert second.startswith(f"idr has bbbbbbbbbbbb, and this checkout is at {HEAD[:12]}")
    assert third == (
        "idr-omero: a deploy would change 2 of its states: first salt-run environment.update idr; or even_if=drift"
    )
    assert site.done == []
    assert len(problems(replace(ASKED, even_if=frozenset(["drift"])))) == 2


def test_a_state_that_fails_is_said_before_anything_is_swapped_as_the_deploy_would_be_refused_then(site):
    runs = state("JupyterHub runs", "", "no such image")
    site.drift = {"idr-a-dockermanager": [runs], "idr-omero": [state("a file")]}
    fails = "idr-a-dockermanager: JupyterHub runs: no such image: the deploy that follows would be refused for that"

    first, second = problems()

    assert first == f"{fails}: mend it first" and second.startswith("idr-omero: a deploy would change 1 of its states")
    assert problems(replace(ASKED, even_if=frozenset(["drift"]))) == [first]
    assert site.done == []


def test_what_of_the_site_the_master_has_otherwise_would_be_deployed_too(site, tmp_path):
    (tmp_path / "site.sls").write_text("nginx: {workers: 2}\n")
    tmp_path.chmod(0o700)

    [problem] = refreshing.plan(ASKED, tmp_path, print).problems

    assert problem == (
        f"/etc/idr/pillar/site.sls of idr-proxy isn't as {tmp_path} has it, and would be deployed, too: first salt-run "
        f"environment.update idr; or even_if=drift"
    )
    assert not refreshing.plan(replace(ASKED, even_if=frozenset(["drift"])), tmp_path, print).problems
    digest = hashlib.sha256((tmp_path / "site.sls").read_bytes()).hexdigest()
    site.files = {"/etc/idr/pillar/site.sls": f"{digest} 0600"}
    assert not refreshing.plan(ASKED, tmp_path, print).problems


def test_a_set_of_before_an_upgrade_of_omero_is_none_that_the_analysis_side_could_be_of(site):
    facts = {"database_patch": "OMERO5.4 0"}
    it = site.has(NIGHT.replace(day=27), verified=NIGHT.replace(day=27), facts=facts)
    assert not refreshing.plan(ASKED, "/folder", print).problems

    site.schema = "OMERO5.5 1"

    assert problems() == [
        f"{it.id} has a database with OMERO5.4 0, and production's has OMERO5.5 1 by now: take and verify another set, "
        f"salt-run backup.create idr apply=True"
    ]


def test_rows_of_production_are_not_put_beside_files_that_are_not(site, monkeypatch):
    whole = clouds.wanted("idr")

    def read(name, given=None):
        own = (replace(it, source="") if it.use == "a-omero-data" else it for it in whole.volumes)
        return replace(whole, volumes=tuple(own))

    monkeypatch.setattr(refreshing.wanted, "read", read)

    assert problems() == [
        "idr: in pillar a-database-db of the analysis side would come from production and a-omero-data wouldn't: rows "
        "would name files that aren't there, or the other way round"
    ]


def test_a_set_has_to_be_a_good_one_and_verified_unless_that_is_said(site):
    asked = replace(ASKED, set=site.newer.id)
    assert problems(asked) == [
        f"{site.newer.id} was never verified: salt-run backup.verify {site.newer.id} apply=True; or even_if=unverified"
    ]
    assert refreshing.plan(replace(asked, even_if=frozenset(["unverified"])), "/folder", print).problems == ()
    assert problems(replace(ASKED, set="idr-20261101T030000Z"))[0].startswith("idr-20261101T030000Z: no backup set")
    bad = site.has(NIGHT.replace(day=27), verified=NIGHT, disproved="2026-11-27: a page")
    assert problems(replace(ASKED, set=bad.id)) == [f"{bad.id}: can't be used: 2026-11-27: a page"]
    assert refreshing.plan(ASKED, "/folder", print).set == site.verified.id
    site.facts = clouds.without(site.facts, lambda it: it.kind == "snapshot")
    assert problems() == ["idr has no verified backup set: salt-run backup.verify pick=random env=idr apply=True"]


def test_a_hub_that_does_not_answer_is_told_of(site, monkeypatch):
    def servers():
        raise IdrError("idr-a-dockermanager: jupyterhub.servers: ERROR: JupyterHub doesn't answer")

    site.servers = servers

    assert problems() == [
        "idr-a-dockermanager: jupyterhub.servers: ERROR: JupyterHub doesn't answer. If nobody can be on: even_if=hub"
    ]
    site.status = ["OMERO.web answers 502"]
    with pytest.raises(Refused) as refused:
        refresh(replace(ASKED, even_if=frozenset(["hub"])))
    assert str(refused.value) == (
        f"stopped: what was there is kept. To go on, once that is mended: salt-run analysis.refresh idr "
        f"set={site.verified.id} minutes=0 even_if=hub apply=True"
    )
    site.status = []
    refresh(replace(ASKED, even_if=frozenset(["hub"])))
    assert "drain" not in site.done


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"minutes": -1}, "minutes: a whole number from 0 to 1440, not -1"),
        ({"set": "newidr-20261125T030000Z"}, "set=newidr-20261125T030000Z: no id of a backup set of idr"),
        ({"even_if": frozenset(["live"])}, "even_if: only unverified, again, drift, hub can be said, not live"),
    ],
)
def test_what_cannot_be_meant(site, asked, why):
    assert problems(replace(ASKED, **asked)) == [why]
    assert site.done == []
