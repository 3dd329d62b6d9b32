"""
Copies of backup sets outside of the cloud and its credentials: restic reads clones of a set's snapshots on a scratch
server (idr/cloud/scratch.py); of servers made by hand, what they have mounted. What is run there is in idr/copies.

A copy is begun only of what can be restored. A run that was cut off is gone on with: what is there of the set stays.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from idr import at_master, table, topology
from idr.backup import copied, keeping, manifest, project, verifying
from idr.backup.model import CRASH, GOING, GOOD, PRODUCTION, BackupSet, Piece
from idr.backup.pruning import Pruning
from idr.checkout import CHECKOUT
from idr.cloud import mark, scratch, wanted
from idr.cloud.connection import ERRORS, told
from idr.cloud.model import Plan, Step
from idr.copies import deeds, unit
from idr.copies.restic import Missing
from idr.errors import IdrError, Refused

FIRST, UNVERIFIED, DISPROVED = "first", "unverified", "disproved"
MAY_BE_SAID = (FIRST, UNVERIFIED, DISPROVED)
BY_HAND = "their rows and files are not of one moment: the files are those of a later one than the rows"
_SAYS = "says that it's there"
_SEAL = Step("copy", "snapshot", "nothing more: all of it is there, the repository is checked, and it counts")


@dataclass(frozen=True)
class Copy:
    """What is asked for: the id of a SET, the Destination it's to go to, and in spite of what."""

    set: str
    to: object
    even_if: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Done:
    """What a copy came to: the SET as it's there, what each volume took by its use, and what wasn't done besides."""

    set: BackupSet
    written: dict[str, dict]
    problems: tuple[str, ...] = ()


def plan(cloud, asked):
    """What a copy of a set takes until it's there: a ``Plan`` with its problems, which has no steps where it is."""
    try:
        it, there, problems, notes = _look(project.look(cloud), asked)
        pieces = _missing(it, there)
        if not problems and not pieces and there.phase == GOOD:
            marking = () if asked.to.name in copied.places(it) else (Step("change", "set", f"{it.id} {_SAYS}"),)
            return Plan(it.environment, marking, notes=(f"{it.id} is at {asked.to.name} already",))
        made = scratch.plan(cloud, _scratch(it, pieces)) if pieces else Plan(it.environment, (_SEAL,))
    except ERRORS as error:
        raise IdrError(told(error)) from error
    may = () if verifying.may(cloud) or not pieces else (verifying.MAY_NOT,)
    return replace(made, problems=(*may, *problems, *made.problems), notes=(*notes, *made.notes))


def copy(cloud, asked, broken, tell):
    """
    Copy a set, as `plan` says; returns a ``Done``, None where it's there already.

    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time

    Refused with every problem at once, before anything is made. The scratch server goes, whatever happened.
    """
    try:
        it, there, problems, _ = _look(project.look(cloud), asked)
        pieces = _missing(it, there)
        problems += [] if verifying.may(cloud) or not pieces else [verifying.MAY_NOT]
        if problems:
            raise Refused(problems)
        if pieces:
            done = _from_clones(cloud, asked, it, pieces, broken, tell)
        elif there.phase == GOOD and asked.to.name in copied.places(it):
            return None
        else:  # a run was cut off before its last words
            done = Done(it, {})
            if there.phase != GOOD:
                with copied.opened(asked.to, tell) as repository:
                    deeds.seal(_sealing(it), repository, tell)
        try:
            _mark(cloud, it, asked, tell)
        except Refused as refused:
            return replace(done, problems=(*done.problems, *refused.problems))
    except ERRORS as error:
        raise IdrError(told(error)) from error
    return done


def _from_clones(cloud, asked, it, pieces, broken, tell):
    """Copy pieces of a set on a scratch server; returns a ``Done``, also where that server isn't all gone."""
    done, typed = None, f"backup.copy {it.id} to={asked.to.name}"
    try:
        with scratch.stood_up(cloud, _scratch(it, pieces), "copy", typed, broken, tell) as made:
            _made_first(asked, tell)
            with verifying.reached(cloud, made, tell) as (ssh, server):
                parts = [_Part(piece, server, made.device(piece.use)) for piece in pieces]
                done = Done(it, _carried_out(ssh, it, parts, asked.to, tell))
    except Refused as refused:
        if not done:
            raise
        return replace(done, problems=tuple(refused.problems))
    return done


def plan_by_hand(name, folder, asked):
    """What a copy of servers that were made by hand takes: a ``Plan`` with its problems."""
    environment, _ = table.of_operator(name, folder)
    _, problems, notes = _repository(asked)
    steps = tuple(
        Step("copy", "volume", f"{server.id}:{volume.mount}", {"size": volume.size_gb}, id=volume.name)
        for server, volume in _by_hand(environment)
    )
    return Plan(name, steps, problems=tuple(problems), notes=(*notes, BY_HAND))


