"""`nginx.cache.zones`: what is stored where, and how much of it."""

import itertools
import re
from re import _parser as expressions  # of Python itself: what a path's expression consists of

from idr.values.kinds import mapping, rows, single, text, whole

TRIED = 2000  # paths of one expression; the zones of the IDR have about ten each


def _path(raw):
    if not isinstance(raw, str) or not re.fullmatch(r"/[^\s;{}\"'#]*", raw) or _alternatives_at_the_top(raw):
        raise ValueError
    try:
        re.compile(raw)
    except re.error as error:
        raise ValueError from error
    return raw


def _alternatives_at_the_top(expression):
    """Whether a | stands outside of every bracket: the second alternative would match anywhere in a path."""
    within = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", expression)  # neither escaped characters nor classes
    depth = 0
    for character in within:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            return True
    return False


TIME = text("a time as nginx writes it, e.g. 180d", r"[1-9][0-9]*(?:ms|[smhdwMy])")
ZONE = mapping(
    {
        "max_size_mb": whole(1),
        "keys_mb": whole(1),
        "inactive": TIME,
        "valid": TIME,
        "path": single(
            "a regular expression of a path from its beginning, with every | in brackets and without blanks, "
            "quotes and ;{}#",
            _path,
        ),
    }
)
SHAPE = rows(text("the name of a zone: small letters and digits", r"[a-z][a-z0-9_]*"), ZONE, "a zone's name", least=1)


def rules(cache, place, wrong, volume):
    """The zones have room, and no two store the same path."""
    zones = cache["zones"]
    sizes = sum(zone["max_size_mb"] or 0 for zone in zones.values())
    if volume is None:
        wrong(f"{place}.zones", "have no room: no volume is mounted at /var/cache/nginx")
    elif cache["volume_percent"]:
        room = volume.size_gb * 1024 * cache["volume_percent"] // 100
        if sizes > room:
            wrong(
                f"{place}.zones",
                f"may grow to {sizes} MB, but {cache['volume_percent']} % of {volume.name} is {room} MB: lower "
                f"max_size_mb or take a larger volume",
            )
    paths = {name: zone["path"] for name, zone in zones.items() if zone["path"]}
    for one, other in itertools.combinations(paths, 2):
        shared = next(_shared(paths[one], paths[other]), None)
        if shared is not None:
            wrong(f"{place}.zones.{other}.path", f"matches {shared}, and so does that of {one}")


def _shared(one, other):
    """Paths that both expressions match, of those that can be told from either."""
    for mine, theirs in ((one, other), (other, one)):
        for path in itertools.islice(_examples(expressions.parse(mine)), TRIED):
            if re.match(mine, path) and re.match(theirs, path):
                yield path


def _examples(parsed):
    """Paths that an expression may match: every alternative, the fewest and one more of what repeats."""
    parts = [_of_one(code, value) for code, value in parsed]
    return ("".join(chosen) for chosen in itertools.product(*parts))


def _of_one(code, value):
    name = str(code)
    if name == "LITERAL":
        return [chr(value)]
    if name == "NOT_LITERAL":
        return [next(letter for letter in "x1" if ord(letter) != value)]
    if name == "ANY":
        return ["x"]
    if name == "IN":
        return _letters(value)
    if name == "BRANCH":
        return [path for branch in value[1] for path in itertools.islice(_examples(branch), TRIED)]
    if name == "SUBPATTERN":
        return list(itertools.islice(_examples(value[-1]), TRIED))
    if name.endswith("REPEAT"):
        fewest, most, repeated = value
        once = list(itertools.islice(_examples(repeated), TRIED))
        counts = {fewest, min(fewest + 1, most)}
        return [path * count for count in sorted(counts) for path in once]
    return [""]  # an anchor, or what only looks ahead


def _letters(wanted):
    """Letters of a class: the listed ones, and one of every range; of one that begins with ^, one that it leaves."""
    kinds = {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "x"}
    listed = {"LITERAL": chr, "RANGE": lambda ends: chr(ends[0]), "CATEGORY": lambda kind: kinds.get(str(kind), "-")}
    letters = [listed[str(code)](value) for code, value in wanted if str(code) in listed]
    if str(wanted[0][0]) != "NEGATE":
        return letters
    ranges = [value for code, value in wanted if str(code) == "RANGE"]
    return [
        letter
        for letter in "x1_-./%~"
        if letter not in letters and not any(first <= ord(letter) <= last for first, last in ranges)
    ][:1]
