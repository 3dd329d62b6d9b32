"""A backup set as the source of an environment's volumes: what is made of it, and why it's refused."""

from dataclasses import replace

import pytest

from idr.backup.model import FAILED, GOING, PARTIAL, TAKING
from idr.cloud import planning
from tests import clouds
from tests.backups import NIGHT, USES, backup_set, of_volumes, things
from tests.unit.test_cloud_planning import IDR

SET = of_volumes(IDR, uses=[*USES, "proxy-nginxcache", "a-omero-data", "a-dockermanager-data"])
BACKED_UP = clouds.added(IDR, *things(SET))


def planned(facts, sources=f"sources:{SET.id}", source=None, **further):
    wanted = clouds.wanted(sources=sources, **further)
    volumes = tuple(replace(it, source=(source or {}).get(it.use, it.source)) for it in wanted.volumes)
    return planning.plan(replace(wanted, volumes=volumes), facts, "run-2")


def made(plan):
    return {step.what["metadata"]["idr_volume"]: step for step in plan.steps if step.key[0] == "volume"}


def with_set(*sets):
    return clouds.added(IDR, *things(*sets))


def test_each_volume_comes_from_the_sets_snapshot_of_its_use_and_the_analysis_sides_from_productions():
    plan = planned(BACKED_UP)

    assert not plan.problems and not [step for step in plan.steps if step.kind == "snapshot"]
    assert {use: step.what.get("snapshot_id") for use, step in made(plan).items()} == {
        "proxy-nginxcache": f"{SET.id}/proxy-nginxcache",
        "omero-data": f"{SET.id}/omero-data",
        "database-db": f"{SET.id}/database-db",
        "a-omero-data": f"{SET.id}/omero-data",
        "a-database-db": f"{SET.id}/database-db",
        "a-dockermanager-data": f"{SET.id}/a-dockermanager-data",
    }
    assert {step.what["metadata"]["idr_set"] for step in made(plan).values()} == {SET.id}
    assert not planning.plan(clouds.wanted(), clouds.after(BACKED_UP, plan), "run-3").steps


def test_an_analysis_volume_of_the_set_is_taken_where_that_is_said():
    plan = planned(BACKED_UP, source={"a-omero-data": SET.id})

    assert made(plan)["a-omero-data"].what["snapshot_id"] == f"{SET.id}/a-omero-data"


def test_what_can_be_made_again_and_is_not_in_the_set_is_blank_and_told_of():
    only_required = of_volumes(IDR)

    plan = planned(with_set(only_required))

    assert not plan.problems and "snapshot_id" not in made(plan)["proxy-nginxcache"].what
    assert f"{SET.id} has no proxy-nginxcache: newidr-proxy-nginxcache will be blank" in plan.notes


def test_the_environment_itself_comes_back_from_its_own_set():
    kept = ("snapshot", "zone", "volume type", "image", "flavor")
    gone = clouds.without(BACKED_UP, lambda it: it.environment == "idr" and it.kind not in kept)

    plan = planned(gone, name="idr")

    assert not plan.problems and len(made(plan)) == 6


def gone(use):
    return replace(SET, pieces=tuple(it for it in SET.pieces if it.use != use))


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        ([], "no backup set of this project; salt-run backup.list tells which there are"),
        ([replace(SET, phase=FAILED)], "can't be restored: it failed"),
        ([replace(SET, phase=TAKING)], "can't be restored: it was never ended"),
        ([replace(SET, phase=GOING)], "can't be restored: its removal was begun"),
        ([gone("omero-data")], "can't be restored: it has lost its snapshot of omero-data"),
        (
            [replace(SET, pieces=tuple(replace(it, status="error") for it in SET.pieces if it.use == "omero-data"))],
            "can't be restored: it has lost its snapshot of database-db|can't be restored: its snapshot of omero-data "
            "is error",
        ),
    ],
)
def test_a_set_that_cannot_be_restored_is_refused_in_one_line_for_all_volumes(sets, problem):
    plan = planned(with_set(*sets))

    assert list(plan.problems) == [f"sources={SET.id}: {line}" for line in problem.split("|")]


def test_a_required_volume_that_the_set_never_had():
    wanted = clouds.wanted(sources=f"sources:{SET.id}")
    second = replace(wanted.volumes[1], name="newidr-omero2-data", use="omero2-data", server="newidr-omero2")
    servers = (*wanted.servers, replace(wanted.servers[1], name="newidr-omero2"))

    plan = planning.plan(replace(wanted, servers=servers, volumes=(*wanted.volumes, second)), BACKED_UP, "run-2")

    assert list(plan.problems) == [f"sources={SET.id}: has no omero2-data, which can't be made again"]


def test_a_set_of_volumes_of_another_size_than_is_asked_for():
    larger = replace(SET, pieces=tuple(replace(it, size_gb=900) if it.use == "omero-data" else it for it in SET.pieces))

    [problem] = planned(with_set(larger)).problems

    assert problem.endswith(f"({SET.id}/omero-data) has 900 GB, which don't go into 500 (size_gb)")


@pytest.mark.parametrize(
    ("phase", "why"),
    [
        (FAILED, "it failed"),
        (GOING, "its removal was begun"),
        (TAKING, "it was never ended"),
        (PARTIAL, None),
    ],
)
def test_a_single_snapshot_of_a_set_that_is_not_good_is_refused_too(phase, why):
    bad = of_volumes(IDR, phase=phase)
    id_ = f"{bad.id}/omero-data"

    plan = planned(with_set(bad), sources="", source={"omero-data": id_})

    place = f"source of omero-data: snapshot idr-omero-data-20261125T030000Z ({id_})"
    assert list(plan.problems) == ([f"{place} is of the backup set {bad.id}: {why}"] if why else [])


def test_a_single_snapshot_of_a_set_whose_other_one_is_gone_is_no_worse_for_it():
    plan = planned(with_set(gone("database-db")), sources="", source={"omero-data": f"{SET.id}/omero-data"})

    assert not plan.problems


def test_a_set_of_another_moment_is_another_set():
    other = backup_set(NIGHT.replace(day=24))

    assert planned(BACKED_UP, sources=f"sources:{other.id}").problems
