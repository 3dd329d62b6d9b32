"""
What a site has to show before it's the public's, as pillar says it: read, and every mistake in it told.

Paths begin with `/` and are asked of the environment's own address under the public name.
"""

import re
from dataclasses import dataclass, field

SELF_SIGNED, IN_SITE = "self-signed", "ca.pem"
TRUSTED_BY = ("", SELF_SIGNED, IN_SITE)
NUMBERS = ("release_set_hours", "release_certificate_days")
MAPPINGS = ("release_redirects", "release_texts", "release_images", "release_hits", "release_counts")
PATH = re.compile("/[!-~]*")
KEYS = (*NUMBERS, "release_ca", *MAPPINGS)  # in files alone


@dataclass(frozen=True)
class Count:
    """A number in a page's JSON: AT names it (``meta.totalCount``), LEAST is what it has to be."""

    at: str
    least: int


@dataclass(frozen=True)
class Expectations:
    """What's asked of a site: each by its path."""

    redirects: dict[str, str] = field(default_factory=dict)  # where it leads
    texts: dict[str, str] = field(default_factory=dict)  # what the page has in it
    images: dict[str, int] = field(default_factory=dict)  # the least bytes of a JPEG, made anew
    hits: tuple[str, ...] = ()  # stored by the first request, and answered from there to the second
    counts: dict[str, Count] = field(default_factory=dict)
    ca: str = ""  # what the certificate is checked against: one of TRUSTED_BY
    certificate_days: int = 14  # for which it has to be valid yet
    set_hours: int = 28  # how old the live one's newest quiesced backup set may be


def parse(reader):
    """
    The ``Expectations`` of what a reader of pillar (idr/cloud/wanted.py) has; mistakes become its problems.
    """
    numbers = {key: _number(reader, key) for key in NUMBERS}
    ca = reader.value("release_ca")
    if ca not in TRUSTED_BY:
        reader.wrong("release_ca", f"has to be '', {SELF_SIGNED} or {IN_SITE}, not {ca!r}")
    found = {key: _entries(reader, key) for key in MAPPINGS}
    return Expectations(
        redirects=found["release_redirects"],
        texts=found["release_texts"],
        images=found["release_images"],
        hits=tuple(path for path, is_one in found["release_hits"].items() if is_one),
        counts=found["release_counts"],
        ca=ca,
        certificate_days=numbers["release_certificate_days"],
        set_hours=numbers["release_set_hours"],
    )


def _number(reader, key):
    value = reader.value(key)
    if not _is_number(value) or value < 1:
        reader.wrong(key, f"has to be a whole number, 1 or more, not {value!r}")
        return 1
    return value


def _entries(reader, key):
    read = {
        "release_redirects": _text,
        "release_texts": _text,
        "release_images": _bytes,
        "release_hits": _yes,
        "release_counts": _count,
    }[key]
    found = {}
    for path, (place, value) in reader.mapping(key).items():
        made, wrong = read(value)
        if not PATH.fullmatch(path):
            reader.problems.append(f"{place}: has to be a path as a browser sends it, which begins with /")
        elif wrong:
            reader.problems.append(f"{place}: {wrong}, not {value!r}")
        else:
            found[path] = made
    return found


def _text(value):
    return value, "" if isinstance(value, str) and value else "has to be a text"


def _bytes(value):
    return value, "" if _is_number(value) and value > 0 else "has to be a whole number of bytes above 0"


def _yes(value):
    return value, "" if isinstance(value, bool) else "has to be true or false"


def _count(value):
    wrong = "has to be {at: the number's name in the JSON, least: a whole number}"
    if not isinstance(value, dict) or value.keys() != {"at", "least"}:
        return None, wrong
    if not isinstance(value["at"], str) or not value["at"] or not _is_number(value["least"]):
        return None, wrong
    return Count(value["at"], value["least"]), ""


def _is_number(value):
    return isinstance(value, int) and not isinstance(value, bool)
