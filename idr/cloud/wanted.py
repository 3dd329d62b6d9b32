"""
What an environment should be: pillar's defaults, the environment's own file, the command line, the last one first.

Only what is declared is read here; where servers are and what they cost is the cloud's to say. As everywhere, all
problems are told at once, each with its place.
"""

import ipaddress
import os
import re
from pathlib import Path

import yaml

from idr import topology
from idr.backup import retention
from idr.backup.model import PRODUCTION
from idr.checkout import CHECKOUT
from idr.cloud.model import Wanted, WantedNetwork, WantedServer, WantedVolume
from idr.cloud.networks import REST, SERVERS
from idr.errors import Refused
from idr.release import expectations

DEFAULTS = "pillar/environment_defaults.sls"
RELEASE = "release.sls"  # in a site's directory
FLAVOURS = ("vm_flavour", "vm_flavour_large", "vm_flavour_medium")
NAMES = ("idr_deployment_cloud", "public_name", "vm_image", *FLAVOURS)  # texts that have to be there
MAY_BE_EMPTY = ("idr_network_external", "idr_volume_type", "idr_availability_zone", "sources", "address")
SUBNETS = ("idr_environment_idr_subnet", "idr_environment_analysis_subnet")
SMALLEST = 64  # addresses of a subnet
LISTS = ("idr_keypair_keys", "dns_nameservers")
OF_RELEASES = (*expectations.KEYS, "release_warm", "release_keep_days")
IN_FILES = ("servers", "backup_keep", "backup_hours", "backup_leave_out", *OF_RELEASES)  # alone
BLANK = ("", "blank")
KEY = re.compile(r"(ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/]+=*( .*)?")


def read(environment, given=None, checkout=CHECKOUT, home=None):
    """
    The environment of that name as it is Wanted. Refused with every problem.

    given:     what was typed, by the parameters' names: ``{"sources": "idr", "vm_image": "Debian 12"}``
    checkout:  whose ``pillar/`` it is
    home:      whose ``.ssh/id_*.pub`` get in where no keys are given; the caller's own
    """
    if not re.fullmatch(topology.NAME, str(environment)):
        raise Refused([f"{environment}: no name of an environment, which is of small letters and digits, e.g. newidr"])
    reader = _Reader(environment, given or {}, Path(checkout), Path(home or Path.home()))
    wanted = reader.wanted()
    if reader.problems:
        raise Refused(reader.problems)
    return wanted


def cloud_of(environment, checkout=CHECKOUT):
    """The name in clouds.yaml of the cloud that an environment is in, for whoever only wants to look at it."""
    reader = _Reader(environment, {}, Path(checkout), Path.home())
    if reader.problems:
        raise Refused(reader.problems)
    return reader.cloud()


def cloud_in_pillar(environment, checkout=CHECKOUT):
    """The cloud's name as pillar says, whatever a shell's OS_CLOUD does: its name to the environment's own master."""
    return _Reader(environment, {}, Path(checkout), Path.home()).value("idr_deployment_cloud")


def public_name_of(environment, checkout=CHECKOUT):
    """What visitors type, as pillar says."""
    return _Reader(environment, {}, Path(checkout), Path.home()).value("public_name")


def backup_keep(environment, checkout=CHECKOUT):
    """How many of an environment's backup sets are kept, by rule: ``{"daily": 7, …}``. Refused with every problem."""
    return _of_pillar(environment, checkout, _Reader.backup_keep)


def backup_hours(environment, checkout=CHECKOUT):
    """The hours of the day, UTC, at which an environment that is live backs itself up. Refused with every problem."""
    return _of_pillar(environment, checkout, _Reader.backup_hours)


def backup_leave_out(environment, checkout=CHECKOUT):
    """The uses of the volumes that an environment's backup sets are taken without. Refused with every problem."""
    return _of_pillar(environment, checkout, _Reader.backup_leave_out)


