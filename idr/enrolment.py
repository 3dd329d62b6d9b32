"""
Salt on the servers of an environment: from what is there to what has to be done, as data.

Nothing here touches a server. Facts come in (idr/on_server.py), problems and steps go out; idr/enrol.py does the steps
and asks again until none is left. So a second run, and one after a crash, is the same function on fresh facts.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from idr.checkout import CHECKOUT
from idr.topology import Environment, Server

ETC = CHECKOUT / "etc"
SYSTEMS = ("debian 12", "rhel 9", "rocky 9", "almalinux 9", "centos 9")
UNITS = Path("/etc/systemd/system")
OPT = "/opt/salt"


@dataclass(frozen=True)
class Wanted:
    """What enrolment brings: the commit, Salt's wheels by their hash, the site's files, and servers named as remade."""

    commit: str
    salt: str
    site: dict[str, str] = field(default_factory=dict)
    replace: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """
    One deed on one server. Without `asked` its content depends on an earlier step's outcome (a key that has to be made
    first), so it's planned now and done when the facts are looked at again.
    """

    server: str
    what: str
    deed: str
    asked: dict | None = None
    stream: str | None = None

    def __str__(self):
        return f"{self.server}: {self.what}"


def questions(environment: Environment, server: Server, wanted: Wanted) -> dict:
    """What ``on_server.facts`` is asked about a server."""
    is_master = server == environment.proxy
    paths = _files(environment, server, "").keys() | _links(is_master).keys() | _directories(is_master).keys()
    return {
        "files": sorted(paths | (wanted.site.keys() if is_master else set())),
        "units": _units(is_master),
        "secrets": sorted(generated(environment)) if is_master else [],
    }


def generated(environment: Environment) -> dict[str, dict[str, str | None]]:
    """The passwords each side needs: ``{'idr/database': {'password': None}}``, None where it's made at random."""
    secrets = {}
    for server in environment.servers.values():
        if server.role == "database":
            secrets[f"{server.prefix}/database"] = {"password": None, "readonly_password": None}
        if server.role == "omero":
            # the analysis side's public user is one that people log in as, from their notebooks
            public = None if server.prefix == environment.name else "public"
            secrets[f"{server.prefix}/omero"] = {"root_password": None, "public_password": public}
        if server.role == "dockermanager":
            secrets[f"{server.prefix}/jupyterhub"] = {"api_token": None}
    return secrets


def problems(environment: Environment, facts: dict[str, dict], wanted: Wanted) -> list[str]:
    """Why these servers can't be enrolled, one line each; empty when nothing speaks against it."""
    found = [
        f"{name}: replace= names no server of {environment.name}; it has {', '.join(environment.servers)}"
        for name in sorted(wanted.replace - environment.servers.keys())
    ]
    for id_, there in facts.items():
        if there["os"] not in SYSTEMS:
            found.append(f"{id_}: it runs {there['os']}; these states are made for Debian 12 and the RHEL 9 family")
    proxy = environment.proxy.id
    if proxy not in facts:
        return found
    master = facts[proxy]
    for state, keys in master["keys"].items():
        for id_ in sorted(keys.keys() - environment.servers.keys()):
            found.append(
                f"{id_}: no server of {environment.name}, but the master has a key of that name ({state}, "
                f"{finger(keys[id_])}). If nobody can account for it, take it away: ssh {proxy} salt-key -d {id_}"
            )
    for id_, there in facts.items():
        if id_ not in wanted.replace:
            found += _wrong_keys(id_, there["key"], master["keys"])
        if proxy not in wanted.replace and _knows_another(there, master["master_key"]):
            found.append(
                f"{id_}: it knows another master ({finger(there['knows_master'])}). "
                f"If {proxy} was remade, say so: replace={proxy}"
            )
    return found


