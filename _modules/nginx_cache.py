"""
The proxy's cache: what is in it, and how entries are removed while visitors go on. ``nginx_cache.refresh`` and
``nginx_cache.recount`` have files of their own.

Refresh before purge: a refresh replaces an entry only by a good answer; after a purge, every visitor waits for OMERO.
Zones are read from nginx's own configuration, since that is what nginx does, whatever pillar says meanwhile.
"""

import collections
import concurrent.futures
import contextlib
import fcntl
import glob
import hashlib
import itertools
import json
import os
import re
import shutil
import time
import urllib.parse

from salt.exceptions import CommandExecutionError

VOLUME = "/var/cache/nginx"
TRASH = os.path.join(VOLUME, ".purged")
ACCESS_LOG = "/var/log/nginx/access.log"
PID = "/run/nginx.pid"
# What was removed beside the running nginx, which goes on counting it
GONE = "/var/lib/idr/nginx_cache_gone.json"
READERS = 16        # cold, 200 000 entries are read in 6 s by 16 and in 25 s by one
ANSWERED = {"HIT", "STALE", "UPDATING", "REVALIDATED"}

_ZONE = re.compile(r"^\s*proxy_cache_path\s+(?P<path>\S+)\s+(?P<options>[^;]*);", re.MULTILINE)
_ENTRY = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(rb"\nKEY: (/[^\n]*)\n")
_LOGGED = re.compile(r" zone=(\S+) cache=([A-Z]+) ")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

# The same two steps as the maps in salt/nginx/files/maps.conf.j2; tests/cases/nginx_cache_keys.yaml holds for both.
_BUSTER = re.compile(r"([^?]*\?(?:.*&)?)_=[0-9]+(?:&(.*))?")
_NO_QUERY = re.compile(r"([^?]*)\?&*")
_DANGLING = re.compile(r"([^?]*\?.*?)&+")


def __virtual__():
    return "nginx_cache"


def zones():
    """
    The cache's zones, as nginx's configuration has them.

    Returns ``{zone: {"path": str, "max_bytes": int, "keys_bytes": int, "inactive": str}}``.
    Refused when ``nginx -T`` refuses the configuration.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.zones
    """
    shown = __salt__["cmd.run_all"](["nginx", "-T", "-q"], python_shell=False, ignore_retcode=True)
    if shown["retcode"]:
        raise CommandExecutionError(f"nginx refuses its own configuration: {shown['stderr'].strip()}")
    found = {}
    for match in _ZONE.finditer(shown["stdout"]):
        options = dict(word.partition("=")[::2] for word in match["options"].split())
        name, _, keys = options["keys_zone"].partition(":")
        found[name] = {
            "path": match["path"],
            "max_bytes": _bytes(options["max_size"]),
            "keys_bytes": _bytes(keys),
            "inactive": options["inactive"],
        }
    return found


def stats(log_bytes=8 * 1024**2):
    """
    What is stored, how full the zones are, and how often visitors were answered from them.

    log_bytes:  how much of the end of nginx's access log is counted, in bytes; nginx writes it within a second

    Returns the volume's ``free_bytes``; ``purging``, whether a purge is at work; ``trash`` (entries, bytes), which
    without one is what an interrupted purge left for the next to remove; and of each of the ``zones``:
    ``entries``, ``bytes``, ``max_bytes``; ``filled``, the part of max_bytes that the entries take on the disk;
    ``gone_bytes``, at most how much nginx still counts of what was purged (see :func:`nginx_cache.recount`);
    ``oldest``, seconds since its oldest entry was stored; ``answers`` in the log's end (``HIT``, ``MISS``, …) and
    ``hit_ratio``, the part of visitors' requests that OMERO had nothing to do with.
    Looks at every entry: with millions of them it takes a while.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.stats
    """
    answers, gone, trash = _answers(log_bytes), _gone(), _trash()
    room = os.statvfs(VOLUME)
    found = {
        "free_bytes": room.f_bavail * room.f_frsize,
        "purging": _is_purging(),
        "trash": {what: sum(sizes[what] for sizes in trash.values()) for what in ("entries", "bytes")},
        "zones": {},
    }
    for name, zone in zones().items():
        entries, size, on_disk, oldest = _measured(zone["path"])
        uncounted = gone.get(name, 0) + trash.get(name, {"bytes": 0})["bytes"]
        found["zones"][name] = {
            "entries": entries,
            "bytes": size,
            "max_bytes": zone["max_bytes"],
            "filled": round(on_disk / zone["max_bytes"], 3),
            # no more than the rest: nginx lets go of what it used longest ago once it counts more than max_bytes
            "gone_bytes": max(0, min(uncounted, zone["max_bytes"] - on_disk)),
            "oldest": int(time.time() - oldest) if entries else None,
            "answers": answers.get(name, {}),
            "hit_ratio": _hit_ratio(answers.get(name, {})),
        }
    return found


