"""
A Neutron as far as locks and releases need one: security groups, floating IPs and ports that keep revisions and tags.
"""

import itertools
import random
import threading
import time
from types import SimpleNamespace
from urllib.parse import unquote

from keystoneauth1.exceptions import ConnectFailure
from openstack import exceptions

PROJECT = "p"
BEFORE = ("reset", 500, 503, 409, 412, 429)  # what a call may get instead of its effect; `lost`: after it


class Killed(BaseException):
    """Whoever calls is dead, and so is every call that it would still make."""


class Neutron:
    """
    Resources with revision numbers. LOSE is how many answers of writes get lost after their effect. SPOILED says of
    calls, by their number from 0 (``calls`` counts them), what happens to them: one of BEFORE, `lost`, `killed before`
    or `killed after`. HAS_MOVES: whether an address may go from one port to another in one call.
    """

    def __init__(self, slow=0.0):
        self.kept, self.numbers, self.inside, self.slow = {}, itertools.count(1), threading.Lock(), slow
        self.lose, self.refuse, self.gone, self.careless = 0, False, False, False
        self.addresses, self.there, self.spoiled, self.calls, self.is_dead = {}, {}, {}, [], False
        self.has_moves = True

    def _met(self, what, change):
        """A call with what it's spoiled by; WHAT names its kind."""
        if self.is_dead:
            raise Killed
        fault = self.spoiled.get(len(self.calls))
        self.calls.append(what)
        if fault == "killed before":
            self.is_dead = True
            raise Killed
        if fault == "reset":
            raise ConnectFailure("cut")
        if fault in BEFORE:
            kind = {409: exceptions.ConflictException, 412: exceptions.PreconditionFailedException}
            raise _error(kind.get(fault, exceptions.HttpException), "a fault", fault)
        answer = change()
        if fault == "killed after":
            self.is_dead = True
            raise Killed
        if fault == "lost":
            raise ConnectFailure("the answer got lost")
        return answer

    # ---- floating IPs and ports

    def add_port(self, name, environment):
        """A port of an environment's; returns its id."""
        id_, whose = f"p-{name}", f"IDR environment {environment}, made by run-1"
        self.there[id_] = SimpleNamespace(id=id_, name=name, description=whose)
        return id_

    def add_address(self, ip, port=None, description="", tags=()):
        """A floating IP; returns its id."""
        said = {"description": description, "tags": list(tags), "floating_network_id": "n-ext", "revision_number": 1}
        id_ = f"a-{ip}"
        self.addresses[id_] = SimpleNamespace(id=id_, floating_ip_address=ip, port_id=port, **said)
        return id_

    def ips(self, project_id):
        assert project_id == PROJECT
        return self._met("list addresses", lambda: [_copy(it) for it in self.addresses.values()])

    def ports(self, project_id):
        assert project_id == PROJECT
        return self._met("list ports", lambda: [_copy(it) for it in self.there.values()])

    def update_ip(self, id_, if_revision, **what):
        def change():
            found = self.addresses[id_]
            if if_revision != found.revision_number:
                raise _error(exceptions.PreconditionFailedException, "changed meanwhile", 412)
            port = what.get("port_id", found.port_id)
            taken = port and any(it.port_id == port for it in self.addresses.values() if it is not found)
            moves = port and found.port_id not in (None, port)
            if taken or (moves and not self.has_moves):
                raise _error(exceptions.ConflictException, "has one already", 409)
            vars(found).update(what, revision_number=found.revision_number + 1)
            return _copy(found)

        return self._met("change address", change)

    # ---- security groups

    def _write(self, change):
        time.sleep(random.uniform(0, self.slow))
        with self.inside:
            self._met("change group", change)
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
        _, of, id_, _, tag = path.split("/")
        tag = unquote(tag)
        assert len(tag) <= 255

        def change():
            there = self.kept if of == "security-groups" else self.addresses
            if id_ not in there:
                raise _error(exceptions.HttpException, "internal server error", 500)
            it = there[id_]
            if how([], tag) == [] and tag not in it.tags:
                raise _error(exceptions.NotFoundException, "no such tag", 404)
            it.tags, it.revision_number = list(dict.fromkeys(how(it.tags, tag))), it.revision_number + 1
            assert len(it.tags) <= 50

        self._write(change)

    def delete_security_group(self, group, if_revision):
        if self.refuse:
            raise _error(exceptions.ConflictException, "in use", 409)
        self._write(lambda: self.kept.pop(self._own(group, if_revision).id))

    def get_security_group(self, id_):
        if self.is_dead:
            raise Killed
        with self.inside:
            if id_ not in self.kept:
                raise _error(exceptions.NotFoundException, "no such group", 404)
            return _copy(self.kept[id_])

    def security_groups(self, project_id, fields, name=None):
        assert project_id == PROJECT
        time.sleep(random.uniform(0, self.slow))
        with self.inside:
            found = [group for group in self.kept.values() if name in (None, group.name)]
            return self._met("list groups", lambda: [_only(fields, _copy(group)) for group in found])

    @property
    def descriptions(self):
        return [group.description for group in self.kept.values()]


def _copy(it):
    """As an answer has it, which later changes don't change."""
    said = {key: list(value) if isinstance(value, list) else value for key, value in vars(it).items()}
    return SimpleNamespace(**said)


def _only(fields, it):
    """As the SDK gives what was asked for by its fields."""
    return SimpleNamespace(**{key: value if key in fields else None for key, value in vars(it).items()})


def _error(kind, text, status):
    error = kind(text)
    error.status_code = status
    return error
