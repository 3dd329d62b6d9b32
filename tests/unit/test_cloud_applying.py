"""An apply that ends half-way is gone on with by typing it again, and what's whole isn't taken back."""

from types import SimpleNamespace

import pytest

from idr.cloud import applying, enrolled, lock
from idr.cloud.making import Outcome
from idr.errors import Refused
from tests import clouds
from tests.neutron import PROJECT, Neutron

RECORD = "IDR environment newidr, made by run-1"
DEPLOY = {"named": None, "even_if": None}


class Cloud:
    """A cloud of which there's one environment or none, and the operator's side of it."""

    def __init__(self, monkeypatch):
        self.calls, self.compute, self.network = SimpleNamespace(total=7), self, Neutron()
        self.session = SimpleNamespace(get_project_id=lambda: PROJECT)
        self.facts, self.enrols, self.brought, self.replaced = clouds.blank(), True, [], []
        self.network.create_security_group("newidr", RECORD)
        for where, name, how in (
            (applying, "connect", lambda name: self),
            (applying.wanted, "read", lambda name, given=None: clouds.wanted()),
            (applying, "facts", lambda *_, **__: self.facts),
            (enrolled, "facts", lambda _: self.facts),
            (applying, "unfinished", lambda *_: lock.record(self.record).unfinished),
            (applying, "carry_out", self.carry_out),
            (applying.host_keys, "bring", lambda *given: self.brought.append(sorted(given[3]))),
            (applying.enrol, "enrol", self.enrol),
            (applying.update, "update", lambda *_: None),
        ):
            monkeypatch.setattr(where, name, how)

    @property
    def record(self):
        """What is written down of the environment."""
        [description] = self.network.descriptions
        return description

    def set_server_metadata(self, id_, **said):
        server = clouds.find_id(self.facts, "server", id_)
        self.facts = clouds.changed(self.facts, server, metadata={**server.what["metadata"], **said})

    def carry_out(self, cloud, plan, *_, **__):
        self.facts = clouds.after(self.facts, plan)
        return Outcome(list(plan.steps))

    def enrol(self, name, apply, replaced, *_):
        self.replaced.append(sorted(replaced))
        if not self.enrols:
            raise Refused(["newidr-omero: not reached"])
        enrolled.say(self, name)
        return [], False

    def apply(self, deploy=DEPLOY):
        return applying.apply("newidr", {}, None, deploy, None, lambda line: None)

    def replace(self, server, even_if=None):
        return applying.replace_server("newidr", server, even_if, None, DEPLOY, None, lambda line: None)


@pytest.fixture
def cloud(monkeypatch):
    return Cloud(monkeypatch)


ALL = sorted(server.name for server in clouds.wanted().servers)


def test_what_is_made_in_the_cloud_is_finished_although_enrolment_fails(cloud):
    cloud.enrols = False

    with pytest.raises(Refused):
        cloud.apply()

    assert cloud.record == RECORD


def test_servers_are_new_to_every_apply_until_one_has_enrolled_them(cloud):
    cloud.apply(deploy=None)
    cloud.enrols = False
    with pytest.raises(Refused):
        cloud.apply()
    cloud.enrols = True
    cloud.apply()
    cloud.apply()

    assert cloud.brought == [ALL, ALL, ALL, []]
    assert cloud.replaced == [ALL, ALL, []]


def test_a_replaced_server_alone_is_new_and_typed_again_it_is_gone_on_with(cloud):
    cloud.apply()
    cloud.enrols = False
    with pytest.raises(Refused):
        cloud.replace("newidr-omero", even_if="running")
    made = clouds.find(cloud.facts, "server", "newidr-omero")
    assert cloud.record == RECORD

    cloud.enrols = True
    cloud.replace("newidr-omero")

    assert cloud.replaced[1:] == [["newidr-omero"]] * 2
    assert clouds.find(cloud.facts, "server", "newidr-omero").id == made.id
    with pytest.raises(Refused) as refused:
        cloud.replace("newidr-omero")
    assert "it runs" in refused.value.problems[0]


@pytest.mark.parametrize(
    "status, finished, even_if, anew",
    [
        ("ACTIVE", False, "running", False),  # it's the new one, and the same command goes on
        ("BUILD", False, None, False),
        ("ERROR", False, None, True),
        ("SHUTOFF", False, None, True),
        ("ACTIVE", True, None, False),
        ("ACTIVE", True, "running", True),
        ("ERROR", True, None, True),
    ],
)
def test_the_new_one_is_made_anew_once_more_only_where_it_is_dead_or_that_is_said(
    cloud, status, finished, even_if, anew
):
    cloud.apply(deploy=None)
    server = clouds.find(cloud.facts, "server", "newidr-omero")
    facts = clouds.changed(cloud.facts, server, status=status)
    run = "run-9" if finished else server.run
    asked = clouds.wanted()
    seen = applying.Seen(asked, facts, applying.planning.plan(asked, facts, run), run, not finished)

    plan = applying._replacing(seen, server.name, even_if).plan

    assert not plan.problems
    assert ([step.verb for step in plan.steps if step.kind == "server"] == ["remove", "make"]) == anew
