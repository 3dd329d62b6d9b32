"""
The plan of an environment: what of the cloud's facts has to change for it to be as wanted, and what blocks that.

A pure function. Whoever carries the plan out decides nothing; whoever reads it sees all that will happen.
"""

from idr.cloud import addresses, checks, groups, mark, networks, servers, volumes
from idr.cloud.draft import Draft


def plan(wanted, facts, run):
    """
    The Plan from FACTS to WANTED, with all problems at once; without any, an environment as wanted has no steps.

    run:  the id of the run that would carry it out, which is said on whatever it makes
    """
    draft = Draft(wanted, facts, run)
    external = networks.plan(draft)
    groups.plan(draft)
    image = checks.image(draft)
    flavors = checks.flavors(draft, image)
    volumes.plan(draft)
    servers.plan(draft, image, flavors)
    addresses.plan(draft, external)
    checks.quotas(draft)
    _note_unwanted(draft)
    return draft.plan()


def _note_unwanted(draft):
    """What is the environment's own and no longer asked for: it stays, and is told of."""
    wanted = {server.name for server in draft.wanted.servers} | {volume.name for volume in draft.wanted.volumes}
    servers, volumes = (draft.facts.of(draft.environment, kind) for kind in ("server", "volume"))
    for thing in (*servers, *(it for it in volumes if mark.is_current(it))):
        if thing.name not in wanted:
            draft.keep(thing)
            draft.notes.append(f"{thing.kind} {thing.name} ({thing.id}) isn't in pillar any more: it stays as it is")
