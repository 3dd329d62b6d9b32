"""What a release's plans, checks and moves come to, as its runner tells it: plain data."""

from idr import outcome
from idr.cloud import telling
from idr.release import record


def of_plan(plan, lines, notes, problems, how):
    """
    A plan of the cloud, None where there's none, with the LINES of what happens beside it, NOTES and PROBLEMS.

    how:  the command that carries it out; empty where there's nothing to change
    """
    told = (telling.as_data(plan) if plan else {}) | outcome.of_plan(how, problems)
    shown = telling.lines(plan) if plan and not problems else []
    told["lines"] = [*lines, *shown, *(f"note: {it}" for it in notes), *(f"BLOCKED: {it}" for it in problems)]
    return told


def of_preparing(asked, coming, how):
    """A release that would be prepared, as its ``Prepare`` asks for it."""
    notes = [*([f"{asked.new} is ready since {coming.ready}"] if coming.ready else []), *coming.notes]
    is_done = bool(coming.ready) and not coming.plan.steps
    return of_plan(coming.plan, _beside(asked, coming), notes, coming.problems, "" if is_done else how)


def _beside(asked, coming):
    """What happens beside the new environment's own plan."""
    if coming.problems or coming.ready:
        return []
    lines = []
    if coming.backup:
        parts = ", ".join(coming.backup.get("snapshots", ()))
        lines.append(f"a backup set of {asked.old} is taken: {parts}")
        lines += [f"note: {note}" for note in coming.backup.get("notes", ())]
    else:
        lines.append(f"{asked.new} is made of {coming.set}, by commit {coming.commit[:12]}")
    lines.append(f"its cache is warmed: what is found by {', '.join(coming.warm) or 'nothing'}")
    return lines


def of_prepared(asked, done):
    """A release that is ready."""
    answer = {"result": True, "comment": f"{asked.new} is ready since {done.ready}: salt-run release.check {asked.new}"}
    answer |= {"set": done.set, "ready": done.ready}
    steps = [str(step) for step in done.applied.plan.steps] + (done.applied.enrolled or [])
    steps += done.applied.updated.steps if done.applied.updated else []
    answer |= {"done": steps} if steps else {}
    notes = list(done.notes)
    if done.warmed:
        answer["warmed"] = {key: done.warmed[key] for key in ("urls", "refreshed", "seconds") if key in done.warmed}
        notes += [f"not warmed: {url}: {why}" for url, why in done.warmed["failed"].items()]
    return answer | ({"notes": notes} if notes else {})


def of_check(new, found):
    """What every guard said of an environment that is to take over."""
    return {
        "result": not found.problems,
        "comment": f"{new} may take over from {found.old}" if not found.problems else f"{new} may not take over",
        "new": new,
        "old": found.old,
        "commit": found.commit,
        "seconds": found.seconds,
        "passed": list(found.passed),
        "problems": list(found.problems),
        "writes": list(found.writes),
        "lines": [*(f"  ok  {line}" for line in found.passed), *(f"  NO  {line}" for line in found.problems)],
    }


def of_coming(coming, typed):
    """
    A move of the public's address that would be done.

    typed:  the command that does it, without ``salt-run`` and ``apply=True``
    """
    now, move = coming.now, coming.move
    spare = now.named(move.spare)
    rows = [("public", now.public, move.target), *([("spare", spare, move.source)] if spare else [])]
    return outcome.of_plan(f"salt-run {typed} apply=True", coming.problems) | {
        "kind": move.kind,
        "from": move.source,
        "to": move.target,
        "addresses_now": {what: {"address": it.ip, "on": now.place(it)} for what, it, _ in rows},
        "addresses_then": {what: {"address": it.ip, "on": _proxy(now, to)} for what, it, to in rows},
        "steps": list(coming.steps),
        "passed": list(coming.passed),
        "problems": list(coming.problems),
        "lost": list(coming.lost),
        "lines": [
            f"{move.kind} from {move.source} to {move.target}",
            *(f"{what} address {it.ip}: {now.place(it)} -> {_proxy(now, to)}" for what, it, to in rows),
            *(f"  {step}" for step in coming.steps),
            *(f"  ok  {line}" for line in coming.passed),
            *(f"  lost: {line}" for line in coming.lost),
            *(f"BLOCKED: {line}" for line in coming.problems),
        ],
    }


def _proxy(now, environment):
    port = now.proxy(environment)
    return port.name if port else "nowhere"


def of_move(done, back=False):
    """What became of a move, which was wanted BACK or not."""
    it = done.moved
    has_it = it.source if it.end == record.UNDONE else it.target
    answer = {
        "result": not done.why and it.end == (record.UNDONE if back else record.CONFIRMED),
        "comment": f"{it.end}: {it.kind} from {it.source} to {it.target}. {has_it} is live",
        "took": it.took,
        "gap": it.gap,
        "checks": it.checks,
    }
    answer |= {"problems": list(done.why)} if done.why else {}
    return answer | ({"notes": list(done.notes)} if done.notes else {})
