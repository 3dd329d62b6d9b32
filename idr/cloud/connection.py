"""
A connection to a cloud: every call has a timeout and is counted, reads are tried again, and errors are one line.

A write is never tried again here: whether it took effect is only known to who looks for what it should have made.
"""

import collections
import logging
import os
import re
import threading
import time
from urllib.parse import urlsplit

import openstack
import requests.exceptions
from keystoneauth1 import exceptions as keystone
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack import exceptions as sdk
from openstack.config.loader import CONFIG_FILES, OpenStackConfig

from idr.errors import IdrError

CONNECTING = 10  # seconds
READING = 60  # seconds between two packets of an answer, where clouds.yaml has no api_timeout
TRIES = 4
PAUSE = 0.5  # seconds before the second try; doubled before each further one
LONGEST_PAUSE = 30  # seconds, whatever Retry-After says
TRANSIENT = (429, 500, 502, 503, 504)
CUT = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
MASTERS_OWN = "/etc/idr/clouds.yaml"  # of an environment's master: read where nothing goes before it
ERRORS = (sdk.SDKException, keystone.ClientException, requests.exceptions.RequestException)

logging.getLogger("keystoneauth").setLevel(logging.ERROR)  # of what it warns, it raises the error that is told


class Calls:
    """How many calls of an API were made: `total`, and `by` (method, service). Each try counts."""

    def __init__(self):
        self.by = collections.Counter()
        self._lock = threading.Lock()
        self._services = []  # (beginning of its URLs, name), the longest first

    @property
    def total(self):
        return sum(self.by.values())

    def know(self, catalog):
        """Learn which service is where, from Keystone's catalog."""
        self._services = sorted(
            {
                (endpoint["url"].split("%")[0], service.get("name") or service["type"])
                for service in catalog
                for endpoint in service["endpoints"]
            },
            key=lambda known: -len(known[0]),
        )

    def service(self, url):
        """The service behind a URL; its host if the catalog isn't known yet."""
        return next((name for beginning, name in self._services if url.startswith(beginning)), urlsplit(url).netloc)

    def count(self, method, url):
        with self._lock:
            self.by[method, self.service(url)] += 1


class _Patient(TCPKeepAliveAdapter):
    """Sends requests: counted, with a timeout, and again when a read failed in a way that passes."""

    def __init__(self, calls, reading=READING):
        super().__init__(pool_maxsize=32)
        self.calls, self.timeout = calls, (CONNECTING, reading)

    def send(self, request, **further):
        again = request.method in ("GET", "HEAD") or request.url.endswith("/auth/tokens")
        pause = PAUSE
        for left in reversed(range(TRIES if again else 1)):
            self.calls.count(request.method, request.url)
            try:
                response = super().send(request, **further | {"timeout": self.timeout})
                _ = response.content  # here and not later, as it can be cut, too
            except CUT:
                if not left:
                    raise
            else:
                response.service = self.calls.service(request.url)
                if response.status_code not in TRANSIENT or not left:
                    return response
                pause = max(pause, _seconds(response.headers.get("Retry-After")))
            time.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2


def connect(cloud, entry=None):
    """
    A logged-in connection of the SDK to that cloud of clouds.yaml; its `calls` tell how many there were.

    entry:  what clouds.yaml would say of it, where none is to be read

    Its ``api_timeout``, seconds, is how long an answer is waited for: 60 where it has none.
    Refused in one line: no such cloud, an incomplete entry, an API that doesn't answer, wrong credentials.
    """
    try:
        config = _config(cloud, entry)
        reading = _reading(cloud, config)
        connection = openstack.connection.Connection(config=config)
        connection.calls = Calls()
        for scheme in ("http://", "https://"):
            connection.session.session.mount(scheme, _Patient(connection.calls, reading))
        connection.session.get_token()
        connection.calls.know(connection.session.auth.get_access(connection.session).service_catalog.catalog)
        return connection
    except sdk.ConfigException as error:
        where = os.environ.get("OS_CLIENT_CONFIG_FILE") or "./, ~/.config/openstack/ and /etc/openstack/"
        raise IdrError(f"cloud {cloud}: {_line(error)} clouds.yaml is looked for in {where}") from error
    except keystone.auth_plugins.MissingRequiredOptions as error:
        raise IdrError(f"cloud {cloud}: its entry in clouds.yaml is incomplete: {_line(error)}") from error
    except keystone.Unauthorized as error:
        raise IdrError(
            f"cloud {cloud}: the credentials in clouds.yaml are wrong or have expired ({told(error)})"
        ) from error
    except ERRORS as error:
        raise IdrError(f"cloud {cloud}: {told(error)}") from error
    except Exception as error:
        if type(error) is not Exception:  # what the login plug-ins raise where a password is missing
            raise
        raise IdrError(f"cloud {cloud}: its entry in clouds.yaml is incomplete: {_line(error)}") from error


def _config(cloud, entry):
    if entry:
        return OpenStackConfig(load_yaml_config=False, load_envvars=False).get_one(**entry)
    return OpenStackConfig(config_files=[*CONFIG_FILES, MASTERS_OWN]).get_one(cloud)


def _reading(cloud, config):
    """How many seconds an answer is waited for; refused before the SDK would stumble over what is no number."""
    said = config.config.get("api_timeout")
    try:
        seconds = READING if said is None else float(said)
    except (TypeError, ValueError):
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise IdrError(f"cloud {cloud}: api_timeout in clouds.yaml is seconds, more than 0, not {said!r}")
    return seconds


def told(error):
    """
    What an exception of the SDK says, in one line, with all that a cloud's administrators ask for: ``neutron: HTTP 409:
    Quota exceeded for resources: ['floatingip'] (request req-3f1c…)``.
    """
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "http_status", None)
    if not isinstance(status, int):
        line = _line(error)
        unanswered = re.match(r"Unable to establish connection to ([^ ]+):", line)
        why = re.search(r"\[Errno -?\d+\] ([^'\")]+)", line)
        return f"{unanswered[1]} doesn't answer: {why[1] if why else 'cut'}" if unanswered else line
    service = getattr(response, "service", None) or urlsplit(getattr(error, "url", None) or "").netloc or "the cloud"
    request = getattr(error, "request_id", None)
    said = _line(getattr(error, "details", None) or getattr(error, "message", None) or error)
    said = re.sub(r" \(HTTP \d+\)( \(Request-ID: [^)]*\))?$", "", said)  # said below
    return f"{service}: HTTP {status}: {said}" + (f" (request {request})" if request else "")


def _line(error):
    return " ".join(str(error).split())


def _seconds(text):
    return int(text) if text and text.isdigit() else 0
