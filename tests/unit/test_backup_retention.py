"""Which sets stay: what the rules count, what stands above them, and what holds of any history whatever."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idr.backup import retention
from idr.backup.model import FAILED, GOING, GOOD, PARTIAL, TAKING
from tests.backups import NIGHT, backup_set

USUAL = {"hourly": 0, "daily": 7, "weekly": 4, "monthly": 6, "yearly": 2, "verified": 3}
NONE = dict.fromkeys(retention.RULES, 0)
DAY = timedelta(days=1)


def judged(sets, rules=USUAL, now=NIGHT + DAY / 24, **further):
    keep = {it.environment: rules for it in sets}
    return {it.set.id: it for it in retention.verdicts(sets, keep, now, **further)}


def kept(sets, *given, **further):
    """The sets that stay, in their order."""
    verdicts = judged(sets, *given, **further)
    return [it for it in sets if not verdicts[it.id].goes]


def nights(count, **further):
    """A set every night until NIGHT, the newest first."""
    return [backup_set(NIGHT - number * DAY, **further) for number in range(count)]


def test_three_years_of_nights_leave_days_weeks_months_and_years():
    sets = nights(3 * 365)

    days = [it.taken.date().isoformat() for it in kept(sets)]

    assert days == [
        "2026-11-25", "2026-11-24", "2026-11-23", "2026-11-22", "2026-11-21", "2026-11-20", "2026-11-19",
        "2026-11-15", "2026-11-08", "2026-10-31", "2026-09-30", "2026-08-31", "2026-07-31",
        "2026-06-30", "2025-12-31",
    ]  # fmt: skip


def test_missed_nights_cost_no_older_set():
    sets = [backup_set(NIGHT - number * 30 * DAY) for number in range(12)]

    assert len(kept(sets, NONE | {"daily": 7})) == 7


def test_a_week_goes_on_over_the_new_year():
    sets = [backup_set(datetime(2026, 1, day, 3, tzinfo=UTC)) for day in (4, 1)]
    sets += [backup_set(datetime(2025, 12, day, 3, tzinfo=UTC)) for day in (29, 28)]

    assert kept(sets, NONE | {"weekly": 2}, NIGHT) == [sets[0], sets[3]]


def test_each_reason_is_told():
    newest, older = backup_set(verified=NIGHT), backup_set(NIGHT - DAY)
    verdicts = judged([newest, older], NONE | {"daily": 1})

    assert verdicts[newest.id].reasons == (
        "the newest good of all environments", "the newest verified of all environments", "the newest good",
        "the newest complete", "the newest verified", "daily",
    )  # fmt: skip
    assert verdicts[older.id].goes and verdicts[older.id].why == "no rule keeps it"


def test_at_least_so_many_verified_ones_stay_however_old():
    sets = [replace(it, verified=it.taken if number % 100 == 50 else None) for number, it in enumerate(nights(400))]

    assert [it for it in kept(sets, NONE | {"verified": 3}) if it.verified] == [sets[50], sets[150], sets[250]]


def test_a_partial_set_is_good_and_the_newest_complete_one_stays_with_it():
    partial = [backup_set(NIGHT - n * DAY, phase=PARTIAL) for n in range(5)]
    complete = nights(12)[10:]

    assert kept([*partial, *complete], NONE) == [partial[0], complete[0]]


GONE = {
    "it failed": {"phase": FAILED},
    "it was never ended": {"phase": TAKING},
    "its removal was begun": {"phase": GOING},
}


@pytest.mark.parametrize("why", GONE)
def test_what_was_never_ended_goes_however_new_it_is(why):
    new, good = backup_set(**GONE[why]), backup_set(NIGHT - DAY)
    verdict = judged([new, good])[new.id]

    assert verdict.goes and verdict.why == why


@pytest.mark.parametrize("phase", [TAKING, FAILED])
def test_while_a_run_is_on_the_environment_it_may_be_in_the_making(phase):
    new, other = backup_set(phase=phase), backup_set(environment="newidr", phase=phase)

    verdicts = judged([new, other], held={"idr": "root@idr-proxy since 03:00"})

    assert verdicts[new.id].reasons == ("it may be in the making: root@idr-proxy since 03:00",)
    assert verdicts[other.id].goes


def test_what_was_begun_to_be_removed_is_though_a_run_is_on_it():
    assert judged([backup_set(phase=GOING)], held={"idr": "ada"})[backup_set().id].goes


@pytest.mark.parametrize("phase", [GOOD, FAILED, TAKING, GOING])
def test_a_pin_and_a_use_keep_whatever_it_is(phase):
    pinned = backup_set(NIGHT - 100 * DAY, phase=phase, pinned="ada: why not")
    used = backup_set(NIGHT - 101 * DAY, phase=phase)

    verdicts = judged([backup_set(), pinned, used], NONE, used={f"{used.id}/database-db": "newidr-database-db is made"})

    assert verdicts[pinned.id].reasons == ("pinned: ada: why not",)
    assert verdicts[used.id].reasons == ("in use: newidr-database-db is made",)


def test_what_nobody_can_read_stays():
    puzzling = backup_set(NIGHT - 100 * DAY, phase=FAILED, problems=("a riddle",))

    assert judged([backup_set(), puzzling], NONE)[puzzling.id].reasons == ("to be looked at: a riddle",)


def damaged(taken):
    it = backup_set(taken)
    return replace(it, pieces=it.pieces[:1])


def test_a_damaged_one_stays_until_a_good_one_is_newer():
    old, new = damaged(NIGHT - 2 * DAY), damaged(NIGHT)
    good = backup_set(NIGHT - DAY)

    verdicts = judged([new, good, old], NONE)

    assert verdicts[new.id].reasons == ("damaged, and no good one is newer",)
    assert verdicts[old.id].why == "damaged, and a good one is newer"
    assert kept([new, old], NONE) == [new, old]


def test_a_disproved_one_stays_until_a_verified_one_is_newer():
    bad = backup_set(NIGHT - DAY, disproved="a page of image")
    good, proved = backup_set(), backup_set(verified=NIGHT)

    assert judged([good, bad], NONE)[bad.id].reasons == ("disproved, and no verified one is newer",)
    assert judged([proved, bad], NONE)[bad.id].why == "disproved, and a verified one is newer"


def test_a_damaged_one_takes_no_good_ones_place():
    sets = [damaged(NIGHT), *nights(10)[1:]]

    assert kept(sets, NONE | {"daily": 3}) == sets[:4]


def test_a_clock_that_jumped_where_sets_are_pruned_removes_none_that_would_have_stayed():
    sets, keep = nights(60), {"idr": {"daily": 7, "weekly": 4, "monthly": 2}}

    def going(days):
        return {it.set.id for it in retention.verdicts(sets, keep, NIGHT + timedelta(days=days)) if it.goes}

    assert going(0) and going(3650) == going(0)
    assert going(-30) < going(0) and going(-3650) == set()


def test_a_set_from_the_future_stays_and_stands_for_nothing():
    future = backup_set(datetime(2099, 1, 1, tzinfo=UTC), verified=NIGHT)
    sets = [future, *(replace(it, verified=NIGHT) for it in nights(3))]

    verdicts = judged(sets, NONE)

    assert verdicts[future.id].reasons == ("from the future, by this machine's clock",)
    assert kept(sets, NONE) == sets[:2]


def test_of_equal_moments_the_good_one_is_the_newest():
    good = backup_set()
    failed = replace(backup_set(phase=FAILED), id="idr-20261125T030000Y")

    for sets in ([good, failed], [failed, good]):
        assert kept(sets, NONE) == [good]


def test_each_environment_has_its_own_rules_and_its_newest():
    mine, others = nights(5), nights(5, environment="newidr")

    keep = {"idr": NONE | {"daily": 2}, "newidr": NONE}
    staying = [it.set for it in retention.verdicts([*mine, *others], keep, NIGHT) if not it.goes]

    assert staying == [*mine[:2], others[0]]


def test_an_environment_that_is_given_up_keeps_what_stands_above_rules_alone():
    old = [replace(it, taken=it.taken - 30 * DAY, made=it.made - 30 * DAY, verified=NIGHT) for it in nights(5)]
    old[3] = replace(old[3], pinned="ada: for the paper")
    newer = nights(2, environment="newidr")

    assert kept([*newer, *old], given_up=("idr",)) == [*newer, old[0], old[3]]  # the newest verified of all, the pin
    newer = [replace(it, verified=NIGHT) for it in newer]
    assert kept([*newer, *old], given_up=("idr",)) == [*newer, old[3]]
    assert kept(old, given_up=("idr",)) == [old[0], old[3]]  # nothing newer is left anywhere


# Any history: sets at any hour of some years, from the future too, whole, damaged, failed, pinned, proved, in use.
@st.composite
def histories(draw):
    sets = {}
    for _ in range(draw(st.integers(0, 30))):
        ago = draw(st.one_of(st.integers(0, 200), st.integers(-20000, 20000)))
        it = backup_set(
            NIGHT - timedelta(hours=ago),
            draw(st.sampled_from(["idr", "idr", "newidr"])),
            draw(st.sampled_from([GOOD] * 5 + [PARTIAL, FAILED, TAKING, GOING])),
            pinned=draw(st.sampled_from([None] * 6 + ["ada: why not"])),
            verified=draw(st.sampled_from([None, None, NIGHT])),
            disproved=draw(st.sampled_from([None] * 5 + ["a page"])),
            problems=draw(st.sampled_from([()] * 9 + [("a riddle",)])),
        )
        if draw(st.integers(0, 7)) == 0:
            it = replace(it, pieces=it.pieces[1:])
        if draw(st.integers(0, 9)) == 0:
            it = replace(it, made=None, taken=it.taken)
        sets[it.id] = it
    return draw(st.permutations(list(sets.values())))


RULES = st.fixed_dictionaries({rule: st.integers(0, 4) for rule in retention.RULES})
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def counting(sets, environment=None):
    """Those that could be restored now and that nothing disproves, the newest first."""
    able = [it for it in sets if it.is_good and it.when <= NIGHT and environment in (None, it.environment)]
    return sorted(able, key=lambda it: (it.when, it.id), reverse=True)


@MANY
@given(histories(), RULES, st.sets(st.sampled_from(["idr", "newidr"])))
def test_what_must_stay_always_does(sets, rules, given_up):
    used = {piece.snapshot: "a clone" for it in sets[:2] for piece in it.pieces[:1]}
    staying = kept(sets, rules, NIGHT, used=used, given_up=given_up)

    must = [it for it in sets if it.pinned or it.problems or it.when > NIGHT + retention.EARLY]
    must += [it for it in sets if {piece.snapshot for piece in it.pieces} & set(used)]
    for environment in (None, *({"idr", "newidr"} - given_up)):
        must += counting(sets, environment)[:1]
        must += [it for it in counting(sets, environment) if it.verified][:1]
    assert [it.id for it in must if it not in staying] == []


@MANY
@given(histories(), RULES)
def test_rules_keep_so_many_periods_and_no_set_more_than_they_say(sets, rules):
    verdicts = judged(sets, rules, NIGHT)

    for environment in ("idr", "newidr"):
        own = counting(sets, environment)
        told = Counter(reason for it in own for reason in verdicts[it.id].reasons)
        for rule, form in retention.PERIODS.items():
            assert told[rule] == min(rules[rule], len({f"{it.when:{form}}" for it in own}))
        assert told["verified"] == min(rules["verified"], sum(it.verified is not None for it in own))
    for it in verdicts.values():
        assert it.goes == (not it.reasons) and bool(it.why) == it.goes


@MANY
@given(histories(), RULES)
def test_what_was_kept_is_kept_again(sets, rules):
    once = kept(sets, rules, NIGHT)
    assert kept(once, rules, NIGHT) == once


@MANY
@given(histories(), RULES, st.integers(0, 500), st.sampled_from([GOOD, PARTIAL, FAILED, TAKING]))
def test_a_newer_set_brings_none_back(sets, rules, later, phase):
    now = max([NIGHT, *(it.when for it in sets)]) + timedelta(hours=later)  # by which none is from the future
    newer = backup_set(now, phase=phase)
    sets = [it for it in sets if it.id != newer.id]
    before = judged(sets, rules, now)
    after = judged([newer, *sets], rules, now)

    assert [id_ for id_, verdict in before.items() if verdict.goes and not after[id_].goes] == []


@MANY
@given(histories(), RULES)
def test_the_order_in_which_they_are_told_is_no_matter(sets, rules):
    assert judged(sets, rules, NIGHT) == judged(sets[::-1], rules, NIGHT)
