"""The lock of an environment against a Neutron that keeps revisions: who gets it, who is told what, what is left."""

import random
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from idr.cloud import lock, mark
from idr.errors import Refused
from tests.neutron import PROJECT, Neutron

ENVIRONMENT = "newidr"


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(lock, "_pauses", lambda: (random.uniform(0, 0.002) for _ in range(lock.TRIES)))
    return SimpleNamespace(network=Neutron(), session=SimpleNamespace(get_project_id=lambda: PROJECT))


def held(cloud, **further):
    return lock.held(cloud, ENVIRONMENT, "run-1", "apply", **further)


def claim(cloud, description, name=ENVIRONMENT):
    cloud.network.create_security_group(name, description)


def test_the_first_makes_the_environments_record(cloud):
    with held(cloud) as mine:
        assert len(cloud.network.kept) == 1
        assert "held by" in cloud.network.descriptions[0]
        mine.check()
    assert cloud.network.descriptions == ["IDR environment newidr, made by run-1; unfinished run-1"]


def test_what_is_written_down_stays_when_it_is_given_back(cloud):
    with held(cloud) as mine:
        mine.begin("run-2")
    with held(cloud) as mine:
        assert mine.unfinished == "run-2"
        mine.finish()
    assert cloud.network.descriptions == ["IDR environment newidr, made by run-1"]


def test_a_backup_that_failed_is_known_until_one_is_a_success(cloud):
    with held(cloud) as mine:
        mine.backed_up("2026-11-25T03:00:07.123Z")
    with held(cloud) as mine:
        mine.begin("run-2")
    (description,) = cloud.network.descriptions
    assert description == (
        "IDR environment newidr, made by run-1; unfinished run-2; backup failed 2026-11-25T03:00:07.123Z"
    )
    assert lock.record(description).failed == "2026-11-25T03:00:07.123Z"
    with held(cloud) as mine:
        mine.finish()
        mine.backed_up()
    assert cloud.network.descriptions == ["IDR environment newidr, made by run-1"]


def test_the_second_is_told_who_since_when_and_what_breaks_it(cloud):
    claim(cloud, "IDR environment newidr; held by ada@desk:4711 since 2026-11-24T05:00:00.000Z to destroy")
    with pytest.raises(Refused) as refused, held(cloud):
        pass
    (line,) = refused.value.problems
    assert line.startswith("newidr: ada@desk (process 4711) is on it since 2026-11-24T05:00:00.000Z, to destroy. ")
    assert line.endswith("salt-run environment.apply newidr apply=True break_lock=ada@desk:4711")
    assert cloud.network.descriptions[0].count("held by ada@desk:4711") == 1


def test_who_typed_another_runner_is_told_that_one(cloud):
    claim(cloud, "IDR environment newidr; held by ada@desk:4711 since 2026-11-24T05:00:00.000Z to apply")
    with (
        pytest.raises(Refused) as refused,
        lock.held(cloud, ENVIRONMENT, "run-1", "take a backup", typed="backup.create newidr"),
    ):
        pass
    assert refused.value.problems[0].endswith("salt-run backup.create newidr apply=True break_lock=ada@desk:4711")


def test_a_lock_is_broken_by_naming_its_holder_and_only_so(cloud):
    claim(cloud, "IDR environment newidr; held by ada@desk:4711 since 2026-11-24T05:00:00.000Z to apply")
    with pytest.raises(Refused, match="refused"), held(cloud, broken="ada@desk:4712"):
        pass
    with held(cloud, broken="ada@desk:4711") as mine:
        assert "ada" not in cloud.network.descriptions[0]
        mine.check()


def test_who_died_between_tag_and_description_is_named_and_broken_like_any_other(cloud):
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    [group] = cloud.network.kept.values()
    group.tags = ["idr-claim-2026-11-24T05:00:00.000Z~ada@desk:4711"]
    with pytest.raises(Refused) as refused, held(cloud):
        pass
    assert "break_lock=ada@desk:4711" in refused.value.problems[0]
    with held(cloud, broken="ada@desk:4711") as mine:
        mine.check()
    assert group.tags == []


@pytest.mark.parametrize("way", ["written", "claimed"])
def test_a_holder_is_known_to_be_dead_by_its_own_machine_alone(cloud, way):
    def hold(who, pid):
        cloud.network.kept.clear()
        written = f"; held by {who}:{pid} since 2026-11-24T05:00:00.000Z to verify" if way == "written" else ""
        claim(cloud, mark.description(ENVIRONMENT, "run-0") + written)
        if way == "claimed":
            [group] = cloud.network.kept.values()
            group.tags = [f"idr-claim-2026-11-24T05:00:00.000Z~{who}:{pid}"]
        return lock.dead_holder(cloud, ENVIRONMENT)

    me, _, pid = lock.this_process().rpartition(":")
    ended = subprocess.Popen("true")
    ended.wait()
    assert hold(me, ended.pid) == f"{me}:{ended.pid}"
    assert hold(me, pid) is None and hold("ada@another", ended.pid) is None


