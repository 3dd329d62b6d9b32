"""What an operator types about a whole environment."""

import salt.client

from idr import command, outcome, readiness, table, values
from idr import enrol as enrolment
from idr import show as showing
from idr import ssh_config as openssh
from idr import update as updating
from idr.cloud import applying, destroying, listing, telling, wanted
from idr.door import door, milestones
from idr.errors import Refused
from idr.site import folder_of

__load__ = ["plan", "apply", "list_", "replace", "destroy", "enrol", "update", "show", "ssh_config", "check"]
__func_alias__ = {"list_": "list"}


@door
def plan(env, **given):
    """
    Say what has to be done in the cloud until an environment is as it should be, and what keeps it from being done.

    env:  the environment's name; further, ``sources``, ``address`` and any parameter, as for ``environment.apply``

    Changes nothing; the exit code is 1 where something blocks. As data with ``--out=json``.

    CLI Example:

    .. code-block:: bash

        salt-run environment.plan newidr sources=idr
    """
    return _planned(applying.plan(env, given), command.deed("environment.apply", env, **given))


@door
def apply(
    env,
    apply=False,
    rollback=False,
    confirm=None,
    deploy=True,
    break_lock=None,
    commit=None,
    even_if=None,
    site=None,
    **given,
):
    """
    Make an environment, or bring one to what it should be: its servers, networks, volumes and address in the cloud,
    then Salt on its servers, then the deploy.

    env:         the environment's name
    sources:     the environment or backup set whose data it begins with; a volume's own source goes before it
    address:     the floating IP that it's to have, if not any that is free
    rollback:    True to remove what the last run made and didn't finish instead, and nothing older
    confirm:     its name once more, which ``rollback=True apply=True`` needs where volumes go
    deploy:      False to stop when its servers are there
    break_lock:  a run that is known to be dead, as the refusal names it
    commit:      the beginning of this checkout's commit, needed where it isn't a descendant of the deployed one
    even_if:     ``failing`` to deploy although states fail in the rehearsal
    site:        the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Any parameter of ``pillar/environment_defaults.sls`` can be given too (``vm_image``, ``idr_volume_omero_data_src``).
    Without ``apply=True`` the plan is returned and nothing changes. Applied again it changes nothing; after a failure
    it goes on. Refused, with all reasons at once, where the plan is blocked, and while another run is on it.

    CLI Example:

    .. code-block:: bash

        salt-run environment.apply newidr sources=idr
        salt-run environment.apply newidr sources=idr apply=True
        salt-run environment.apply newidr rollback=True confirm=newidr apply=True
    """
    tell = milestones(__opts__, "environment/apply")
    if rollback:
        others = given | _of_deploy(deploy, commit, even_if)
        problems = [f"{key}: means nothing with rollback=True" for key, value in others.items() if value is not None]
        if problems:
            raise Refused(problems)
        done = destroying.roll_back(env, confirm, apply, break_lock, folder_of(env, site), tell)
        if apply:
            return outcome.of_removal(done, f"{env}: what the unfinished run made is gone")
        words = {"rollback": True, "confirm": env if destroying.loses_data(done) else None, "site": site}
        return _planned(done, command.deed("environment.apply", env, **words))
    if confirm is not None:
        raise Refused(["confirm: is for rollback=True alone"])
    then = {"named": commit, "even_if": _even_if(even_if)}
    if not apply:
        words = given | _of_deploy(deploy, commit, even_if) | {"site": site}
        return _planned(applying.plan(env, given), command.deed("environment.apply", env, **words))
    done = applying.apply(env, given, break_lock, then if deploy else None, folder_of(env, site), tell)
    return outcome.of_apply(env, done)


@door
def list_(cloud=None, **kwargs):
    """
    List the environments of a cloud: which is live, its servers, its address, since when it is there, who is on it.

    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run environment.list
    """
    return {"data": {"environments": listing.environments(cloud or wanted.cloud_of(""))}, "outputter": "environment"}


