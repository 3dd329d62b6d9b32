"""A Neutron as far as an environment's lock needs one: security groups that keep revisions and tags."""

import itertools
import random
import threading
import time
from types import SimpleNamespace
from urllib.parse import unquote

from openstack import exceptions

PROJECT = "p"


class Neutron:
    """Security groups with revision numbers; LOSE is how many answers of writes get lost after their effect."""

    def __init__(self, slow=0.0):
        self.kept, self.numbers, self.inside, self.slow = {}, itertools.count(1), threading.Lock(), slow
        self.lose, self.refuse, self.gone, self.careless = 0, False, False, False

    def _write(self, change):
        time.sleep(random.uniform(0, self.slow))
        with self.inside:
            change()
            self.lose -= 1
            if self.lose >= 0:
                raise _error(exceptions.HttpException, "the answer got lost", 503)

    def create_security_group(self, name, description):
        number = next(self.numbers)

        def change():
            said = {"name": name, "description": description, "created_at": "2026-11-24T05:00:00Z"}
            self.kept[f"g{-number}"] = SimpleNamespace(id=f"g{-number}", revision_number=1, tags=[], **said)

        self._write(change)

    def _own(self, group, if_revision):
        found = self.kept.get(getattr(group, "id", group))
        if found is None:
            raise _error(exceptions.NotFoundException, "no such group", 404)
        if if_revision != found.revision_number:
            raise _error(exceptions.PreconditionFailedException, "changed meanwhile", 412)
        return found

    def update_security_group(self, group, if_revision, description):
        if self.careless and random.random() < 0.5:  # as Neutron where two meet: the condition is forgotten
            if_revision = self.kept[getattr(group, "id", group)].revision_number
        if self.gone and "held by" not in description:
            raise _error(exceptions.HttpException, "down", 400)

        def change():
            found = self._own(group, if_revision)
            found.description, found.revision_number = description, found.revision_number + 1

        self._write(change)

    def put(self, path):
        """A tag is put on a group; it takes nothing from what others put on it."""
        self._tag(path, lambda tags, tag: [*tags, tag])
        return SimpleNamespace(status_code=200)

    def delete(self, path):
        self._tag(path, lambda tags, tag: [each for each in tags if each != tag])
        return SimpleNamespace(status_code=204)

    def _tag(self, path, how):
        _, _, id_, _, tag = path.split("/")

        def change():
            if id_ not in self.kept:
                raise _error(exceptions.HttpException, "internal server error", 500)
            group = self.kept[id_]
            group.tags, group.revision_number = how(group.tags, unquote(tag)), group.revision_number + 1

        self._write(change)

    def delete_security_group(self, group, if_revision):
        if self.refuse:
            raise _error(exceptions.ConflictException, "in use", 409)
        self._write(lambda: self.kept.pop(self._own(group, if_revision).id))

    def get_security_group(self, id_):
        with self.inside:
            if id_ not in self.kept:
                raise _error(exceptions.NotFoundException, "no such group", 404)
            return SimpleNamespace(**vars(self.kept[id_]))

    def security_groups(self, name, project_id):
        assert project_id == PROJECT
        time.sleep(random.uniform(0, self.slow))
        with self.inside:
            return [SimpleNamespace(**vars(group)) for group in self.kept.values() if group.name == name]

    @property
    def descriptions(self):
        return [group.description for group in self.kept.values()]


def _error(kind, text, status):
    error = kind(text)
    error.status_code = status
    return error
