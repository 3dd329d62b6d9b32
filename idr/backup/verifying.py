"""
A backup set proved: clones of it are looked at on a scratch server (idr/cloud/scratch.py, idr/verify), and the set is
marked with what was found. One that isn't whole is disproved: it stands for no good one any more.

What keeps a set from being looked at says nothing of it, and leaves its marks as they are.
"""

import random
import secrets
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from idr import told_on_server
from idr.backup import copied, destinations, keeping, manifest, project
from idr.backup.model import PRODUCTION
from idr.backup.retention import EARLY
from idr.checkout import CHECKOUT
from idr.cloud import credential, host_keys, scratch, wanted
from idr.cloud.connection import ERRORS, told
from idr.errors import IdrError, Refused
from idr.ssh import Alone, NoPython, connections
from idr.verify import unit

USES = ("omero-data", "database-db")  # of the volumes that are looked at
MAY_NOT = (
    "this credential may make no servers, as a master's own mayn't: type it at a workstation, with an operator's "
    "clouds.yaml"
)
OUT_OF_SIGHT = 600  # seconds without a word from it until it's given up
WORD = 60  # seconds between two words of what goes on
PAUSE = 5


@dataclass(frozen=True)
class Proof:
    """
    What a verification came to: WRONG is what disproves the set; PROBLEMS besides that what wasn't done. FIGURES are
    the text that the set is marked with, COUNTED all that was counted.
    """

    id: str
    wrong: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    figures: str
    counted: dict
    is_marked: bool
    said: dict  # what the set's snapshots are to say, by the keys of their metadata


def pick(cloud, environment, choose=random.choice):
    """
    The id of a set at random: of those that were never verified, or else of all that can be restored. One that was
    disproved is left to whoever names it.

    environment:  the only one whose sets they are to be, None: any
    """
    try:
        seen, now = project.look(cloud), datetime.now(UTC)
    except ERRORS as error:
        raise IdrError(told(error)) from error
    named = [it for it in seen.sets if environment in (None, it.environment)]
    good = [it for it in named if it.is_good]
    able = [it for it in good if it.when <= now + EARLY]
    if not able:
        early = f": all {len(good)} are from the future, by this machine's clock" if good else ""
        raise Refused([f"{environment or 'this project'} has no good backup set that could be verified{early}"])
    return choose([it for it in able if not it.verified] or able).id


def plan(cloud, id_):
    """What is made to look at a set, a ``Plan`` with its problems."""
    try:
        asked, notes = _asked(project.look(cloud), id_)
        made = scratch.plan(cloud, asked)
    except ERRORS as error:
        raise IdrError(told(error)) from error
    problems = made.problems if may(cloud) else (MAY_NOT, *made.problems)
    return replace(made, problems=problems, notes=(*notes, *made.notes))


def verify(cloud, id_, folder, sample, broken, tell):
    """
    Look at a set, and mark it with what was found, and the copies that it has; returns a ``Proof``.

    folder:  the operator's site directory, in which its destinations are
    sample:  how many of OMERO's files are read and compared by their hashes, chosen at random; None: all
    broken:  the holder of a lock that is to be broken
    tell:    is told one line of progress at a time

    Refused, and the set is marked with nothing, where it can't be looked at.
    """
    proof = None
    try:
        seen = project.look(cloud)
        asked, notes = _asked(seen, id_)
        if not may(cloud):
            raise Refused([MAY_NOT])
        began, seed = time.monotonic(), secrets.randbelow(10**6)
        questions = {"patch": seen.the(id_).facts.get("database_patch"), "sample": sample, "seed": seed}
        with scratch.stood_up(cloud, asked, "verify", f"backup.verify {id_}", broken, tell) as made:
            found = _looked_at(cloud, made, questions, tell)
            figures = text(found["figures"], time.monotonic() - began)
            wrong = tuple(found["problems"])
            notes = (*notes, *found["notes"])
            proof = Proof(id_, wrong, wrong, notes, figures, found["figures"], False, _said(wrong, figures))
            keeping.patiently(cloud, proof.id, proof.said, "verify", tell)
            proof = replace(proof, is_marked=True)
    except Refused as refused:
        if proof is None:
            raise
        proof = replace(proof, problems=(*proof.problems, *refused.problems))
    except ERRORS as error:
        raise IdrError(told(error)) from error
    return replace(proof, notes=(*proof.notes, *_passed_on(seen.the(id_), proof, folder, tell)))


def text(figures, seconds):
    """The figures of a verification in a line."""
    hashed = f"{figures.get('hashed', 0)} of {figures.get('files', 0)} files read"
    seed = f" (seed {figures['seed']})" if figures.get("seed") is not None else ""
    parts = [
        f"PostgreSQL {figures.get('postgresql', 'unknown')}",
        f"patch {figures.get('patch') or 'unknown'}",
        f"{figures.get('pages', 0)} pages" if figures.get("checksums") else "no page checksums",
        f"{figures.get('indexes', 0)} indexes",
        f"{figures.get('rows', 0)} rows of {figures.get('tables', 0)} tables",
        f"{hashed}{seed}, {figures.get('bytes', 0)} bytes there",
        *([f"{figures['elsewhere']} elsewhere"] if figures.get("elsewhere") else []),
        *([f"{figures['without_hash']} without a hash"] if figures.get("without_hash") else []),
        f"{seconds:.0f} s",
    ]
    return ", ".join(parts)


