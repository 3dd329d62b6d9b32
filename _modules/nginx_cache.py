"""
The proxy's cache: what is in it, and how entries are refreshed or removed while visitors go on.

Refresh before purge: a refresh replaces an entry only by a good answer; after a purge, every visitor waits for OMERO.
Zones are read from nginx's own configuration, since that is what nginx does, whatever pillar says meanwhile.
"""

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.parse

from salt.exceptions import CommandExecutionError

VOLUME = "/var/cache/nginx"
TRASH = os.path.join(VOLUME, ".purged")
ACCESS_LOG = "/var/log/nginx/access.log"

_ZONE = re.compile(r"^\s*proxy_cache_path\s+(?P<path>\S+)\s+(?P<options>[^;]*);", re.MULTILINE)
_ENTRY = re.compile(r"[0-9a-f]{32}")
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
    What is stored, and how often visitors were answered from it.

    log_bytes:  how much of the end of nginx's access log is counted, in bytes

    Returns the volume's ``free_bytes``, and of each of the ``zones`` its ``entries``, ``bytes``, ``max_bytes``,
    ``oldest`` (seconds since its oldest entry was stored) and ``answers`` (``HIT``, ``MISS``, … in the log's end).
    Looks at every entry: with millions of them it takes a while.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.stats
    """
    answers = _answers(log_bytes)
    room = os.statvfs(VOLUME)
    found = {"free_bytes": room.f_bavail * room.f_frsize, "zones": {}}
    for name, zone in zones().items():
        entries, size, oldest = _measured(zone["path"])
        found["zones"][name] = {
            "entries": entries,
            "bytes": size,
            "max_bytes": zone["max_bytes"],
            "oldest": int(time.time() - oldest) if entries else None,
            "answers": answers.get(name, {}),
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
        shutil.rmtree(TRASH)      # with what an interrupted purge left
    return removed


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
        os.unlink(found["path"])
    return {
        "key": key,
        "zone": found["zone"] if found else None,
        "entries": 1 if found else 0,
        "bytes": found["bytes"] if found else 0,
    }


def refresh(urls, concurrency=4, timeout=900, test=None):
    """
    Fetch URLs anew from OMERO and store them, then read each back as a visitor would.

    urls:         paths and queries as a browser sends them, or whole public URLs; a list, or one
    concurrency:  how many at a time, 1 to 16: each is real work for OMERO
    timeout:      seconds that OMERO may take for one
    test:         only say what is stored of them now

    Returns ``refreshed`` and ``verified`` (how many) and ``failed`` (``{url: why}``): an answer that is not 200 leaves
    the old entry, and verified means that port 443 answered from the cache with the same new body. With
    ``test=True``: ``urls``, and the ``entries`` and ``bytes`` that would be replaced. Exits 1 if any failed.
    Refused: a URL of another host, and what a browser would send percent-encoded.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.refresh '["/webclient/metadata_details/image/1/", "/webgateway/render_thumbnail/1/"]'
    """
    if not isinstance(concurrency, int) or not 1 <= concurrency <= 16:
        raise CommandExecutionError(f"concurrency is {concurrency!r}, not a number from 1 to 16")
    targets = list(dict.fromkeys(_target(url) for url in ([urls] if isinstance(urls, str) else urls)))
    if _only_test(test):
        chosen = _chosen()
        stored = [entry for entry in (_find(_key(target), chosen) for target in targets) if entry]
        return {"urls": len(targets), "entries": len(stored), "bytes": sum(entry["bytes"] for entry in stored)}

    host = __pillar__["environment"]["public"]["name"]
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        outcomes = list(pool.map(lambda target: _refresh(target, host, timeout), targets))
    failed = {target: why for target, (_, why) in zip(targets, outcomes, strict=True) if why}
    if failed:
        __context__["retcode"] = 1
    return {
        "refreshed": sum(refreshed for refreshed, _ in outcomes),
        "verified": len(targets) - len(failed),
        "failed": failed,
    }


def _refresh(target, host, timeout):
    """Whether one URL was stored anew, and what is wrong with it if anything is."""
    try:
        stored = _get(http.client.HTTPConnection("127.0.0.1", 9000, timeout=timeout), target, host)
    except (OSError, http.client.HTTPException) as error:
        return False, f"port 9000: {error}"
    if stored["status"] != 200:
        return False, f"OMERO answered {stored['status']}; an entry that was there stays"
    if stored["cache"] != "BYPASS":
        return False, "no zone stores this URL"
    try:
        read = _get(http.client.HTTPSConnection("127.0.0.1", 443, timeout=60, context=_any_certificate()), target, host)
    except (OSError, http.client.HTTPException) as error:
        return True, f"stored, but port 443: {error}"
    if read != {**stored, "cache": "HIT"}:
        return True, f"stored, but visitors get {read['status']} {read['cache'] or 'uncached'}, or another body"
    return True, None


def _any_certificate():
    """TLS without looking at the certificate: it is this server, asking itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _get(connection, target, host):
    """Status, cache status and the body's hash of one answer."""
    try:
        connection.request("GET", target, headers={"Host": host})
        answer = connection.getresponse()
        body = hashlib.sha256()
        while part := answer.read(1024**2):
            body.update(part)
        return {"status": answer.status, "cache": answer.getheader("X-Proxy-Cache"), "body": body.hexdigest()}
    finally:
        connection.close()


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


def _sizes(path):
    """How many entries there are below a directory, and their bytes."""
    entries, size, _ = _measured(path)
    return {"entries": entries, "bytes": size}


def _measured(path):
    """Number of entries below a directory, their bytes, and when the oldest was stored, in seconds since the epoch."""
    entries, size, oldest = 0, 0, float("inf")
    for directory, _, files in os.walk(path):
        for name in filter(_ENTRY.fullmatch, files):
            try:
                entry = os.lstat(os.path.join(directory, name))
            except FileNotFoundError:       # nginx has just removed it
                continue
            entries, size, oldest = entries + 1, size + entry.st_size, min(oldest, entry.st_mtime)
    return entries, size, oldest


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
