"""Translates the HQL that OMERO's clients send into SQL.

A query is rewritten token by token: its FROM clause says which aliases there are, and then every path
(`well.plate.name`) becomes a column, with joins added on the way. What isn't understood is refused, never guessed.
"""
import json
from dataclasses import dataclass, field

from .model import ANNOTATIONS, ENTITIES, UNITS, Entity
from .words import NotSupported, closing, split, words_of

CLAUSES = ("select", "from", "where", "group", "having", "order")
JOINS = ("join", "left", "right", "inner", "outer", "fetch")
KEYWORDS = {"and", "or", "not", "in", "is", "null", "like", "ilike", "between", "exists", "case", "when", "then",
            "else", "end", "distinct", "asc", "desc", "true", "false", "by", "as"}
FUNCTIONS = {"count", "max", "min", "sum", "avg", "lower", "upper", "length", "coalesce", "abs", "trim", "concat",
             "nullif", "substring"}
INDEXES = {"index": "{}", "minindex": "min({})", "maxindex": "max({})"}


@dataclass(frozen=True)
class Alias:
    """A table in the FROM clause: what HQL calls an alias, and its name in SQL."""
    entity: Entity
    sql: str


@dataclass(frozen=True)
class Fetch:
    """An association that the query wants filled in: `name` of the object whose id is in column `parent`."""
    owner: Entity
    name: str
    entity: Entity
    parent: str
    child: str


@dataclass
class Item:
    """One thing selected: a `value`, an `entity`, its `permissions`, or a `map` of such items by key."""
    kind: str
    columns: list
    entity: Entity = None
    items: dict = field(default_factory=dict)


@dataclass
class Scope:
    """The aliases of one SELECT, inside those of the SELECT around it."""
    parent: "Scope" = None
    aliases: dict = field(default_factory=dict)
    roots: list = field(default_factory=list)
    sources: list = field(default_factory=list)
    conditions: list = field(default_factory=list)
    implied: dict = field(default_factory=dict)

    def find(self, name):
        """The alias of this name, and the scope that it belongs to."""
        if name in self.aliases:
            return self.aliases[name], self
        return self.parent.find(name) if self.parent else (None, None)


@dataclass
class Translation:
    """SQL with its parameters, and how to read its columns: first those of `items`, then two for every fetch."""
    sql: str
    parameters: dict
    items: list
    fetches: list
    distinct: bool
    joined: bool


def translate(query, parameters, groups=None):
    """The Translation of `query`. `groups` are the ids of the groups whose objects may be seen, None for all.

    Refuses (NotSupported) what it doesn't understand.
    """
    return _Translator(dict(parameters), groups).translation(words_of(query))


