"""A plan as its readers get it: lines for people, data for programs; kinds in the order in which they are made."""

from idr.cloud.model import Ref

KINDS = (
    "key", "network", "subnet", "router", "interface", "group", "rule", "snapshot", "volume", "port", "server",
    "attachment", "address",
)  # fmt: skip
SIGNS = {"make": "+", "copy": ">", "change": "~", "remove": "-", "tag": "~", "wait": "…"}
PLURAL = {"key": "key pairs", "address": "floating IPs"}
TITLE = {
    "make": "to make", "copy": "to copy", "change": "to change", "remove": "to remove", "tag": "to tag",
    "wait": "in the making",
}  # fmt: skip


def lines(plan):
    """
    The plan in lines: by kind what is there and what changes (``+`` made, ``>`` copied, ``~`` changed, ``-`` removed,
    ``…`` waited for), then notes, what is needed of the quotas, and what blocks.
    """
    told = []
    changed = {step.id for step in plan.steps if isinstance(step.id, str)}
    for kind in KINDS:
        kept = sorted(thing.name for thing in plan.kept if thing.kind == kind and thing.id not in changed)
        steps = [step for step in plan.steps if step.kind == kind]
        if not (kept or steps):
            continue
        counts = {TITLE[verb]: sum(step.verb == verb for step in steps) for verb in SIGNS}
        summary = [f"{len(kept)} kept"] + [f"{count} {title}" for title, count in counts.items() if count]
        told.append(f"{PLURAL.get(kind, f'{kind}s')}: {', '.join(summary)}")
        told += [f"  = {', '.join(dict.fromkeys(kept))}"] if kept else []
        told += [f"  {SIGNS[step.verb]} {step.name}{_about(step)}" for step in steps]
    if plan.needed:
        free = {name: f"of {plan.free[name]} free" if name in plan.free else "without limit" for name in plan.needed}
        told.append("needed: " + ", ".join(f"{name} {count} {free[name]}" for name, count in plan.needed.items()))
    told += [f"note: {note}" for note in plan.notes]
    told += [f"BLOCKED: {problem}" for problem in plan.problems]
    if not plan.steps and not plan.problems:
        told.append(f"{plan.environment} is as it should be: nothing to do")
    return told


def as_data(plan):
    """The plan as plain data, e.g. for JSON: ``{"environment": …, "steps": [{"verb": …, "kind": …, …}], …}``."""
    return {
        "environment": plan.environment,
        "steps": [
            {
                "verb": step.verb,
                "kind": step.kind,
                "name": step.name,
                "what": _plain(step.what),
                "needs": [list(need) for need in step.needs],
            }
            | ({"id": _plain(step.id)} if step.id else {})
            for step in plan.steps
        ],
        "kept": [{"kind": thing.kind, "name": thing.name, "id": thing.id} for thing in plan.kept],
        "problems": list(plan.problems),
        "notes": list(plan.notes),
        "needed": dict(plan.needed),
        "free": dict(plan.free),
    }


def _about(step):
    """What a reader wants to know of a step beyond its name."""
    what = step.what
    if step.verb == "tag":
        return f": gets the tag {what['tag']}"
    if step.verb == "change":
        renamed = [f"its name becomes {what['name']}"] if "name" in what else []
        return f": {', '.join([*sorted(what.keys() - {'name'}), *renamed])}"
    if step.verb != "make":
        return ""
    if step.kind == "volume":
        of = what.get("snapshot_id")
        blank = "blank" if of is None else f"a clone by {of.name if isinstance(of, Ref) else f'snapshot {of}'}"
        return f": {what['size']} GB, {blank}"
    if step.kind == "subnet":
        return f": {what['cidr']}"
    if step.kind == "server":
        return f": {what['metadata']['idr_role']}"
    return ""


def _plain(value):
    if isinstance(value, Ref):
        return {"made": [value.kind, value.name]}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
