"""`secrets`: whether what a server needs is there, and nothing that it has no use for. No value is ever looked at."""

from idr.values.kinds import given, mapping

DATABASE = mapping({"password": given, "readonly_password": given})
# role -> what its servers can't do without, and what they can
SHAPES = {
    "proxy": ({}, {"tls": mapping({"fullchain": given, "privkey": given})}),
    "omero": ({"database": DATABASE, "omero": mapping({"root_password": given, "public_password": given})}, {}),
    "database": ({"database": DATABASE}, {}),
    "dockermanager": (
        {"jupyterhub": mapping({"api_token": given})},
        {"oauth": mapping({"client_secret": given})},
    ),
    "management": ({}, {}),
}


def shape(role, demanded):
    """The secrets of a role's server; with `demanded`, those have to be there that it can't do without."""
    needs, possible = SHAPES[role]
    return mapping(needs, possible) if demanded else mapping({}, {**needs, **possible})


def needed(role):
    """Whether a role's server can't do without any."""
    return bool(SHAPES[role][0])
