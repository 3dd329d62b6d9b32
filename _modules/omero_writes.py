"""
What was written to an OMERO since some moment: rows, as its own log of events in the database tells them, and files.

Left out is what a server writes for itself and makes again, and who logged in: nothing of it would be missed.
"""

import calendar
import os
import subprocess
import threading
import time
from collections import defaultdict

from salt.exceptions import CommandExecutionError

__virtualname__ = "omero"

STAMP = "%Y%m%dT%H%M%SZ"
QUERY = 300  # seconds for the database, whose events nobody has indexed by time
# Events are made for calls that change nothing, too; their log has a row for each object that was changed, and others
# by which OMERO tells its indexers what to look at. Times are without their zone: OMERO's servers keep UTC.
ROWS = """
    select e.omename as by, substring(l.entitytype from '[^.]*$') as kind, lower(l.action) as action,
           count(*) as count, max(v.time)::timestamp(0) as newest
    from eventlog l join event v on v.id = l.event join eventtype t on t.id = v.type
         join experimenter e on e.id = v.experimenter
    where v.time >= timezone('utc', to_timestamp({moment})) and l.action not in ('REINDEX', 'PIXELDATA')
      and t.value not in ('Bootstrap', 'Sessions')
      and l.entitytype not in ('ome.model.meta.Session', 'ome.model.meta.Event', 'ome.model.meta.EventLog',
                               'ome.model.meta.Node')
    group by 1, 2, 3 order by 4 desc, 1, 2, 3
"""
# Directories below OMERO's that it fills again by itself, by their names, and our own of dumps
MADE_AGAIN = ("FullText", "BioFormatsCache", "Thumbnails")
OWN = (".omero", "lost+found", "database-dumps")
PYRAMID = "*_pyramid"


def __virtual__():
    return __virtualname__


def writes_since(moment, limit=900):
    """
    What was written to OMERO's database and to its data volume since a moment.

    moment: in UTC, as in the ids of backup sets: ``20261125T030000Z``
    limit:  seconds after which files are no longer looked for

    Returns ``{rows: [{by, kind, action, count, newest}], files: [{by, kind, count, bytes, newest}], complete: bool}``,
    times in UTC. A file's ``kind`` is its directory, two below the volume's, and ``complete`` is False where the limit
    came first. A file counts by when it or its name, owner or mode was changed: uploads keep the time of what was
    uploaded. One that was removed isn't told. Changes nothing.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.writes_since 20261125T030000Z
    """
    since = _seconds(moment)
    files, complete = _files(since, int(limit))
    return {"rows": __salt__["omero.query"](ROWS.format(moment=since), QUERY), "files": files, "complete": complete}


def _seconds(moment):
    try:
        return calendar.timegm(time.strptime(str(moment), STAMP))
    except ValueError:
        raise CommandExecutionError(f"{moment!r} is no moment such as 20261125T030000Z") from None


def _files(since, limit):
    """What was written, by owner and kind, and whether all of it was found."""
    data = __salt__["pillar.get"]("omero:data:directory", unmask=True)
    volume = os.path.dirname(data)
    if not os.path.isdir(data):
        raise CommandExecutionError(f"{data} isn't there: is its volume mounted? salt-call state.apply storage.mounted")
    left_out = [word for name in MADE_AGAIN for word in ("-o", "-path", f"{data}/{name}")]
    left_out += [word for name in OWN for word in ("-o", "-name", name)]
    command = [
        "nice", "-n", "19", "find", volume, "-xdev", "(", *left_out[1:], ")", "-prune", "-o",
        "(", "-type", "f", "-o", "-type", "l", ")", "!", "-name", PYRAMID, "-newerct", f"@{since}",
        "-printf", "%C@ %s %u %P\\0",
    ]  # fmt: skip
    found = defaultdict(lambda: {"count": 0, "bytes": 0, "newest": 0.0})
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as look:
        at_end = threading.Timer(limit, look.kill)
        at_end.start()
        rest = b""
        while part := look.stdout.read1(1 << 16):
            *lines, rest = (rest + part).split(b"\0")
            for line in lines:
                _count(found, volume, line.decode(errors="replace"))
        at_end.cancel()
    told = [{"by": by, "kind": kind, **it, "newest": _iso(it["newest"])} for (by, kind), it in found.items()]
    # find's own exit code is 1 for a file that went meanwhile
    return sorted(told, key=lambda it: (-it["count"], it["kind"], it["by"])), look.returncode in (0, 1)


def _count(found, volume, line):
    changed, size, by, path = line.split(" ", 3)
    kind = "/".join([volume, *path.split("/")[:-1][:2]])
    one = found[by, kind]
    one["count"] += 1
    one["bytes"] += int(size)
    one["newest"] = max(one["newest"], float(changed))


def _iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