def _wrong_keys(id_, key, keys):
    """The keys that the master has under a server's name and that aren't that server's."""
    mend = {
        "accepted": f"If {id_} was remade, say so: replace={id_}",
        "pending": "Something else asks under its name. Find it, then say so: replace=" + id_,
        "denied": "Something else asked under its name. Find it, then say so: replace=" + id_,
        "rejected": f"It was rejected by hand. If that's over, say so: replace={id_}",
    }
    return [
        f"{id_}: the master has a key under its name ({state}, {finger(held[id_])}) that isn't the server's "
        f"({finger(key) if key else 'it has none'}, read over SSH). {mend[state]}"
        for state, held in keys.items()
        if id_ in held and not _same(held[id_], key)
    ]


def steps(environment: Environment, facts: dict[str, dict], wanted: Wanted) -> list[Step]:
    """What has to be done, in an order that works; empty when everything is there."""
    proxy = environment.proxy
    ordered = [proxy, *(server for server in environment.servers.values() if server != proxy)]
    found = []
    for server in ordered:
        found += _software(server, facts[server.id], wanted, is_master=server == proxy)
    found += _master_content(environment, facts[proxy.id], wanted)
    keys = list(_keys(environment, facts))
    found += keys
    changed = {step.server for step in found if step.deed == "install_salt"}
    # a minion whose key the master doesn't have yet would be turned away, and give up
    may_start = bool(facts[proxy.id]["master_key"]) and all(step.asked for step in keys)
    for server in ordered:
        found += _configuration(environment, server, facts, server.id in changed, may_start)
    return found


def _software(server, there, wanted, is_master):
    if not there["python"]:
        yield Step(server.id, "install python3.11, from its own package sources", "install_python", {})
    if there["salt"] != wanted.salt:
        yield Step(server.id, f"install Salt into {OPT}", "install_salt", {"hash": wanted.salt}, "wheels")
    if is_master and there["release"] != wanted.commit:
        before = f", instead of {there['release'][:12]}" if there["release"] else ""
        what = f"install commit {wanted.commit[:12]}{before}"
        yield Step(server.id, what, "install_release", {"commit": wanted.commit}, "release")
    if is_master and not there["master_key"]:
        yield Step(server.id, "make the master's key", "make_key", {"kind": "master"})
    if not there["key"]:
        yield Step(server.id, "make the minion's key", "make_key", {"kind": "minion"})


def _master_content(environment, there, wanted):
    """What the master has beside the release: the site's own pillar and the passwords."""
    id_, files = environment.proxy.id, there["files"]
    directories = {path: mode for path, mode in _directories(True).items() if files[path] != f"directory {mode:04o}"}
    if directories:
        yield Step(id_, f"make {', '.join(directories)}", "put", {"directories": directories})
    site = not_there(wanted.site, there)
    if site:
        files = {path: (text, 0o600) for path, text in site.items()}
        yield Step(id_, f"write the site's own {', '.join(site)}", "put", {"files": files})
    if there["unfit_credential"]:
        what = f"give it a credential that sees the cloud and snapshots volumes ({there['unfit_credential']})"
        yield Step(id_, what, "give_credential", {})
    missing = _missing_secrets(environment, there)
    if missing:
        yield Step(id_, f"make the passwords of {', '.join(missing)}", "make_secrets", {"secrets": missing})


def candidate(environment: Environment, facts: dict[str, dict], wanted: Wanted) -> dict:
    """What ``on_server.bring_candidate`` is asked, so that a rehearsal has all that those steps will bring."""
    there = facts[environment.proxy.id]
    site, missing = not_there(wanted.site, there), _missing_secrets(environment, there)
    return {"commit": wanted.commit, "site": site, "secrets": missing}


def not_there(files, there):
    """Of a site's FILES, texts by path, those that a master hasn't as they are, by what ``on_server.facts`` says."""
    return {path: text for path, text in files.items() if there["files"][path] != _state(text, 0o600)}


def _missing_secrets(environment, there):
    wanted = generated(environment)
    return {name: keys for name, keys in wanted.items() if keys.keys() - set(there["secrets"].get(name, ()))}


