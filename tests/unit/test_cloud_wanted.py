"""What is declared of an environment: pillar's defaults, its own file, what was typed."""

import re

import pytest
import yaml

from idr.cloud import planning, wanted
from idr.cloud.model import Thing
from idr.errors import Refused
from idr.release.expectations import Count
from tests import clouds
from tests.clouds import KEY
from tests.tables import REPO, cases


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A checkout with this one's defaults, and the home of somebody who has a key."""
    monkeypatch.delenv("OS_CLOUD", raising=False)
    (tmp_path / "pillar/environments").mkdir(parents=True)
    (tmp_path / wanted.DEFAULTS).write_text((REPO / wanted.DEFAULTS).read_text())
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "home/.ssh/id_ed25519.pub").write_text(f"{KEY}\n")
    return tmp_path


def read(place, given=None, own=None, name="newidr"):
    if own is not None:
        (place / f"pillar/environments/{name}.sls").write_text(yaml.safe_dump(own))
    return wanted.read(name, given, place, place / "home")


def sources(environment):
    return {volume.use: volume.source for volume in environment.volumes}


def test_the_defaults_are_the_documents(place):
    found = read(place)

    assert found.keys == (KEY,) and found.cloud == "idr" and found.public_name == "idr.example.org"
    assert [(it.name, it.cidr) for it in found.networks] == [
        ("newidr", "192.168.1.0/24"),
        ("newidr-a", "192.168.2.0/24"),
    ]
    assert [(it.name, it.role, it.flavor, it.networks) for it in found.servers] == [
        ("newidr-proxy", "proxy", "m1.large", ("newidr", "newidr-a")),
        ("newidr-omero", "omero", "m1.xlarge", ("newidr",)),
        ("newidr-database", "database", "m1.large", ("newidr",)),
        ("newidr-a-omero", "omero", "m1.xlarge", ("newidr-a",)),
        ("newidr-a-database", "database", "m1.large", ("newidr-a",)),
        ("newidr-a-dockermanager", "dockermanager", "m1.xlarge", ("newidr-a",)),
    ]
    assert [(it.name, it.size_gb, it.source) for it in found.volumes] == [
        ("newidr-proxy-nginxcache", 100, ""),
        ("newidr-omero-data", 500, ""),
        ("newidr-database-db", 250, ""),
        ("newidr-a-omero-data", 500, "use:omero-data"),
        ("newidr-a-database-db", 250, "use:database-db"),
        ("newidr-a-dockermanager-data", 10, ""),
    ]


def test_what_was_typed_goes_before_the_environments_own_file_and_that_before_the_defaults(place):
    own = {"vm_image": "Debian 12 of May", "vm_flavour": "c5", "dns_nameservers": ["9.9.9.9"], "public_name": "new.org"}

    found = read(place, {"vm_image": "Debian 12 of June", "address": "198.51.100.7"}, own)

    assert (found.image, found.servers[0].flavor, found.nameservers) == ("Debian 12 of June", "c5", ("9.9.9.9",))
    assert (found.address, found.public_name) == ("198.51.100.7", "new.org")
    assert wanted.public_name_of("newidr", place) == "new.org"


def test_an_environments_servers_are_laid_over_the_defaults(place):
    servers = {
        "ENV-omero2": {
            "role": "omero",
            "flavour": "vm_flavour_large",
            "volumes": [{"name": "omero2-data", "size_gb": 9}],
        },
        "newidr-management": {"role": "management", "flavour": "vm_flavour_medium"},
        "ENV-a-omero": None,
    }

    found = read(place, own={"servers": servers})

    assert [it.name for it in found.servers] == [
        "newidr-proxy", "newidr-omero", "newidr-omero2", "newidr-database", "newidr-management",
        "newidr-a-database", "newidr-a-dockermanager",
    ]  # fmt: skip
    assert [it.size_gb for it in found.volumes if it.use == "omero2-data"] == [9]


