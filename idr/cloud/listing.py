"""The environments of a project: which is live, what is of each, and who is on it."""

from functools import lru_cache

from idr.cloud import live, lock, mark, wanted
from idr.cloud.connection import connect
from idr.cloud.destroying import base
from idr.cloud.inventory import facts


def environments(cloud):
    """
    What environments a cloud has, as data by name: `address`, `live` with its signs, `servers` by state, `since`
    when it is there, the `unfinished` run and who is on it (`held`), both None where there is none, and the volumes
    that restores put `aside`.

    cloud:  its name in clouds.yaml
    """
    seen = facts(connect(cloud))
    resolve = lru_cache(live.addresses_of)
    names = {thing.environment for kind in ("group", "server") for thing in seen.all(kind) if thing.environment}
    return {name: _one(seen, name, resolve) for name in sorted(names)}


def _one(seen, name, resolve):
    group = base(seen, name)
    record = lock.record(group.what["description"]) if group else None
    signs, _ = live.signs(seen, name, wanted.public_name_of(name), resolve)
    return {
        "live": signs,
        "address": ", ".join(address.name for address in live.addresses(seen, name)),
        "servers": {server.name: server.what["status"] for server in seen.of(name, "server")},
        "since": group and group.what["created_at"],
        "unfinished": record and record.unfinished,
        "held": record and record.holder and f"{record.holder} since {record.since}, to {record.purpose}",
        "aside": [volume.name for volume in seen.of(name, "volume") if mark.put_aside_for(volume)],
    }