def test_nobody_is_dead_where_nobody_holds_it(cloud):
    assert lock.dead_holder(cloud, ENVIRONMENT) is None
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    assert lock.dead_holder(cloud, ENVIRONMENT) is None


def test_whose_lock_was_broken_goes_no_further_and_takes_nothing_back(cloud, monkeypatch):
    with held(cloud) as mine:
        breaker = lock.this_process()
        monkeypatch.setattr(lock, "this_process", lambda: "ben@desk:1")
        with held(cloud, broken=breaker):
            with pytest.raises(lock.Lost, match="ben@desk:1 has it"):
                mine.check()
            with pytest.raises(lock.Lost):
                mine.begin("run-1")
            mine.release()
            assert "held by ben@desk:1" in cloud.network.descriptions[0]


def test_answers_that_got_lost_are_looked_after(cloud):
    for lost in (1, 2, 3):
        cloud.network.lose = lost
        with held(cloud) as mine:
            cloud.network.lose = lost
            mine.begin("run-1")
            cloud.network.lose = 1
        assert cloud.network.descriptions == ["IDR environment newidr, made by run-1; unfinished run-1"]


def test_an_environment_whose_name_begins_alike_is_another(cloud):
    claim(cloud, "IDR environment newidr2; held by ada@desk:1 since 2026-11-24T05:00:00.000Z to apply", "newidr2")
    claim(cloud, "not ours at all")
    with held(cloud):
        assert len(cloud.network.kept) == 3


def test_younger_records_that_nobody_claimed_go(cloud):
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    claim(cloud, mark.description(ENVIRONMENT, "run-1"))
    with held(cloud) as mine:
        assert list(cloud.network.kept) == [mine.group]


def test_a_younger_record_that_cannot_go_counts_for_nothing(cloud):
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    claim(cloud, mark.description(ENVIRONMENT, "run-1"))
    cloud.network.refuse = True
    with held(cloud) as mine:
        mine.check()
    assert not any("held by" in each for each in cloud.network.descriptions)


def test_what_another_wrote_down_between_a_look_and_the_claim_is_kept(cloud, monkeypatch):
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    whole = cloud.network.put

    def after_another(path):
        [group] = cloud.network.kept.values()
        group.description, group.revision_number = f"{group.description}; unfinished run-9", group.revision_number + 1
        monkeypatch.setattr(cloud.network, "put", whole)
        return whole(path)

    monkeypatch.setattr(cloud.network, "put", after_another)
    with held(cloud) as mine:
        assert mine.unfinished == "run-9"
    assert "; unfinished run-9" in cloud.network.descriptions[0]


def test_a_claim_that_is_interrupted_is_given_back(cloud, monkeypatch):
    claim(cloud, mark.description(ENVIRONMENT, "run-0"))
    whole, asked = cloud.network.security_groups, []

    def interrupted(**named):
        asked.append(named)
        if len(asked) == 2:  # the look after the claim
            raise KeyboardInterrupt
        return whole(**named)

    monkeypatch.setattr(cloud.network, "security_groups", interrupted)
    with pytest.raises(KeyboardInterrupt), held(cloud):
        pass
    assert not any("held by" in each for each in cloud.network.descriptions)


def test_a_lock_that_cannot_be_given_back_hides_no_other_failure(cloud, capsys):
    with pytest.raises(Refused, match="refused"), held(cloud):
        cloud.network.gone = True
        raise Refused(["the cause"])
    assert "its lock couldn't be given back: " in capsys.readouterr().err


def test_removed_with_the_environment(cloud, capsys):
    with held(cloud) as mine:
        mine.remove()
        assert not cloud.network.kept
    assert not cloud.network.kept and capsys.readouterr().err == ""


@pytest.mark.parametrize("removing", [False, True])
def test_two_who_race_never_both_hold_it(cloud, monkeypatch, removing):
    cloud.network.slow, cloud.network.careless = 0.0005, True
    monkeypatch.setattr(lock, "this_process", lambda: f"{threading.current_thread().name}@desk:1")
    inside, most, done, wrong = [], [], [], []

    def race():
        for tries in range(20_000):
            if tries >= 200 and len(done) > 100:
                return
            try:
                with held(cloud) as mine:
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(random.uniform(0, 0.0005))
                    inside.pop()
                    done.append(1)
                    if removing:
                        mine.remove()
            except Refused:
                pass
            except Exception as error:  # what a thread raises is lost
                wrong.append(error)

    both = [threading.Thread(target=race, name=name) for name in ("ada", "ben")]
    [each.start() for each in both]
    [each.join() for each in both]
    assert not wrong
    assert max(most) == 1
    assert len(done) > 100
    assert not any("held by" in description for description in cloud.network.descriptions)