def test_a_second_omero_and_a_management_server_are_pillar_and_are_planned_like_any_other(place):
    flavors = (Thing("flavor", it, it, what={"ram": 8192, "vcpus": 4, "disk": 80}) for it in ("m1.medium", "m1.xlarge"))
    cloud = clouds.added(clouds.blank(), *flavors)
    there = clouds.after(cloud, planning.plan(read(place), cloud, "run-1"))
    volumes = [{"name": "omero2-data", "size_gb": 500}]
    more = {
        "ENV-omero2": {"role": "omero", "flavour": "vm_flavour_large", "volumes": volumes},
        "ENV-management": {"role": "management", "flavour": "vm_flavour_medium"},
    }
    larger = read(place, {"idr_volume_omero2_data_src": "newidr-omero-data"}, {"servers": more})

    plan = planning.plan(larger, there, "run-2")

    assert not plan.problems
    assert sorted(map(str, plan.steps)) == [
        "make attachment newidr-omero2-data",
        "make port newidr-management-newidr",
        "make port newidr-omero2-newidr",
        "make server newidr-management",
        "make server newidr-omero2",
        "make snapshot newidr-clone-of-newidr-omero-data",
        "make volume newidr-omero2-data",
        "remove snapshot newidr-clone-of-newidr-omero-data",
    ]
    made = {step.name: step.what for step in plan.steps if step.verb == "make"}
    assert (made["newidr-omero2"]["flavor_id"], made["newidr-management"]["flavor_id"]) == ("m1.xlarge", "m1.medium")
    assert made["newidr-omero2"]["metadata"]["idr_role"] == "omero"
    groups = {group.id: group.name for group in there.all("group")}
    for port in ("newidr-omero2-newidr", "newidr-management-newidr"):
        assert [groups[id_] for id_ in made[port]["security_group_ids"]] == ["newidr"]
    assert planning.plan(larger, clouds.after(there, plan), "run-3").steps == ()
    from_nothing = planning.plan(read(place), cloud, "run-1")
    assert len([step for step in from_nothing.steps if step.kind == "server"]) == 8


def test_sources_are_of_every_volume_that_nothing_else_is_said_of(place):
    given = {"sources": "idr", "idr_volume_omero_data_src": "old-data", "idr_volume_proxy_nginxcache_src": "blank"}

    assert sources(read(place, given)) == {
        "proxy-nginxcache": "",
        "omero-data": "old-data",
        "database-db": "sources:idr",
        "a-omero-data": "use:omero-data",
        "a-database-db": "use:database-db",
        "a-dockermanager-data": "sources:idr",
    }


def test_where_a_volume_comes_from_may_be_said_of_each_in_a_file_or_typed(place):
    own = {"idr_volume_dockermanager_data_src": "notebooks", "idr_volume_a_omero_data_src": "blank", "sources": "idr"}

    found = sources(read(place, {"idr_volume_a_database_db_src": "other-db"}, own))

    assert found["a-dockermanager-data"] == "notebooks" and found["a-omero-data"] == ""
    assert found["a-database-db"] == "other-db" and found["database-db"] == "sources:idr"
    assert set(sources(read(place, {"sources": "blank"}, own)).values()) == {"", "use:database-db"}


def test_the_clouds_name_is_the_variables_unless_it_is_said(place, monkeypatch):
    monkeypatch.setenv("OS_CLOUD", "elsewhere")

    assert read(place).cloud == wanted.cloud_of("newidr", place) == "elsewhere"
    assert read(place, {"idr_deployment_cloud": "here"}).cloud == "here"
    assert read(place, own={"idr_deployment_cloud": "there"}).cloud == "there"


def test_rules_of_backups_are_laid_over_the_defaults(place):
    usual = {"hourly": 0, "daily": 7, "weekly": 4, "monthly": 6, "yearly": 2, "verified": 3}
    assert wanted.backup_keep("newidr", place) == usual

    read(place, own={"backup_keep": {"hourly": 24, "yearly": None}})

    assert wanted.backup_keep("newidr", place) == {**usual, "hourly": 24, "yearly": 0}
    assert wanted.backup_keep("idr", place) == usual