def copy_by_hand(name, folder, asked, by, tell):
    """
    Copy the volumes that can't be made again of servers that were made by hand, while they run: rows first, by a base
    backup of PostgreSQL's own, then files, so that no row names a file that isn't in it. Returns a ``Done``.

    folder:  the operator's site directory
    asked:   the ``Copy``, of no set
    by:      who takes it
    """
    _, problems, _ = _repository(asked)
    if problems:
        raise Refused(problems)
    now = copied.now()
    with at_master.reached(name, folder) as (ssh, _):
        there = _by_hand(ssh.environment)
        uses = tuple(volume.name for _, volume in there)
        pieces = tuple(Piece(volume.name, "", "", volume.size_gb, "available", CRASH, True) for _, volume in there)
        it = BackupSet(manifest.new_id(name, now), name, now, GOOD, uses, pieces, {"by": by}, run=mark.new_run())
        parts = [_Part(piece, server, None) for piece, (server, _) in zip(pieces, there, strict=True)]
        _made_first(asked, tell)
        return Done(it, _carried_out(ssh, it, parts, asked.to, tell))


def prune(destination, environment, reach, apply, tell):
    """
    Which copies of an environment go by a destination's rules, a ``Pruning``; with `apply` they are gone, what was cut
    off is, too, and what nothing else there needs. The sets don't say any more that they're there.

    reach:  returns a connection to the cloud in which the sets are; None: there's no cloud
    """
    now = copied.now()
    with copied.opened(destination, tell) as repository:
        snapshots = repository.snapshots()
        verdicts = copied.verdicts(snapshots, destination, environment, now)
        cut_off = copied.unfinished(snapshots, now)
        there = {it.set.id for it in verdicts if not it.goes and it.set.is_usable}
        cloud, saying, notes = _saying(reach, environment, destination.name, there)
        steps = (
            *(Step("remove", "copy", it.set.id) for it in verdicts if it.goes),
            *(Step("remove", "copy", f"of which not all was read ({id_[:8]})") for id_ in cut_off),
            *(Step("change", "set", f"{it.id}, which doesn't say any more that it's there") for it in saying),
        )
        ids = [piece.snapshot for it in verdicts if it.goes for piece in (*it.set.pieces, *it.set.spare)]
        if apply and (ids or cut_off):
            tell("removing copies, and what only they need")
            repository.forget([it for it in snapshots if it["id"] in {*ids, *cut_off}])
    for it in saying if apply else ():
        keeping.patiently(cloud, it.id, {"idr_copied": _without(it.copied, destination.name)}, "prune_copies", tell)
    return Pruning(Plan(environment, steps, notes=notes), verdicts)


def _saying(reach, environment, name, there):
    """
    The sets in the cloud that say they're at a destination, and aren't any of those THERE; with the cloud, and what is
    to be said of it: ``(cloud, sets, notes)``.
    """
    if reach is None:
        return None, [], ()
    try:
        cloud = reach()
        sets = [it for it in project.look(cloud).sets if it.environment == environment and it.phase != GOING]
    except (IdrError, *ERRORS) as error:
        why = told(error) if isinstance(error, ERRORS) else error
        return None, [], (f"the cloud can't be asked, and sets there may go on saying that they're at {name}: {why}",)
    return cloud, [it for it in sets if name in copied.places(it) and it.id not in there], ()


def sent():
    """The files that are run on a server, each one's text by its path."""
    paths = [CHECKOUT / "idr/__init__.py", CHECKOUT / "idr/verify/__init__.py", CHECKOUT / "idr/verify/commands.py"]
    paths += (CHECKOUT / "idr/copies").glob("*.py")
    return {str(path.relative_to(CHECKOUT)): path.read_text() for path in paths}


def do(ssh, server, deed, asked, destination, tell, stopping=None):
    """
    What a deed of idr/copies/deeds.py on a server returned, which is told of until it has ended.

    stopping:  once that ``Event`` is set it's ended before
    """
    run = mark.new_run()
    begun = {"run": run, "files": sent(), "aside": None}
    begun["asked"] = {**asked, "deed": deed, "repository": destination.opened_by}
    if asked.get("running"):
        begun["aside"] = f"{asked['path']}/{deeds.ASIDE}"
    ssh.do(server, "begin", begun, of=unit)
    try:
        home = unit.HOME / run
        return verifying.followed(ssh, server, lambda line: tell(f"{server.id}: {line}"), unit.UNIT, home, stopping)
    finally:
        with suppress(IdrError):  # what is told is what came before
            ssh.do(server, "end", {"run": run}, of=unit)


@dataclass(frozen=True)
class _Part:
    """A volume that is copied: its PIECE of the set, the server that it's on, and its device if it's a clone."""

    piece: Piece
    server: object
    device: str | None


