"""What an operator types about the analysis side by itself."""

from idr import command
from idr.analysis import outcome, refreshing
from idr.door import door, milestones
from idr.errors import Refused
from idr.site import folder_of

__load__ = ["refresh"]


@door
def refresh(env, apply=False, set=None, minutes=15, even_if=None, break_lock=None, site=None, **kwargs):
    """
    Give the analysis side the data that production had when a backup set was taken: clones of it take the place of that
    side's volumes, users' notebooks stay. Production isn't touched.

    env:         the environment's name
    set:         a set of it, by its id; its newest verified one unless given
    minutes:     that users of JupyterHub are told before, 0 to 1440, from when the clones are there
    even_if:     ``unverified`` for a given set that never was, ``again`` where the side is of that set already,
                 ``drift`` although a deploy would change production's servers, ``hub`` where the hub isn't to be asked;
                 with commas between them
    break_lock:  a run that is known to be dead, as the refusal names it
    site:        the operator's directory for this environment, absolute; ``~/.config/idr/<env>`` unless given

    The volumes that were there are put aside and kept, and told with the command that removes them. Then it's looked
    at: OMERO answers, and no password is production's. Where that isn't so, the exit code is 1 and the hub stays
    drained. Without ``apply=True`` the plan is returned and nothing changes. Applied again for the same set it only
    looks; after a failure it goes on. Refused, with all reasons at once, where the plan has anything of production in
    it, where the deploy that follows would change something there or fail, and where OMERO's schema is another by now.

    CLI Example:

    .. code-block:: bash

        salt-run analysis.refresh idr
        salt-run analysis.refresh idr apply=True minutes=30
    """
    if __opts__.get("idr_environment"):
        raise Refused(["a master's credential makes and removes no servers or volumes: type it in a checkout of yours"])
    asked = refreshing.Refresh(str(env), set, minutes, frozenset(str(even_if).split(",") if even_if else ()))
    folder, tell = folder_of(env, site), milestones(__opts__, "analysis/refresh")
    if apply:
        return outcome.of_refreshed(asked, refreshing.refresh(asked, break_lock, folder, tell))
    how = command.deed(*asked.typed.split(), site=site)
    return {"data": outcome.of_coming(asked, refreshing.plan(asked, folder, tell), how), "outputter": "environment"}
