"""Makes omero.model objects from rows: plain properties filled in, associations as unloaded objects that only know
their id, unless the query fetched them."""
import contextlib
import datetime

import omero
import omero.model
from omero.rtypes import rbool, rdouble, rint, rlong, rmap, robject, rstring, rtime

from .model import ANNOTATION_OF, ENTITIES, UNITS

EPOCH = datetime.datetime(1970, 1, 1)
RESTRICTIONS = ("canLink", "canEdit", "canDelete", "canAnnotate", "canChgrp", "canChown")
# PostgreSQL's type numbers
RTYPES = {16: rbool, 20: rlong, 21: rint, 23: rint, 25: rstring, 1043: rstring, 700: rdouble, 701: rdouble}
TIMESTAMP, NUMERIC = 1114, 1700


def milliseconds(moment):
    """A timestamp of the database, which is in UTC, as OMERO counts time."""
    return int((moment - EPOCH).total_seconds() * 1000)


def moment(milliseconds):
    """The timestamp for the database of a time as OMERO counts it."""
    return EPOCH + datetime.timedelta(milliseconds=milliseconds)


def wrap(value, type_code):
    """A value of the database as one of OMERO's RTypes."""
    if value is None:
        return None
    if type_code == TIMESTAMP:
        return rtime(milliseconds(value))
    if type_code == NUMERIC:        # what PostgreSQL makes of sum(bigint)
        return rlong(int(value))
    if type_code not in RTYPES:
        raise omero.ApiUsageException(None, None, f"values of the database type {type_code} are not supported")
    return RTYPES[type_code](value)


def permissions(bits, owner, viewer):
    """The permissions of an object, with what `viewer` (a Session) may not do to it."""
    made = omero.model.PermissionsI(bits)
    made._restrictions = [not viewer.may_change(owner)] * len(RESTRICTIONS)
    return made


def permissions_map(bits, owner, viewer):
    """The same as a projection gives it."""
    allowed = rbool(viewer.may_change(owner))
    return rmap({"perm": rstring(str(omero.model.PermissionsI(bits))), **dict.fromkeys(RESTRICTIONS, allowed)})


class Graph:
    """The objects of one answer, each made once, read with `cursor` and shown to `viewer`."""

    def __init__(self, cursor, viewer):
        self._cursor = cursor
        self._viewer = viewer
        self._made = {}
        self._rows = {}
        self._kinds = {}

    def get(self, entity, identity):
        """The object with this id, None where there is none."""
        return self._made.get((entity.table, identity))

    def load(self, entity, ids):
        """Read all objects of these ids that aren't there yet."""
        missing = [i for i in set(ids) if i is not None and (entity.table, i) not in self._made]
        if not missing:
            return
        self._cursor.execute(f"select * from {entity.table} where id = any(%(ids)s)", {"ids": missing})
        names = [column.name for column in self._cursor.description]
        rows = [dict(zip(names, values, strict=True)) for values in self._cursor.fetchall()]
        self._find_kinds([row[name] for row in rows for name, one in entity.one.items() if one == "Annotation"])
        for row in rows:
            self._rows[entity.table, row["id"]] = row
            self._made[entity.table, row["id"]] = self._object(entity, row)
        if entity.table == "annotation":
            self._map_values(missing)

    def attach(self, fetch, pairs):
        """Fill in an association of objects that were loaded: `pairs` are the ids of its owner and of what it names."""
        self.load(fetch.entity, [child for _, child in pairs])
        for parent_id, child_id in dict.fromkeys(pairs):
            parent = self.get(fetch.owner, parent_id)
            if parent is None:
                continue
            child = self.get(fetch.entity, child_id)
            if fetch.name.startswith("details."):
                setattr(parent._details, f"_{fetch.name[8:]}", child)
            elif fetch.name in fetch.owner.one:
                setattr(parent, f"_{fetch.name}", child)
            else:
                self._append(parent, fetch, child)

    def _append(self, parent, fetch, child):
        if not getattr(parent, f"_{fetch.name}Loaded"):
            setattr(parent, f"_{fetch.name}Seq", [])
            setattr(parent, f"_{fetch.name}Loaded", True)
        children = getattr(parent, f"_{fetch.name}Seq")
        if child is None:
            return
        children.append(child)
        if fetch.entity.index:
            index = fetch.entity.index.lower()
            children.sort(key=lambda one: self._rows[fetch.entity.table, one.id.val][index])

    def _find_kinds(self, annotations):
        """Even an unloaded annotation is of a certain class, which only its own row tells."""
        if annotations:
            self._cursor.execute("select id, discriminator from annotation where id = any(%(ids)s)",
                                 {"ids": annotations})
            self._kinds.update(self._cursor.fetchall())

    def _unloaded(self, kind, identity):
        if kind == "Annotation":
            kind = ANNOTATION_OF[self._kinds[identity]]
        return ENTITIES[kind].python(identity, False)

    def _object(self, entity, row):
        if entity.table == "annotation":
            entity = ENTITIES[ANNOTATION_OF[row["discriminator"]]]
        made = entity.python(row["id"], True)
        made.unloadCollections()
        for name, info in zip(made._field_info._fields, made._field_info, strict=True):
            column = name.lower()
            if name in entity.one:
                if row[column] is not None:
                    setattr(made, f"_{name}", self._unloaded(entity.one[name], row[column]))
            elif name in UNITS and row.get(column) is not None:
                unit = row[f"{column}unit"]
                setattr(made, f"_{name}", getattr(omero.model, f"{UNITS[name]}I")(row[column], unit))
            elif row.get(column) is not None and info.wrapper is not omero.proxy_to_instance:
                value = row[column]
                if isinstance(value, datetime.datetime):
                    value = milliseconds(value)
                setattr(made, f"_{name}", info.wrapper(value))
        if "version" in row and hasattr(made, "_version"):
            made._version = rint(row["version"] or 0)
        self._details(entity, made, row)
        return made

    def _details(self, entity, made, row):
        details = made._details = omero.model.DetailsI()
        details._permissions = permissions(row["permissions"], row.get("owner_id", -1), self._viewer)
        if entity.owned:
            details._owner = omero.model.ExperimenterI(row["owner_id"], False)
            details._group = omero.model.ExperimenterGroupI(row["group_id"], False)
            details._creationEvent = omero.model.EventI(row["creation_id"], False)
            details._updateEvent = omero.model.EventI(row["update_id"], False)

    def _map_values(self, ids):
        self._cursor.execute("select annotation_id, name, value from annotation_mapvalue "
                             "where annotation_id = any(%(ids)s) order by annotation_id, index", {"ids": ids})
        for annotation, name, value in self._cursor.fetchall():
            made = self._made["annotation", annotation]
            made._mapValue = [*(made._mapValue or []), omero.model.NamedValue(name, value)]


