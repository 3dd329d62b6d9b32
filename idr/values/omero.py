"""`omero`: OMERO.server and OMERO.web."""

from idr.values.kinds import (
    account,
    anything,
    each,
    fetched,
    line,
    mapping,
    nothing_or,
    path,
    rows,
    source,
    source_hash,
    text,
    true_or_false,
    whole,
)

PROPERTY = text("a property of OMERO, e.g. omero.web.debug", r"omero(\.[A-Za-z0-9_-]+)+")
VIEW = text("the name of a view", r"[a-z_][a-z0-9_]*")
CONFIG = rows(PROPERTY, anything, "a key")


def _link(raw, place, wrong):
    """[text, where to, attributes]; where to is an address, the name of a view, or a view with what it is asked."""
    if not isinstance(raw, list) or len(raw) not in (2, 3):
        wrong(place, f"has to be a list of a text, where it leads and perhaps attributes, not {raw!r}")
        return None
    label = line(raw[0], f"{place}[0]", wrong)
    if isinstance(raw[1], dict):
        view = LINKED(raw[1], f"{place}[1]", wrong)["viewname"]
    else:
        address = ADDRESS(raw[1], f"{place}[1]", wrong)
        view = None if address is None or "/" in address else address
    if len(raw) == 3:
        ATTRIBUTES(raw[2], f"{place}[2]", wrong)
    return label, view


LINKED = mapping({"viewname": VIEW}, {"query_string": rows(line, anything, "a parameter"), "args": anything})
ADDRESS = text("an address (https://… or /…) or the name of a view", r"https?://\S+|/\S*|[a-z_][a-z0-9_]*")
ATTRIBUTES = mapping({}, {"title": line, "target": text("the name of a window", r"[A-Za-z_]+")})
MENU = mapping({"label": line, "default": each(line, least=1), "all": each(line)})

SHAPE = mapping(
    {
        "data": mapping({"directory": path, "gid": whole(1, 59999)}),
        "database": mapping(
            {"port": whole(1, 65535), "name": line, "user": line, "poolsize": whole(1)},
            {"upgrade_allowed": true_or_false},
        ),
        "server": mapping(
            {
                "heap": text("memory as Java writes it, e.g. 24G", r"[1-9][0-9]*[MG]"),
                "config": CONFIG,
            },
            {
                "version": text("a release as its archive names itself, e.g. 5.6.13-ice36", r"[0-9][A-Za-z0-9.-]*"),
                "source": source,
                "source_hash": source_hash,
                "packages": each(text("the name of a package", r"[A-Za-z0-9][A-Za-z0-9.+:-]*")),
            },
        ),
        "web": mapping(
            {
                "workers": whole(1),
                "timeout": whole(1),
                "max_requests": whole(0),
                "logo": nothing_or(fetched),
                "config": CONFIG,
                "top_links": each(_link),
                # OMERO.mapr fails without any
                "mapr": rows(text("the name of a menu: small letters", r"[a-z]+"), MENU, "a menu's name", least=1),
            }
        ),
        "public": mapping({"user": account, "group": line}),
    },
    {"ice_wheel": fetched},
)
# What PostgreSQL's states make: another name would find nothing there.
DATABASE = {"port": 5432, "name": "idr", "user": "omero"}
# What the states write already from elsewhere in pillar, or must know. A second value would win without their knowing.
ELSEWHERE = {
    "server": {
        "omero.data.dir": "omero.data.directory",
        "omero.db.host": "the servers' names",
        "omero.db.name": "omero.database.name",
        "omero.db.port": "omero.database.port",
        "omero.db.user": "omero.database.user",
        "omero.db.poolsize": "omero.database.poolsize",
        "omero.jvmcfg.heap_size.blitz": "omero.server.heap",
        "omero.server.servicemanager.checkenv": "the unit",
    },
    "web": {
        "omero.web.application_server.max_requests": "omero.web.max_requests",
        "omero.web.mapr.config": "omero.web.mapr",
        "omero.web.public.user": "omero.public.user",
        "omero.web.session_cookie_name": "the side's name",
        "omero.web.ui.top_links": "omero.web.top_links",
        "omero.web.wsgi_timeout": "omero.web.timeout",
        "omero.web.wsgi_workers": "omero.web.workers",
    },
}
SECRET = ("pass", "secret", "token")


def rules(omero, place, wrong, server, demanded):
    """What one OMERO's values have to be besides well-formed."""
    for key, value in DATABASE.items():
        if omero["database"][key] not in (value, None):
            wrong(f"{place}.database.{key}", f"has to be {value}, as PostgreSQL's states make it")
    directory = omero["data"]["directory"]
    for volume in server.volumes:
        if directory and not directory.startswith(f"{volume.mount}/"):
            wrong(f"{place}.data.directory", f"{directory} isn't on the data volume, which is at {volume.mount}")
    for side, elsewhere in ELSEWHERE.items():
        for key in omero[side]["config"]:
            where = f"{place}.{side}.config.{key}"
            if key in elsewhere:
                wrong(where, f"is set from {elsewhere[key]}: change it there")
            elif any(word in key.rpartition(".")[2].lower() for word in SECRET):
                wrong(where, "is a secret by its name, and this pillar is shown: it belongs below `secrets`")
    _pages(omero["web"], f"{place}.web", wrong)
    _archives(omero, place, wrong, demanded)


def _pages(web, place, wrong):
    """Links and what can be looked up fit together."""
    labels = []
    for number, (label, view) in enumerate(web["top_links"]):
        where = f"{place}.top_links[{number}]"
        if label in labels:
            wrong(where, f"{label} is there twice")
        labels.append(label)
        before, _, menu = (view or "").partition("maprindex_")
        if menu and not before and menu not in web["mapr"]:
            wrong(where, f"{label} leads to {view}, and omero.web.mapr has no {menu}")


def _archives(omero, place, wrong, demanded):
    """Where OMERO comes from, which only a site can say, and a deploy can't do without."""
    missing = [key for key in ("version", "source", "source_hash") if key not in omero["server"]]
    if demanded or len(missing) < 3:
        for key in missing:
            wrong(f"{place}.server.{key}", "missing: OMERO.server's archive is told by version, source and source_hash")
    if demanded and "ice_wheel" not in omero:
        wrong(f"{place}.ice_wheel", "missing: OMERO's Python needs the wheel of Ice, by source and source_hash")
