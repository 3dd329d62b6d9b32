"""The commands that clients submit, and the handles in which their answers wait."""
import contextlib

import Ice
import omero
import omero.cmd
from omero.rtypes import rlong, rstring, rtime

from .graph import milliseconds
from .services.admin import event_context


class Handle(omero.cmd.Handle):
    """A command that has been carried out already."""

    def __init__(self, request, response):
        self._request = request
        self._response = response

    def getRequest(self, current=None):
        return self._request

    def getResponse(self, current=None):
        return self._response

    def getStatus(self, current=None):
        failed = isinstance(self._response, omero.cmd.ERR)
        return omero.cmd.Status(flags=[omero.cmd.State.FAILURE] if failed else [], currentStep=1, steps=1)

    def addCallback(self, callback, current=None):
        pass    # clients ask for the response before they wait for a call

    def removeCallback(self, callback, current=None):
        pass

    def cancel(self, current=None):
        return False

    def close(self, current=None):
        with contextlib.suppress(Ice.NotRegisteredException):   # closed twice
            current.adapter.remove(current.id)


def answer(request, session, sessions):
    """The response to a command."""
    if isinstance(request, omero.cmd.CurrentSessionsRequest):
        return _current_sessions(session, sessions)
    if isinstance(request, omero.cmd.UpdateSessionTimeoutRequest):
        changed = sessions.find(request.session)
        if changed is None or not session.may_change(changed.user):
            return omero.cmd.ERR("standin", "no-such-session", {})
        changed.idle_ms = request.timeToIdle.val
        return omero.cmd.OK()
    return omero.cmd.ERR("standin", f"not-supported-{request.ice_id().rsplit(':', 1)[-1]}", {})


def _current_sessions(session, sessions):
    shown = [one for one in sessions.all() if session.may_change(one.user)]
    rows = []
    for one in shown:
        row = omero.model.SessionI(one.id)
        row.uuid, row.userAgent, row.started = rstring(one.uuid), rstring(one.agent), rtime(milliseconds(one.started))
        row.timeToIdle, row.timeToLive = rlong(one.idle_ms), rlong(0)
        rows.append(row)
    return omero.cmd.CurrentSessionsResponse(rows, [event_context(one) for one in shown], [{} for _ in shown])
