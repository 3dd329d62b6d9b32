"""
The guards of a release, each a pure function of what was found: why NEW may not become the public's, a line each with
what to do about it.
"""

import re
from datetime import datetime

from idr.backup import listing, manifest
from idr.backup.holding import reason
from idr.backup.model import QUIESCED
from idr.backup.retention import EARLY
from idr.cloud import checks, live, lock, mark
from idr.cloud.destroying import base, unfinished
from idr.cloud.model import PRODUCTION_TAG

HUB = "docker-jupyterhub"
SHOWN = 5  # of a long list


def up(new, shown):
    """Every server answers, what has to run does, and a highstate would change nothing."""
    look = f"salt-run environment.show {new}"
    found = [f"{line}: {look}" for line in shown["down"]]
    for id_, server in shown["servers"].items():
        if server.get("drift"):
            found.append(
                f"{id_}: its highstate would change {_few(server['drift'])}: see why, salt-run environment.update {new}"
            )
        elif server["up"] and server.get("drift") is None:
            found.append(f"{id_}: what its highstate would change isn't known: {server['why']}: {look}")
    if shown["deploying"]:
        found.append(f"{new}: a deploy is going on: salt-run environment.update {new} apply=True follows it")
    return found


def healthy(new, seen, shown):
    """OMERO, OMERO.web, the site and the hub, as their own servers tell of them."""
    found = []
    for id_, status in seen["status"].items():
        if not isinstance(status, dict) or "problems" not in status:
            found.append(f"{id_}: how OMERO is isn't known: {reason(status)}: ssh {new}-proxy salt {id_} omero.status")
        else:
            found += [f"{id_}: {line}" for line in status["problems"]]
    found += open_(new, seen)
    for id_, answer in seen["hub"].items():
        has_one = HUB in shown["servers"].get(id_, {}).get("services", {})
        if has_one and (not isinstance(answer, dict) or "servers" not in answer):
            found.append(f"{id_}: JupyterHub doesn't answer: {reason(answer)}: ssh {id_} systemctl status {HUB}")
    return found


def open_(environment, seen):
    """An environment's site isn't closed for maintenance, and visitors see that."""
    [(proxy, answer)] = seen["site"].items()
    if not isinstance(answer, dict) or "closed" not in answer:
        look = f"ssh {proxy} salt {proxy} maintenance.status"
        return [f"{proxy}: whether the site is closed isn't known: {reason(answer)}: {look}"]
    if answer["closed"]:
        opens = f"ssh {proxy} salt {proxy} maintenance.off"
        return [f"{environment} is closed for maintenance until {answer['until']} ({answer['reason']}): {opens}"]
    return [f"{proxy}: {answer['problem']}"] if answer["problem"] else []


def schema(new, old, seen, seen_old):
    """NEW's database is of the same release of OMERO as OLD's, or a newer one."""
    here, there = _schema(seen), _schema(seen_old)
    unknown = [
        f"{name}: the patch of its database isn't known: {why}: ssh {name}-proxy salt {name}-omero omero.status"
        for name, (patch, why) in ((new, here), (old, there))
        if not patch
    ]
    if unknown or _order(here[0]) >= _order(there[0]):
        return unknown
    return [
        f"the database of {new} has {here[0]}, older than {there[0]} of {old}: on {new}-proxy, salt-run "
        f"omero.upgrade_database {new}, or prepare it anew of a set of today"
    ]


def _schema(seen):
    """The version and patch of a database, and why it isn't known: ``(text, why)``."""
    answer = next(iter(seen["schema"].values()), None)
    return (answer[0]["schema"], "") if isinstance(answer, list) and answer else ("", reason(answer))


def _order(schema):
    """To compare by: a release under development comes before the release."""
    version, _, patch = schema.partition(" ")
    return [int(it) for it in re.findall(r"\d+", version)], "DEV" not in version, int(patch) if patch.isdigit() else 0


def tagged(facts):
    """The floating IPs that carry the tag of the public's, which has to be one."""
    return [it for it in facts.all("address") if PRODUCTION_TAG in it.what["tags"]]


def live_one(facts):
    """The environment that holds such a floating IP, or None."""
    names = sorted({it.environment for it in facts.all("server") if it.environment})
    return next((name for name in names if any(it in tagged(facts) for it in live.addresses(facts, name))), None)


def production(facts, old, public_name, named, resolve):
    """
    One floating IP has the tag of the public's, OLD's proxy holds it, and it's what the name leads to.

    named:    the one that the caller takes for it, or None
    resolve:  a name's addresses, as ``live.addresses_of`` finds them
    """
    with_tag = tagged(facts)
    if len(with_tag) != 1:
        names = " and ".join(it.name for it in with_tag) or "no floating IP"
        return [
            f"{names} {'carry' if with_tag else 'carries'} the tag {PRODUCTION_TAG}, and exactly one has to: openstack "
            f"floating ip {'unset' if with_tag else 'set'} --tag {PRODUCTION_TAG} …"
        ]
    [address] = with_tag
    found = []
    if address not in live.addresses(facts, old):
        found.append(
            f"the production address {address.name} isn't on a port of {old}: salt-run environment.list tells who is "
            f"live; name that one as old="
        )
    if named and named != address.name:
        found.append(f"production={named}: the production address is {address.name}; is this the right cloud?")
    try:
        leads = resolve(public_name)
    except OSError as error:
        return [*found, f"DNS doesn't say where {public_name} leads to ({error}), so whose site it is isn't known"]
    if leads != {address.name}:
        found.append(
            f"{public_name} leads to {' and '.join(sorted(leads)) or 'nowhere'}, and the production address is "
            f"{address.name}: mend its record in DNS first"
        )
    return found


