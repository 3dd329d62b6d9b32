"""Inserts rows as OMERO does: owned by a user in a group, made in an event of a session."""
OWNER = "demo-importer"


class Rows:
    """New rows of one owner, in one event. `group` and `permissions` are those of the group that they belong to."""

    def __init__(self, cursor, group, permissions):
        self._cursor = cursor
        owner = self._owner(group)
        event = self._event(owner, group)
        self._details = {"permissions": permissions, "version": 0, "group_id": group, "owner_id": owner,
                         "creation_id": event, "update_id": event}

    def add(self, table, **values):
        """A new row; its id is returned. Names are column names, in any case."""
        return self._insert(table, {**values, **self._details})

    def annotate(self, table, parent, namespace, pairs):
        """A map annotation of the `parent` in `table`: names and values in order."""
        annotation = self.add("annotation", discriminator="/map/", ns=namespace)
        for index, (name, value) in enumerate(pairs):
            self._cursor.execute("insert into annotation_mapvalue (annotation_id, name, value, index) "
                                 "values (%s, %s, %s, %s)", [annotation, name, value, index])
        self.add(f"{table}annotationlink", parent=parent, child=annotation)

    def value(self, table, value):
        """The id of an enumeration's value."""
        self._cursor.execute(f"select id from {table} where value = %s", [value])
        return self._cursor.fetchone()[0]

    def _insert(self, table, values):
        columns = ", ".join(f'"{name.lower()}"' for name in values)
        places = ", ".join(["%s"] * len(values))
        self._cursor.execute(f"insert into {table} ({columns}) values ({places}) returning id", list(values.values()))
        return self._cursor.fetchone()[0]

    def _owner(self, group):
        self._cursor.execute("select id from experimenter where omeName = %s", [OWNER])
        found = self._cursor.fetchone()
        if found:
            return found[0]
        # without a row in `password`, so that nobody logs in as this user
        owner = self._insert("experimenter", {"version": 0, "omeName": OWNER, "firstName": "Demo",
                                              "lastName": "Importer"})
        for index, member_of in enumerate((group, 1)):
            self._insert("groupexperimentermap", {"version": 0, "parent": member_of, "child": owner,
                                                  "child_index": index})
        return owner

    def _event(self, owner, group):
        return self._insert("event", {
            "version": 0, "time": "2020-06-01 12:00:00", "type": self.value("eventtype", "User"), "experimenter": owner,
            "experimenterGroup": group, "session": 0})
