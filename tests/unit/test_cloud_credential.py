"""The credential of an environment's master: what it's for, when it's made anew, and what keeps it from being made."""

import json
import re
from types import SimpleNamespace

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.exceptions import ConflictException

from idr import on_server
from idr.cloud import credential
from idr.errors import IdrError, Refused

CATALOG = {"identity", "compute", "network", "image", "volumev3", "placement"}
SECRET = "the secret"
RECORD = "0b5e1c1e-7c1f-4c53-9d0e-4f3f2b0f6c11"  # the group that is its environment's lock


def allowed(service, method, path):
    """Whether a service lets a call through, as Keystone describes access rules: * is one part of a path, ** any."""
    parts = {"**": ".*", "*": "[^/]+"}
    return any(
        (service, method) == (rule_service, rule_method)
        and re.fullmatch(re.sub(r"\*\*|\*", lambda found: parts[found[0]], rule_path), path)
        for rule_service, rule_method, rule_path in credential.rules(CATALOG, RECORD)
    )


@pytest.mark.parametrize(
    "service, method, path",
    [
        ("compute", "GET", "/v2.1/servers/detail"),
        ("network", "GET", "/v2.0/floatingips"),
        ("network", "GET", "/network/v2.0/security-groups/4f"),
        ("image", "GET", "/v2/images"),
        ("volumev3", "GET", "/v3/p/snapshots/4f"),
        ("volumev3", "POST", "/v3/p/snapshots"),
        ("volumev3", "POST", "/volume/v3/p/snapshots"),
        ("volumev3", "POST", "/v3/p/snapshots/4f/metadata"),
        ("volumev3", "PUT", "/v3/p/snapshots/4f/metadata"),
        ("volumev3", "PUT", "/v3/p/snapshots/4f/metadata/idr_pinned"),
        ("network", "PUT", f"/v2.0/security-groups/{RECORD}"),
        ("network", "PUT", f"/networking/v2.0/security-groups/{RECORD}"),
        ("network", "PUT", f"/v2.0/security-groups/{RECORD}/tags/idr-claim-2026~ada@desk:4711"),
        ("network", "DELETE", f"/v2.0/security-groups/{RECORD}/tags/idr-claim-2026~ada@desk:4711"),
    ],
)
def test_it_sees_snapshots_and_takes_its_own_lock(service, method, path):
    assert allowed(service, method, path)


@pytest.mark.parametrize(
    "service, method, path",
    [
        ("compute", "DELETE", "/v2.1/servers/4f"),
        ("compute", "POST", "/v2.1/servers/4f/action"),
        ("compute", "POST", "/v2.1/servers"),
        ("compute", "POST", "/v2.1/os-snapshots"),
        ("network", "PUT", "/v2.0/floatingips/4f"),
        ("network", "DELETE", "/v2.0/floatingips/4f"),
        ("network", "PUT", "/v2.0/security-groups/4f"),
        ("network", "PUT", f"/v2.0/security-groups/{RECORD}/tags/idr-released"),
        ("network", "DELETE", f"/v2.0/security-groups/{RECORD}"),
        ("network", "POST", "/v2.0/security-groups"),
        ("network", "POST", "/v2.0/security-group-rules"),
        ("volumev3", "DELETE", "/v3/p/volumes/4f"),
        ("volumev3", "POST", "/v3/p/volumes"),
        ("volumev3", "POST", "/v3/p/volumes/4f/action"),
        ("volumev3", "DELETE", "/v3/p/snapshots/4f"),
        ("volumev3", "POST", "/v3/p/snapshots/4f/action"),
        ("volumev3", "PUT", "/v3/p/snapshots/4f"),
        ("volumev3", "POST", "/v3/p/group_snapshots"),
        ("volumev3", "PUT", "/v3/p/volumes/4f/metadata"),
        ("identity", "GET", "/v3/users/u/credentials/OS-EC2"),
        ("placement", "GET", "/usages"),
    ],
)
def test_and_nothing_else(service, method, path):
    assert not allowed(service, method, path)


def test_its_rules_go_by_all_names_that_the_catalog_has_for_a_service():
    assert {service for service, _, _ in credential.rules({"block-storage", "volumev3", "compute", "dns"})} == {
        "block-storage", "volumev3", "compute",
    }  # fmt: skip