@door
def replace(env, server, apply=False, deploy=True, break_lock=None, commit=None, even_if=None, site=None, **kwargs):
    """
    Make a dead server anew: with its volumes, ports and address, enrolled, and deployed.

    env:         the environment's name
    server:      its name
    even_if:     ``running`` if it isn't dead, or ``failing`` as for ``environment.apply``; both with a comma between

    All others as for ``environment.apply``. Without ``apply=True`` the plan is returned and nothing changes.

    CLI Example:

    .. code-block:: bash

        salt-run environment.replace idr server=idr-proxy apply=True
    """
    allowed = str(even_if).split(",") if even_if else []
    running = "running" if "running" in allowed else None
    then = {"named": commit, "even_if": _even_if(",".join(it for it in allowed if it != "running") or None)}
    if not apply:
        words = {"server": server} | _of_deploy(deploy, commit, even_if) | {"site": site}
        return _planned(applying.replacement(env, server, running), command.deed("environment.replace", env, **words))
    tell = milestones(__opts__, "environment/replace")
    done = applying.replace_server(
        env, server, running, break_lock, then if deploy else None, folder_of(env, site), tell
    )
    return outcome.of_apply(env, done)


@door
def destroy(env, confirm=None, apply=False, break_lock=None, site=None, **kwargs):
    """
    Remove an environment with all its data from the cloud.

    env:         the environment's name
    confirm:     its name once more, which ``apply=True`` needs
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Refused, and nothing overrides it, where the
    environment is live by its address, DNS or the record of its release, while another is cloned from it, and where it
    holds the newest verified backup. A volume whose snapshots are kept is detached and retained. After a failure it
    goes on.

    CLI Example:

    .. code-block:: bash

        salt-run environment.destroy newidr
        salt-run environment.destroy newidr confirm=newidr apply=True
    """
    tell = milestones(__opts__, "environment/destroy")
    done = destroying.destroy(env, confirm, apply, break_lock, folder_of(env, site), tell)
    if apply:
        return outcome.of_removal(done, f"{env} is gone" if done.steps else f"{env}: nothing of it is in the cloud")
    return _planned(done, command.deed("environment.destroy", env, confirm=env, site=site))


@door
def enrol(env, apply=False, replace=None, commit=None, site=None, **kwargs):
    """
    Bring Salt to the servers of an environment, from a checkout and over SSH: the master on its proxy, with this
    checkout's commit, and a minion on every server.

    env:      the environment's name
    replace:  servers that were made anew, comma-separated: their old keys are forgotten
    commit:   the beginning of this checkout's commit, needed where it isn't a descendant of the deployed one
    site:     the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Refused, with all reasons at once, where a server
    can't be reached under its known SSH host key, where a key isn't the one that its server has, where the master has a
    key of no server of this environment, from a checkout that isn't clean, and where its commit isn't a descendant of
    the deployed one and wasn't named. Applied again it changes nothing.

    CLI Example:

    .. code-block:: bash

        salt-run environment.enrol idr
        salt-run environment.enrol idr apply=True
        salt-run environment.enrol idr apply=True replace=idr-omero
    """
    remade = replace.split(",") if isinstance(replace, str) else replace or []
    tell = milestones(__opts__, "environment/enrol")
    plan, changed = enrolment.enrol(env, apply, remade, commit, folder_of(env, site), tell)
    if changed:
        return {"result": True, "comment": f"{env} is enrolled", "done": [str(step) for step in plan]}
    if not plan:
        return {"result": True, "comment": f"{env} is enrolled: nothing to change"}
    how = command.deed("environment.enrol", env, replace=",".join(remade) or None, commit=commit, site=site)
    return outcome.of_plan(how) | {"plan": [str(step) for step in plan]}


