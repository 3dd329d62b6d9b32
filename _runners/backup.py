"""What an operator types about backups."""

import json
import re
import time
from datetime import UTC, datetime

from idr import at_master, command, on_server, table
from idr.asking import asking
from idr.backup import (
    bringing,
    copied,
    copying,
    destinations,
    files,
    keeping,
    listing,
    manifest,
    metrics,
    outcome,
    project,
    pruning,
    refilling,
    remotely,
    restoring,
    schedule,
    taking,
    verifying,
)
from idr.backup import status as standing
from idr.cloud import live, telling, wanted
from idr.cloud.connection import connect
from idr.door import door, milestones, who
from idr.errors import IdrError, Refused
from idr.site import folder_of

__load__ = [
    "create", "scheduled", "list_", "show", "pin", "unpin", "prune", "verify", "copy", "copies", "prune_copies",
    "restore", "status",
]  # fmt: skip
__func_alias__ = {"list_": "list"}


SCHEDULED = "idr-backup-scheduled.service"
USUAL = 20  # seconds for which a volume may be held still


@door
def create(env, apply=False, frozen=USUAL, even_if=None, break_lock=None, scheduled=False, site=None, **kwargs):
    """
    Take a backup set of an environment: snapshots of all its data volumes. Those that can't be made again, omero-data
    and database-db, are held still together until theirs are there. Visitors are answered meanwhile.

    env:         the environment's name
    frozen:      seconds until a volume that is held still is thawed by itself, 1 to 60
    even_if:     ``silent`` to take it although a server doesn't answer, whose volume is crash-consistent then
    break_lock:  a run that is known to be dead, as the refusal names it
    scheduled:   True where only the clock asks for it: nothing is done unless the environment is live, and pillar's
                 ``backup_hours`` have this hour
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
    tell = milestones(__opts__, remotely.CREATE)
    if here is None:
        given = {"frozen": frozen, "even_if": even_if, "break_lock": break_lock, "scheduled": scheduled}
        if not apply:
            return remotely.plan(env, folder_of(env, site), **given)
        return remotely.create(env, folder_of(env, site), tell, **given)
    _has_to_be_ours(env)
    if even_if not in (None, "silent"):
        raise Refused([f"even_if: only `silent` can be said, not {even_if}"])
    why_not = scheduled and schedule.why_not(lambda: connect(wanted.cloud_of(env)), env, datetime.now(UTC))
    if why_not:
        return {"result": True, "comment": f"nothing was done: {why_not}"}
    environment, cloud = table.of_master(__opts__), connect(wanted.cloud_of(env))
    with asking(__opts__) as ask:
        if not apply:
            how = command.deed("backup.create", env, frozen=frozen if frozen != USUAL else None, even_if=even_if)
            return outcome.of_coming(taking.plan(cloud, environment, ask, frozen, even_if), how)
        return outcome.of_taken(taking.take(cloud, environment, ask, frozen, even_if, break_lock, who(), tell))


@door
def scheduled(env, **kwargs):
    """
    Begin what the master's schedule asks for: ``backup.create`` with ``scheduled=True``, in a unit of its own.

    env:  the environment's name

    The master itself may run for longer than the release it came with; a unit has the code of the one that is current.

    CLI Example:

    .. code-block:: bash

        salt-run backup.scheduled idr
    """
    _has_to_be_ours(env)
    report = on_server.going_on({"unit": SCHEDULED}, None)
    if report:
        return {"result": True, "comment": f"one is going on: {report}"}
    words = ["backup.create", env, "apply=True", "even_if=silent", "scheduled=True"]
    try:
        began = on_server.begin(at_master.in_unit(words, SCHEDULED, remotely.CREATE), None)
    except SystemExit as error:  # what is done over SSH tells its failures so
        raise IdrError(str(error)) from None
    return {"result": True, "comment": f"begun: {began['report']}"}


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
    return _shown(listing.sets(_look(env, cloud), env))


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
    return _shown(listing.told(seen.the(set), seen.held))


@door
def pin(set, reason, apply=False, break_lock=None, cloud=None, **kwargs):
    """
    Keep a backup set whatever the rules say, until it's unpinned.

    set:         its id, as ``backup.list`` tells it
    reason:      for whom or for what, which ``backup.list`` tells with your name
    break_lock:  a run that is known to be dead, as the refusal names it
    cloud:       its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Refused where there's no such set, and where its
    removal was begun.

    CLI Example:

    .. code-block:: bash

        salt-run backup.pin idr-20261125T030000Z reason='before the upgrade to 5.6.4' apply=True
    """
    said = keeping.pinned(keeping.text(who(), reason))
    return _kept("pin", [set, f"reason={reason}"], said, apply, break_lock, cloud)


@door
def unpin(set, apply=False, break_lock=None, cloud=None, **kwargs):
    """
    Take the pin off a backup set: the rules decide again. All arguments as for ``backup.pin``.

    CLI Example:

    .. code-block:: bash

        salt-run backup.unpin idr-20261125T030000Z apply=True
    """
    return _kept("unpin", [set], keeping.pinned(""), apply, break_lock, cloud)


@door
def prune(env=None, apply=False, retired=False, break_lock=None, cloud=None, **kwargs):
    """
    Remove the backup sets that no rule of pillar (``backup_keep``) keeps, whole ones and nothing else.

    env:         only those of that environment, which needn't be there any more; all environments unless given
    retired:     True where the environment is gone for good: nothing is kept of it for its own sake
    break_lock:  a run that is known to be dead, as the refusal names it
    cloud:       its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    Without ``apply=True`` the plan is returned, with the reason for which each set goes or stays, and nothing changes.
    Pins, what is in use, and the newest good and the newest verified set always stay. A volume that an environment
    left behind goes with its last set. After a failure it goes on. Refused with a credential that may not delete.

    CLI Example:

    .. code-block:: bash

        salt-run backup.prune
        salt-run backup.prune idr apply=True
    """
    if retired and not env:
        raise Refused(["retired: say which environment is gone for good: env=…"])
    connection = _cloud(env, cloud)
    if apply:
        done = pruning.prune(connection, env, retired, break_lock, milestones(__opts__, "backup/prune"))
        steps = [step for it in done for step in it.plan.steps]
        return outcome.of_steps(steps, "what nothing keeps is gone", "nothing to remove")
    planned = pruning.plan(connection, env, retired)
    how = command.deed("backup.prune", *([env] if env else []), retired=retired or None, cloud=cloud)
    return _planned([it.plan for it in planned], [line for it in planned for line in it.lines], how)


@door
def verify(set=None, apply=False, pick=None, env=None, sample=1000, break_lock=None, cloud=None, site=None, **kwargs):
    """
    Prove a backup set: clones of it are looked at on a scratch server in a network of its own, and the set is marked.

    set:         its id, as ``backup.list`` tells it
    pick:        ``random`` instead of a set: one of those that were never verified, or else of all
    env:         with pick, only those of that environment
    sample:      how many of OMERO's files are read and compared by their hashes, chosen at random; ``all``
    break_lock:  a run that is known to be dead, as the refusal names it
    cloud:       its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given
    site:        the operator's directory for its environment, absolute; ``~/.config/idr/<env>`` unless given. By what
                 is in it the set's copies elsewhere are told, too

    Looked at are every page's checksum, the structure of all tables and indexes, every value, the rows, the patch of
    OMERO's database, and each file that a row names: that it's there and its size; of the sample, its bytes. Without
    ``apply=True`` the plan is returned and nothing changes. The server goes at the end whatever happens, and what a
    killed run left goes before the next one begins. The exit code is 1 where the set isn't whole: it's marked as
    disproved then, with what was found first. Refused where the set can't be restored, while another verification of
    its environment goes on, and with a credential that may make no servers.

    CLI Example:

    .. code-block:: bash

        salt-run backup.verify idr-20261125T030000Z
        salt-run backup.verify idr-20261125T030000Z apply=True
        salt-run backup.verify pick=random env=idr sample=5000 apply=True
    """
    if __opts__.get("idr_environment"):
        raise Refused([verifying.MAY_NOT])
    read = _sample(set, pick, env, sample)
    connection = _cloud(env or manifest.environment_of(set), cloud)
    id_ = set or verifying.pick(connection, env)
    if not apply:
        which = [set] if set else ["pick=random"]
        named = {"env": env, "sample": sample if sample != 1000 else None, "cloud": cloud, "site": site}
        return _planned_one(verifying.plan(connection, id_), command.deed("backup.verify", *which, **named))
    tell, folder = milestones(__opts__, "backup/verify"), folder_of(manifest.environment_of(id_), site)
    return outcome.of_proof(verifying.verify(connection, id_, folder, read, break_lock, tell))


@door
def copy(set=None, to=None, apply=False, env=None, even_if=None, break_lock=None, cloud=None, site=None, **kwargs):
    """
    Copy a backup set out of the cloud: restic reads clones of it on a scratch server, and writes what isn't there yet,
    encrypted, into a repository elsewhere.

    set:         its id, as ``backup.list`` tells it
    to:          the destination, a file ``copies/<to>.yaml`` of the operator's directory (docs/backups.md)
    env:         instead of a set: an environment whose servers were made by hand, of which a copy is taken as they run
    even_if:     ``first`` to have the repository made, ``unverified`` or ``disproved`` for such a set; with commas
    break_lock:  a run that is known to be dead, as the refusal names it
    cloud:       its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given
    site:        the operator's directory for its environment, absolute; ``~/.config/idr/<env>`` unless given

    Copied is what can't be made again. Without ``apply=True`` the plan is returned and nothing changes. A copy counts
    once all of it is there and the repository was checked; one that was cut off is gone on with. Refused where the
    repository can't be reached or opened, where the set was never verified, and while another scratch server of its
    environment is at work.

    CLI Example:

    .. code-block:: bash

        salt-run backup.copy idr-20261125T030000Z to=vault
        salt-run backup.copy idr-20261125T030000Z to=vault apply=True
        salt-run backup.copy env=idr to=vault apply=True
    """
    if __opts__.get("idr_environment"):
        raise Refused([verifying.MAY_NOT])
    name = env or manifest.environment_of(set)
    problems = [] if bool(set) != bool(env) else ["say either a set, or env= of servers that were made by hand"]
    problems += [] if name or not set else [f"{set}: no id of a backup set"]
    problems += [] if to else ["to: say which destination"]
    if problems:
        raise Refused(problems)
    folder = folder_of(name, site)
    asked = copying.Copy(set, destinations.read(folder, to), _words(even_if))
    if env and not table.is_by_hand(folder):
        raise Refused([f"env={env}: {folder} has no {table.FILE} with servers made by hand: say a set of it to copy"])
    if not apply:
        plan = copying.plan_by_hand(env, folder, asked) if env else copying.plan(_cloud(name, cloud), asked)
        named = {"env": env, "to": to, "even_if": even_if or None, "cloud": cloud, "site": site}
        return _planned_one(plan, command.deed("backup.copy", *([set] if set else []), **named))
    tell = milestones(__opts__, "backup/copy")
    if env:
        return outcome.of_copied(to, copying.copy_by_hand(env, folder, asked, who(), tell))
    return outcome.of_copied(to, copying.copy(_cloud(name, cloud), asked, break_lock, tell))


@door
def copies(env, at, read=None, site=None, **kwargs):
    """
    List the copies of an environment's backups that are at a destination, from this machine: with its file alone.

    env:   the environment's name, which needn't be there any more
    at:    the destination, a file ``copies/<at>.yaml`` of the operator's directory
    read:  how much of all that is there is read and compared with its hashes, chosen at random: ``5%``, ``all``
    site:  the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    The exit code is 1 where what was read isn't as it was written.

    CLI Example:

    .. code-block:: bash

        salt-run backup.copies idr at=vault
        salt-run backup.copies idr at=vault read=5%
    """
    if read is not None and not re.fullmatch(r"all|[1-9]\d?%", str(read)):
        raise Refused([f"read: a part like `5%`, or `all`, not {read}"])
    destination = destinations.read(folder_of(env, site), at)
    return _shown(copied.listed(destination, env, read, milestones(__opts__, "backup/copies")))


@door
def prune_copies(env, at, apply=False, cloud=None, site=None, **kwargs):
    """
    Remove the copies of an environment's backups that the destination's own rules don't keep, and what only they need.

    env:    the environment's name, which needn't be there any more
    at:     the destination, a file ``copies/<at>.yaml`` of the operator's directory, whose ``keep`` are the rules
    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given
    site:   the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Without ``apply=True`` the plan is returned, with the reason for which each copy goes or stays, and nothing changes.
    What the rules mean, and what stays whatever they say, is as for ``backup.prune``. A set in the cloud says no more
    that it's there; where the cloud can't be asked, that is told, and done by the next run.

    CLI Example:

    .. code-block:: bash

        salt-run backup.prune_copies idr at=vault
        salt-run backup.prune_copies idr at=vault apply=True
    """
    destination, by_hand = destinations.read(folder_of(env, site), at), table.is_by_hand(folder_of(env, site))
    reach = None if by_hand else lambda: _cloud(env, cloud)
    done = copying.prune(destination, env, reach, apply, milestones(__opts__, "backup/prune_copies"))
    if apply:
        answer = outcome.of_steps(done.plan.steps, "what no rule keeps is gone", "nothing to remove")
        return answer | ({"notes": list(done.plan.notes)} if done.plan.notes else {})
    how = command.deed("backup.prune_copies", env, at=at, cloud=cloud, site=site)
    return _planned([done.plan], list(done.lines), how)


@door
def restore(
    set,
    into,
    apply=False,
    copy=None,
    file=None,
    volumes=None,
    even_if=None,
    deploy=True,
    break_lock=None,
    commit=None,
    site=None,
    **given,
):
    """
    Restore a backup set into an environment, whatever there is of that: nothing, volumes without servers, or all of it.

    set:         its id, as ``backup.list`` tells it
    into:        the environment's name; the set may be another's
    copy:        the destination from whose copy of the set it comes, a file ``copies/<copy>.yaml`` of the operator's
                 directory: into empty volumes, which are made where there are none. ``volumes``: only these
    file:        files or folders, as they are on the server, comma-separated or a list: only these are brought back,
                 into a new folder beside what is there; of production's volume, or of the one that ``volumes`` names
    volumes:     what is to come from the set although it's there, comma-separated; what can't be made again,
                 ``omero-data,database-db``, unless given. What isn't there comes from the set in any case
    even_if:     ``live`` to make a live environment's servers anew, ``mismatch`` for one of omero-data and database-db
                 alone, ``again`` for what is of this set already, ``disproved`` for a set that a verification
                 disproved, ``failing`` as for ``environment.apply``; with commas between them
    deploy:      False to stop when its servers are there
    break_lock:  a run that is known to be dead, as the refusal names it
    commit:      the beginning of this checkout's commit, needed where it isn't a descendant of the deployed one
    site:        the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Parameters of ``environment.apply`` can be given too, but for sources (``address``, ``vm_image``). A volume that is
    there is put aside: renamed, detached, and kept. Its server is made anew when the clone of the set's snapshot is
    there, enrolled and deployed. Without ``apply=True`` the plan is returned and nothing changes. Applied again it
    changes nothing; after a failure it goes on. Refused, with all reasons at once, where the set or one of its required
    snapshots can't be used, and where the plan is blocked.

    With ``file`` no server is made anew and nothing put aside: what is returned is where the files are. Refused, before
    anything is copied, where one of them isn't in the set, or there's no room.

    CLI Example:

    .. code-block:: bash

        salt-run backup.restore idr-20261125T030000Z into=idr
        salt-run backup.restore idr-20261125T030000Z into=idr apply=True
        salt-run backup.restore idr-20261125T030000Z into=idr volumes=a-omero-data,a-database-db apply=True
        salt-run backup.restore idr-20261125T030000Z into=idr file=/data/OMERO/Files/12 apply=True
        salt-run backup.restore idr-20261125T030000Z into=idr copy=vault apply=True
    """
    if __opts__.get("idr_environment"):
        raise Refused(["a master's credential makes and removes no servers or volumes: type it in a checkout of yours"])
    folder, words, tell = folder_of(into, site), _words(even_if), milestones(__opts__, "backup/restore")
    named = {"copy": copy, "volumes": volumes, "even_if": even_if, "deploy": None if deploy else False} | given
    how = command.deed("backup.restore", set, into=into, **named, commit=commit, site=site)
    uses, began = tuple(str(volumes).split(",")) if volumes else None, time.monotonic()
    if copy is not None:
        if file is not None or words - {"failing", *refilling.MAY_BE_SAID}:
            known = ", ".join(["failing", *refilling.MAY_BE_SAID])
            raise Refused([f"with copy=, volumes are restored whole: no file=, and of even_if only {known}"])
        asked = refilling.Refill(set, destinations.read(folder, copy), uses, words - {"failing"})
        if not apply:
            return _planned_one(refilling.plan(asked, into, given, folder), how)
        done = refilling.refill(asked, into, given, break_lock, commit, deploy, folder, tell)
        return outcome.of_refilled(into, asked, done, time.monotonic() - began)
    if file is not None:
        others = {"even_if": even_if, "deploy": None if deploy else False, "commit": commit} | given
        problems = [f"{key}: means nothing with file=" for key, value in others.items() if value is not None]
        if problems:
            raise Refused(problems)
        return _files(set, file, volumes, into, apply, break_lock, site, tell)
    asked = restoring.Restore(set, uses, words - {"failing"})
    if not apply:
        plan = restoring.plan(asked, into, given)
        lines = [*telling.lines(plan), *(f"note: {line}" for line in restoring.not_supplied(plan, folder))]
        return _planned([plan], lines, how)
    then = {"named": commit, "even_if": "failing" if "failing" in words else None} if deploy else None
    done = restoring.restore(asked, into, given, break_lock, then, folder, tell)
    notes = restoring.not_supplied(done.plan, folder)
    return outcome.of_restored(into, asked, done, notes, time.monotonic() - began)


@door
def status(env, textfile=None, cloud=None, **kwargs):
    """
    Tell how an environment's backups stand, from the cloud alone: age of the newest good and the newest verified set,
    what is missing, space, and when the next one is due by itself.

    env:       the environment's name
    textfile:  a file for Prometheus' node exporter that gets it too, absolute; written at once or not at all
    cloud:     its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    The exit code is 1 where the newest good set is older than 28 hours (critical: 32), where there is none, and where
    the newest attempt failed.

    CLI Example:

    .. code-block:: bash

        salt-run backup.status idr
        salt-run backup.status idr textfile=/var/lib/prometheus/node-exporter/idr_backup.prom
    """
    seen = _look(env, cloud)
    signs, _ = live.signs(seen.facts, env, wanted.public_name_of(env))
    now = standing.of(seen, env, datetime.now(UTC), wanted.backup_hours(env) if signs else ())
    if textfile:
        metrics.write(metrics.text(now), textfile)
    told = standing.told(now)
    if now.state != standing.OK:
        told["retcode"] = 1
    return _shown(told)


def _has_to_be_ours(env):
    at_master.has_to_be_of(__opts__, env, f"from a checkout, backup.create goes to {env}-proxy by itself")


def _cloud(env, cloud):
    return connect(cloud or wanted.cloud_of(env or ""))


def _look(env, cloud):
    return project.look(_cloud(env, cloud))


def _kept(function, words, said, apply, broken, cloud):
    id_ = words[0]
    connection = _cloud(manifest.environment_of(id_), cloud)
    plan = keeping.say(connection, id_, said, function, apply, broken, milestones(__opts__, f"backup/{function}"))
    if apply:
        return outcome.of_steps(plan.steps, f"{id_} is {function}ned")
    return _planned_one(plan, command.deed(f"backup.{function}", *words, cloud=cloud))


def _files(set, file, volumes, env, apply, broken, site, tell):
    """Single files brought back, or a plan of that."""
    paths = [str(path) for path in (file if isinstance(file, list) else str(file).split(","))]
    asked = files.Files(set, tuple(paths), str(volumes or files.USUAL))
    said = json.dumps(paths) if any("," in it for it in paths) else ",".join(paths)
    named = {"into": env, "file": said, "volumes": asked.use if asked.use != files.USUAL else None}
    if not apply:
        return _planned_one(bringing.plan(asked, env), command.deed("backup.restore", set, **named, site=site))
    how = command.typed("backup.restore", set, **named)
    brought = bringing.bring(asked, env, broken, folder_of(env, site), how, tell)
    return {"result": True, "comment": f"of {set}, brought back beside what is there", "restored": brought}


def _sample(set, pick, env, sample):
    """How many files a verification is to read, None for all. Refused where what was typed doesn't go together."""
    problems = [] if bool(set) != bool(pick) else ["say either a set or pick=random"]
    problems += [f"{set}: no id of a backup set"] if set and not manifest.environment_of(set) else []
    problems += [f"pick: only `random` can be said, not {pick}"] if pick not in (None, "random") else []
    problems += ["env: goes with pick=random"] if env and not pick else []
    is_number = isinstance(sample, int) and not isinstance(sample, bool) and sample >= 0
    problems += [] if is_number or sample == "all" else [f"sample: a number of files, or `all`, not {sample!r}"]
    if problems:
        raise Refused(problems)
    return None if sample == "all" else sample


def _words(even_if):
    return frozenset(str(even_if).split(",") if even_if else ())


def _planned(plans, lines, how):
    return _shown(outcome.of_plans(plans, lines, how))


def _planned_one(plan, how):
    return _planned([plan], telling.lines(plan), how)


def _shown(told):
    return {"data": told, "outputter": "backup"}