def spare(facts, new):
    """NEW's proxy holds an address of its own, which OLD's gets in exchange."""
    held = live.addresses(facts, new)
    if any(PRODUCTION_TAG in it.what["tags"] for it in held):
        return [f"{new} holds the production address: it's live already. salt-run release.status"]
    if len(held) == 1:
        return []
    if held:
        names = " and ".join(sorted(it.name for it in held))
        return [f"{new} holds {names}, and only its proxy may have one: openstack floating ip unset --port …"]
    limit, used = facts.quotas["floatingip"]
    full = f". The quota of floating IPs is used up, too ({used} of {limit})" if 0 <= limit <= used else ""
    return [f"{new} has no floating IP: salt-run environment.apply {new} apply=True gives it one{full}"]


def room(facts, new, leave_out=()):
    """
    NEW, which backs itself up once it's live, has room for a set within the project's quotas; of its volumes but those
    whose uses are to be left out.
    """
    volumes = [it for it in facts.of(new, "volume") if it.what["use"] and mark.is_current(it)]
    volumes = [it for it in volumes if it.what["use"] not in leave_out]
    needed = {"snapshots": len(volumes), "gigabytes": sum(it.what["size"] for it in volumes)}
    prune = "salt-run backup.prune tells which sets nothing keeps"
    return [f"no room for a backup set of {new}: {line}; {prune}" for line in checks.shortages(needed, facts)]


def young_set(project, old, hours, now):
    """OLD's newest quiesced set that can be restored is young enough to go back to."""
    take = f"salt-run backup.create {old} apply=True"
    sets = [it for it in project.sets if it.environment == old and it.is_good and it.when <= now + EARLY]
    quiesced = next((it for it in sets if listing.consistency(it) == QUIESCED), None)
    if quiesced is None:
        return [f"{old} has no quiesced backup set that can be restored: {take}"]
    age = (now - quiesced.when).total_seconds() / 3600
    if age > hours:
        return [f"the newest quiesced set of {old}, {quiesced.id}, is {age:.1f} h old, and may be {hours} h: {take}"]
    return []


def origin(new, old, set_):
    """The set of OLD's that NEW was made from is known."""
    if set_ is None:
        prepare = f"salt-run release.prepare {new} from={old}"
        return [f"{new}: no record says of which set of {old} it was made: {prepare}, or say which, set=…"]
    if manifest.environment_of(set_) != old:
        return [f"{set_}, of which {new} was made, is no backup set of {old}: is old={old} meant? Or say which, set=…"]
    return []


def taken(project, set_):
    """When a set was taken: by its snapshots where they are still there, or by its id, which says the same."""
    there = next((it for it in project.sets if it.id == set_), None)
    stamp = manifest.ID.fullmatch(set_)["stamp"]
    return there.taken if there else datetime.strptime(f"{stamp}+0000", "%Y%m%dT%H%M%SZ%z")


def at_rest(project, new, old, broken):
    """No run is on either environment but one whose lock is to be BROKEN, and none that was is unfinished on NEW."""
    records = {it: lock.record(base(project.facts, it).what["description"]) for it in (new, old) if it in project.held}
    others = {it: record.holder for it, record in records.items() if record.holder != broken}
    found = [
        f"{project.held[it]}: wait for its end. Once you are sure that it's dead: break_lock={holder} for the switch; "
        f"its own command, typed again, tells how else"
        for it, holder in others.items()
    ]
    run = unfinished(project.facts, new)
    if run and new not in others:
        found.append(f"{new}: its last run ({run}) isn't finished: salt-run environment.apply {new} apply=True")
    return found


def idle(environment, seen):
    """No import runs in an environment's OMERO."""
    found = []
    for id_, answer in seen["activity"].items():
        if not isinstance(answer, dict) or "imports" not in answer:
            how = f"ssh {environment}-proxy salt {id_} omero.activity"
            found.append(f"{id_}: whether an import runs isn't known: {reason(answer)}: {how}")
        else:
            found += [
                f"{id_}: an import runs: {it['user']} since {it['since']}, {it['sign']}: wait for its end"
                for it in answer["imports"]
            ]
    return found


def writes(answers, first):
    """
    What was written, a line for each kind, and who couldn't tell it: ``(lines, unknown)``.

    answers:  what each OMERO said to ``omero.writes_since``
    first:    the ids of those asked, the first of which tells of the database that they share
    """
    lines, unknown = [], []
    for id_ in first:
        answer = answers.get(id_)
        if not isinstance(answer, dict) or "rows" not in answer:
            look = f"ssh {id_} journalctl -u salt-minion"
            unknown.append(f"{id_}: what was written isn't known: {reason(answer)}: {look}")
            continue
        rows = answer["rows"] if id_ == first[0] else []
        lines += [
            f"{it['count']} × {it['kind']} {it['action']}, the last at {it['newest']} UTC, by {it['by']}" for it in rows
        ]
        lines += [
            f"{it['count']} × file in {id_}:{it['kind']}, {it['bytes']} bytes, the last at {it['newest']} UTC, "
            f"by {it['by']}"
            for it in answer["files"]
        ]
        if not answer["complete"]:
            lines.append(f"perhaps more files in {id_}:/data, which couldn't all be looked at in time")
    return lines, unknown


def of_writes(old, set_, lines, unknown):
    """Nothing was written to OLD since the set that NEW was made from, as ``writes`` tells it."""
    do = "prepare it anew of a set of now, or if it may be lost, say so: even_if=writes"
    return [f"written to {old} since {set_}: {line}: {do}" for line in lines] + unknown


def _few(names):
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
