"""
Where copies of backup sets go: ``~/.config/idr/<env>/copies/<name>.yaml``, a file of the operator's own (0600) that
neither git nor the cloud nor a server keeps:

    repository: sftp:idr@vault.example.org:/srv/idr   # as restic says it; or rest:https://…, s3:https://…, …
    password: …                                       # what everything there is encrypted with
    keep: {daily: 7, weekly: 5, monthly: 12, yearly: 5}
    environment: {AWS_ACCESS_KEY_ID: …}               # what opens another kind of repository
    ssh_key: |                                        # what opens one by sftp, without a passphrase
    known_hosts: |                                    # and by what its host is known
    ca: |                                             # of https, who signs for a host that the system doesn't know

The parser is the validator. Nothing that it says has any of these values in it.
"""

import os
import re
from dataclasses import dataclass, field

import yaml

from idr.backup.retention import RULES
from idr.copies.restic import ssh_words
from idr.errors import Refused
from idr.topology import NothingTwice

FOLDER = "copies"
# What restic reaches from anywhere: how that is written, and what is told where it isn't written so
KINDS = {
    "sftp": (".*", "user@host:/path, or with a port sftp://user@host:port//path"),  # as ssh_words reads it
    "rest": ("https?://[^/]+/.*", "https://user:password@host:port/path/"),
    "s3": ("(https?:)?(//)?[^/]+/[^/].*", "https://host/bucket/path"),
    "b2": ("[^:/]+(:.*)?", "bucket:path"),
    "azure": ("[^:/]+:/.*", "container:/path"),
    "gs": ("[^:/]+:/.*", "bucket:/path"),
    "swift": ("[^:/]+:/.*", "container:/path"),
}
KEYS = ("repository", "password", "keep", "environment", "ssh_key", "known_hosts", "ca")
SHORTEST = 12  # characters of the password: who has the repository may try as long as they like


@dataclass(frozen=True)
class Destination:
    """A place for copies: its rules, and how it's opened, which isn't shown where one of these is printed."""

    name: str
    keep: dict[str, int]
    opened_by: dict = field(repr=False)  # as idr/copies/restic.py is asked


def read(folder, name):
    """
    The ``Destination`` of that name in an operator's site directory. Refused with everything that is wrong with it.

    folder:  that directory
    """
    path = folder / FOLDER / f"{name}.yaml"
    if not re.fullmatch("[a-z][a-z0-9-]*", str(name)):
        raise Refused([f"{name}: no name of a destination, which is of small letters, digits and hyphens"])
    try:
        private = [it for it in (folder, path) if it.stat().st_mode & 0o077 or it.stat().st_uid != os.getuid()]
        if private:
            raise Refused([f"{it}: has to be yours alone, since it holds secrets: chmod go= {it}" for it in private])
        raw = yaml.load(path.read_text(), NothingTwice)
    except OSError as error:
        known = ", ".join(sorted(it.stem for it in (folder / FOLDER).glob("*.yaml"))) or "none"
        raise Refused([f"{path}: {error.strerror}; destinations there: {known}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = f", line {error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise Refused([f"{path}{line}: no YAML that can be read"]) from None  # what it says has the text in it
    problems = [f"{path}: {why}" for why in _problems(raw)]
    if problems:
        raise Refused(problems)
    opened_by = {"environment": {}, "ssh_key": "", "known_hosts": "", "ca": ""} | raw | {"name": name}
    keep = opened_by.pop("keep")
    return Destination(name, keep, opened_by)


def _problems(raw):
    if not isinstance(raw, dict):
        return [f"has to be a mapping of {', '.join(KEYS)}"]
    found = [f"{key}: unknown; known are {', '.join(KEYS)}" for key in raw if key not in KEYS]
    found += [f"{key}: missing" for key in ("repository", "password", "keep") if not raw.get(key)]
    texts = ("repository", "password", "ssh_key", "known_hosts", "ca")
    found += [f"{key}: has to be a text" for key in texts if not isinstance(raw.get(key, ""), str)]
    given = raw.get("environment", {})
    if not isinstance(given, dict) or not all(isinstance(it, str) and it for pair in given.items() for it in pair):
        found.append("environment: has to be a mapping of texts")
    if found:
        return found
    repository = raw["repository"]
    if len(raw["password"]) < SHORTEST:
        found.append(f"password: has to have {SHORTEST} characters or more")
    kind, _, place = repository.partition(":")
    if kind == "sftp":
        found += [f"{key}: missing, and sftp needs it" for key in ("ssh_key", "known_hosts") if not raw.get(key)]
    if kind not in KINDS:
        found.append(
            f"repository: one of {', '.join(f'{kind}:…' for kind in KINDS)}; a path is of another place on each server"
        )
    elif not re.fullmatch(KINDS[kind][0], place) or (kind == "sftp" and not _is_ssh(repository)):
        found.append(f"repository: {kind}:{KINDS[kind][1]}")
    keep = raw["keep"]
    if not isinstance(keep, dict) or not all(
        rule in RULES and type(count) is int and count >= 0 for rule, count in keep.items()
    ):
        found.append(f"keep: has to be a number for any of {', '.join(RULES)}")
    return found


def _is_ssh(repository):
    try:
        return bool(ssh_words(repository))
    except ValueError:
        return False
