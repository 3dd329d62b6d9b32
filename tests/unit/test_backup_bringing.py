"""Files brought back: nothing is copied before all was looked at, no clone is left, none is torn from a server."""

import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from idr import files_on_server
from idr.backup import bringing, files
from idr.backup.files import Files
from idr.cloud.making import Outcome
from idr.errors import IdrError, Refused
from idr.ssh import Unreachable
from tests import clouds
from tests.tables import IDR as TABLE
from tests.unit.test_backup_files import BACKED_UP, ONE, SET, coming

FILE = Files(SET.id, (ONE,))
FOUND = {"problems": [], "bytes": 2_000_000_000, "entries": 7}


class Cloud:
    """The facts of a cloud, and its servers, as they become by what is done."""

    def __init__(self, facts=BACKED_UP):
        self.facts, self.done, self.failing = facts, [], ()
        self.mounted = {}  # server: the clone that its unit has
        self.asked, self.unit, self.said = [], {}, []
        self.found = {"look": dict(FOUND)}
        self.before = lambda server, deed: None
        self.ssh = SimpleNamespace(environment=TABLE, do=self.do)

    def carry_out(self, cloud, plan, tell, held, go_on=False):
        outcome = Outcome()
        for step in plan.steps:
            if str(step).startswith(self.failing or "\0"):
                outcome.failed.append((step, "HTTP 500"))
                continue
            if step.verb == "remove" and step.kind == "attachment":
                assert step.what["volume_id"] not in self.mounted.values(), "torn off while mounted"
            if {key for key in step.needs} & {it.key for it, _ in outcome.failed}:
                outcome.left.append(step)
                continue
            self.done.append(str(step))
        done = [
            step for step in plan.steps if step not in [it for it, _ in outcome.failed] and step not in outcome.left
        ]
        self.facts = clouds.after(self.facts, replace(plan, steps=tuple(done)))
        return outcome

    def do(self, server, deed, asked, seconds, of):
        assert of is files_on_server
        json.dumps(asked)
        self.asked.append((server.id, asked.get("deed", deed)))
        self.before(server.id, asked.get("deed", deed))
        if deed == "ready":
            return self.said
        if deed == "begin":
            compile(asked["program"], "program", "exec")
            self.mounted[server.id], self.unit[server.id] = asked["clone"], asked
        elif deed == "so_far":
            unit = self.unit[server.id]
            self.mounted.pop(server.id, None)
            return {"answer": self.found.get(unit["deed"]) or {"folder": f"{unit['mount']}/{unit['folder']}"}}
        else:
            self.mounted.pop(server.id, None)
        return None

    def bring(self, asked=FILE, tell=lambda line: None):
        return bringing.bring(asked, "idr", None, "/folder", "backup.restore …", tell)


@pytest.fixture
def cloud(monkeypatch):
    it = Cloud()

    @contextmanager
    def reached(name, folder):
        yield it.ssh, TABLE.proxy

    monkeypatch.setattr(bringing, "connect", lambda name: it)
    monkeypatch.setattr(bringing.inventory, "facts", lambda _: it.facts)
    monkeypatch.setattr(bringing, "carry_out", it.carry_out)
    monkeypatch.setattr(bringing.lock, "held", lambda *_, **__: nullcontext())
    monkeypatch.setattr(bringing.at_master, "reached", reached)
    monkeypatch.setattr(bringing.mark, "new_run", lambda: "run-2")
    monkeypatch.setattr(bringing.time, "sleep", lambda _: None)
    return it


def test_all_is_looked_at_before_anything_is_copied_and_no_clone_is_left(cloud):
    lines = []

    brought = cloud.bring(Files(SET.id, (ONE, "/data/OMERO/Pixels/1")), lines.append)

    folder = f"idr-omero:/data/restored-{SET.id}-run-2"
    assert brought == [f"{folder}/OMERO/Files/12", f"{folder}/OMERO/Pixels/1"]
    assert cloud.asked == [
        ("idr-omero", "ready"), ("idr-omero", "look"), ("idr-omero", "so_far"), ("idr-omero", "bring"),
        ("idr-omero", "so_far"), ("idr-omero", "end"),
    ]  # fmt: skip
    assert cloud.facts.all("volume") == BACKED_UP.all("volume")
    assert lines == ["idr-omero: looks at what is asked for", "idr-omero: copies 7 files and folders, 2.00 GB"]


def test_what_is_not_in_the_set_is_refused_and_nothing_is_copied(cloud):
    cloud.found["look"] = {
        **FOUND,
        "problems": [f"{ONE} isn't in {SET.id}; /data/OMERO is", "/data: 9.0 GB are needed"],
    }

    with pytest.raises(Refused, match="nothing was copied") as refused:
        cloud.bring()

    assert refused.value.problems == [
        f"idr-omero: {ONE} isn't in {SET.id}; /data/OMERO is", "idr-omero: /data: 9.0 GB are needed",
    ]  # fmt: skip
    assert ("idr-omero", "bring") not in cloud.asked and cloud.facts.all("volume") == BACKED_UP.all("volume")


