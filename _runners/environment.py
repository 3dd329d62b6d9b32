"""What an operator types about a whole environment."""

from pathlib import Path

import salt.client

from idr import enrol as enrolment
from idr import readiness, topology, values
from idr.door import door, milestones
from idr.errors import Refused

__load__ = ["enrol", "check"]


@door
def enrol(env, apply=False, replace=None, site=None, **kwargs):
    """
    Bring Salt to the servers of an environment, from a checkout and over SSH: the master on its proxy, with this
    checkout's commit, and a minion on every server.

    env:      the environment, a file of ``pillar/environments/``
    replace:  servers that were made anew, comma-separated: their old keys are forgotten
    site:     the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    Without ``apply=True`` the plan is returned and nothing changes. Refused, with all reasons at once, where a server
    can't be reached under its known SSH host key, where a key isn't the one that its server has, where the master has a
    key of no server of this environment, and from a checkout that isn't clean. Applied again it changes nothing.

    CLI Example:

    .. code-block:: bash

        salt-run environment.enrol idr
        salt-run environment.enrol idr apply=True
        salt-run environment.enrol idr apply=True replace=idr-omero
    """
    folder = Path(site or f"~/.config/idr/{env}").expanduser()
    if site and not (folder.is_absolute() and folder.is_dir()):
        raise Refused([f"site: has to be the absolute path of a directory that is there, not {site}"])
    named = replace.split(",") if isinstance(replace, str) else replace or []
    plan, changed = enrolment.enrol(env, apply, named, folder, milestones(__opts__, "environment/enrol"))
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
def check(env=None, **kwargs):
    """
    Find everything that keeps an environment from a deploy, on its master: values of pillar that can't be meant, servers
    that don't answer, states that don't render, data volumes that can't be used as they are.

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
    servers = list(topology.read(env).servers)
    with salt.client.LocalClient(mopts=__opts__) as client:
        answers = client.cmd(servers, "readiness.problems", tgt_type="list", timeout=60)
    found = values.problems_on_master(__opts__) + readiness.problems(servers, answers)
    if found:
        raise Refused(found, f"{env} is not ready")
    return {"result": True, "comment": f"all {len(servers)} servers of {env} are ready"}
