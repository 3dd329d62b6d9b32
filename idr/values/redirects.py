"""`nginx.redirects`: addresses that moved, and where to."""

from idr.values.kinds import mapping, rows, text

# Without what has a meaning in nginx.conf: quotes, $ and \. Without # what comes after it never reaches a server.
WORD = r"[A-Za-z0-9._~!&'()*+,;=:@%/\[\]-]"
TARGET = text(
    "an address here, beginning with one / and without blanks, quotes, $ and \\",
    rf"/(?!/){WORD}*(\?({WORD}|\?)*)?(#({WORD}|\?)*)?",
)
SHAPE = mapping(
    {
        "pages": rows(text("a path, beginning with / and without a query", rf"/{WORD}*"), TARGET, "an address"),
        "queries": rows(text("a path with a query, /…?…", rf"/{WORD}*\?({WORD}|\?)+"), TARGET, "an address"),
        "below": rows(
            text("a path, beginning but not ending with / and without a query", rf"(/{WORD}*)*(?<!/)"),
            TARGET,
            "an address",
        ),
    }
)


def rules(redirects, place, wrong):
    """Every row is reached, and leads to where its visitor can stay."""
    # in the order in which nginx looks at them: whole addresses, then expressions as they stand
    moved = [(kind, *row) for kind in ("queries", "pages", "below") for row in redirects[kind].items()]
    for kind, came, goes in moved:
        where = f"{place}.{kind}.{came}"
        first = _answering(f"{came}/" if kind == "below" else came, moved)
        if first[:2] != (kind, came):
            wrong(where, f"is never reached: {first[0]}.{first[1]} has its visitors")
        way = [came, goes]
        while (next_ := _answering(goes.partition("#")[0], moved)) and goes not in way[:-1]:
            goes = next_[2]
            way.append(goes)
        if goes in way[:-1]:
            wrong(where, f"leads in a circle: {' to '.join(way)}")
        elif len(way) > 2:
            wrong(where, f"leads to {way[1]}, which itself moved: say {goes}")


def _answering(address, moved):
    """The row that takes a visitor of ADDRESS, as the map in salt/nginx/files/maps.conf.j2 does."""
    for kind, came, goes in moved:
        follows = address[len(came) :][:1] if address.startswith(came) else None
        if (
            (kind == "queries" and address.lower() == came.lower())  # nginx knows whole addresses without their case
            or (kind == "pages" and follows in ("", "?"))
            or (kind == "below" and follows in ("", "?", "/"))
        ):
            return kind, came, goes
    return None
