"""How an environment's backups stand, as a text file for Prometheus' node exporter."""

import os
import tempfile
from pathlib import Path

from idr.errors import Refused


def text(status):
    """A ``Status`` in Prometheus' text format; a moment that there never was is 0, so that its age alarms."""
    of_it = f'environment="{status.environment}"'
    by_state = {f'{of_it},state="{state}"': count for state, count in sorted(status.states.items())}
    lines = []
    for name, what, values in (
        ("last_good_timestamp_seconds", "When the newest set that can be restored was taken", _moment(status.good)),
        ("last_verified_timestamp_seconds", "When the newest verified set was taken", _moment(status.verified)),
        ("last_attempt_failed", "Whether the newest set is none that can be restored", int(status.has_failed)),
        ("sets", "Sets by their state", by_state),
        ("snapshot_bytes", "Size of all snapshots, as the quota counts it", status.size_gb * 2**30),
        ("status_timestamp_seconds", "When this was found out", int(status.at.timestamp())),
    ):
        lines += [f"# HELP idr_backup_{name} {what}.", f"# TYPE idr_backup_{name} gauge"]
        values = values if isinstance(values, dict) else {of_it: values}
        lines += [f"idr_backup_{name}{{{labels}}} {value}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def _moment(it):
    return int(it.when.timestamp()) if it else 0


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