@pytest.mark.parametrize("error", [IdrError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["look", "bring", "so_far"])
def test_whatever_happens_on_the_way_the_clone_is_let_go_of_and_goes(cloud, at, error):
    def fail(server, deed):
        if deed == at:
            cloud.mounted[server] = files.clones(cloud.facts, "idr")[0].id  # it may have begun all the same
            raise error

    cloud.before = fail

    with pytest.raises(type(error)):
        cloud.bring()

    assert cloud.asked[-1] == ("idr-omero", "end")
    assert cloud.facts.all("volume") == BACKED_UP.all("volume") and not cloud.mounted


@pytest.mark.parametrize("failing", ["make volume", "make attachment"])
def test_a_clone_that_cannot_be_had_is_said_and_what_there_is_of_it_goes(cloud, failing):
    cloud.failing = (failing,)

    with pytest.raises(Refused, match="nothing was copied") as refused:
        cloud.bring()

    assert refused.value.problems[0].startswith(failing)
    assert cloud.facts.all("volume") == BACKED_UP.all("volume")


def test_a_copy_that_failed_is_told_as_the_server_says_it(cloud):
    cloud.found["bring"] = None
    answers = {"look": {"answer": FOUND}, "bring": {"failed": "cp: No space left on device"}}
    do = cloud.ssh.do
    cloud.ssh.do = lambda server, deed, asked, **further: (
        answers[cloud.unit[server.id]["deed"]] if deed == "so_far" else do(server, deed, asked, **further)
    )

    with pytest.raises(IdrError, match=r"^idr-omero: cp: No space left on device$"):
        cloud.bring()

    assert cloud.facts.all("volume") == BACKED_UP.all("volume")


def test_a_link_that_is_cut_is_waited_for(cloud):
    cuts, lines = {"so_far": 3, "end": 2}, []

    def cut(server, deed):
        if cuts.get(deed):
            cuts[deed] -= 1
            raise Unreachable(f"{server}: unreachable by SSH: no route")

    cloud.before = cut

    assert cloud.bring(tell=lines.append)
    assert lines.count("out of sight: idr-omero: unreachable by SSH: no route") == 5


def test_a_server_that_does_not_come_back_keeps_the_clone_and_that_is_told(cloud, monkeypatch):
    monkeypatch.setattr(bringing, "OUT_OF_SIGHT", -1)

    def cut(server, deed):
        if deed in ("so_far", "end"):
            raise Unreachable(f"{server}: unreachable by SSH: no route")

    cloud.before, lines = cut, []

    with pytest.raises(Unreachable):
        cloud.bring(tell=lines.append)

    assert lines[-1] == "not cleared away, and goes with the next run: idr-omero: unreachable by SSH: no route"
    [clone] = files.clones(cloud.facts, "idr")
    assert clone.what["attachments"] and clone.id in cloud.mounted.values()
    cloud.before = lambda server, deed: None
    assert cloud.bring()  # the next one
    assert cloud.facts.all("volume") == BACKED_UP.all("volume")
    assert cloud.done[2:4] == [f"remove {kind} {clone.name} ({clone.id})" for kind in ("attachment", "volume")]


def test_files_that_are_there_are_told_of_though_a_clone_could_not_go(cloud):
    cloud.failing = ("remove volume",)

    with pytest.raises(
        Refused, match=rf"idr-omero:/data/restored-{SET.id}-run-2/OMERO/Files/12: there, but"
    ) as refused:
        cloud.bring()

    assert refused.value.problems[0].endswith(": HTTP 500")


def test_a_server_that_cannot_be_asked_keeps_everything_from_being_made(cloud):
    def silent(server, deed):
        raise Unreachable(f"{server}: unreachable by SSH: no route")

    cloud.before = silent
    with pytest.raises(Unreachable, match="no route"):
        cloud.bring()
    assert not cloud.done
    cloud.before, cloud.said = lambda server, deed: None, ["/data: the volume v-1 isn't mounted there"]
    with pytest.raises(Refused) as refused:
        cloud.bring()
    assert refused.value.problems == [f"idr-omero: {cloud.said[0]}"] and not cloud.done


def test_a_clone_of_a_run_that_died_while_it_was_attached_is_waited_for(cloud):
    begun = coming(ONE, run="run-1").plan
    cloud.facts = clouds.after(cloud.facts, replace(begun, steps=begun.steps[:1]))
    [clone] = files.clones(cloud.facts, "idr")
    cloud.facts = clouds.changed(cloud.facts, clone, status="attaching")

    cloud.bring()

    assert cloud.done[:2] == [f"wait volume {clone.name}", f"remove volume {clone.name} ({clone.id})"]
    assert cloud.facts.all("volume") == BACKED_UP.all("volume")


def test_nothing_is_begun_where_the_plan_is_blocked(cloud):
    with pytest.raises(Refused):
        cloud.bring(Files(SET.id, ("/etc/shadow",)))
    assert not cloud.asked and not cloud.done