def release_expectations(environment, folder, checkout=CHECKOUT):
    """
    What a release asks of an environment, an ``Expectations``. Refused with every problem.

    folder:  the operator's site directory, whose ``release.sls``, of such keys alone, has the last word
    """
    return _of_pillar(environment, checkout, expectations.parse, Path(folder) / RELEASE)


def release_warm(environment, checkout=CHECKOUT):
    """Expressions that find in the cache's keys what a new release may answer otherwise. Refused with every problem."""
    return _of_pillar(environment, checkout, _Reader.release_warm)


def release_keep_days(environment, checkout=CHECKOUT):
    """Days after a switch for which the old environment is kept. Refused with every problem."""
    return _of_pillar(environment, checkout, _Reader.release_keep_days)


def _of_pillar(environment, checkout, read, release=None):
    """What is READ of an environment's pillar, and of the site's RELEASE file; refused with every problem."""
    reader = _Reader(environment, {}, Path(checkout), Path.home(), release)
    found = read(reader)
    if reader.problems:
        raise Refused(reader.problems)
    return found


class _Reader:
    def __init__(self, environment, given, checkout, home, release=None):
        self.environment = environment = str(environment)  # YAML makes a number of `2026`
        self.home = home
        self.problems = []
        own = f"pillar/environments/{environment}.sls"
        defaults = self.file(checkout / DEFAULTS, DEFAULTS)
        of_site = self.file(release, release) if release and release.exists() else {}
        known = f"known are {', '.join(expectations.KEYS)}"
        self.problems += [f"{release}: {key}: unknown; {known}" for key in of_site if key not in expectations.KEYS]
        self.layers = [  # the last word first; (how its keys are shown, what it says)
            ("{key}=", {key: value for key, value in given.items() if value is not None}),
            (f"{release}: {{key}}", of_site),
            (own + ": {key}", self.file(checkout / own, own) if (checkout / own).exists() else {}),
            (DEFAULTS + ": {key}", defaults),
        ]

    def file(self, path, shown):
        try:
            raw = yaml.load(path.read_text(), topology.NothingTwice) or {}
        except OSError as error:
            self.problems.append(f"{shown}: can't be read: {error.strerror}")
            return {}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}" if mark else ""
            self.problems.append(f"{shown}{line}: {getattr(error, 'problem', None) or error}")
            return {}
        if not isinstance(raw, dict):
            self.problems.append(f"{shown}: has to be a mapping, not {raw!r}")
            return {}
        return _named(raw, self.environment)

    def wrong(self, key, what):
        """A problem of a parameter, told with the place that has the last word on it."""
        place = next((place for place, layer in self.layers if key in layer), DEFAULTS + ": {key}")
        self.problems.append(f"{place.format(key=key)}: {what}")

    def value(self, key):
        return next((layer[key] for _, layer in self.layers if key in layer), None)

    def cloud(self):
        """Where nothing but the default says it, the variable that the SDK and its command know goes first."""
        said = any("idr_deployment_cloud" in layer for _, layer in self.layers[:-1])
        return (not said and os.environ.get("OS_CLOUD")) or self.value("idr_deployment_cloud")

    def wanted(self):
        servers = self.mapping("servers")
        networks = self.networks()
        wanted_servers, volumes = [], []
        for name, server in sorted(servers.items(), key=lambda item: _order(item, self.environment)):
            made = self.server(name, server, servers, networks)
            if made:
                wanted_servers.append(made[0])
                volumes += made[1]
        if not any(server.role == "proxy" for server in wanted_servers):
            self.wrong("servers", f"{self.environment}-proxy is missing: it is the way in, and the master")
        self.unknown({volume.use for volume in volumes})
        self.addresses_suffice(networks, wanted_servers)
        volumes = self.with_sources(volumes)
        for key in (*NAMES, *MAY_BE_EMPTY):
            self.text(key, empty=key in MAY_BE_EMPTY)
        self.backup_keep()
        self.backup_hours()
        self.left_out_are_there({volume.use for volume in volumes})
        expectations.parse(self)
        self.release_warm()
        self.release_keep_days()
        if self.value("idr_environment_idr") not in (None, self.environment):
            self.wrong("idr_environment_idr", f"has to be {self.environment}, as it's asked for")
        return Wanted(
            name=self.environment,
            cloud=self.cloud(),
            public_name=self.value("public_name"),
            image=self.value("vm_image"),
            keys=self.keys(),
            nameservers=self.nameservers(),
            external=self.value("idr_network_external") or "",
            networks=networks,
            servers=tuple(wanted_servers),
            volumes=tuple(volumes),
            address=self.address(),
            volume_type=self.value("idr_volume_type") or "",
            zone=self.value("idr_availability_zone") or "",
        )

    def text(self, key, empty):
        value = self.value(key)
        if not isinstance(value, str | None) or (not value and not empty):
            self.wrong(key, f"has to be a text, not {value!r}")

    def unknown(self, uses):
        sources = {_parameter(use) for use in uses} | {_parameter("a-dockermanager-data")}
        known = ["idr_environment_idr", *NAMES, *MAY_BE_EMPTY, *SUBNETS, *LISTS, *sorted(sources)]
        for place, layer in self.layers:
            typed = place == "{key}="
            for key in layer:
                if key in known or (key in IN_FILES and not typed):
                    continue
                if key in IN_FILES:
                    self.problems.append(f"{key}=: goes into pillar/environments/{self.environment}.sls")
                elif place.startswith(DEFAULTS) and key.endswith("_src"):
                    continue  # of a server that this environment hasn't
                else:
                    self.problems.append(f"{place.format(key=key)}: unknown; known are {', '.join(known)}")

    def mapping(self, key):
        """A mapping of pillar with its entries' places, the environment's own over the defaults; null takes away."""
        found = {}
        for place, layer in reversed(self.layers[1:]):
            entries = layer.get(key) or {}
            if not isinstance(entries, dict):
                self.problems.append(f"{place.format(key=key)}: has to be a mapping, not {entries!r}")
                continue
            found |= {str(name): (f"{place.format(key=key)}.{name}", entry) for name, entry in entries.items()}
        return {name: (place, entry) for name, (place, entry) in found.items() if entry is not None}

    def backup_keep(self):
        """How many sets each rule keeps; none where nothing is said."""
        found = dict.fromkeys(retention.RULES, 0)
        for rule, (place, count) in self.mapping("backup_keep").items():
            if rule not in found:
                self.problems.append(f"{place}: unknown; known are {', '.join(retention.RULES)}")
            elif not isinstance(count, int) or isinstance(count, bool) or count < 0:
                self.problems.append(f"{place}: has to be a whole number of sets, 0 or more, not {count!r}")
            else:
                found[rule] = count
        return found

    def backup_hours(self):
        hours = self.value("backup_hours") or []
        if not isinstance(hours, list) or any(isinstance(it, bool) or it not in range(24) for it in hours):
            self.wrong("backup_hours", f"has to be a list of hours, 0 to 23, not {hours!r}")
            return []
        return hours

    def backup_leave_out(self):
        uses = self.value("backup_leave_out") or []
        if not isinstance(uses, list) or not all(isinstance(it, str) for it in uses):
            self.wrong("backup_leave_out", f"has to be a list of volumes, e.g. [proxy-nginxcache], not {uses!r}")
            return []
        required = [it for it in uses if PRODUCTION.match(it)]
        if required:
            self.wrong("backup_leave_out", f"{', '.join(required)} can't be made again, so no set is without it")
        return [it for it in uses if it not in required]

    def left_out_are_there(self, uses):
        strange = [it for it in self.backup_leave_out() if it not in uses]
        if strange:
            there = f"there are {', '.join(sorted(uses))}"
            self.wrong("backup_leave_out", f"there is no volume {', '.join(strange)}; {there}")

    def release_warm(self):
        expressions = self.value("release_warm") or []
        if not isinstance(expressions, list) or not all(map(_finds_something_only, expressions)):
            what = "has to be a list of regular expressions that don't find just any key"
            self.wrong("release_warm", f"{what}, not {expressions!r}")
            return []
        return expressions

    def release_keep_days(self):
        days = self.value("release_keep_days")
        if isinstance(days, bool) or not isinstance(days, int) or days < 0:
            self.wrong("release_keep_days", f"has to be a whole number of days, 0 or more, not {days!r}")
            return 0
        return days

    def networks(self):
        found = []
        for key, name in zip(SUBNETS, (self.environment, f"{self.environment}-a"), strict=True):
            try:
                cidr = ipaddress.IPv4Network(str(self.value(key)))
            except ValueError as error:
                self.wrong(key, f"has to be an IPv4 network, e.g. 192.168.1.0/24: {error}")
                continue
            for other, theirs in found:
                if cidr.overlaps(theirs):
                    self.wrong(key, f"{cidr} overlaps {theirs} of the network {other}: the proxy is in both")
            found.append((name, cidr))
        return tuple(WantedNetwork(name, str(cidr)) for name, cidr in found)

    def server(self, name, placed, servers, networks):
        """One server with its volumes, or None with problems."""
        place, entry = placed
        if not isinstance(entry, dict):
            self.problems.append(f"{place}: has to be a mapping, not {entry!r}")
            return None
        for key in entry:
            if key not in ("role", "flavour", "volumes"):
                self.problems.append(f"{place}.{key}: unknown; known are role, flavour, volumes")
        role = entry.get("role")
        if role not in topology.ROLES:
            self.problems.append(f"{place}.role: has to be one of {', '.join(topology.ROLES)}, not {role!r}")
            return None
        side = topology.prefix_of(name, role, self.environment)
        if side is None:
            self.problems.append(f"{place}: {topology.wrong_name(role, self.environment)}")
            return None
        if name[-1].isdigit() and f"{side}-{role}" not in servers:
            self.problems.append(f"{place}: a second one without a first: {side}-{role} is missing")
        flavour = entry.get("flavour", "vm_flavour")
        if flavour not in FLAVOURS:
            self.problems.append(f"{place}.flavour: has to be one of {', '.join(FLAVOURS)}, not {flavour!r}")
        on = tuple(network.name for network in networks) if role == "proxy" else (side,)
        server = WantedServer(name, role, self.value(flavour) if flavour in FLAVOURS else "", on)
        return server, self.volumes(f"{place}.volumes", name, role, side, entry.get("volumes") or [])

    def volumes(self, place, server, role, side, raw):
        own = topology.volume_of(server, role, self.environment)
        if not isinstance(raw, list):
            self.problems.append(f"{place}: has to be a list, not {raw!r}")
            return []
        found = []
        for entry in raw:
            if not isinstance(entry, dict) or not own or entry.get("name") != own[0]:
                can = f"the only data volume of {server} is {own[0]}" if own else f"{server} has no data volume"
                self.problems.append(f"{place}: {can}, not {entry!r}")
                continue
            for key in entry:
                if key not in ("name", "size_gb", "source"):
                    self.problems.append(f"{place}.{own[0]}.{key}: unknown; known are name, size_gb, source")
            size = entry.get("size_gb")
            if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
                self.problems.append(f"{place}.{own[0]}.size_gb: has to be a whole number of GB above 0, not {size!r}")
                size = 1
            source = entry.get("source") or ""
            found.append(WantedVolume(f"{self.environment}-{own[0]}", own[0], server, size, str(source)))
        if len(found) > 1:
            self.problems.append(f"{place}: more than one; {own[0]} is all it can have")
        if not raw and own and role in topology.REQUIRED and side == self.environment:
            self.problems.append(f"{place}: {own[0]} is missing, which holds what can't be made again")
        return found

    def with_sources(self, volumes):
        """The volumes with where each one's content comes from: what names one volume goes before `sources`."""
        uses = {volume.use for volume in volumes}
        found = []
        for volume in volumes:
            source = self.source(volume)
            if source in BLANK:
                source = ""
            elif source in uses:
                source = f"use:{source}"
            found.append(WantedVolume(volume.name, volume.use, volume.server, volume.size_gb, source))
        sources = {volume.use: volume.source.removeprefix("use:") for volume in found if volume.source[:4] == "use:"}
        for use in sources:
            seen = [use]
            while sources.get(seen[-1]) and seen.count(seen[-1]) == 1:
                seen.append(sources[seen[-1]])
            if sources.get(seen[-1]) and seen[-1] == use:
                self.problems.append(f"volume {use}: comes from itself: {' <- '.join(seen)}")
        return found

    def source(self, volume):
        key = _parameter(volume.use)
        for _, layer in self.layers:
            if key in layer and (layer is not self.layers[-1][1] or layer[key]):
                if not isinstance(layer[key], str | None):
                    what = "a volume, a snapshot, an environment or a backup set"
                    self.wrong(key, f"has to be the name or id of {what}, not {layer[key]!r}")
                    return ""
                return layer[key] or ""
            if isinstance(layer.get("sources"), str) and layer["sources"] and not volume.source:
                return "" if layer["sources"] in BLANK else f"sources:{layer['sources']}"
        return volume.source

    def keys(self):
        raw = self.value("idr_keypair_keys")
        raw = [raw] if isinstance(raw, str) else raw or []
        if not isinstance(raw, list):
            self.wrong("idr_keypair_keys", f"has to be a list of public SSH keys, not {raw!r}")
            return ()
        if not raw:
            files = sorted((self.home / ".ssh").glob("id_*.pub"))
            raw = [file.read_text().strip() for file in files]
        for key in raw:
            if not isinstance(key, str) or not KEY.fullmatch(key.strip()):
                self.wrong("idr_keypair_keys", f"no public SSH key: {str(key)[:40]!r}")
        return tuple(str(key).strip() for key in raw)

    def nameservers(self):
        raw = self.value("dns_nameservers") or []
        raw = [raw] if isinstance(raw, str) else raw
        try:
            return tuple(str(ipaddress.IPv4Address(str(each))) for each in raw)
        except (ValueError, TypeError):
            self.wrong("dns_nameservers", f"has to be a list of IPv4 addresses, not {raw!r}")
            return ()

    def address(self):
        raw = self.value("address")
        if not raw:
            return None
        try:
            return str(ipaddress.IPv4Address(str(raw)))
        except ValueError:
            self.wrong("address", f"has to be an IPv4 address, not {raw!r}")
            return None

    def addresses_suffice(self, networks, servers):
        for key, network in zip(SUBNETS, networks, strict=False):
            if ipaddress.IPv4Network(network.cidr).num_addresses < SMALLEST:
                self.wrong(key, f"{network.cidr} is too small: it has to have {SMALLEST} addresses (/26)")
            if sum(network.name in server.networks for server in servers) > REST - SERVERS:
                self.wrong(key, f"{network.name} has more servers than there are addresses for: {REST - SERVERS}")


def _finds_something_only(expression):
    try:
        return isinstance(expression, str) and not re.search(expression, "/zq/Zq_0?q=zQ&z=1")
    except re.error:
        return False


def _parameter(use):
    """The parameter that says where a volume's content comes from."""
    use = "dockermanager-data" if use == "a-dockermanager-data" else use  # as operators know it
    return f"idr_volume_{use.replace('-', '_')}_src"


def _named(raw, environment):
    """RAW with the environment's name for the word ENV, in keys and values alike."""
    if isinstance(raw, dict):
        return {_named(key, environment): _named(value, environment) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_named(each, environment) for each in raw]
    return re.sub(r"\bENV\b", environment, raw) if isinstance(raw, str) else raw


def _order(item, environment):
    """Servers in the order of the document: the proxy first, then production, then the analysis side."""
    name, (_, entry) = item
    role = entry.get("role") if isinstance(entry, dict) else None
    roles = list(topology.ROLES)
    return role != "proxy", name.startswith(f"{environment}-a-"), roles.index(role) if role in roles else 99, name
