"""
What the backup runner shows: a table of all sets with a line each, of one with a line for each of its volumes; a plan;
how an environment's backups stand.
"""

from idr import columns

OF_LIST = ("set", "state", "consistency", "volumes", "GB", "verified", "pinned")
OF_SET = ("volume", "GB", "consistency", "frozen", "snapshot", "status")


def output(data, **kwargs):
    """
    The table of sets or of one, a plan, or a status.

    CLI Example:

    .. code-block:: bash

        salt-run backup.list
    """
    if "sets" in data:
        listed = columns.lines([OF_LIST, *map(_listed, data["sets"])]) if data["sets"] else ["no backup set"]
        return "\n".join([*listed, *data["problems"]])
    if "lines" in data:
        return "\n".join([*data["lines"], data["comment"]])
    return "\n".join(_status(data) if "last_good" in data else _set(data))


def _listed(it):
    there = len(it["volumes"])
    volumes = f"{there} of {there + len(it['lacks'])}" if it["lacks"] else str(there)
    verified = (it["verified"] or "")[:10]
    return (it["set"], it["state"], it["consistency"], volumes, str(it["size_gb"]), verified, it["pinned"] or "")


def _set(it):
    yield f"{it['set']}: {it['state']}, {it['consistency']}, taken {it['taken']}, {it['size_gb']} GB"
    yield ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in it["facts"].items())
    yield f"verified {it['verified']}: {it['figures']}" if it["verified"] else "never verified"
    if it["disproved"]:
        yield f"disproved {it['disproved']}"
    if it["pinned"]:
        yield f"pinned by {it['pinned']}"
    if it["copied"]:
        yield f"copied: {it['copied']}"
    yield ""
    yield from columns.lines([OF_SET, *(_volume(use, piece) for use, piece in it["volumes"].items())])
    if it["lacks"]:
        yield f"not in it: {', '.join(it['lacks'])}"
    yield from it["problems"]


def _status(it):
    yield f"{it['environment']}: {it['state']}"
    yield from it["problems"]
    for key, what in (("last_good", "newest good set"), ("last_verified", "newest verified set")):
        newest = it[key]
        yield f"{what}: " + (f"{newest['set']}, {newest['age']} old" if newest else "none")
    if it["under_way"]:
        yield f"being taken: {it['under_way']}"
    yield f"next one by itself: {it['due'] or 'none, it is not live or has no backup_hours'}"
    yield "sets: " + (", ".join(f"{count} {state}" for state, count in it["states"].items()) or "none")
    free = "" if it["free_gb"] is None else f", {it['free_gb']} GB are free"
    yield f"snapshots: {it['size_gb']} GB{free}"
    yield from (f"note: {note}" for note in it["notes"])


def _volume(use, piece):
    frozen = "" if piece["frozen"] is None else f"{piece['frozen']:.1f} s"
    return (use, str(piece["size_gb"]), piece["consistency"], frozen, piece["snapshot"], piece["status"])
