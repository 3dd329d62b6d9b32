"""What an operator types about a whole environment."""

from pathlib import Path

import salt.client

from idr import enrol as enrolment
from idr import readiness, table, values
from idr import show as showing
from idr import ssh_config as openssh
from idr import update as updating
from idr.door import door, milestones
from idr.errors import Refused

__load__ = ["enrol", "update", "show", "ssh_config", "check"]


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
    plan, changed = enrolment.enrol(env, apply, remade, commit, _folder(env, site), tell)
    if changed:
        return {"result": True, "comment": f"{env} is enrolled", "done": [str(step) for step in plan]}
    if not plan:
        return {"result": True, "comment": f"{env} is enrolled: nothing to change"}
    return {
        "result": True,
        "comment": f"a plan, nothing was changed. To do it: salt-run environment.enrol {env} apply=True",
        "plan": [str(step) for step in plan],
    }


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
    if even_if not in (None, "failing"):
        raise Refused([f"even_if: only `failing` can be said, not {even_if}"])
    tell = milestones(__opts__, "environment/update")
    done = updating.update(env, apply, commit, even_if, _folder(env, site), tell)
    rehearsal, deployed = done.rehearsal, done.deployed
    answer = {"result": True, "comment": f"{env}: nothing to change"}
    if done.commits:
        answer["commits"] = done.commits
    if done.steps:
        answer["done" if apply else "plan"] = done.steps
    if deployed:
        answer["changed"] = deployed.changed
        answer["report"] = f"{env}-proxy:{deployed.report}"
        answer["comment"] = f"{env} is deployed"
        if deployed.failed:
            answer |= {"result": False, "comment": f"the deploy of {env} failed", "problems": deployed.failed}
        return answer
    if done.steps and apply:
        answer["comment"] = f"{env} has this commit; its servers have nothing to change"
    elif not (rehearsal.is_empty and not done.steps):
        how = f"salt-run environment.update {env} apply=True" + (f" commit={commit}" if commit else "")
        answer["comment"] = f"a plan, nothing that serves was changed. To do it: {how}"
        if rehearsal.would:
            answer["changes"] = rehearsal.would
        if rehearsal.new:
            answer["new"] = [f"{id_}: nothing was ever deployed on it" for id_ in rehearsal.new]
        if rehearsal.fails:
            answer |= {"result": False, "comment": "a plan that wouldn't succeed", "failing": rehearsal.fails}
    return answer


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
    seen = showing.show(env, drift, _folder(env, site), milestones(__opts__, "environment/show"))
    if seen["down"]:
        seen["retcode"] = 1  # of the shell; that of an orchestration is in the context
        __context__["retcode"] = 1
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
    environment, _ = table.of_operator(env, _folder(env, site))
    return openssh.text(environment, user)


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


def _folder(env, site):
    """The operator's site directory."""
    folder = Path(site or f"~/.config/idr/{env}").expanduser()
    if site and not (folder.is_absolute() and folder.is_dir()):
        raise Refused([f"site: has to be the absolute path of a directory that is there, not {site}"])
    return folder
