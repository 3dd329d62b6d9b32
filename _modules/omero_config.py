"""
OMERO's configuration as it is loaded, beside what the deployment wrote.
"""

import os
import re
import shlex
import subprocess

from salt.exceptions import CommandExecutionError

__virtualname__ = "omero"

COMMAND = "/usr/local/bin/omero"
# The files that Salt writes. Whatever else lies there is loaded as well, and was put there by somebody.
WRITTEN = {
    "server": ("00-drop.omero", "10-server.omero", "20-secrets.omero"),
    "web": ("00-drop.omero", "10-web.omero", "20-apps.omero", "30-secrets.omero"),
}
# What `omero certificates` sets where nothing is set, before every start of the server
CERTIFICATES = {
    "omero.certificates.commonname", "omero.certificates.key", "omero.certificates.owner",
    "omero.glacier2.IceSSL.CAs", "omero.glacier2.IceSSL.CertFile", "omero.glacier2.IceSSL.Ciphers",
    "omero.glacier2.IceSSL.Password", "omero.glacier2.IceSSL.ProtocolVersionMax",
}  # fmt: skip
SECRET = re.compile(r"pass|secret|token|credential|private|\bkey$", re.I)
MASK = "********"


def __virtual__():
    return __virtualname__


def config_diff(what="all"):
    """
    Where the loaded configuration of OMERO.server and OMERO.web isn't what the deployment wrote. Secrets are masked.

    what:  ``server``, ``web`` or ``all``

    Returns for each ``{foreign: {key: value}, changed: {key: {written, loaded}}, missing: {key: value},
    foreign_files: [str]}``, empty where there is nothing; the exit code is 1 when there is anything. Both load what
    the deployment wrote before every start, so a restart undoes it all, but for foreign files: a highstate deletes
    them. That the files themselves are what pillar says is what a highstate's rehearsal (``test=True``) shows.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.config_diff
    """
    if what not in ("all", *WRITTEN):
        raise CommandExecutionError(f"There is no {what!r} to compare: all, server or web")
    found = {side: _compare(side) for side in WRITTEN if what in ("all", side)}
    if any(part for side in found.values() for part in side.values()):
        __context__["retcode"] = 1
    return found


def _compare(side):
    directory = f"/opt/omero/{side}/config"
    if not os.path.isdir(directory):
        raise CommandExecutionError(f"There is no {directory}: OMERO.{side} isn't deployed here. salt-call state.apply")
    written = {}
    for name in WRITTEN[side]:
        with open(f"{directory}/{name}") as lines:
            for line in lines:
                if line.startswith("config set -- "):
                    key, value = shlex.split(line)[3:]
                    written[key] = value
    loaded = _loaded(side)
    common = written.keys() & loaded.keys()
    secrets = _secrets()
    foreign = loaded.keys() - written.keys() - (CERTIFICATES if side == "server" else set())
    return {
        "foreign": {key: _masked(key, loaded[key], secrets) for key in sorted(foreign)},
        "changed": {
            key: {
                "written": _masked(key, written[key], secrets),
                "loaded": _masked(key, loaded[key], secrets),
            }
            for key in sorted(common)
            if written[key] != loaded[key]
        },
        "missing": {key: _masked(key, written[key], secrets) for key in sorted(written.keys() - common)},
        "foreign_files": sorted(set(os.listdir(directory)) - set(WRITTEN[side]) - {"pgpass"}),
    }


def _loaded(side):
    asked = subprocess.run(
        [COMMAND, "config", "get", "--show-password"], capture_output=True, text=True, timeout=60, check=False,
        env={"OMERODIR": f"/opt/omero/{side}/OMERO.{side}", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if asked.returncode:
        reason = (asked.stderr.strip() or f"exit code {asked.returncode}").splitlines()[-1]
        raise CommandExecutionError(f"omero config get of OMERO.{side}: {reason}")
    return dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)


def _secrets():
    """Every secret that this server's pillar has, whatever it is for."""
    found, left = set(), [__salt__["pillar.get"]("secrets", {}, unmask=True)]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
        elif one:
            found.add(str(one))
    return found


def _masked(key, value, secrets):
    if SECRET.search(key) or any(secret in value for secret in secrets):
        return MASK
    return value