class Cloud:
    """A connection to a cloud whose Keystone knows these application credentials of its user."""

    def __init__(self, *there, roles=("reader", "member"), own=None):
        self.there, self.posted = {it["id"]: it for it in there}, []
        self.current_user_id, self.identity = "u", self
        self.config = SimpleNamespace(
            config={
                "region_name": "here", "verify": True, "api_timeout": 90,
                "auth": {"auth_url": "https://k", "password": "operator's"},
            }
        )  # fmt: skip
        access = SimpleNamespace(
            role_names=roles,
            application_credential_id=own and own["id"],
            application_credential=own,
            service_catalog=SimpleNamespace(catalog=[{"type": kind} for kind in CATALOG]),
        )
        auth = SimpleNamespace(get_access=lambda session: access)
        self.session = SimpleNamespace(auth=auth, get_project_id=lambda: "p")
        self.network = SimpleNamespace(security_groups=lambda name, project_id, fields: self.groups)
        self.groups = [
            SimpleNamespace(id=id_, name="newidr", description=f"IDR environment {whose}; …", created_at="2026")
            for id_, whose in (("another's", "idr"), (RECORD, "newidr"))
        ]

    def application_credentials(self, user, name):
        return [Found(it) for it in self.there.values()]

    def delete_application_credential(self, user, id_):
        del self.there[id_]

    def post(self, where, json, log):
        assert not log  # the answer has the secret in it
        made = json["application_credential"] | {"id": f"made{len(self.posted)}", "project_id": "p"}
        self.posted.append(made)
        self.there[made["id"]] = made
        return SimpleNamespace(
            status_code=201, json=lambda: {"application_credential": made | {"secret": SECRET}}, headers={}
        )


class Found(dict):
    """As the SDK has what it lists: by attribute and by key."""

    __getattr__ = dict.__getitem__


def there(id_="c1", **further):
    rules = [
        {"service": service, "method": method, "path": path}
        for service, method, path in credential.rules(CATALOG, RECORD)
    ]
    plain = {"name": "newidr-master", "description": "IDR environment newidr; …", "project_id": "p"}
    return plain | {"id": id_, "access_rules": rules} | further


def giver(*credentials, **further):
    return credential.Giver(Cloud(*credentials, **further), "newidr", "idr")


def nobody_asks():
    raise AssertionError("the master was asked")


def test_one_that_is_as_it_should_be_stays():
    assert giver(there()).unfit("c1", nobody_asks) == ""


@pytest.mark.parametrize("rules", [None, [], [{"service": "compute", "method": "GET", "path": "/**"}]])
def test_one_for_other_calls_is_made_anew(rules):
    assert giver(there(access_rules=rules)).unfit("c1", nobody_asks) == "its own is for other calls"


def test_one_for_the_lock_of_an_environment_that_was_destroyed_is_made_anew():
    rules = [dict(zip(("service", "method", "path"), rule, strict=True)) for rule in credential.rules(CATALOG, "old")]
    assert giver(there(access_rules=rules)).unfit("c1", nobody_asks) == "its own is for other calls"


def test_one_that_is_missing_on_either_side_is_made_anew():
    assert giver(there()).unfit(None, nobody_asks) == "it has none"
    assert giver(there("c2")).unfit("c1", lambda: None) == "its own isn't in the cloud any more"


def test_another_operators_stays_as_long_as_the_master_gets_in_by_it():
    assert giver(there("mine")).unfit("theirs", lambda: there("theirs")) == ""
    assert giver().unfit("theirs", lambda: there("theirs", access_rules=None)) == "its own is for other calls"

    def out_of_reach():
        raise IdrError("idr-proxy: log_in: no route")

    assert giver().unfit("theirs", out_of_reach) == ""


@pytest.fixture
def tried(monkeypatch):
    """What was logged in with to try it, in a cloud that takes it."""
    entries = []
    monkeypatch.setattr(credential, "connect", lambda cloud, entry: entries.append(entry))
    monkeypatch.setattr(credential.inventory, "facts", lambda connection: None)
    return entries