@door
def update(env, apply=False, commit=None, even_if=None, site=None, **kwargs):
    """
    Bring an environment to this checkout's commit, from a checkout and over SSH: the daily change.

    env:      the environment's name
    commit:   the beginning of this checkout's commit, needed where it isn't a descendant of the deployed one
    even_if:  ``failing`` to deploy although states fail in the rehearsal, where the deploy itself mends that
    site:     the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Without ``apply=True`` the plan is returned and nothing that serves changes: what each server would change by a
    rehearsal of this commit on it, with its diffs, secrets masked. Applying deploys it (``orch.deploy``), on the master
    and whatever becomes of this terminal; typed again meanwhile, it follows. Where nothing would change, nothing is
    done. Refused, with all reasons at once, as ``environment.enrol`` is, and while another commit is being deployed.

    CLI Example:

    .. code-block:: bash

        salt-run environment.update idr
        salt-run environment.update idr apply=True
        salt-run environment.update idr apply=True commit=0a1b2c3
    """
    tell = milestones(__opts__, "environment/update")
    done = updating.update(env, apply, commit, _even_if(even_if), folder_of(env, site), tell)
    how = command.deed("environment.update", env, commit=commit, even_if=even_if, site=site)
    return outcome.of_update(env, done, None if apply else how)


@door
def show(env, drift=True, site=None, **kwargs):
    """
    Show an environment as it is, from a checkout and over SSH: servers, services, versions, the deployed commit, and
    which of its states a highstate would change (drift).

    env:    the environment's name
    drift:  False to leave out the rehearsals that find it, and the seconds they take
    site:   the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Changes nothing. The exit code is 1 where a server can't be reached or a service that has to run doesn't; drift
    alone is none.

    CLI Example:

    .. code-block:: bash

        salt-run environment.show idr
        salt-run --out=json environment.show idr drift=False
    """
    seen = showing.show(env, drift, folder_of(env, site), milestones(__opts__, "environment/show"))
    if seen["down"]:
        seen["retcode"] = 1
    return {"data": seen, "outputter": "environment"}


@door
def ssh_config(env, user=None, site=None, **kwargs):
    """
    Print the OpenSSH configuration of an environment, to be included in one's own: its servers, and its tunnels as
    hosts named after their use.

    env:   the environment's name
    user:  the name to log in with; one's own unless given
    site:  the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run environment.ssh_config idr user=ada > ~/.ssh/idr.conf    # and in ~/.ssh/config: Include idr.conf
        ssh -N idr-tunnel-cache-refresh                                   # then http://localhost:9000/
    """
    folder = folder_of(env, site)
    environment, _ = table.of_operator(env, folder)
    return openssh.text(environment, folder, user)


@door
def check(env=None, **kwargs):
    """
    Find everything that keeps an environment from a deploy, on its master: values of pillar that can't be meant,
    servers that don't answer, states that don't render, data volumes that can't be used as they are.

    env:  the environment; the master's own unless given

    Changes nothing. Fails with every problem at once.

    CLI Example:

    .. code-block:: bash

        salt-run environment.check idr
    """
    here = __opts__.get("idr_environment")
    env = env or here
    if here is None or env != here:
        raise Refused([f"only an environment's own master can ask its servers: ssh {env or '<env>'}-proxy"])
    servers = list(table.of_master(__opts__).servers)
    with salt.client.LocalClient(mopts=__opts__) as client:
        answers = client.cmd(servers, "readiness.problems", tgt_type="list", timeout=60)
    found = values.problems_on_master(__opts__) + readiness.problems(servers, answers)
    if found:
        raise Refused(found, f"{env} is not ready")
    return {"result": True, "comment": f"all {len(servers)} servers of {env} are ready"}


def _even_if(said):
    if said not in (None, "failing"):
        raise Refused([f"even_if: only `failing` can be said, not {said}"])
    return said


def _of_deploy(deploy, commit, even_if):
    """What was typed about the deploy, None what wasn't."""
    return {"deploy": None if deploy else False, "commit": commit, "even_if": even_if}


def _planned(plan, how):
    """A plan as it's shown, with what would carry it out."""
    shown = outcome.of_plan(how if plan.steps else "", plan.problems)
    return {"data": shown | telling.as_data(plan) | {"lines": telling.lines(plan)}, "outputter": "environment"}
