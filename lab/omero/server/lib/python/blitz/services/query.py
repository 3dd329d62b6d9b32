"""IQuery: objects and values by HQL."""
import omero

from ..calls import NO_OBJECT
from ..graph import entities, parameters_of, projection
from ..hql import translate
from ..model import ENTITIES
from ..words import NotSupported
from .base import Service, class_name


class Query(Service):
    """Queries. Paging counts objects, or rows where values are selected."""

    def get(self, kind, identity):
        found = self.find(kind, identity)
        if found is NO_OBJECT:
            raise omero.ValidationException("", "", f"No {kind} with the id {identity}")
        return found

    def find(self, kind, identity):
        return next(iter(self.objects(f"select o from {self._class(kind)} o where o.id = :id", id=identity)), NO_OBJECT)

    def findAll(self, kind, paging):
        return self.objects(f"select o from {self._class(kind)} o order by o.id")

    def findByString(self, kind, field, value):
        return next(iter(self.findAllByString(kind, field, value, True, None)), NO_OBJECT)

    def findAllByString(self, kind, field, value, case_sensitive, paging):
        if case_sensitive:
            return self.objects(f"select o from {self._class(kind)} o where o.{field} = :value", value=value)
        return self.objects(f"select o from {self._class(kind)} o where lower(o.{field}) = :value", value=value.lower())

    def findByQuery(self, query, parameters):
        found = self.findAllByQuery(query, parameters)
        if len(found) > 1:
            raise omero.ValidationException("", "", f"the query has {len(found)} results, not one")
        return found[0] if found else NO_OBJECT

    def findAllByQuery(self, query, parameters):
        values, offset, limit = parameters_of(parameters)
        with self.database.cursor() as cursor:
            found = entities(cursor, self.session, translate(query, values, self.session.visible_groups))
        return found[offset:] if limit is None else found[offset:offset + limit]

    def projection(self, query, parameters):
        values, offset, limit = parameters_of(parameters)
        with self.database.cursor() as cursor:
            rows = projection(cursor, self.session, translate(query, values, self.session.visible_groups))
        return rows[offset:] if limit is None else rows[offset:offset + limit]

    @staticmethod
    def _class(name):
        name = class_name(name)
        if name not in ENTITIES:
            raise NotSupported(f"the class {name}")
        return name
