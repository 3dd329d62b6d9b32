"""
A purge of 200 000 entries under load, beside `rm -rf` below the zone: from the first change to fresh answers.

The entries are as nginx writes them, on xfs; wrk asks for thumbnails at random all the while, and no request may fail.
One visitor goes round 16 thumbnails spread over the zone and notes when each is fresh. ``python -m bench.purge``, as
root.
"""

from __future__ import annotations

import json
import statistics

from bench.machine import machine
from bench.proxy import THUMBNAIL, proxy, serve_pictures
from tests.functional.proxy_host import PROXY

GOAL = 50
ENTRIES = 200_000
TURNS = 3
LOAD = 15       # seconds; longer than the removal takes
ZONE = "/var/cache/nginx/omerothumbnail"

# Writes an entry for each key after the pattern of one that nginx wrote: the same header with another key and checksum.
_FILL = """
import hashlib, os, sys, zlib
zone, count, part = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgid(33), os.setuid(33), os.umask(0o077)
def path(key):
    digest = hashlib.md5(key).hexdigest()
    return f"{zone}/{digest[-1]}/{digest[-3:-1]}", digest
key = b"/webgateway/render_thumbnail/1000000/"
pattern = open("/".join(path(key)), "rb").read()
at = pattern.index(zlib.crc32(key).to_bytes(4, "little"))
for number in range(1000000 + part, 1000000 + count, 2):
    other = key.replace(b"1000000", str(number).encode())
    folder, name = path(other)
    os.makedirs(folder, exist_ok=True)
    entry = pattern[:at] + zlib.crc32(other).to_bytes(4, "little") + pattern[at + 4:].replace(key, other, 1)
    with open(f"{folder}/{name}", "wb") as file:
        file.write(entry)
"""

# Goes round some URLs until each has been answered by other than an old entry, and prints when.
_VISITOR = """
import http.client, json, os, sys, time
trash, targets, fresh, began = "/var/cache/nginx/.purged", sys.argv[2:], {}, None
visitor = http.client.HTTPConnection(sys.argv[1], 80)
while len(fresh) < len(targets):
    for target in targets:
        if target in fresh:
            continue
        visitor.request("GET", target, headers={"Host": "idr.example.org"})
        answer = visitor.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"{target}: {answer.status}")
        if answer.getheader("X-Proxy-Cache") != "HIT":
            fresh[target] = time.time_ns()
            # a purge names its trash by the moment just before it renames
            if began is None and os.path.isdir(trash):
                began = int(os.listdir(trash)[0])
print(json.dumps({"began": began, "first": min(fresh.values()), "last": max(fresh.values())}))
"""

_AT_RANDOM = f"""
math.randomseed(os.time())
request = function()
    return wrk.format("GET", "/webgateway/render_thumbnail/" .. math.random(1000000, {999_999 + ENTRIES}) .. "/")
end
"""


def turn(host, remove) -> dict[str, float]:
    """Milliseconds from the first change to a fresh answer, and to fresh answers all over the zone."""
    url = THUMBNAIL.format(1_000_000)
    host.get(url)
    host.run(f"for part in 0 1; do python3 /srv/fill.py {ZONE} {ENTRIES} $part & done; wait; sync")
    spread = [THUMBNAIL.format(1_000_000 + ENTRIES // 16 * number + 7) for number in range(16)]
    assert {host.get(target).cache for target in spread} == {"HIT"}
    asking = f"taskset -c 1 wrk -t1 -c8 -d{LOAD}s -s /srv/random.lua -H 'Host: idr.example.org' http://{PROXY}/"
    visiting = f"python3 /srv/visitor.py {PROXY} {' '.join(spread)}"
    host.run(f"{asking} > /srv/load 2>&1 & {visiting} > /srv/seen 2>&1 & sleep 1")
    began = remove(host)
    seen = json.loads(host.run(f"timeout {LOAD} sh -c 'until [ -s /srv/seen ]; do sleep 0.1; done'; cat /srv/seen"))
    load = host.run(f"timeout {LOAD} sh -c 'until grep -q Transfer /srv/load; do sleep 0.1; done'; cat /srv/load")
    assert "Non-2xx" not in load and "Socket errors" not in load, load
    return {what: (seen[what] - (began or seen["began"])) / 1e6 for what in ("first", "last")}


def purge(host) -> None:
    """The cache's own purge: its trash tells the visitor when it began."""
    removed = host.salt("nginx_cache.purge", "omerothumbnail")["omerothumbnail"]
    assert removed["entries"] >= ENTRIES, removed


def rm(host) -> int:
    """What one would type; it fails in the end where nginx has just put a new entry."""
    return int(host.run(f"date +%s%N; rm -rf {ZONE}/* 2>/dev/null || true"))


def main() -> None:
    print(f"{machine()}; {ENTRIES} entries, load from wrk, medians of {TURNS} turns")
    print(f"{'':20}{'first fresh answer':>20}{'fresh all over':>18}   goal: {GOAL} ms, no failed request")
    with proxy() as host:
        serve_pictures(host, length=2500)
        for name, text in (("fill.py", _FILL), ("visitor.py", _VISITOR), ("random.lua", _AT_RANDOM)):
            host.run(f"cat > /srv/{name} <<'END'\n{text}\nEND")
        for name, remove, turns in (("nginx_cache.purge", purge, TURNS), ("rm -rf", rm, 1)):
            took = [turn(host, remove) for _ in range(turns)]
            first, last = (statistics.median(each[what] for each in took) for what in ("first", "last"))
            print(f"{name:20}{first:17.1f} ms{last:15.1f} ms")


if __name__ == "__main__":
    main()