def _look(seen, asked):
    """The set, its copy that is there or None, what keeps it from being copied, and what is to be said of it."""
    it, problems = seen.the(asked.set), []
    problems += [f"{it.id}: can't be copied: {why}" for why in it.why_not]
    if not any(PRODUCTION.match(piece.use) for piece in it.pieces):
        problems.append(f"{it.id}: has nothing that can't be made again")
    if it.disproved and DISPROVED not in asked.even_if:
        problems.append(f"{it.id} was disproved, {it.disproved}. If it's the best there is: even_if={DISPROVED}")
    elif not it.verified and not it.disproved and UNVERIFIED not in asked.even_if:
        how = f"salt-run backup.verify {it.id} apply=True; or even_if={UNVERIFIED}"
        problems.append(f"{it.id} was never verified, and a copy of it would be no better: {how}")
    snapshots, wrong, notes = _repository(asked)
    there = next((each for each in copied.sets(snapshots) if each.id == it.id), None)
    pieces = _missing(it, there)
    size = sum(piece.size_gb for piece in pieces)
    uses = ", ".join(piece.use for piece in pieces)
    most = f"{size} GB at most: what is there already isn't sent"
    notes.append(f"{it.id}: {uses or 'nothing'} to {asked.to.name}, {most}")
    left = [piece.use for piece in it.pieces if not PRODUCTION.match(piece.use)]
    notes += [f"left out, as they can be made again: {', '.join(left)}"] if left else []
    return it, there, [*problems, *wrong], notes


def _repository(asked):
    """What is at the destination, what is wrong with it, and what is to be said of it."""
    known = ", ".join(MAY_BE_SAID)
    problems = [f"even_if: only {known} can be said, not {it}" for it in sorted(asked.even_if - {*MAY_BE_SAID})]
    try:
        with copied.opened(asked.to, lambda line: None) as repository:
            try:
                return repository.snapshots(), problems, []
            except Missing as missing:
                if FIRST in asked.even_if:
                    return [], problems, [f"{missing}, and one is made"]
                return [], [*problems, f"{missing}; to have one made: even_if={FIRST}"], []
    except IdrError as error:
        return [], [*problems, str(error)], []


def _made_first(asked, tell):
    """Have a repository, if that was to be the first copy there."""
    with copied.opened(asked.to, tell) as repository:
        try:
            repository.snapshots()
        except Missing:
            if FIRST not in asked.even_if:
                raise
            tell(f"making the repository {asked.to.name}")
            repository.init()


def _missing(it, there):
    """The pieces of a set that can't be made again and of which there's no copy."""
    has = {piece.use for piece in there.pieces} if there else set()
    return [piece for piece in it.pieces if PRODUCTION.match(piece.use) and piece.use not in has]


def _scratch(it, pieces):
    return scratch.wanted_for(wanted.read(it.environment), pieces)


def _carried_out(ssh, it, parts, destination, tell):
    """Copy these, one after another, and have the copy count; returns what each took."""
    uses = tuple(piece.use for piece in it.pieces if PRODUCTION.match(piece.use))
    it, written = replace(it, uses=uses), {}
    for part in parts:
        use = part.piece.use
        written[use] = do(ssh, part.server, "back_up", _asked(it, part), destination, tell)
        gb = {key: f"{written[use][key] / 1e9:.2f} GB" for key in ("bytes", "added")}
        tell(f"{use}: {gb['bytes']}, of which {gb['added']} weren't there")
    do(ssh, parts[-1].server, "seal", _sealing(it), destination, tell)
    return written


def _sealing(it):
    each = [copied.of(piece.use) for piece in it.pieces if PRODUCTION.match(piece.use)]
    return {"having": copied.having(it.id), "each": each, "tags": copied.PHASE}


def _mark(cloud, it, asked, tell):
    keeping.patiently(cloud, it.id, {"idr_copied": _text(it.copied, asked.to.name)}, "copy", tell)


def _asked(it, part):
    role = next(role for role in topology.REQUIRED if part.piece.use.startswith(role))
    return {
        "path": topology.ROLES[role][1],
        "device": part.device,
        "running": role == "database" and not part.device,
        "host": it.environment,
        "taken": f"{it.taken:%Y-%m-%d %H:%M:%S}",
        "tags": copied.tags(it, part.piece, copied.now()),
    }


def _by_hand(environment):
    """The servers and volumes of which a copy is made, rows before files."""
    found = [
        (server, volume)
        for server in environment.servers.values()
        if server.prefix == environment.name and server.role in topology.REQUIRED
        for volume in server.volumes
    ]
    return sorted(found, key=lambda it: it[0].role != "database")


def _text(before, name):
    """What a set says of its copies: where, and when."""
    kept = _without(before, name)
    return ", ".join([*([kept] if kept else []), f"{name} {copied.now():%Y-%m-%d %H:%M} UTC"])


def _without(before, name):
    """What it says of all but one."""
    return ", ".join(each for each in (before or "").split(", ") if each and each.partition(" ")[0] != name)
