"""What an operator types about backups."""

from contextlib import contextmanager

import salt.client
from salt.exceptions import SaltException

from idr import at_master, table
from idr.backup import listing, manifest, project, taking
from idr.backup.model import FAILED
from idr.cloud import wanted
from idr.cloud.connection import connect
from idr.door import door, milestones, who
from idr.errors import IdrError, Refused
from idr.site import folder_of

__load__ = ["create", "list_", "show"]
__func_alias__ = {"list_": "list"}


CREATE = "backup/create"


@door
def create(env, apply=False, frozen=20, even_if=None, break_lock=None, site=None, **kwargs):
    """
    Take a backup set of an environment: snapshots of all its data volumes. Those that can't be made again, omero-data
    and database-db, are held still together until theirs are there. Visitors are answered meanwhile.

    env:         the environment's name
    frozen:      seconds until a volume that is held still is thawed by itself, 1 to 60
    even_if:     ``silent`` to take it although a server doesn't answer, whose volume is crash-consistent then
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    On the environment's master, or from a checkout and over SSH: there it goes on whatever becomes of the terminal, and
    typed again meanwhile, it follows. Without ``apply=True`` the plan is returned and nothing changes. Where one of the
    required snapshots fails the set fails, and the exit code is 1; where another does, it is partial.

    CLI Example:

    .. code-block:: bash

        salt-run backup.create idr
        salt-run backup.create idr apply=True
    """
    here = __opts__.get("idr_environment")
    tell = milestones(__opts__, CREATE)
    if here is None:
        given = {"apply": apply, "frozen": frozen, "even_if": even_if, "break_lock": break_lock}
        words = ["backup.create", env, *(f"{key}={value}" for key, value in given.items() if value)]
        if not apply:
            return at_master.answer(env, folder_of(env, site), words)
        return at_master.run(env, folder_of(env, site), words, "idr-backup.service", CREATE, tell)
    if env != here:
        raise Refused([f"{env}: this is the master of {here}, which reaches into no other environment's servers"])
    if even_if not in (None, "silent"):
        raise Refused([f"even_if: only `silent` can be said, not {even_if}"])
    environment, cloud = table.of_master(__opts__), connect(wanted.cloud_of(env))
    with _asking() as ask:
        if not apply:
            return _coming(taking.plan(cloud, environment, ask, frozen, even_if))
        return _taken(taking.take(cloud, environment, ask, frozen, even_if, break_lock, who(), tell))


@door
def list_(env=None, cloud=None, **kwargs):
    """
    List the backup sets of a cloud, the newest first: what each is good for, its size, whether it's verified or pinned.

    env:    only those of that environment, which needn't be there any more
    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run backup.list
        salt-run backup.list idr
    """
    return {"data": listing.sets(_look(env, cloud), env), "outputter": "backup"}


@door
def show(set, cloud=None, **kwargs):
    """
    Show one backup set: its volumes with their snapshots, how long each was held still, and what was in it.

    set:    its id, as ``backup.list`` tells it
    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run backup.show idr-20261125T030000Z
    """
    seen = _look(manifest.environment_of(set), cloud)
    return {"data": listing.told(seen.the(set), seen.held), "outputter": "backup"}


def _look(env, cloud):
    return project.look(connect(cloud or wanted.cloud_of(env or "")))


@contextmanager
def _asking():
    """What asks minions: ``ask(servers, function, arguments, timeout)``; False is the answer of who gave none."""
    with salt.client.LocalClient(mopts=__opts__) as client:

        def ask(servers, function, arguments, timeout):
            try:
                return client.cmd(servers, function, arguments, tgt_type="list", timeout=timeout)
            except SaltException as error:
                raise IdrError(f"this master can't ask its minions: {error}") from error

        yield ask


def _coming(coming):
    """A set that would be taken."""
    how = f"salt-run backup.create {coming.environment} apply=True"
    answer = {"result": True, "comment": f"a plan, nothing was changed. To do it: {how}"}
    if coming.problems:
        answer = {"result": False, "comment": "a plan that is blocked, nothing was changed"}
        answer["problems"] = list(coming.problems)
    answer["snapshots"] = {part.use: part.name for part in coming.parts}
    answer["needed"] = coming.needed
    return answer | ({"notes": list(coming.notes)} if coming.notes else {})


def _taken(taken):
    """A set as it was ended."""
    it = taken.set
    answer = {"result": True, "comment": f"{it.id} is {it.phase}, {listing.consistency(it)}"}
    if it.phase == FAILED:
        remains = f"what there is of it goes with salt-run backup.prune {it.environment} apply=True"
        answer = {"result": False, "comment": f"{it.id} failed and counts for nothing; {remains}"}
    answer["set"] = listing.told(it, {})
    answer |= {"problems": list(taken.problems)} if taken.problems else {}
    return answer | ({"notes": list(taken.notes)} if taken.notes else {})
