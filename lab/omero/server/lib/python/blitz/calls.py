"""Makes Ice servants of plain classes: a method of the same name answers a call, and a call without a method is refused
by its name. OMERO's services are dispatched asynchronously (`name_async(callback, …)`), which ends here."""
import logging

import Ice
import omero
import psycopg2

from .words import NotSupported

# What a method returns for no object. None is for a call that has no answer at all: Ice 3.6 crashes when one is given
# for the other.
NO_OBJECT = object()

LOG = logging.getLogger("calls")


def servant(service, implementation):
    """A servant of the Slice class `service` whose calls `implementation` answers."""
    made = type(f"{service.__name__}Servant", (service,), {
        name: _asynchronous(name[:-6]) for name in dir(service)
        if name.endswith("_async") and not name.startswith(("_", "ice_"))
    })()
    made.implementation = implementation
    return made


def _asynchronous(name):
    def call(self, callback, *arguments):
        current = arguments[-1]
        try:
            answer = _answer(self.implementation, name, arguments[:-1], current)
        except Ice.UserException as refusal:
            callback.ice_exception(refusal)
        except Exception as fault:
            LOG.exception("%s.%s", type(self.implementation).__name__, name)
            callback.ice_exception(omero.InternalException("", type(fault).__name__, f"{name}: {fault}"))
        else:
            _respond(callback, answer)
    return call


def _answer(implementation, name, arguments, current):
    method = getattr(implementation, name, None)
    if method is None:
        LOG.warning("not supported: %s.%s", type(implementation).__name__, name)
        raise omero.ApiUsageException(
            "", "", f"the stand-in for OMERO.server has no {type(implementation).__name__}.{name}")
    try:
        if name == "close":
            current.adapter.remove(current.id)
        return method(*arguments)
    except NotSupported as unknown:
        LOG.warning("not supported: %s (%s)", unknown, arguments[0] if arguments else "")
        raise omero.ApiUsageException("", "", f"the stand-in for OMERO.server doesn't support {unknown}") from unknown
    except psycopg2.Error as fault:
        LOG.error("%s.%s: %s", type(implementation).__name__, name, fault)
        raise omero.InternalException("", type(fault).__name__, f"database: {fault}") from fault


def _respond(callback, answer):
    if answer is None:
        callback.ice_response()
    else:
        callback.ice_response(None if answer is NO_OBJECT else answer)
