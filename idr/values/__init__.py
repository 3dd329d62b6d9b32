"""
Pillar checked before anything happens: every value of every server, by a parser that says all that is wrong with it,
each thing with its server and place. Values of secrets are never looked at, only whether they are there.
"""

from idr import topology
from idr.values import compiled, servers


def problems(name, folder):
    """
    What is wrong with the pillar of environment NAME as this checkout and a site's directory make it, one line each.

    folder:  the operator's site directory; its ``site.sls`` has the last word. It needn't be there.

    What only a site can give isn't demanded: the master may have it from before. Refused where the environment's own
    file is broken.
    """
    environment = topology.read(name)
    with compiled.options_of_checkout(name, folder) as opts:
        return _problems(environment, opts, demanded=False)


def problems_on_master(opts):
    """
    What is wrong with the pillar of a master's environment as that master compiles it, one line each.

    opts:  the master's configuration, ``__opts__`` of its runners
    """
    return _problems(topology.read(opts["idr_environment"]), opts, demanded=True)


def _problems(environment, opts, demanded):
    pillars, unrendered = compiled.pillars(opts, environment.servers)
    return unrendered or servers.problems(environment, pillars, demanded)
