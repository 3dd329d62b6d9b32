"""Who is logged in. A session is a row of the table `session`; only how many clients share it is kept here, so that all
sessions end when the server does, as the real server's do."""
import base64
import datetime
import hashlib
import logging
import struct
import threading
import uuid
from dataclasses import dataclass, field

import psycopg2

LOG = logging.getLogger("sessions")
SYSTEM_GROUP, USER_GROUP = 0, 1


def password_hash(password, user=None):
    """The hash that the table `password` holds: MD5 over the user's id (unless None) and the password."""
    salt = b"" if user is None else struct.pack(">q", user)
    return base64.b64encode(hashlib.md5(salt + password.encode()).digest()).decode()


@dataclass
class Session:
    """One login of a user, shared by all clients that join it with its uuid."""
    id: int
    uuid: str
    user: int
    name: str
    group: int
    group_name: str
    group_permissions: int
    groups: list
    leads: list
    started: datetime.datetime
    idle_ms: int
    agent: str
    clients: int = 0
    detached: bool = False
    used: datetime.datetime = field(default_factory=datetime.datetime.now)

    @property
    def is_admin(self):
        return SYSTEM_GROUP in self.groups

    @property
    def visible_groups(self):
        """The groups whose objects this user sees, None for all."""
        return None if self.is_admin else self.groups

    def may_change(self, owner):
        """Whether this user may change what `owner` (an id) has."""
        return self.is_admin or self.user == owner


class Sessions:
    """All sessions of this server."""

    def __init__(self, database, idle_ms):
        self._database = database
        self._idle_ms = idle_ms
        self._open = {}
        self._lock = threading.Lock()
        with database.cursor() as cursor:
            cursor.execute("update session set closed = timezone('utc', now()) where closed is null")
            cursor.execute("update node set down = timezone('utc', now()) where down is null and id != 0")
            cursor.execute("insert into node (version, conn, uuid, up) values "
                           "(0, 'Blitz-0', %s, timezone('utc', now())) returning id", [str(uuid.uuid4())])
            (self._node,) = cursor.fetchone()

    def password_is_right(self, name, password):
        """Whether `password` is that of the user called `name`. An empty hash lets everybody in, none nobody."""
        row = self._database.row("select p.hash, e.id from password p join experimenter e on e.id = p.experimenter_id "
                                 "where e.omeName = %(name)s", name=name)
        if row is None or row[0] is None:
            return False
        stored, user = row
        return stored == "" or stored in (password_hash(password, user), password_hash(password))

    def is_open(self, key):
        """Whether `key` is the uuid of a session that hasn't been closed, here or by somebody in the database."""
        with self._lock:
            session = self._open.get(key)
        if session is None:
            return False
        try:
            row = self._database.row("select closed from session where uuid = %(key)s", key=key)
        except psycopg2.OperationalError as fault:
            # as the real server: whoever is logged in stays so, and fails with what is asked for next
            LOG.error("session %s: %s", key, fault)
            return True
        if row and row[0] is None:
            return True
        self._forget(key)
        return False

    def join(self, name, agent, group=None):
        """The session that `name` is the uuid of, or a new one for the user of this name; None where it is neither."""
        session = self._open[name] if self.is_open(name) else self._begin(name, agent, group)
        if session:
            with self._lock:
                session.clients += 1
                session.used = datetime.datetime.now()
        return session

    def begin_for(self, session, idle_ms):
        """A new session of the same user, of which no client is part yet."""
        return self._begin(session.name, session.agent, session.group_name, idle_ms)

    def _begin(self, name, agent, group, idle_ms=None):
        with self._database.cursor() as cursor:
            cursor.execute("select id from experimenter where omeName = %s", [name])
            found = cursor.fetchone()
            if not found:
                return None
            user = found[0]
            cursor.execute("select g.id, g.name, g.permissions, m.owner from groupexperimentermap m "
                           "join experimentergroup g on g.id = m.parent where m.child = %s order by m.child_index",
                           [user])
            groups = cursor.fetchall()
            default = next((row for row in groups if row[1] == group), None) or next(
                (row for row in groups if row[0] != USER_GROUP), groups[0])
            cursor.execute(
                "insert into session (version, uuid, owner, node, started, timeToIdle, timeToLive, defaultEventType, "
                "userAgent) values (0, %s, %s, %s, timezone('utc', now()), %s, 0, 'User', %s) "
                "returning id, uuid, started, timeToIdle",
                [str(uuid.uuid4()), user, self._node, self._idle_ms if idle_ms is None else idle_ms, agent])
            identity, key, started, idle = cursor.fetchone()
        session = Session(identity, key, user, name, *default[:3], [row[0] for row in groups],
                          [row[0] for row in groups if row[3]], started, idle, agent)
        with self._lock:
            self._open[key] = session
        LOG.info("session %s of %s (%s)", key, name, agent)
        return session

    def find(self, key):
        """The open session of this uuid, or None."""
        with self._lock:
            return self._open.get(key)

    def all(self):
        """All open sessions, the oldest first."""
        with self._lock:
            return sorted(self._open.values(), key=lambda session: session.id)

    def leave(self, session):
        """One client less; the last one's leaving closes the session, unless a client wanted it to stay."""
        with self._lock:
            session.clients -= 1
            stays = session.clients > 0 or session.detached
        if not stays:
            self.close(session)

    def close(self, session):
        """End the session for all of its clients."""
        self._forget(session.uuid)
        self._database.rows("update session set closed = timezone('utc', now()) "
                            "where uuid = %(uuid)s and closed is null returning id", uuid=session.uuid)

    def _forget(self, key):
        with self._lock:
            self._open.pop(key, None)

    def close_idle(self):
        """End the sessions that nobody has used for longer than they may be idle."""
        now = datetime.datetime.now()
        for session in self.all():
            if session.idle_ms and now - session.used > datetime.timedelta(milliseconds=session.idle_ms):
                LOG.info("session %s of %s was idle for too long", session.uuid, session.name)
                self.close(session)

    def set_group(self, session, group):
        """Make another of the user's groups (an id) the session's current one; False if it is none of theirs."""
        row = self._database.row("select id, name, permissions from experimentergroup where id = %(group)s",
                                 group=group)
        if row is None or not (session.is_admin or group in session.groups):
            return False
        session.group, session.group_name, session.group_permissions = row
        return True
