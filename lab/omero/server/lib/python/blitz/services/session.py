"""ISession: the sessions of the caller."""
import omero
from omero.rtypes import unwrap

from .base import Service


class SessionService(Service):
    """Sessions as objects: what is told is what the table says."""

    def getSession(self, uuid):
        return self._row(self._mine(uuid))

    def createUserSession(self, live_ms, idle_ms, group):
        made = self.sessions.begin_for(self.session, idle_ms)
        made.detached = True
        return self._row(made)

    def createSessionWithTimeouts(self, principal, live_ms, idle_ms):
        if not self.session.is_admin:
            raise omero.SecurityViolation("", "", "only an administrator makes sessions for others")
        made = self.sessions.join(principal.name, self.session.agent, principal.group)
        if made is None:
            raise omero.ApiUsageException("", "", f"No such user: {principal.name}")
        made.clients, made.detached, made.idle_ms = 0, True, idle_ms or made.idle_ms
        return self._row(made)

    def createSessionWithTimeout(self, principal, live_ms):
        return self.createSessionWithTimeouts(principal, live_ms, 0)

    def getReferenceCount(self, uuid):
        return self._mine(uuid).clients

    def closeSession(self, session):
        """How many clients the session still has; those are not asked."""
        closing = self._mine(unwrap(session.uuid))
        self.sessions.close(closing)
        return 0

    def getMyOpenSessions(self):
        return [self._row(one) for one in self.sessions.all() if one.user == self.session.user]

    def _mine(self, uuid):
        found = self.sessions.find(uuid)
        if found is None:
            raise omero.RemovedSessionException("", "", f"No session with the uuid {uuid}")
        if not self.session.may_change(found.user):
            raise omero.SecurityViolation("", "", "this session is another user's")
        return found

    def _row(self, session):
        (row,) = self.objects("select s from Session s join fetch s.owner where s.id = :id", id=session.id)
        return row
