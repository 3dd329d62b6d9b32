"""A set taken by an environment's own master, from wherever it's asked for; over there it runs in a unit of its own."""

from idr import at_master

CREATE = "backup/create"
UNIT = "idr-backup.service"


def plan(env, folder, **given):
    """What the set of an environment would be, as ``backup.create`` tells it."""
    return at_master.answer(env, folder, _words(env, given))


def create(env, folder, tell, **given):
    """
    Have a set of an environment taken, or follow the one that is being taken; what ``backup.create`` returns.

    folder:  the operator's site directory
    tell:    is told one line of progress at a time
    given:   that door's arguments
    """
    return at_master.run(env, folder, _words(env, {"apply": True} | given), UNIT, CREATE, tell)


def _words(env, given):
    return ["backup.create", env, *(f"{key}={value}" for key, value in given.items() if value)]