def _keys(environment, facts):
    proxy = environment.proxy.id
    held = facts[proxy]["keys"]
    unlike = {
        id_: facts[id_]["key"]
        for id_ in environment.servers
        if not facts[id_]["key"]
        or not _same(held["accepted"].get(id_), facts[id_]["key"])
        or any(id_ in held[state] for state in ("pending", "rejected", "denied"))
    }
    if unlike:
        known = all(unlike.values())
        fingers = [f"{id_} ({finger(key) if key else 'made then'})" for id_, key in unlike.items()]
        what = f"accept the keys that the servers have over SSH: {', '.join(fingers)}"
        yield Step(proxy, what, "set_keys", {"accept": unlike} if known else None)


def _configuration(environment, server, facts, restart, may_start):
    there, master_key = facts[server.id], facts[environment.proxy.id]["master_key"]
    is_master = server == environment.proxy
    absent = []
    if _knows_another(there, master_key):
        absent = ["/etc/salt/pki/minion/minion_master.pub"]
        yield Step(server.id, "forget the master that was there before", "put", {"absent": absent})
    files = {
        path: (text, mode)
        for path, (text, mode) in _files(environment, server, finger(master_key) if master_key else "").items()
        if there["files"][path] != _state(text, mode)
    }
    links = {path: target for path, target in _links(is_master).items() if there["files"][path] != target}
    if files or links:
        asked = {"files": files, "links": links} if master_key else None
        yield Step(server.id, f"write {', '.join([*files, *links])}", "put", asked)
    units = [
        unit
        for unit, watched in _units(is_master).items()
        if restart
        or (absent and unit == "salt-minion")
        or any(path in files for path in watched)
        or not (there["units"][unit]["enabled"] and there["units"][unit]["current"])
    ]
    if units:
        yield Step(server.id, f"start {' and '.join(units)}", "start", {"units": units} if may_start else None)


def _files(environment, server, master_finger):
    """Every file that both enrolment and the states salt_minion and salt_master keep: ``{path: (text, mode)}``."""
    minion = {"id": server.id, "master": environment.proxy.addresses[server.prefix], "master_finger": master_finger}
    files = {
        "/etc/salt/minion": (_render("minion.j2", **minion), 0o640),
        f"{UNITS}/salt-minion.service": (_render("salt-minion.service"), 0o644),
    }
    if server == environment.proxy:
        files |= {
            "/etc/salt/master": (_render("master.j2", environment=environment.name), 0o640),
            f"{UNITS}/salt-master.service": (_render("salt-master.service"), 0o644),
            "/etc/logrotate.d/idr": (_render("salt-logrotate"), 0o644),
            # runners import `idr` from the current release
            f"{OPT}/lib/python3.11/site-packages/idr.pth": ("/srv/idr/current\n", 0o644),
        }
    return files


def _links(is_master):
    commands = ("salt-call", "salt", "salt-run", "salt-key") if is_master else ("salt-call",)
    return {f"/usr/local/bin/{command}": f"{OPT}/bin/{command}" for command in commands}


def _directories(is_master):
    return {"/etc/idr": 0o700, "/etc/idr/pillar": 0o700, "/var/log/idr": 0o700} if is_master else {}


def _units(is_master):
    """The units of a server in the order of their start, each with what it has to be newer than."""
    kinds = ("master", "minion") if is_master else ("minion",)
    return {f"salt-{kind}": [f"/etc/salt/{kind}", f"{UNITS}/salt-{kind}.service", OPT] for kind in kinds}


def _render(name, **values):
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string((ETC / name).read_text()).render(values)


def _state(text, mode):
    """What ``on_server.facts`` says of a file with that content and mode."""
    return f"{hashlib.sha256(text.encode()).hexdigest()} {mode:04o}"


def _same(one, other):
    return one is not None and other is not None and one.split() == other.split()


def _knows_another(there, master_key):
    return there["knows_master"] is not None and not _same(there["knows_master"], master_key)


def finger(key):
    """A public key's fingerprint as ``salt-key -f`` prints it, and ``master_finger`` takes it."""
    body = "\n".join(line for line in key.strip().splitlines()[1:-1]) + "\n"
    digest = hashlib.sha256(body.encode()).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
