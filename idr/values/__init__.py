"""
Pillar checked before anything happens: every value of every server, by a parser that says all that is wrong with it,
each thing with its server and place. Values of secrets are never looked at, only whether they are there.
"""

from idr import table
from idr.values import compiled, servers


def problems(environment, text, folder):
    """
    What is wrong with an environment's pillar as this checkout and a site's directory make it, one line each.

    text:    the environment's table
    folder:  the operator's site directory; its ``site.sls`` has the last word. It needn't be there.

    What only a site can give isn't demanded: the master may have it from before.
    """
    with compiled.options_of_checkout(environment.name, text, folder) as opts:
        return _problems(environment, opts, demanded=False)


def problems_on_master(opts):
    """
    What is wrong with the pillar of a master's environment as that master compiles it, one line each.

    opts:  the master's configuration, ``__opts__`` of its runners

    Refused where the environment's table is broken or isn't there.
    """
    return _problems(table.of_master(opts), opts, demanded=True)


def _problems(environment, opts, demanded):
    pillars, unrendered = compiled.pillars(opts, environment.servers)
    return unrendered or servers.problems(environment, pillars, demanded)
