"""How an environment's backups stand, as a text file for Prometheus' node exporter."""

import os
import tempfile
from pathlib import Path

from idr.errors import Refused


def text(status):
    """
    A ``Status`` in Prometheus' text format; a moment that there never was is 0, so that its age alarms. What isn't
    known (space where there's no limit, what a set lacks where there's none) isn't in it.
    """
    of_it = f'environment="{status.environment}"'
    by_state = {f'{of_it},state="{state}"': count for state, count in sorted(status.states.items())}
    lines = []
    for name, what, values in (
        ("last_good_timestamp_seconds", "When the newest set that can be restored was taken", _taken(status.good)),
        ("last_verified_timestamp_seconds", "When the newest verified set was taken", _taken(status.verified)),
        ("last_attempt_failed", "Whether the newest one failed, or is kept from being taken", int(status.has_failed)),
        ("next_timestamp_seconds", "When the next set is due by itself", _moment(status.due)),
        ("last_good_lacks", "Volumes that the newest set that can be restored hasn't", _lacks(status.good)),
        ("sets", "Sets by their state", by_state),
        ("snapshot_bytes", "Size of all snapshots, as the quota counts it", status.size_gb * 2**30),
        ("free_bytes", "Room that the quota has for more", status.free_gb and status.free_gb * 2**30),
        ("status_timestamp_seconds", "When this was found out", int(status.at.timestamp())),
    ):
        if values is None:
            continue
        lines += [f"# HELP idr_backup_{name} {what}.", f"# TYPE idr_backup_{name} gauge"]
        values = values if isinstance(values, dict) else {of_it: values}
        lines += [f"idr_backup_{name}{{{labels}}} {value}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def _taken(it):
    return _moment(it and it.when)


def _moment(at):
    return int(at.timestamp()) if at else 0


def _lacks(good):
    return None if good is None else len(set(good.uses) - {piece.use for piece in good.pieces})


def write(text, path):
    """
    Put a text into a file at once, so that whoever reads it finds the old one or the new one; readable by all.

    Refused where the path isn't absolute or can't be written.
    """
    path = Path(path)
    if not path.is_absolute():
        raise Refused([f"textfile: has to be an absolute path, not {path}"])
    try:
        handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            os.replace(unfinished, path)
        except OSError:
            os.unlink(unfinished)
            raise
    except OSError as error:
        raise Refused([f"textfile: {path}: {error.strerror}"]) from error
