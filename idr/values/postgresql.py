"""`postgresql`: the database of one side."""

from idr.values.kinds import anything, each, mapping, rows, single, text, whole

LOCALE = text("a locale, e.g. C.UTF-8", r"[A-Za-z_]+(\.[A-Za-z0-9-]+)?(@[a-z]+)?")
ALWAYS_THERE = ("C", "C.UTF-8", "POSIX")
# Settings that the states rely on, which a site can't have otherwise.
OURS = (
    "data_directory",
    "hba_file",
    "ident_file",
    "unix_socket_directories",
    "listen_addresses",
    "port",
    "password_encryption",
)


def _setting(raw):
    if not isinstance(raw, (str, int, float)) or "\n" in str(raw):
        raise ValueError
    return raw


SHAPE = mapping(
    {
        "major": whole(12, 18),
        "repository": anything,
        "uid": whole(1, 999),
        "gid": whole(1, 999),
        "locale": LOCALE,
        "locales": each(LOCALE),
        "pools": whole(1),
        "reserve": whole(5),
        "settings": rows(
            text("the name of a setting of postgresql.conf", r"[a-z_]+(\.[a-z_]+)?"),
            single("a text or number of one line", _setting),
            "a setting",
        ),
    },
    {"memory_mb": whole(128)},
)


def rules(postgresql, place, wrong):
    """What one database's values have to be besides well-formed."""
    locale = postgresql["locale"]
    if locale and locale not in (*ALWAYS_THERE, *postgresql["locales"]):
        wrong(f"{place}.locale", f"{locale} isn't among postgresql.locales, so no server would have it")
    for name in postgresql["settings"]:
        if name in OURS:
            wrong(f"{place}.settings.{name}", "is the states' own, which rely on it")


    most = postgresql["settings"].get("max_connections")
    if most is not None and not str(most).isdigit():
        wrong(f"{place}.settings.max_connections", f"has to be a whole number, not {most!r}")


def connections(postgresql):
    """How many connections PostgreSQL takes with these values; see salt/postgresql/files/postgresql.conf.j2."""
    named = str(postgresql["settings"].get("max_connections", ""))
    return int(named) if named.isdigit() else max(postgresql["pools"] + postgresql["reserve"], 100)