def purge(zone=None, test=None):
    """
    Remove every cached entry of one zone, or of all.

    zone:  one zone's name; all zones without it
    test:  only say what would be removed

    Returns ``{zone: {"entries": int, "bytes": int}}`` of what was removed, or with ``test=True`` would be.
    Requests go on meanwhile: entries are renamed away below the zone's own directory, which stays, because nginx
    answers every miss of a zone without one with an empty reply.
    Refused: an unknown zone, a zone whose directory is not on the cache volume, and a second purge at the same time.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.purge omeroapi test=True
        salt idr-proxy nginx_cache.purge omeroapi
    """
    chosen = _chosen(zone)
    if _only_test(test):
        return {name: _sizes(path) for name, path in chosen.items()}
    with _alone():
        # renamed first, all of them: from here on nothing old is served, however long the removal takes
        trash = os.path.join(TRASH, str(time.time_ns()))
        for name, path in chosen.items():
            _rename_below(path, os.path.join(trash, name))
        removed = {name: _sizes(os.path.join(trash, name)) for name in chosen}
        _add_to_gone({name: sizes["bytes"] for name, sizes in _trash().items()})
        if (entries := sum(sizes["entries"] for sizes in removed.values())) > 10_000:      # or it's done in a second
            message = f"visitors get fresh answers; {entries} old entries are being removed from the disk"
            __salt__["event.send"]("idr/nginx_cache/purge", {"message": message})
        shutil.rmtree(TRASH)      # with what an interrupted purge left
    return removed


def purge_matching(regex, zone=None, test=None):
    """
    Remove the cached entries whose key a regular expression finds.

    regex:  searched in each key: path and query, without ``_=digits``; ``^`` anchors it at the key's beginning
    zone:   one zone's name; all zones without it
    test:   only say what would be removed

    Returns ``{zone: {"entries": int, "bytes": int, "keys": [str]}}`` of what was removed, or with ``test=True`` would
    be; ``keys`` are the first five. Reads the beginning of every entry's file: some seconds for 200 000 of them, with
    an event on Salt's bus every two. nginx goes on counting what is removed (see :func:`stats`).
    Refused: what :func:`purge` refuses, an invalid expression, and one that finds just any key.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.purge_matching '/image/(17|18)/' test=True
        salt idr-proxy nginx_cache.purge_matching '^/webgateway/render_thumbnail/' omerothumbnail
    """
    wanted = _expression(regex)
    chosen, only_test = _chosen(zone), _only_test(test)
    with contextlib.nullcontext() if only_test else _alone():
        return {name: _purge_matching(wanted, name, path, only_test) for name, path in chosen.items()}


def _purge_matching(wanted, zone, path, only_test):
    """What was found in one zone, and unless this is a test is removed by now."""
    found, told = {"entries": 0, "bytes": 0, "keys": []}, time.monotonic()
    parts = sorted(_listed(path))
    with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
        for number, part in enumerate(parts, 1):
            below = [os.path.join(path, part, second) for second in _listed(os.path.join(path, part))]
            matches = list(itertools.chain.from_iterable(readers.map(lambda folder: _matching(wanted, folder), below)))
            if matches and not only_test:
                _add_to_gone({zone: sum(size for _, size, _ in matches)})
                for entry, _, _ in matches:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry)
            found["entries"] += len(matches)
            found["bytes"] += sum(size for _, size, _ in matches)
            found["keys"] = (found["keys"] + [key for _, _, key in matches[:5]])[:5]
            if time.monotonic() > told + 2:
                message = f"{zone}: {number} of {len(parts)} parts read, {found['entries']} entries match"
                __salt__["event.send"]("idr/nginx_cache/purge_matching", {"message": message})
                told = time.monotonic()
    return found


def _matching(wanted, folder):
    """File, bytes and key of every entry in a directory whose key matches."""
    matches = []
    for name in filter(_ENTRY.fullmatch, _listed(folder)):
        entry = os.path.join(folder, name)
        with contextlib.suppress(FileNotFoundError), open(entry, "rb", buffering=0) as file:
            key = _stored_key(file)
            if key is not None and wanted.search(key):
                matches.append((entry, os.fstat(file.fileno()).st_size, key))
    return matches


