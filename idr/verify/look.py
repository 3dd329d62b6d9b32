"""A backup set's clones looked at, from one end to the other, in the unit of a scratch server."""

import json
import sys
from pathlib import Path

from idr.verify import cluster, files
from idr.verify.commands import Findings, attached, last, run

HOME = Path("/run/idr-verify")
BEGINNING = 1 << 20  # bytes of a clone that are read before anything is made of what isn't found in it
NOT_READ = "can't read superblock"  # mount's words for an I/O error, whatever it was that couldn't be read
DATABASE, DATA = "database-db", "omero-data"


def look(asked, say):
    """
    Look at a set's clones; returns ``{problems, figures, notes}``. The clones are ours to write: a cluster is recovered
    as after a power cut, as a restore would do it.

    devices:  where each volume is: ``{"omero-data": "/dev/disk/by-id/virtio-…", "database-db": …}``
    patch:    of OMERO's database by the set's manifest, None where that doesn't say
    sample:   how many files are hashed, chosen at random; None: all
    seed:     of that choice
    """
    found = Findings(say)
    mounted = {use: HOME / use for use, device in asked["devices"].items() if mount(found, use, device, HOME / use)}
    if DATABASE not in mounted:
        return found.ended()
    try:
        there = cluster.clusters(mounted[DATABASE])
    except OSError as error:
        found.failed("clusters", f"{DATABASE}: {error.filename}", error)
        return found.ended()
    if not there:
        found.wrong("clusters", f"{DATABASE}: there is no PostgreSQL cluster on it")
        return found.ended()
    data, major = there[-1]
    for other, older in there[:-1]:
        found.notes.append(f"{DATABASE}: {other} is one of PostgreSQL {older}, and wasn't looked at")
    if not cluster.is_version(major):
        found.wrong("clusters", f"{DATABASE}: {data}/PG_VERSION is no version of PostgreSQL: {major[:20]!r}")
        return found.ended()
    if float(major) < cluster.OLDEST:
        sys.exit(f"its cluster is one of PostgreSQL {major}, and only {cluster.OLDEST} or newer can be looked at")
    programs = cluster.install(major, say)
    found.figures["postgresql"] = major
    examine(found, cluster.Cluster(data, programs, HOME / "postgresql"), mounted.get(DATA), asked)
    return found.ended()


def examine(found, it, data, asked):
    """Everything about a cluster, and about the files that its rows name in a DATA volume, None where there's none."""
    if not it.recovered(found):
        return
    try:
        found.figures["checksums"] = it.has_checksums
        if it.has_checksums:
            it.stop(may_fail=False)
            bad = it.bad_pages(found)
            if not it.started(found):
                return
            cluster.name_pages(found, it, bad)
        else:
            found.notes.append(
                "the cluster has no page checksums: of what no index has, a changed character can't be noticed"
            )
        cluster.structure(found, it)
        cluster.values(found, it)
        if cluster.omero(found, it, asked["patch"]) and data:
            files.files(found, it, data, asked["sample"], asked["seed"])
    except cluster.QueryFailed as error:  # of a catalog that is damaged
        found.wrong("databases", f"database-db: PostgreSQL can't tell what is in it: {error}")
    finally:
        it.stop()


def mount(found, use, device, where):
    """Mount a clone, whose filesystem's own log is recovered by that; whether it could be."""
    attached(device, use)
    try:
        with open(device, "rb") as opened:
            opened.read(BEGINNING)
    except OSError as error:
        found.unseen(f"{use}: its clone can't be read: {error.strerror}")
        return False
    where.mkdir(parents=True, exist_ok=True)
    kind = run("blkid", "-p", "-o", "value", "-s", "TYPE", device, may_fail=True).stdout.strip()
    options = "noatime,nosuid,nodev,noexec"  # what is on it may be anybody's
    options += ",nouuid" if kind == "xfs" else ""
    done = run("mount", "-o", options, device, where, may_fail=True)
    if done.returncode and kind and "unknown filesystem type" in last(done):
        sys.exit(f"{use}: {last(done)}")
    if done.returncode and NOT_READ in last(done):
        found.unseen(f"{use}: its filesystem ({kind}) can't be read whole: {last(done)}")
    elif done.returncode:
        found.wrong("volumes", f"{use}: its filesystem ({kind or 'none is known'}) can't be mounted: {last(done)}")
    return done.returncode == 0


def _tell(**what):
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    questions = json.loads(Path(sys.argv[1]).read_text())
    _tell(result=look(questions, lambda line: _tell(said=line)))
