"""
What an operator supplies and git hasn't: a directory of their own, ``~/.config/idr/<env>/`` (0700), with any of

    site.sls                          pillar of this site, the last word over every default
    environment.sls                   its servers and where they are, if they were made by hand (idr/table.py)
    tls/fullchain.pem, privkey.pem    the public certificate and its key
    oauth_client_secret               what the login provider gave for JupyterHub, one line
    known_hosts                       the servers' SSH host keys, by server name
    release.sls, ca.pem               what a release asks of it, and whose certificates it trusts (idr/release)
    copies/NAME.yaml                  a place for copies of backups, and what opens it (idr/backup/destinations.py)

It goes to the master's second pillar root over SSH, but for the last three. What it hasn't is left there as it is.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from idr.errors import Refused

PILLAR = "/etc/idr/pillar"
KNOWN = (
    "site.sls", "environment.sls", "tls", "oauth_client_secret", "known_hosts", "copies", "release.sls", "ca.pem",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Its files as the master is to have them (path: text), and its file of SSH host keys, if it has one."""

    files: dict[str, str]
    known_hosts: tuple[Path, ...]


def folder_of(environment, given=None):
    """The site directory of an environment: the operator's own place for it, or the one that was given."""
    folder = Path(given or f"~/.config/idr/{environment}").expanduser()
    if given and not (folder.is_absolute() and folder.is_dir()):
        raise Refused([f"site: has to be the absolute path of a directory that is there, not {given}"])
    return folder


def read(environment, folder):
    """The site of an environment and what is wrong with it: ``(Site, problems)``. No directory is an empty site."""
    folder = Path(folder)
    if not folder.exists():
        return Site({}, ()), []
    problems = _problems_of(folder)
    if problems:
        return Site({}, ()), problems
    files = {}
    if (folder / "site.sls").exists():
        files[f"{PILLAR}/site.sls"] = (folder / "site.sls").read_text()
    if (folder / "tls").exists():
        pair, problems = _tls(folder / "tls")
        files[f"{PILLAR}/secrets/{environment}/tls.sls"] = json.dumps({"secrets": {"tls": pair}}, indent=2) + "\n"
    if (folder / "oauth_client_secret").exists():
        secret, wrong = _oauth(folder / "oauth_client_secret")
        problems += wrong
        files[f"{PILLAR}/secrets/{environment}-a/oauth.sls"] = (
            json.dumps({"secrets": {"oauth": {"client_secret": secret}}}, indent=2) + "\n"
        )
    known_hosts = folder / "known_hosts"
    return Site(files, (known_hosts,) if known_hosts.exists() else ()), problems


def _problems_of(folder):
    about = folder.stat()
    problems = []
    if about.st_uid != os.getuid():
        problems.append(f"{folder}: has to belong to you, since it holds secrets")
    if about.st_mode & 0o077:
        problems.append(f"{folder}: others may look into it, and it holds secrets: chmod 700 {folder}")
    if not os.access(folder, os.R_OK | os.X_OK):
        return problems
    for entry in sorted(folder.iterdir()):
        if entry.name not in KNOWN:
            problems.append(f"{entry}: nothing that enrolment takes; it takes {', '.join(KNOWN)}")
    return problems


def _tls(folder):
    """The pair of the certificate and its key, tried: a key of another certificate would stop nginx on the proxy."""
    missing = [folder / name for name in ("fullchain.pem", "privkey.pem") if not (folder / name).is_file()]
    if missing:
        return {}, [f"{path}: missing; certificate and key come together" for path in missing]
    chain, key = (folder / "fullchain.pem").read_text(), (folder / "privkey.pem").read_text()
    try:
        certificate = x509.load_pem_x509_certificate(chain.encode())
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        return {}, [f"{folder}: fullchain.pem and privkey.pem have to be PEM, the key without a passphrase"]
    if certificate.public_key() != private.public_key():
        return {}, [f"{folder}: privkey.pem is not the key of the first certificate in fullchain.pem"]
    return {"fullchain": chain, "privkey": key}, []


def _oauth(path):
    """The client secret of the login provider: one word, as the provider shows it."""
    words = path.read_text().split()
    if len(words) != 1:
        return "", [f"{path}: has to be the client secret of the login provider, and nothing else"]
    return words[0], []
