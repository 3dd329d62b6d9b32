"""What an answer of the cloud's services to a call means for whoever made it, as far as it doesn't say so itself."""

from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError

TOO_MUCH, TOO_OFTEN = 413, 429


def is_unclear(error):
    """Whether the call may have had its effect, or has none and could succeed a moment later: look, then try again."""
    status = _status(error) or 0
    return isinstance(error, (ConnectFailure, UnknownConnectionError)) or status >= 500 or status == TOO_OFTEN


def is_conflict(error):
    """Whether something is in the way, which may be what this very call made when it was sent before."""
    return _status(error) == 409 and not is_quota(error)


def is_missing(error):
    """Whether what the call is about isn't there."""
    return _status(error) == 404


def is_stale(error):
    """Whether a conditional call came too late: somebody else changed it since it was read."""
    return _status(error) == 412


def is_quota(error):
    """Whether the project may not have more; trying again is of no use."""
    status = _status(error)
    return status == TOO_MUCH or (status in (403, 409) and "quota" in str(error).lower())


def _status(error):
    """The HTTP status, None where there was no answer."""
    return getattr(error, "status_code", None) or getattr(error, "http_status", None)