def disproof(wrong, now):
    """What a set that isn't whole is marked with: when that was found, and what first of all."""
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    when = f"{now:%Y-%m-%d %H:%M} UTC: "
    return when + wrong[0][: manifest.LONGEST - len(when) - len(more)] + more


def _asked(seen, id_):
    """The scratch environment for a set, and what is to be said of it. Refused where the set can't be looked at."""
    it = seen.the(id_)
    if not it.is_usable:
        raise Refused([f"{id_}: can't be verified: {why}" for why in it.why_not])
    pieces = [piece for piece in it.pieces if piece.use in USES]
    lacks = sorted(set(USES) - {piece.use for piece in pieces})
    if lacks:
        raise Refused([f"{id_}: has no {' and no '.join(lacks)}, without which there's nothing to compare"])
    others = [piece.use for piece in it.pieces if PRODUCTION.match(piece.use) and piece.use not in USES]
    return scratch.wanted_for(wanted.read(it.environment), pieces), [f"{use} isn't looked at" for use in others]


def may(cloud):
    """Whether this credential may make a scratch server."""
    return credential.may(cloud, "POST", "/servers")


def _looked_at(cloud, made, questions, tell):
    """What was found on the scratch server: ``{problems, figures, notes}``."""
    devices = {use: made.device(use) for use in made.volumes}
    with reached(cloud, made, tell) as (ssh, server):
        tell(f"looking at {' and '.join(made.volumes)} on {made.server}")
        ssh.do(server, "begin", {"files": sent(), "asked": {**questions, "devices": devices}}, of=unit)
        return followed(ssh, server, tell, unit.UNIT, unit.HOME)


@contextmanager
def reached(cloud, made, tell):
    """A scratch server that answers, and connections to it, for as long as the block lasts: ``(Ssh, Alone)``."""
    server = Alone(made.server, made.address)
    with tempfile.TemporaryDirectory(prefix="idr-verify-") as folder:
        host_keys.bring(cloud, Path(folder), {made.server: made.id}, [made.server], tell)
        with connections(server, [Path(folder) / host_keys.FILE]) as ssh:
            ssh.wait_for(server, tell)
            _give_python(ssh, server)
            yield ssh, server


def sent():
    """The files that are run on a scratch server, each one's text by its path."""
    paths = [CHECKOUT / "idr/__init__.py", *(CHECKOUT / "idr/verify").glob("*.py")]
    return {str(path.relative_to(CHECKOUT)): path.read_text() for path in paths}


def _give_python(ssh, server):
    try:
        ssh.do(server, "going_on", {"unit": unit.UNIT})
    except NoPython:
        ssh.install_python(server)


def followed(ssh, server, tell, name, home, stopping=None):
    """
    Tell how what a unit does goes on, until it has ended; returns its result.

    name:      the unit's
    home:      the folder in which it works
    stopping:  once that ``Event`` is set nothing is waited for any more
    """
    offset, heard, said = 0, time.monotonic(), time.monotonic()
    while True:
        if stopping and stopping.is_set():
            raise IdrError(f"{server.id}: interrupted")
        try:
            asked = {"unit": name, "home": str(home), "offset": offset}
            answer = ssh.do(server, "progress", asked, seconds=60, of=told_on_server)
        except IdrError as error:  # the link may be cut; it goes on there
            if time.monotonic() - heard > OUT_OF_SIGHT:
                raise IdrError(f"{server.id}: out of sight for {OUT_OF_SIGHT} s ({error})") from error
            time.sleep(PAUSE)
            continue
        heard, offset = time.monotonic(), answer["offset"]
        for line in answer["told"]:
            if "result" in line:
                return _printable(line["result"])
            tell(_printable(line["said"]))
            said = heard
        if answer["ended"] is not None:
            raise IdrError(f"{server.id}: it ended without a result: {answer['ended'] or 'killed, it seems'}")
        if heard - said > WORD:
            tell("still at it")
            said = heard


def _printable(it):
    """What a scratch server tells, in which a name may be that a clone has, safe for a terminal and the cloud."""
    if isinstance(it, dict):
        return {_printable(key): _printable(each) for key, each in it.items()}
    if isinstance(it, list):
        return [_printable(each) for each in it]
    if isinstance(it, str):
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in it)
    return it


def _said(wrong, figures):
    now = datetime.now(UTC)
    return manifest.proof(disproved=disproof(wrong, now)) if wrong else manifest.proof(now, figures)


def _passed_on(it, proof, folder, tell):
    """Have the copies of a set say what was found; those that don't, a line each."""
    left = []
    for name in copied.places(it):
        try:
            copied.pass_on(destinations.read(folder, name), it.id, proof.said, tell)
        except IdrError as error:
            left.append(f"its copy at {name} doesn't say what was found: {'; '.join(error.problems)}")
    return left
