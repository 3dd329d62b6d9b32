"""
A site as a visitor sees it: asked of a given address under its public name, whoever that name leads to now.

Which certificate it shows is another question (idr/release/certificate.py): here none is refused, so that a wrong one
hides nothing else.
"""

import http.client
import json
import socket
import ssl
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urljoin

SECONDS = 60  # for one answer: a rendering that nothing was stored for takes its time
SIDE_BY_SIDE = 4
REDIRECTS = (301, 302, 303, 307, 308)
LARGEST = 64 << 20  # bytes of an answer that are read
JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class Answer:
    """One answer, of that URL; headers by their names in small letters."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


class NoAnswer(Exception):
    """Why a request wasn't answered."""


def problems(public_name, address, expectations, reference=None):
    """
    What a site doesn't show of what's expected, a line each, in the order of the ``Expectations``.

    public_name:  what visitors type
    address:      whose site it is, asked under that name
    reference:    the address of the one that is live: no count may be lower than there
    """
    wanted = [
        *((_redirect, path, target) for path, target in expectations.redirects.items()),
        *((_text, path, text) for path, text in expectations.texts.items()),
        *((_image, path, least) for path, least in expectations.images.items()),
        *((_hit, path, None) for path in expectations.hits),
        *((_count, path, (count, reference)) for path, count in expectations.counts.items()),
    ]

    def look(one):
        judge, path, expected = one
        try:
            wrong = judge(lambda path, at=address: ask(public_name, at, path), path, expected)
        except NoAnswer as error:
            wrong = str(error)
        return wrong and f"https://{public_name}{path} at {address}: {wrong}"

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return [line for line in pool.map(look, wanted) if line]


def answers(public_name, address, seconds):
    """
    Whether a new connection to an address gets an answer in time that isn't an error of the site's: its front page,
    which the proxy itself has.

    seconds:  for all of it: connection, TLS and the answer's head
    """
    try:
        return ask(public_name, address, "/", seconds, method="HEAD").status < 500
    except NoAnswer:
        return False


def ask(public_name, address, path, seconds=SECONDS, method="GET"):
    """
    The ``Answer`` to one request by HTTPS, on a connection of its own; redirects are answers.

    seconds:  until it's given up
    """
    until = time.monotonic() + seconds
    try:
        with socket.create_connection((address, 443), seconds) as plain:
            plain.settimeout(_left(until))
            with _anyones().wrap_socket(plain, server_hostname=public_name) as secure:
                return _answer(secure, method, path, public_name, until)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"no answer: {str(error) or type(error).__name__}") from error


def _answer(connected, method, path, public_name, until):
    """The answer that is there in time, and not merely one whose every packet is."""
    words = f"{method} {path} HTTP/1.1\r\nHost: {public_name}\r\nConnection: close\r\nUser-Agent: idr-release\r\n\r\n"
    connected.settimeout(_left(until))
    connected.sendall(words.encode("ascii"))
    answer = http.client.HTTPResponse(connected, method=method)
    connected.settimeout(_left(until))
    answer.begin()
    body = b""
    while len(body) < LARGEST:
        connected.settimeout(_left(until))
        part = answer.read1(1 << 16)
        if not part:
            break
        body += part
    if answer.length:
        raise NoAnswer(f"its answer ended {answer.length} bytes early")
    headers = {name.lower(): text for name, text in answer.getheaders()}
    return Answer(f"https://{public_name}{path}", answer.status, headers, body)


def _left(until):
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _anyones():
    """A context of TLS to which any certificate will do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _anew(path):
    """The same page under a query that nothing was ever stored for."""
    return f"{path}{'&' if '?' in path else '?'}dummy={uuid.uuid4().hex}"


def _redirect(get, path, target):
    answer = get(path)
    if answer.status not in REDIRECTS:
        return f"it answers {answer.status}, and has to lead to {target}"
    location = answer.headers.get("location", "")
    if urljoin(answer.url, location) != urljoin(answer.url, target):
        return f"it leads to {location or 'nowhere'}, and has to lead to {target}"
    return ""


def _text(get, path, text):
    answer = get(path)
    if answer.status != 200:
        return f"it answers {answer.status}, not 200"
    return "" if text.encode() in answer.body else f"the text {text!r} isn't in it"


def _image(get, path, least):
    answer = get(_anew(path))
    if answer.status != 200:
        return f"it answers {answer.status} instead of a rendered image: is its data there? omero.status of its OMERO"
    if not answer.body.startswith(JPEG):
        return f"what it renders is no JPEG: it begins with {answer.body[:2].hex(' ') or 'nothing'}, not ff d8"
    if len(answer.body) < least:
        return f"the rendered image has {len(answer.body)} bytes, and has to have {least}"
    return ""


def _hit(get, path, _):
    page = _anew(path)
    first, second = get(page), get(page)
    if (first.status, second.status) != (200, 200):
        return f"it answers {first.status} and {second.status}, not 200"
    cache = second.headers.get("x-proxy-cache")
    return "" if cache == "HIT" else f"the second request is {cache or 'not of a cached page'}, not a HIT"


def _count(get, path, expected):
    count, reference = expected
    page = _anew(path)
    here = _number(get(page), count.at)
    if not isinstance(here, int):
        return f"{count.at}: {here}"
    if here < count.least:
        return f"{count.at} is {here}, and has to be {count.least} at least"
    there = _number(get(page, reference), count.at) if reference else here
    if not isinstance(there, int):
        return f"{count.at} at {reference}, which is live: {there}"
    return "" if here >= there else f"{count.at} is {here}, and {there} at {reference}, which is live"


def _number(answer, at):
    """The whole number of that name in an answer's JSON, or why there's none."""
    if answer.status != 200:
        return f"it answers {answer.status}, not 200"
    try:
        found = json.loads(answer.body)
        for name in at.split("."):
            found = found[name]
    except (ValueError, KeyError, TypeError):
        return "its JSON doesn't have it"
    return found if isinstance(found, int) and not isinstance(found, bool) else f"is {found!r}, no whole number"