def _listed(folder):
    """What is in a directory; nothing where a purge has just taken it away."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def _stored_key(file):
    """The key in an entry's file, between nginx's own header and the answer's; None if there isn't any."""
    found = _KEY.search(os.pread(file.fileno(), 4096, 0))       # nginx stores no key that one buffer doesn't hold
    return found[1].decode("latin-1") if found else None


def _expression(regex):
    """A regular expression that tells keys apart."""
    try:
        wanted = re.compile(str(regex))
    except re.error as error:
        raise CommandExecutionError(f"{regex!r} is no regular expression: {error}") from None
    if wanted.search("") or wanted.search("/") or wanted.search("/zq/Zq_0?q=zQ&z=1"):
        raise CommandExecutionError(f"{regex!r} finds just any key. To remove them all: nginx_cache.purge")
    return wanted


def purge_url(url, test=None):
    """
    Remove the cached entry of one URL; whichever zone it is in.

    url:   path and query as a browser sends them, or the whole public URL
    test:  only say what would be removed

    Returns ``{"key": str, "zone": str or None, "entries": int, "bytes": int}``.
    Refused: a URL of another host, and what a browser would send percent-encoded.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.purge_url /webgateway/render_thumbnail/1/
    """
    key = _key(_target(url))
    found = _find(key, _chosen())
    if found and not _only_test(test):
        _add_to_gone({found["zone"]: found["bytes"]})
        os.unlink(found["path"])
    return {
        "key": key,
        "zone": found["zone"] if found else None,
        "entries": 1 if found else 0,
        "bytes": found["bytes"] if found else 0,
    }


def stored(urls):
    """
    Where the entries of URLs are.

    urls:  paths and queries as a browser sends them, or whole public URLs; a list, or one

    Returns ``{path and query: {"zone": str, "path": str, "bytes": int}}``, with None for what isn't stored.
    Refused: a URL of another host, and what a browser would send percent-encoded.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.stored /webgateway/render_thumbnail/1/
    """
    targets, problems = [], []
    for url in [urls] if isinstance(urls, str) else urls:
        try:
            targets.append(_target(url))
        except CommandExecutionError as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - 3} more of this kind" if len(problems) > 3 else ""
        raise CommandExecutionError("; ".join(problems[:3]) + more)
    chosen = _chosen()
    return {target: _find(_key(target), chosen) for target in targets}


def keys(regexes, file=None):
    """
    The keys of the stored entries that regular expressions find: path and query, as they can be refreshed.

    regexes:  searched in each key, as by ``purge_matching``; a list, or one
    file:     instead of returning them, write them to this file on the proxy, one a line, for ``nginx_cache.refresh``

    Returns the keys, each once and in their order; with a file ``{"file": str, "urls": int}``. Reads the beginning of
    every entry's file. Refused: an invalid expression, and one that finds just any key.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.keys '^/webclient/api/containers/'
        salt idr-proxy nginx_cache.keys '["^/static/", "^/mapr/"]' file=/root/warm.urls
    """
    wanted = [_expression(regex) for regex in ([regexes] if isinstance(regexes, str) else regexes)]
    found = set()
    with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
        for path in _chosen().values():
            below = [os.path.join(path, part, second) for part in _listed(path) for second in _listed(f"{path}/{part}")]
            for matches in readers.map(lambda folder: _matching(_AnyOf(wanted), folder), below):
                found.update(key for _, _, key in matches if re.fullmatch(r"[!-~]+", key))
    if file is None:
        return sorted(found)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(f"{file}.new", "w", encoding="ascii") as lines:
        lines.writelines(f"{key}\n" for key in sorted(found))
    os.rename(f"{file}.new", file)
    return {"file": file, "urls": len(found)}


class _AnyOf:
    """Regular expressions of which one has to find something."""

    def __init__(self, expressions):
        self.expressions = expressions

    def search(self, key):
        return any(expression.search(key) for expression in self.expressions)


def _target(url):
    """Path and query of a URL, as they stand in a request's first line."""
    public = __pillar__["environment"]["public"]
    if not re.fullmatch(r"[!-~]+", str(url)):
        raise CommandExecutionError(f"{url!r} has characters that a browser sends percent-encoded: give it so")
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", public["name"], public["address"]) or not parts.path.startswith("/"):
        raise CommandExecutionError(f"{url} is not a URL of {public['name']}")
    return parts._replace(scheme="", netloc="", fragment="").geturl()


def _key(target):
    """The key under which nginx stores what it is asked for by this path and query."""
    if match := _BUSTER.fullmatch(target):
        target = match[1] + (match[2] or "")
    if match := _NO_QUERY.fullmatch(target) or _DANGLING.fullmatch(target):
        target = match[1]
    return target


