"""
Which sets stay, and why; all others go, whole. A pure function of the sets of a project.

Rules count the newest set of each of the last N hours, days, weeks, months and years that have one, in UTC. So what
they keep doesn't depend on when it's asked: what was kept is kept the next time, and a missed night costs no older set.
Above the rules stand pins, what is in use, and the newest of everything that a restore may need.
"""

from dataclasses import dataclass
from datetime import UTC, timedelta

from idr.backup.model import FAILED, TAKING, UNUSABLE, BackupSet

PERIODS = {"hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G-%V", "monthly": "%Y%m", "yearly": "%Y"}
RULES = (*PERIODS, "verified")  # of pillar's `backup_keep`: how many of each
EARLY = timedelta(minutes=5)  # by which clocks may differ


@dataclass(frozen=True)
class Verdict:
    """What becomes of a set: the REASONS for which it stays; where there are none it goes, and WHY says for what."""

    set: BackupSet
    reasons: tuple[str, ...]
    why: str = ""

    @property
    def goes(self):
        """Whether it's to be removed."""
        return not self.reasons


def verdicts(sets, keep, now, used=None, held=None, given_up=()):
    """
    A ``Verdict`` on each set, in their order.

    sets:      all of a project
    keep:      the rules by environment: ``{"idr": {"daily": 7, "verified": 3}}``; what isn't named keeps none
    now:       by the clock of whoever asks
    used:      the snapshots that are in use, by id, and what uses each
    held:      environments that a run is on, and whose: its set is being taken
    given_up:  environments that are gone and of which nothing is needed any more

    Whatever the rules say, these stay: what is pinned, in use, or for an operator to look at; the newest good and the
    newest verified set of the project and of each environment that isn't given up, and of the latter the newest without
    a volume missing, too; a damaged one while no good one is newer, and a disproved one, which may be the least bad,
    while no verified one is. One from the future, by this clock, stays and counts for nothing: it would stand for the
    newest though it may not be.
    """
    used, held = used or {}, held or {}
    ordered = sorted(sets, key=lambda it: (it.when, it.id), reverse=True)
    reasons = {it.id: list(_above_rules(it, now, used, held)) for it in ordered}
    counting = [it for it in ordered if it.is_good and it.when <= now + EARLY]
    for reason, newest in (("good", counting[:1]), ("verified", _verified(counting)[:1])):
        for it in newest:
            reasons[it.id].append(f"the newest {reason} of all environments")
    for environment in dict.fromkeys(it.environment for it in ordered if it.environment not in given_up):
        own = [it for it in counting if it.environment == environment]
        for it, reason in _by_rules(own, keep[environment]):
            reasons[it.id].append(reason)
        better = {"good": own, "verified": _verified(own)}
        for it in ordered:
            spoilt, than = _spoilt(it)
            if it.environment == environment and spoilt and not any(each.when >= it.when for each in better[than]):
                reasons[it.id].append(f"{spoilt}, and no {than} one is newer")
    return tuple(Verdict(it, tuple(reasons[it.id]), "" if reasons[it.id] else _why(it, given_up)) for it in sets)


def _above_rules(it, now, used, held):
    """Why a set stays by itself, whatever others there are."""
    if it.pinned:
        yield f"pinned: {it.pinned}"
    for piece in (*it.pieces, *it.spare):
        if piece.snapshot in used:
            yield f"in use: {used[piece.snapshot]}"
    if it.problems:
        yield "to be looked at: " + "; ".join(it.problems)
    if it.phase in (TAKING, FAILED) and it.environment in held:
        yield f"it may be in the making: {held[it.environment]}"
    if it.when > now + EARLY:
        yield "from the future, by this machine's clock"


def _by_rules(own, keep):
    """The sets that an environment's rules keep, with the rule; OWN are those that count, the newest first."""
    newest = {
        "the newest good": own[:1],
        "the newest complete": [it for it in own if it.is_complete][:1],
        "the newest verified": _verified(own)[:1],
        "verified": _verified(own)[: keep.get("verified", 0)],
    }
    for rule, form in PERIODS.items():
        periods = {}
        for it in own:
            periods.setdefault(f"{it.when.astimezone(UTC):{form}}", it)
        newest[rule] = list(periods.values())[: keep.get(rule, 0)]
    return [(it, reason) for reason, kept in newest.items() for it in kept]


def _spoilt(it):
    """A word on a set that was ended well and isn't one to count on, and what has to be newer before it goes."""
    if it.is_damaged:
        return "damaged", "good"
    return ("disproved", "verified") if it.is_usable and it.disproved else ("", "")


def _verified(sets):
    return [it for it in sets if it.verified]


def _why(it, given_up):
    """Why a set isn't kept."""
    if it.phase in UNUSABLE:
        return UNUSABLE[it.phase]
    spoilt, than = _spoilt(it)
    if spoilt:
        return f"{spoilt}, and a {than} one is newer"
    return f"{it.environment} is given up" if it.environment in given_up else "no rule keeps it"
