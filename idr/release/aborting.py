"""A release given up before it's live: what it made goes, and the live environment isn't touched."""

import time
from dataclasses import dataclass, replace

from idr.cloud import destroying, lock, mark, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.cloud.making import sent
from idr.cloud.model import Plan
from idr.errors import IdrError, Refused
from idr.release import record, standing
from idr.release.record import NO_SET
from idr.release.standing import Standing


@dataclass(frozen=True)
class Abort:
    """A release that would be given up: NEW goes by that PLAN. PROBLEMS block it, NOTES tell what stays."""

    standing: Standing
    plan: Plan | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def plan(new, folder, tell):
    """
    What has to be done until nothing of a release is left: an ``Abort`` with its problems.

    folder:  the operator's site directory of the new environment
    """
    try:
        return _look(connect(wanted.cloud_of(new)), new, folder, tell)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def abort(new, confirm, broken, folder, tell):
    """
    Give a release up, as `plan` says.

    confirm:  has to be the new environment's name
    broken:   the holder of a lock that is to be broken
    tell:     is told one line of progress at a time

    Returns the ``Abort`` that was carried out. Refused with every problem at once, before anything is changed; after a
    failure the next run goes on.
    """
    try:
        cloud = connect(wanted.cloud_of(new))
        given_up = _unblocked(_look(cloud, new, folder, tell))
        if confirm != new:
            raise Refused([f"{new} goes with all its data: to have that, confirm={new}"])
        with lock.held(cloud, new, mark.new_run(), "abort a release", broken, f"release.abort {new} confirm={new}"):
            given_up = _unblocked(_look(cloud, new, folder, tell))
            standing.forget(cloud, given_up.standing.facts, new, (record.READY,))
            _give_back_address(cloud, given_up.standing, tell)
        # its record goes last, and with it what says that it's a release
        destroying.destroy(new, new, True, broken, folder, tell)
        return given_up
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _look(cloud, new, folder, tell):
    at = standing.look(cloud, new, wanted.public_name_of(new))
    problems = [f"{new} is live, and what is live is never removed: {sign}" for sign in at.live] + at.under_way
    switch = standing.took_over(at.history)
    if switch and switch.source == new and at.is_there:
        after = switch.target
        problems.append(f"{after} took over from {new}, which goes with that release: salt-run release.finish {after}")
    if at.release is None:
        what = f"remove it: salt-run environment.destroy {new}" if at.is_there else "there's nothing to abort"
        problems.append(f"{new} is of no release: {what}")
    if problems:
        return Abort(at, None, tuple(problems), at.unknown)
    notes = list(at.unknown)
    if at.release.set != NO_SET:
        prune = f"salt-run backup.prune {at.release.source}"
        notes.append(f"{at.release.set} stays, as the rules for backup sets have it: {prune}")
    try:
        going = destroying.destroy(new, None, False, None, folder, tell)
    except Refused as refusal:
        return Abort(at, None, tuple(refusal.problems), tuple(notes))
    notes += [f"floating IP {it.name} stays in the project: it was there before" for it in _taken(at)]
    return Abort(at, replace(going, notes=tuple(dict.fromkeys((*going.notes, *notes)))), (), ())


def _taken(at):
    """The floating IPs that were there, and that the new environment was given but hasn't got on its proxy."""
    own = at.facts.of(at.new, "address")
    return [it for it in own if not (it.run or it.what["port_id"] or it.what["tags"])]


def _unblocked(given_up):
    if given_up.problems:
        raise Refused(given_up.problems)
    return given_up


def _give_back_address(cloud, at, tell):
    """Say of a free floating IP that it's nobody's again; one that was made for it goes with the environment."""
    for it in _taken(at):
        _free(cloud, it)
        tell(f"the floating IP {it.name} is free again")


def _free(cloud, address):
    def send():
        cloud.network.update_ip(address.id, description="", if_revision=address.what["revision_number"])

    def look():
        return None if cloud.network.get_ip(address.id).description else address.id

    sent(send, look, time.sleep)