def _find(key, chosen):
    """Zone, file and size of a key's entry in one of the chosen zones; None if there is none."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    for name, path in chosen.items():
        entry = os.path.join(path, digest[-1], digest[-3:-1], digest)
        try:
            return {"zone": name, "path": entry, "bytes": os.lstat(entry).st_size}
        except FileNotFoundError:
            continue
    return None


def _chosen(zone=None):
    """Name and directory of one zone or of all, once each directory is known to be one of the cache volume's."""
    known = zones()
    if zone is not None and zone not in known:
        raise CommandExecutionError(f"{zone} is not a zone of this cache: {', '.join(sorted(known))}")
    if not os.path.ismount(VOLUME):
        raise CommandExecutionError(f"no volume is mounted at {VOLUME}: nothing is touched there")
    chosen = {name: known[name]["path"] for name in ([zone] if zone is not None else known)}
    for name, path in chosen.items():
        if os.path.realpath(path) != os.path.join(VOLUME, name) or not os.path.isdir(path) or os.path.ismount(path):
            raise CommandExecutionError(f"{path}, of zone {name}, is not a directory of the cache volume {VOLUME}")
    return chosen


@contextlib.contextmanager
def _alone():
    """Nobody else purges meanwhile. The lock goes with this process."""
    volume = os.open(VOLUME, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(volume, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandExecutionError("another purge of this cache is still running") from None
        yield
    finally:
        os.close(volume)


def _rename_below(path, trash):
    """Move everything below a zone's directory away; what nginx writes meanwhile makes its own directories again."""
    os.makedirs(trash, mode=0o700)
    for name in os.listdir(path):
        os.rename(os.path.join(path, name), os.path.join(trash, name))


def _is_purging():
    """Whether somebody holds the lock of :func:`_alone`."""
    volume = os.open(VOLUME, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(volume, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(volume)
    return False


def _trash():
    """Entries and bytes of each zone that are renamed away and not yet removed."""
    left = {}
    for path in glob.glob(os.path.join(TRASH, "*", "*")):
        sizes, so_far = _sizes(path), left.get(os.path.basename(path), {"entries": 0, "bytes": 0})
        left[os.path.basename(path)] = {what: sizes[what] + so_far[what] for what in sizes}
    return left


def _gone():
    """Bytes by zone that were removed since the running nginx began to count."""
    with contextlib.suppress(FileNotFoundError), open(GONE, encoding="utf-8") as file:
        noted = json.load(file)
        if noted["nginx"] == _running():
            return noted["bytes"]
    return {}


def _add_to_gone(sizes):
    """Note what nginx goes on counting. Before it is removed: an interrupted purge must not hide it."""
    gone = collections.Counter(_gone()) + collections.Counter(sizes)
    os.makedirs(os.path.dirname(GONE), exist_ok=True)
    with open(GONE + ".new", "w", encoding="utf-8") as file:
        json.dump({"nginx": _running(), "bytes": gone}, file)
    os.rename(GONE + ".new", GONE)


def _running():
    """Which nginx runs: its boot, process and start; none without one."""
    try:
        with open(PID) as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            return [boot.read().strip(), pid, stat.read().rpartition(")")[2].split()[19]]
    except FileNotFoundError:
        return []


def _sizes(path):
    """How many entries there are below a directory, and their bytes."""
    entries, size, _, _ = _measured(path)
    return {"entries": entries, "bytes": size}


def _measured(path):
    """Number of entries below a directory, their bytes, what they take on the disk, and when the oldest was stored."""
    entries, size, on_disk, oldest = 0, 0, 0, float("inf")
    for directory, _, files in os.walk(path):
        for name in filter(_ENTRY.fullmatch, files):
            try:
                entry = os.lstat(os.path.join(directory, name))
            except FileNotFoundError:       # nginx has just removed it
                continue
            entries, size, on_disk = entries + 1, size + entry.st_size, on_disk + 512 * entry.st_blocks
            oldest = min(oldest, entry.st_mtime)
    return entries, size, on_disk, oldest


def _hit_ratio(answers):
    """The part of visitors' requests that was answered without OMERO; None without any."""
    visitors = sum(number for answer, number in answers.items() if answer != "BYPASS")
    return round(sum(answers.get(answer, 0) for answer in ANSWERED) / visitors, 3) if visitors else None


def _answers(log_bytes):
    """How often each zone answered in which way, from the end of the access log."""
    counted = collections.defaultdict(collections.Counter)
    with open(ACCESS_LOG, "rb") as log:
        log.seek(max(0, os.path.getsize(ACCESS_LOG) - log_bytes))
        for line in log:
            if match := _LOGGED.search(line.decode(errors="replace")):
                counted[match[1]][match[2]] += 1
    return {zone: dict(answers) for zone, answers in counted.items()}


def _bytes(size):
    """A size as nginx writes it, in bytes."""
    number, unit = re.fullmatch(r"(\d+)([kmg]?)", size.lower()).groups()
    return int(number) * _UNITS[unit]


def _only_test(test):
    return __opts__.get("test", False) if test is None else test