def entities(cursor, viewer, translation):
    """The objects that a translated query selects, in its order, each once, with what it fetches."""
    (item,) = translation.items
    if item.kind != "entity":
        raise omero.ApiUsageException(None, None, "the query selects no object: projection() is for that")
    cursor.execute(translation.sql, translation.parameters)
    rows = cursor.fetchall()
    graph = Graph(cursor, viewer)
    ids = list(dict.fromkeys(row[0] for row in rows if row[0] is not None))
    graph.load(item.entity, ids)
    for number, fetch in enumerate(translation.fetches):
        at = 1 + 2 * number
        graph.attach(fetch, [(row[at], row[at + 1]) for row in rows])
    return [made for made in (graph.get(item.entity, i) for i in ids) if made is not None]


def projection(cursor, viewer, translation):
    """The rows that a translated query selects, each a list of RTypes."""
    cursor.execute(translation.sql, translation.parameters)
    types = [column.type_code for column in cursor.description]
    rows = cursor.fetchall()
    if translation.distinct:
        rows = list(dict.fromkeys(tuple(map(_hashable, row)) for row in rows))
    graph = Graph(cursor, viewer)
    answer = []
    for row in rows:
        cells = iter(zip(row, types, strict=True))
        answer.append([_cell(item, cells, graph, viewer) for item in translation.items])
    return answer


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def _cell(item, cells, graph, viewer):
    if item.kind == "map":
        return rmap({key: _cell(inner, cells, graph, viewer) for key, inner in item.items.items()})
    value, type_code = next(cells)
    if item.kind == "permissions":
        return permissions_map(*value, viewer)
    if item.kind == "entity":
        graph.load(item.entity, [value])
        return robject(graph.get(item.entity, value))
    return wrap(value, type_code)


def parameters_of(parameters):
    """The named values of a client's Parameters as Python's own, and its paging: (values, offset, limit)."""
    if parameters is None:
        return {}, 0, None
    values = {}
    for name, value in (parameters.map or {}).items():
        if isinstance(value, omero.RTime):
            value = moment(value.val)
        with contextlib.suppress(AttributeError):   # wrapped times and None are what they are
            value = omero.rtypes.unwrap(value)
        values[name] = value
    paging = parameters.theFilter
    if paging is None or paging.limit is None:
        return values, 0, None
    return values, paging.offset.val if paging.offset else 0, paging.limit.val
