"""
The kinds of values that pillar has. A kind is a function of a raw value, its place, and `wrong(place, what)`, which is
told every problem; it returns the value as read: where there was one, None instead of a single value, and of a mapping
or list what is left.
"""

import base64
import binascii
import difflib
import re


def single(what, parse):
    """One value that PARSE takes; what it refuses with ValueError has to be WHAT."""

    def read(raw, place, wrong):
        try:
            return parse(raw)
        except ValueError:
            wrong(place, f"has to be {what}, not {raw!r}")
            return None

    return read


def text(what, expression):
    """A text that EXPRESSION matches as a whole."""

    def parse(raw):
        if not isinstance(raw, str) or not re.fullmatch(expression, raw):
            raise ValueError
        return raw

    return single(what, parse)


def whole(low, high=None):
    """A whole number from LOW on, or from LOW to HIGH."""

    def parse(raw):
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < low or (high is not None and raw > high):
            raise ValueError
        return raw

    return single(f"a whole number from {low} {'on' if high is None else f'to {high}'}", parse)


def mapping(required, optional=None):
    """A mapping with exactly these keys, each with its kind. Read, it has all required ones, whatever was wrong."""
    known = {**required, **(optional or {})}

    def read(raw, place, wrong):
        if not isinstance(raw, dict):
            wrong(place, f"has to be a mapping, not {raw!r}")
            return {key: kind(None, place, _nobody) for key, kind in required.items()}
        for key in raw:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                wrong(
                    under(place, key),
                    f"unknown; {f'is it {near[0]}? ' if near else ''}known are {', '.join(sorted(known))}",
                )
        for key in required:
            if key not in raw:
                wrong(under(place, key), "missing")
        return {
            key: kind(raw.get(key), under(place, key), wrong if key in raw else _nobody)
            for key, kind in known.items()
            if key in raw or key in required
        }

    return read


def rows(key, value, what, least=0):
    """A mapping of at least LEAST keys that aren't known beforehand: each is WHAT, a KEY, and leads to a VALUE."""

    def read(raw, place, wrong):
        if not isinstance(raw, dict) or len(raw) < least:
            wrong(place, f"has to be a mapping{' with something in it' if least else ''}, not {raw!r}")
            return {}
        found = {}
        for name, entry in raw.items():
            named = key(name, under(place, name), lambda where, problem: wrong(where, f"{what} {problem}"))
            entry = value(entry, under(place, name), wrong)
            if named is not None and entry is not None:
                found[name] = entry
        return found

    return read


def each(value, least=0):
    """A list of at least LEAST values of one kind."""

    def read(raw, place, wrong):
        if not isinstance(raw, list) or len(raw) < least:
            wrong(place, f"has to be a list{' with something in it' if least else ''}, not {raw!r}")
            return []
        found = [value(entry, f"{place}[{number}]", wrong) for number, entry in enumerate(raw)]
        return [entry for entry in found if entry is not None]

    return read


def nothing_or(kind):
    """What isn't there yet ({} or an empty text) or a value of that kind."""

    def read(raw, place, wrong):
        return raw if raw in ({}, "") else kind(raw, place, wrong)

    return read


def anything(raw, place, wrong):
    """What is handed on as it is."""
    return raw


def given(raw, place, wrong):
    """A secret: it has to be there, and nobody is told what it is."""
    if not isinstance(raw, str) or not raw.strip():
        wrong(place, "has to be a text that isn't empty")
        return None
    return raw


def _nobody(place, what):
    """Of what isn't there, nothing but that is told."""


def under(place, key):
    """The place of KEY in what is at PLACE."""
    return f"{place}.{key}" if place else str(key)


def _true_or_false(raw):
    if not isinstance(raw, bool):
        raise ValueError
    return raw


def _ssh_key(raw):
    """`ssh-ed25519 AAAA… ada@desk`: the second word is base64 and begins with the length and text of the first."""
    words = raw.split(None, 2) if isinstance(raw, str) and "\n" not in raw else []
    if len(words) < 2 or words[0] not in SSH_KEYS:
        raise ValueError
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as error:
        raise ValueError from error
    kind = words[0].encode()
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind) or len(blob) < len(kind) + 36:
        raise ValueError
    return " ".join(words[:2])


SSH_KEYS = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

true_or_false = single("True or False", _true_or_false)
line = text("a text of one line", r"\S(.*\S)?")
ssh_key = single(f"one whole public SSH key, `type base64 comment`, of type {', '.join(SSH_KEYS[:3])}…", _ssh_key)
account = text("the name of an account: small letters, digits, - and _, 32 at most", r"[a-z_][a-z0-9_-]{0,31}")
path = text("an absolute path", r"/(?!/)[^\s\"']*")
source = text("where it is got from, e.g. https://…", r"(?:https?|ftp|file|salt|s3)://\S+")
source_hash = text("sha256= or sha512= and the hash", r"sha256=[0-9a-f]{64}|sha512=[0-9a-f]{128}")
fetched = mapping({"source": source, "source_hash": source_hash})