class _Translator:
    def __init__(self, parameters, groups):
        self.parameters = parameters
        self.groups = groups
        self.fetches = []
        self.tables = 0

    def translation(self, tokens):
        clauses = self._clauses(tokens)
        scope = Scope()
        self._from(clauses.get("from", []), scope)
        if self.groups is not None:
            self.parameters["visible_groups"] = list(self.groups)
            scope.conditions += [f"{root.sql}.group_id = any(%(visible_groups)s)" for root in scope.roots
                                 if root.entity.owned]
        selected = clauses.get("select", [])
        distinct = bool(selected) and selected[0].is_word("distinct")
        if distinct:
            selected = selected[1:]
        if selected:
            items = [self._item(part, scope) for part in split(selected, ",")]
        else:
            items = [Item("entity", [f"{scope.roots[0].sql}.id"], scope.roots[0].entity)]
        columns = [column for item in items for column in item.columns]
        columns += [column for fetch in self.fetches for column in (fetch.parent, fetch.child)]
        sql = self._sql(columns, clauses, scope)
        return Translation(sql, self.parameters, items, self.fetches, distinct, len(scope.sources) > 1)

    def _sql(self, columns, clauses, scope):
        conditions = list(scope.conditions)
        if "where" in clauses:
            conditions.append(f"({self._expression(clauses['where'], scope)})")
        tail = ""
        for name in ("group", "having", "order"):
            if name in clauses:
                tail += f" {name} {self._expression(clauses[name], scope)}"
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"select {', '.join(columns)} from {' '.join(scope.sources)}{where}{tail}"

    @staticmethod
    def _clauses(tokens):
        clauses, depth, current = {}, 0, None
        for token in tokens:
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0 and token.is_word(*CLAUSES):
                current = clauses.setdefault(token.text.lower(), [])
            elif current is None:
                raise NotSupported(f"a query that begins with {token.text}")
            else:
                current.append(token)
        return clauses

    # FROM

    def _from(self, tokens, scope):
        at = 0
        while at < len(tokens):
            kinds = []
            while at < len(tokens) and tokens[at].is_word(*JOINS):
                kinds.append(tokens[at].text.lower())
                at += 1
            if tokens[at].text == ",":
                at += 1
            path = tokens[at].text
            at += 1
            if at < len(tokens) and tokens[at].is_word("as"):
                at += 1
            name = None
            if at < len(tokens) and tokens[at].kind == "name" and not tokens[at].is_word(*JOINS, "with", "on"):
                name = tokens[at].text
                at += 1
            if at < len(tokens) and tokens[at].is_word("with", "on"):
                raise NotSupported("a join with a condition")
            if kinds:
                self._join(path, name, "left" if "left" in kinds else "inner", "fetch" in kinds, scope)
            else:
                self._root(path, name, scope)
        if not scope.roots:
            raise NotSupported("a query without FROM")

    def _root(self, name, alias, scope):
        if name not in ENTITIES:
            raise NotSupported(f"the class {name}")
        root = self._alias(ENTITIES[name])
        scope.sources.append(f"{'cross join ' if scope.sources else ''}{root.entity.table} {root.sql}")
        scope.conditions += self._kind(root)
        scope.roots.append(root)
        scope.aliases[alias or name] = root

    def _alias(self, entity):
        self.tables += 1
        return Alias(entity, f"t{self.tables}")

    @staticmethod
    def _kind(alias):
        return [f"{alias.sql}.discriminator like '{alias.entity.kind}%%'"] if len(alias.entity.kind) > 1 else []

    def _join(self, path, name, kind, fetch, scope):
        alias, owner, properties = self._start(path, scope)
        if properties[-1] in UNITS:
            return      # a value with its unit is part of its row
        for prop in properties[:-1]:
            alias = self._follow(alias, prop, owner, fetch)
        joined = self._follow(alias, properties[-1], scope, fetch, kind)
        if name:
            scope.aliases[name] = joined

    def _follow(self, alias, prop, scope, fetch=False, kind=None):
        """The alias that the association leads to; an implied one (no kind) is joined once only."""
        if kind is None and (alias.sql, prop) in scope.implied:
            return scope.implied[alias.sql, prop]
        entity = alias.entity
        if prop in entity.many:
            target, back = entity.many[prop]
            joined = self._alias(ENTITIES[target])
            column = ENTITIES[target].foreign_key(back)[0] if back in ENTITIES[target].one else back
            on = [f'{joined.sql}."{column}" = {alias.sql}.id']
        elif prop in entity.one or prop.startswith("details."):
            column, target = entity.foreign_key(prop)
            if target not in ENTITIES:
                raise NotSupported(f"joining {entity.name}.{prop}")
            joined = self._alias(ENTITIES[target])
            on = [f'{joined.sql}.id = {alias.sql}."{column}"']
        else:
            raise NotSupported(f"the association {entity.name}.{prop}")
        scope.sources.append(
            f"{kind or 'left'} join {joined.entity.table} {joined.sql} on {' and '.join(on + self._kind(joined))}")
        if kind is None:
            scope.implied[alias.sql, prop] = joined
        if fetch and target != "NamedValue":
            self.fetches.append(Fetch(entity, prop, joined.entity, f"{alias.sql}.id", f"{joined.sql}.id"))
        return joined

    # Paths

    def _start(self, path, scope):
        """The alias that a path begins at, its scope, and the properties after it."""
        parts = path.split(".")
        alias, owner = scope.find(parts[0])
        if alias:
            parts = parts[1:]
        elif len(scope.roots) == 1:
            alias, owner = scope.roots[0], scope    # a property without its alias
        else:
            raise NotSupported(f"{path}, which begins with no alias of the query")
        properties = []
        while parts:
            length = 2 if parts[0] == "details" else 1
            properties.append(".".join(parts[:length]))
            parts = parts[length:]
        return alias, owner, properties

    def _resolve(self, path, scope):
        """What a path is: an Item that is a value, an entity (by its id) or permissions."""
        alias, owner, properties = self._start(path, scope)
        if not properties:
            return Item("entity", [f"{alias.sql}.id"], alias.entity)
        while len(properties) > 1 and properties[0] not in UNITS:
            column, target = self._foreign_key(alias.entity, properties[0])
            if properties[1:] == ["id"]:
                return Item("value", [f'{alias.sql}."{column}"'])
            alias, properties = self._follow(alias, properties[0], owner), properties[1:]
        name, entity, table = properties[0], alias.entity, alias.sql
        if name == "details.permissions":
            return self._permissions(alias)
        if name in entity.one or name.startswith("details."):
            column, target = self._foreign_key(entity, name)
            return Item("entity", [f'{table}."{column}"'], ENTITIES.get(target))
        if name == "class" and entity.kind:
            return Item("value", [f"{table}.discriminator"])
        if name in UNITS and properties[1:] == ["unit"]:
            name += "Unit"
        elif name in entity.many or name not in {"id", "version", *entity.fields}:
            raise NotSupported(f"the property {entity.name}.{name}")
        return Item("value", [f'{table}."{name.lower()}"'])

    @staticmethod
    def _foreign_key(entity, prop):
        try:
            return entity.foreign_key(prop)
        except KeyError:
            raise NotSupported(f"the association {entity.name}.{prop}") from None

    @staticmethod
    def _permissions(alias):
        owner = f"{alias.sql}.owner_id" if alias.entity.owned else "-1"
        return Item("permissions", [f"array[{alias.sql}.permissions, {owner}]"])

    # SELECT

    def _item(self, tokens, scope):
        if tokens[0].is_word("new") and tokens[1].is_word("map"):
            items = {}
            for part in split(tokens[3:-1], ","):
                item = self._item(part, scope)
                items[part[-1].text] = item
            return Item("map", [column for item in items.values() for column in item.columns], items=items)
        key = ""
        if len(tokens) > 2 and tokens[-2].is_word("as"):
            key, tokens = tokens[-1].text, tokens[:-2]
        if len(tokens) == 1 and tokens[0].kind == "name" and not tokens[0].is_word(*KEYWORDS):
            item = self._resolve(tokens[0].text, scope)
            if item.kind == "entity" and key.endswith("_details_permissions"):
                return self._permissions(scope.find(tokens[0].text)[0])
            return item
        return Item("value", [self._expression(tokens, scope)])

    # Expressions

    def _expression(self, tokens, scope):
        words, at = [], 0
        while at < len(tokens):
            token = tokens[at]
            following = tokens[at + 1].text if at + 1 < len(tokens) else ""
            if token.text == "(" and following.lower() in ("select", "from"):
                end = closing(tokens, at)
                words.append(f"({self._subselect(tokens[at + 1:end], scope)})")
                at = end
            elif token.is_word("in") and (count := self._list_parameter(tokens[at + 1:at + 4])):
                words.append(f"in {self._list(tokens[at + 1:at + 1 + count])}")
                at += count
            elif token.kind == "name" and following == "(" and token.text.lower() in INDEXES:
                alias, _ = scope.find(tokens[at + 2].text)
                words.append(INDEXES[token.text.lower()].format(f'{alias.sql}."{alias.entity.index.lower()}"'))
                at += 3
            elif token.is_word("type") and following == "(":
                words.append(self._class_name(tokens[at + 2], scope))
                at += 3
            else:
                words.append(self._word(token, following, scope))
            at += 1
        return " ".join(words)

    def _class_name(self, token, scope):
        """`type(annotation.class)`: what Java calls the class."""
        self.parameters["class_names"] = json.dumps(
            {kind: f"ome.model.annotations.{name}" for name, kind in ANNOTATIONS.items()})
        return f"(%(class_names)s::jsonb ->> {self._resolve(token.text, scope).columns[0]})"

    def _word(self, token, following, scope):
        if token.kind == "parameter":
            if token.text[1:] not in self.parameters:
                raise NotSupported(f"the parameter {token.text}, which has no value")
            return f"%({token.text[1:]})s"
        if token.kind == "string":
            # as a parameter, so that nothing that a client writes becomes SQL
            name = f"literal_{len(self.parameters)}"
            self.parameters[name] = token.text[1:-1].replace("''", "'")
            return f"%({name})s"
        if token.kind != "name" or token.text.lower() in KEYWORDS:
            return token.text
        if following == "(":
            if token.text.lower() not in FUNCTIONS:
                raise NotSupported(f"the function {token.text}()")
            return token.text
        if token.text in ANNOTATIONS and not scope.find(token.text)[0]:
            return f"'{ANNOTATIONS[token.text]}'"
        return self._resolve(token.text, scope).columns[0]

    def _subselect(self, tokens, parent):
        clauses = self._clauses(tokens)
        scope = Scope(parent)
        self._from(clauses["from"], scope)
        selected = clauses.get("select")
        column = self._expression(selected, scope) if selected else f"{scope.roots[0].sql}.id"
        return self._sql([column], clauses, scope)

    def _list_parameter(self, tokens):
        """How many tokens make a parameter after IN, with or without parentheses; 0 where it is no parameter."""
        if tokens and tokens[0].kind == "parameter":
            return 1
        return 3 if len(tokens) == 3 and tokens[1].kind == "parameter" and tokens[2].text == ")" else 0

    def _list(self, tokens):
        name = next(token.text[1:] for token in tokens if token.kind == "parameter")
        value = self.parameters.get(name)
        if not isinstance(value, list):
            return f"(%({name})s)"
        kind = "text" if value and isinstance(value[0], str) else "int8"
        return f"(select unnest(%({name})s::{kind}[]))"
