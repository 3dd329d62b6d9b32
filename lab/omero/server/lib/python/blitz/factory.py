"""What a client has of the server: one factory per connection, which hands out its services."""
import datetime
import logging

import Glacier2
import Ice
import omero
import omero.all  # noqa: F401
import omero.api
import omero.cmd
import psycopg2

from . import requests
from .calls import servant
from .services import STATEFUL, STATELESS

LOG = logging.getLogger("factory")


class Verifier(Glacier2.PermissionsVerifier):
    """Glacier2 asks it whether a password is right; a session's uuid is a password, too."""

    def __init__(self, sessions):
        self._sessions = sessions

    def checkPermissions(self, user, password, current=None):
        try:
            if (user == password and self._sessions.is_open(user)) or self._sessions.password_is_right(user, password):
                return True, ""
        except psycopg2.Error as fault:
            LOG.error("login of %s: %s", user, fault)
            return False, "the database cannot be reached"
        LOG.info("login of %s refused", user)
        return False, "Wrong user name or password, or no such session"


class SessionManager(Glacier2.SessionManager):
    """Glacier2 asks it for a factory, once a password was right."""

    def __init__(self, adapter, database, sessions, settings):
        self._adapter = adapter
        self._server = (database, sessions, settings)

    def create(self, user, control, current=None):
        """A factory for `user`, a name or a session's uuid. `omero admin status` calls it with a user that can't be."""
        _, sessions, _ = self._server
        context = current.ctx
        try:
            session = sessions.join(user, context.get("omero.agent", "")[:255], context.get("omero.group"))
        except psycopg2.Error as fault:
            LOG.error("session of %s: %s", user, fault)
            raise omero.WrappedCreateSessionException(f"database: {fault}", False, 0, "InternalException") from fault
        if session is None:
            raise omero.WrappedCreateSessionException("no such user", False, 0, "AuthenticationException")
        category = f"session-{Ice.generateUUID()}"
        if control:
            control.categories().add([category])
        identity = Ice.Identity(session.uuid, category)
        factory = ServiceFactory(self._adapter, category, session, self._server)
        return Glacier2.SessionPrx.uncheckedCast(self._adapter.add(factory, identity))


class ServiceFactory(omero.api.ServiceFactory):
    """The services of one client, all with identities of its own category, which Glacier2 lets nobody else use."""

    def __init__(self, adapter, category, session, server):
        self._adapter = adapter
        self._category = category
        self._session = session
        self._database, self._sessions, self._settings = server
        self._services = {}

    def _service(self, name, implementation, stateful):
        key = f"{name}-{Ice.generateUUID()}" if stateful else name
        if key not in self._services:
            service = getattr(omero.api, name)
            made = implementation(self._database, self._sessions, self._session, self._settings)
            proxy = self._adapter.add(servant(service, made), Ice.Identity(key, self._category))
            self._services[key] = getattr(omero.api, f"{name}Prx").uncheckedCast(proxy)
        self._session.used = datetime.datetime.now()
        return self._services[key]

    def getByName(self, name, current=None):
        return omero.api.ServiceInterfacePrx.uncheckedCast(self._named(name, "get", "Service"))

    def createByName(self, name, current=None):
        return omero.api.StatefulServiceInterfacePrx.uncheckedCast(self._named(name, "create", ""))

    def _named(self, name, before, after):
        kind = name.rsplit(".", 1)[-1]
        method = getattr(self, f"{before}{kind.removeprefix('I')}{after}", None)
        if method is None:
            raise omero.ApiUsageException("", "", f"the stand-in for OMERO.server has no service {name}")
        return method()

    def submit_async(self, callback, request, current=None):
        """Commands of the newer kind: their answer waits in a handle."""
        handle = requests.Handle(request, requests.answer(request, self._session, self._sessions))
        identity = Ice.Identity(f"Handle-{Ice.generateUUID()}", self._category)
        callback.ice_response(omero.cmd.HandlePrx.uncheckedCast(self._adapter.add(handle, identity)))

    def setSecurityContext(self, group, current=None):
        if not self._sessions.set_group(self._session, group.id.val):
            raise omero.SecurityViolation("", "", f"{self._session.name} is no member of the group {group.id.val}")
        return []

    def getSecurityContexts(self, current=None):
        return [omero.model.ExperimenterGroupI(group, False) for group in self._session.groups]

    def setSecurityPassword(self, password, current=None):
        if not self._sessions.password_is_right(self._session.name, password):
            raise omero.SecurityViolation("", "", "wrong password")

    def setCallback(self, callback, current=None):
        pass    # nothing here calls a client

    def subscribe(self, topic, proxy, current=None):
        pass

    def keepAlive(self, proxy, current=None):
        return self._alive()

    def keepAllAlive(self, proxies, current=None):
        self._alive()
        return 0

    def _alive(self):
        self._session.used = datetime.datetime.now()
        return self._sessions.is_open(self._session.uuid)

    def detachOnDestroy(self, current=None):
        self._session.detached = True

    def closeOnDestroy(self, current=None):
        self._session.detached = False

    def activeServices(self, current=None):
        return list(self._services)

    def destroy(self, current=None):
        """The client has gone."""
        for identity in [Ice.Identity(key, self._category) for key in self._services] + [current.id]:
            if self._adapter.find(identity):
                self._adapter.remove(identity)
        self._sessions.leave(self._session)


def _maker(kind, implementation, stateful):
    return lambda self, current=None: self._service(kind, implementation, stateful)


for _kind, _implementation in STATELESS.items():
    setattr(ServiceFactory, f"get{_kind[1:]}Service", _maker(_kind, _implementation, False))
for _kind, _implementation in STATEFUL.items():
    _suffix = "Service" if _kind == "Search" else ""
    setattr(ServiceFactory, f"create{_kind}{_suffix}", _maker(_kind, _implementation, True))
