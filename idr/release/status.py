"""Where a release stands: where each address is and should be, what is under way, and the one command to type."""

from idr.cloud import lock
from idr.cloud.live import RELEASED
from idr.release import record
from idr.release.standing import took_over


def of(now, new=None):
    """
    How it stands, as plain data: a pure function of what Neutron says (``seen.Seen``), but for what it knows of
    processes on this machine.

    new:  the new environment of the release that is asked for; the one that is under way, or else the newest

    `live` is the environment that the public sees, `release` the release or None, `state` where that stands, `next` the
    command, None where there's nothing to do; `problems` is whatever isn't where it should be.
    """
    public, move = now.public, now.moving
    new = str(new) if new else _meant(now, move)
    release = now.release(new) if new else None
    ends = _ends(now, move, new, release)
    should = _should(now, move)
    held = [(name, it) for name in ends if name in now.records for it in now.records[name].holders]
    addresses, problems = _addresses(now, should, ends)
    state = _state(now, move, new, release)
    if move:
        problems.insert(0, f"{state}, by {move.who} since {_told(move.began)}, and hasn't ended")
    elif not problems and should and now.released and now.released != [should]:
        problems.append(_otherwise_recorded(now, should))
    next_, notes = _next(now, move, new, release, should, held)
    if new and new not in now.records:
        problems.append(f"{new}: no environment of this cloud: salt-run environment.list")
    return {
        "live": now.holder(public),
        "public": public.ip,
        "addresses": addresses,
        "new": new,
        "release": release and _release(release),
        "state": state,
        "held": [f"{it.holder} is on {name} since {it.since}, to {it.purpose or 'have its lock'}" for name, it in held],
        "problems": problems,
        "next": next_,
        "notes": [*notes, *_others(now, new)],
    }


def lines(status):
    """The same in lines."""
    yield f"{status['live'] or 'no environment'} is live"
    for it in status["addresses"]:
        wrong = "" if it["right"] else f", and should be on {it['should']}"
        yield f"{it['what']} address {it['address']}: on {it['on']}{wrong}"
    yield f"release: {status['state']}"
    if status["release"]:
        it = status["release"]
        yield f"made of {it['set']}, by commit {it['commit']}, begun {it['began']}, ready {it['ready'] or 'not yet'}"
    yield from status["held"]
    yield from (f"NOT AS IT SHOULD BE: {line}" for line in status["problems"])
    yield from (f"note: {line}" for line in status["notes"])
    yield f"next: {status['next'] or 'nothing to do'}"


def _otherwise_recorded(now, should):
    """That the records say another environment is the public's than has it and should, and what mends them."""
    wrong = [name for name in now.released if name != should]
    mend = [f"set --tag {RELEASED} {should}"] if should not in now.released else []
    mend += [f"unset --tag {RELEASED} {name}" for name in wrong]
    told = f"by its record {' and '.join(now.released)} is the public's, and {should} has to be"
    return f"{told}: openstack security group {', and '.join(mend)}"


def _meant(now, move):
    """The new environment of the release that whoever names none asks for."""
    if move:
        return move.new
    known = {name: now.release(name) for name in now.records}
    return max((name for name, it in known.items() if it), key=lambda name: known[name].began, default=None)


def _ends(now, move, new, release):
    """The environments of the release: the old one and the new one, or the live one alone."""
    if move:
        return [move.source, move.target]
    live = now.holder(now.public)
    return list(dict.fromkeys(filter(None, [release and release.source, new, live])))


def _should(now, move):
    """The environment that should have the public's address, None where nothing says it."""
    if move:
        return move.source if move.is_undone else move.target
    moves = [it for it in now.history if it.kind != record.FINISH]
    last = next(iter(moves), None)
    said = last and (last.source if last.end == record.UNDONE else last.target)
    if said and now.proxy(said):
        return said
    return now.holder(now.public) or now.public.whose


def _addresses(now, should, ends):
    """The addresses with where they should be, as data, and what is wrong with that."""
    public, problems = now.public, []
    port = should and now.proxy(should)
    found = [_address(now, "public", public, port)]
    if not found[0]["right"]:
        problems.append(f"the public's address {public.ip} is on {now.place(public)}, and should be {should}'s")
    for name in ends:
        other = now.proxy(name)
        if name == should or other is None:
            continue
        has = [it for it in now.on(other) if it is not public]
        known = now.named(now.moving.spare) if now.moving else None
        found += [_address(now, "spare", it, other) for it in has or filter(None, [known])]
        if not has:
            problems.append(f"{other.name} has no address: salt-run environment.apply {name} apply=True gives it one")
    return found, problems


