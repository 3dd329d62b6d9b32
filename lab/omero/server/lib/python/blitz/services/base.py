"""What all services have in common: the database, and the session on whose behalf they are called."""

from ..graph import entities
from ..hql import translate


def class_name(name):
    """The name of a class of OMERO's model, however a client calls it: `ome.model.core.Image`, `ImageI`."""
    name = name.rsplit(".", 1)[-1].rsplit("::", 1)[-1]
    return name.removesuffix("I")


class Service:
    """A service of one session. Calls that a subclass has no method for are refused by name."""

    def __init__(self, database, sessions, session, settings):
        self.database = database
        self.sessions = sessions
        self.session = session
        self.settings = settings

    def objects(self, query, **values):
        """The objects that this HQL selects, among those that the session's user may see."""
        with self.database.cursor() as cursor:
            return entities(cursor, self.session, translate(query, values, self.session.visible_groups))

    def activate(self):
        pass

    def passivate(self):
        pass

    def close(self):
        pass
