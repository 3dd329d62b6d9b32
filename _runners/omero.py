"""What an operator types about OMERO that takes more than its server knows."""

from idr import at_master, outcome, table, upgrading
from idr.asking import asking
from idr.cloud import wanted
from idr.cloud.connection import connect
from idr.door import door, milestones

__load__ = ["upgrade_database"]


@door
def upgrade_database(env, apply=False, side="production", break_lock=None, **kwargs):
    """
    Bring the schema of an environment's OMERO database to the one that its installed OMERO.server wants.

    env:         the environment's name
    side:        ``production`` or ``analysis``
    break_lock:  a run that is known to be dead, as the refusal names it

    On the environment's own master, with that side's OMERO.server stopped. Without ``apply=True`` the plan is returned
    and nothing changes: what ``omero.upgrade_database`` would do on ``<env>-omero`` or ``<env>-a-omero``. Applying
    returns its answer; where the schema is right there's nothing to do.

    Refused, with all reasons at once: where the environment is live by its address, DNS or the record of its release,
    which nothing overrides; where its newest good backup set is older than 28 hours or hasn't that side's database;
    where pillar doesn't allow it (``omero:database:upgrade_allowed``), or the server has anything else against it; and
    while another run is on the environment.

    CLI Example:

    .. code-block:: bash

        salt-run omero.upgrade_database newidr
        salt-run omero.upgrade_database newidr apply=True
        salt-run omero.upgrade_database newidr side=analysis apply=True
    """
    at_master.has_to_be_of(__opts__, env, f"type it there: ssh {env}-proxy")
    environment, cloud = table.of_master(__opts__), connect(wanted.cloud_of(env))
    with asking(__opts__) as ask:
        if not apply:
            return _coming(env, side, upgrading.plan(cloud, environment, ask, side))
        tell = milestones(__opts__, "omero/upgrade_database")
        return _done(*upgrading.upgrade(cloud, environment, ask, side, break_lock, tell))


def _coming(env, side, planned):
    """An upgrade that would be done."""
    which = "" if side == "production" else f" side={side}"
    how = f"salt-run omero.upgrade_database {env}{which} apply=True"
    told = outcome.of_plan(how if planned.steps else "", planned.problems)
    told |= {"server": planned.server, "steps": list(planned.steps)}
    told |= {"backup": f"{planned.backup}, {planned.age} old"} if planned.backup else {}
    return told | ({"notes": list(planned.notes)} if planned.notes else {})


def _done(planned, answer):
    """An upgrade as it was done."""
    if answer is None:
        return {"result": True, "comment": "nothing to change"}
    before = f"before it: {answer.get('dump', 'no dump')} there, and backup set {planned.backup}"
    told = {"result": True, "comment": f"{planned.server}: {answer['from']} is {answer['to']} now; {before}"}
    return told | {"upgraded": answer} | ({"notes": list(planned.notes)} if planned.notes else {})