def test_hours_of_backups_are_those_of_the_environment_or_the_usual_one(place):
    assert wanted.backup_hours("newidr", place) == [3]
    read(place, own={"backup_hours": [3, 15]})
    assert (wanted.backup_hours("newidr", place), wanted.backup_hours("idr", place)) == ([3, 15], [3])
    read(place, own={"backup_hours": []})
    assert wanted.backup_hours("newidr", place) == []


def test_backups_are_without_the_volumes_that_the_environment_names(place):
    assert wanted.backup_leave_out("newidr", place) == []
    read(place, own={"backup_leave_out": ["proxy-nginxcache"]})
    assert wanted.backup_leave_out("newidr", place) == ["proxy-nginxcache"]
    assert wanted.backup_leave_out("idr", place) == []


def test_rules_of_backups_that_are_wrong_are_refused(place):
    (place / "pillar/environments/newidr.sls").write_text("backup_keep: {dayly: 7}")

    with pytest.raises(Refused) as refused:
        wanted.backup_keep("newidr", place)

    assert len(refused.value.problems) == 1 and "backup_keep.dayly: unknown" in refused.value.problems[0]


def test_what_a_release_asks_is_the_idrs_own(place):
    found = wanted.release_expectations("newidr", place / "no site", place)

    assert (found.set_hours, found.certificate_days, found.ca) == (28, 14, "")
    assert found.redirects == {"/about": "/about/"} and found.hits == ("/api/v0/",)
    assert found.images == {"/webclient/render_image/2850181/10/0/": 50001}
    assert list(found.texts) == ["/", "/about/", "/about/experiments.html"]
    assert found.counts["/mapr/api/organism/count/?query=true&value=%20"] == Count("experimenter.childCount", 6)


def test_what_a_release_asks_is_laid_over_that_by_an_environments_file_and_then_by_the_sites(place, tmp_path):
    read(place, own={"release_set_hours": 48, "release_texts": {"/": "Own", "/about/": None}})
    (tmp_path / "release.sls").write_text(
        yaml.safe_dump(
            {
                "release_ca": "self-signed",
                "release_texts": {"/": "The site's", "/about/experiments.html": None},
                "release_hits": {"/api/v0/": False, "/static/1.css": True},
            }
        )
    )

    found = wanted.release_expectations("newidr", tmp_path, place)

    assert (found.set_hours, found.ca, found.hits) == (48, "self-signed", ("/static/1.css",))
    assert found.texts == {"/": "The site's"}


def test_a_sites_file_for_releases_says_nothing_else(place, tmp_path):
    (tmp_path / "release.sls").write_text("vm_image: Debian 13\nrelease_ca: no\n")

    with pytest.raises(Refused) as refused:
        wanted.release_expectations("newidr", tmp_path, place)

    there = tmp_path / "release.sls"
    [unknown, wrong] = refused.value.problems
    assert unknown.startswith(f"{there}: vm_image: unknown; known are release_set_hours, release_certificate_days")
    assert wrong == f"{there}: release_ca: has to be '', self-signed or ca.pem, not False"


@pytest.mark.parametrize("name", ["newidr-a", "New", "", "../idr", 7])
def test_a_name_of_no_environment(place, name):
    with pytest.raises(Refused, match="refused"):
        read(place, name=name)


@pytest.mark.parametrize("case", cases("cloud_wanted"))
def test_everything_that_is_wrong_is_told_with_its_place(place, case):
    if "text" in case:
        (place / "pillar/environments/newidr.sls").write_text(case["text"])

    with pytest.raises(Refused) as refused:
        read(place, case.get("given"), case.get("own"))

    told = [re.sub("known are idr_environment.*", "known are …", line) for line in refused.value.problems]
    assert told == case["problems"]
