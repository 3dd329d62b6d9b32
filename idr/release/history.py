"""The history of releases, which is on the public's address, as plain data."""

from idr.release import record


def of(now):
    """What ended, the newest first: who, when, from where to where, how, and what it took, in seconds."""
    return [
        {
            "when": record.when(it.began).isoformat(timespec="seconds"),
            "kind": it.kind,
            "from": it.source,
            "to": it.target,
            "end": it.end,
            "commit": it.commit,
            "took": it.took,
            "gap": it.gap,
            "checks": it.checks,
            "who": it.who,
        }
        for it in now.history
    ]