def test_the_old_one_makes_room_and_the_master_gets_what_it_needs(tried, tmp_path, monkeypatch):
    made = giver(there("old"), there("other", name="idr-master", description="IDR environment idr"))
    [(path, (text, mode))] = made.make().items()

    assert set(made.connection.there) == {"made0", "other"}
    [asked] = made.connection.posted
    assert asked["roles"] == [{"name": "member"}]
    assert asked["unrestricted"] is False
    assert asked["description"].startswith("IDR environment newidr;")
    assert (path, mode) == ("/etc/idr/clouds.yaml", 0o600)
    entry = json.loads(text)["clouds"]["idr"]
    assert entry == tried[0]
    assert entry["auth"] == {
        "auth_url": "https://k", "application_credential_id": "made0", "application_credential_secret": SECRET,
    }  # fmt: skip
    assert (entry["region_name"], entry["api_timeout"]) == ("here", 90)

    (tmp_path / "clouds.yaml").write_text(text)
    monkeypatch.setattr(on_server, "CLOUDS", tmp_path / "clouds.yaml")
    assert on_server._credential() == "made0"


@pytest.mark.parametrize("text", ["", "{}", "[]", "clouds: {idr: {}}", '{"clouds": {"idr": {"auth": {}}}}'])
def test_a_file_of_the_masters_that_isnt_ours_is_none(text, tmp_path, monkeypatch):
    (tmp_path / "clouds.yaml").write_text(text)
    monkeypatch.setattr(on_server, "CLOUDS", tmp_path / "clouds.yaml")
    assert on_server._credential() is None


def test_a_private_authoritys_certificate_goes_along(tried, tmp_path):
    (tmp_path / "ca.pem").write_text("its certificate")
    made = giver()
    made.connection.config.config["cacert"] = str(tmp_path / "ca.pem")
    files = made.make()
    assert files["/etc/idr/cloud-ca.pem"] == ("its certificate", 0o644)
    assert json.loads(files["/etc/idr/clouds.yaml"][0])["clouds"]["idr"]["cacert"] == "/etc/idr/cloud-ca.pem"
    assert tried[0]["cacert"] == str(tmp_path / "ca.pem")  # here it is elsewhere


def test_a_cloud_that_refuses_all_calls_by_it_is_told_and_it_goes_again(monkeypatch):
    monkeypatch.setattr(credential, "connect", lambda cloud, entry: None)
    monkeypatch.setattr(credential.inventory, "facts", lambda _: (_ for _ in ()).throw(Refused(["volumes: HTTP 401"])))
    made = giver()
    with pytest.raises(Refused) as refused:
        made.make()
    assert "service_type" in refused.value.problems[0]
    assert refused.value.problems[1] == "volumes: HTTP 401"
    assert not made.connection.there


def test_everything_that_keeps_it_from_being_made_is_told_together():
    assert giver(there()).problems() == []
    taken = giver(there(project_id="another"), roles=("reader",))
    assert [re.split(r",| that", problem)[0] for problem in taken.problems()] == [
        "you haven't the role member in this project",
        "you have an application credential newidr-master",
    ]
    restricted = giver(there("c1"), own={"id": "own", "restricted": True})
    assert "--unrestricted" in restricted.problems()[0]
    assert restricted.unfit("c1", lambda: there("c1")) == ""
    assert giver(own={"id": "own", "restricted": False}).problems() == []


class Killed(BaseException):
    """What ends a run without its being able to say or do anything more."""


@pytest.mark.parametrize("call", ["delete_application_credential", "post"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [Killed, ConnectFailure, ConflictException])
def test_a_run_that_ended_at_any_call_is_mended_by_the_next(tried, call, moment, error):
    cloud = Cloud(there("old"), there("other", name="idr-master", description="IDR environment idr"))
    whole = getattr(cloud, call)

    def ends(*given, **named):
        if moment == "after":
            whole(*given, **named)
        raise error

    setattr(cloud, call, ends)
    with pytest.raises(Killed if error is Killed else IdrError):
        credential.Giver(cloud, "newidr", "idr").make()
    setattr(cloud, call, whole)

    [(text, _)] = credential.Giver(cloud, "newidr", "idr").make().values()

    id_ = json.loads(text)["clouds"]["idr"]["auth"]["application_credential_id"]
    assert set(cloud.there) == {id_, "other"}