def _address(now, what, address, port):
    right = port is not None and address.port == port.id
    should = port.name if port else "an environment's proxy"
    return {"address": address.ip, "what": what, "on": now.place(address), "should": should, "right": right}


def _state(now, move, new, release):
    if move:
        way = f", on its way back to {move.source}" if move.is_undone else ""
        return f"{move.kind} from {move.source} to {move.target} under way{way}"
    if release is None:
        switch = _unfinished(now)
        return f"{switch.target} took over from {switch.source}, which goes" if switch else "none is under way"
    if now.holder(now.public) == new:
        known = (it for it in now.history if (it.kind, it.target) == (record.SWITCH, new) and it.end != record.UNDONE)
        at = next((it.began for it in known), None)
        return f"{new} took over from {release.source}" + (f", {_told(at)}" if at else "")
    return f"{new} is ready to take over from {release.source}" if release.ready else f"{new} is being prepared"


def _next(now, move, new, release, should, held):
    """The command to type, and what should be known about it."""
    public, live = now.public, now.holder(now.public)
    if move:
        holder = next((it.holder for _, it in held), None)
        broken = f" break_lock={holder}" if holder else ""
        command = f"salt-run release.resume {move.new} apply=True{broken}"
        if holder and lock.is_alive(holder):
            other = f"unless that process is another one by now, as after a restart (ps -p {holder.rpartition(':')[2]})"
            return None, [f"{holder} goes on with it, here: wait for that", f"{other}: {command}"]
        notes = [f"to have everything back as it was before: {command} back=True"]
        if holder and not lock.is_dead(holder):
            notes.insert(0, f"only once you're sure that {holder} is dead; as long as it isn't, it goes on with it")
        return command, notes
    if live is None:
        return f"salt-run environment.apply {should or '<env>'} address={public.ip} apply=True", []
    if should != live and not (release and {should, live} == {new, release.source}):  # it was moved by hand
        return f"openstack floating ip set --port {now.proxy(should).name} {public.ip}", []
    if release is None and _unfinished(now):
        return f"salt-run release.finish {live}", ["its finish was begun: there's no way back any more"]
    if release is None:
        name = new if new and new != live else "<new>"
        return f"salt-run release.prepare {name} from={live}", []
    if live == new and should != live:
        return f"salt-run release.rollback {new}", []
    if live == new:
        there = now.proxy(release.source) is not None
        way_back = [f"until then the way back is: salt-run release.rollback {new} apply=True"] if there else []
        if _last_failed(now, new):
            how = f"it wasn't as it should be, and {release.source} didn't answer at all: mend either"
            return f"salt-run environment.show {new}", [how, *way_back]
        return f"salt-run release.finish {new}", way_back
    after = now.release(live)
    if after and after.source == new:
        return f"salt-run release.status {live}", [f"{new} is the way back from {live}"]
    if live != release.source:
        why = f"{new} was prepared to follow {release.source}, and {live} is live: it can't be switched to"
        return f"salt-run release.abort {new}", [why]
    if release.ready:
        return f"salt-run release.switch {new} production={public.ip}", []
    return f"salt-run release.prepare {new} from={release.source} apply=True", []


def _unfinished(now):
    """The switch whose finish was cut off: the record of its release is gone, and the old one isn't; or None."""
    switch, live = took_over(now.history), now.holder(now.public)
    is_one = switch and switch.target == live and switch.source in now.records and not now.release(live)
    return switch if is_one else None


def _last_failed(now, new):
    """Whether the last move gave an environment the public's address for want of a better one."""
    last = next((it for it in now.history if it.kind != record.FINISH), None)
    return last is not None and (last.target, last.end) == (new, record.FAILED)


def _others(now, new):
    names = sorted(name for name in now.records if name != new and now.release(name))
    return [f"{name} is of a release, too: salt-run release.status {name}" for name in names]


def _release(release):
    return {
        "old": release.source,
        "set": release.set,
        "commit": release.commit,
        "began": _told(release.began),
        "ready": release.ready and _told(release.ready),
    }


def _told(text):
    return f"{record.when(text):%Y-%m-%d %H:%M} UTC"
