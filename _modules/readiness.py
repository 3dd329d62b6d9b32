"""
What keeps a server from being configured, found without touching it and all at once: the gate before a deploy.
"""


def problems():
    """
    One line for each thing that would make a highstate of this server fail or do harm; empty when it's ready.

    Asks for pillar that doesn't render, a state run that is under way, states that don't render, data volumes that
    can't be used as they are, and a database that PostgreSQL's role would refuse. States are rendered here and thrown
    away: what they contain may be secret and stays on the server.

    CLI Example:

    .. code-block:: bash

        salt '*' readiness.problems
    """
    found = [f"{__opts__['id']}: pillar: {error}" for error in __pillar__.get("_errors", ())]
    found += [f"{__opts__['id']}: {run}" for run in __salt__["state.running"]()]
    if found:
        return found
    rendered = __salt__["state.show_lowstate"]()
    found += [f"{__opts__['id']}: states: {error}" for error in rendered if not isinstance(error, dict)]
    found += __salt__["data_volume.problems"]()
    if __pillar__["server"]["role"] == "database":
        found += __salt__["pg_cluster.problems"]()
    return found
