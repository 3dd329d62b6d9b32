"""The site on the outside network that OMERO's archives are downloaded from, as servers elsewhere do from OME's."""

import hashlib
import subprocess
from pathlib import Path

from lab import cgroups, network
from lab.settings import DOWNLOADS
from lab.shell import PATIENCE, run, wait_until
from lab.topology import OUTSIDE

GROUP = "downloads"
ADDRESS = "198.51.100.3"


def up(topology):
    """Serve the cache's downloads at http://198.51.100.3/ unless they are served."""
    if is_up():
        return
    namespace = network.namespace_of(GROUP)
    network.enclose(namespace)
    outside = topology.network(OUTSIDE)
    network.plug(namespace, "eth0", outside, ADDRESS)
    run("ip", "-n", namespace, "route", "replace", "default", "via", outside.gateway)
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    group = cgroups.group(GROUP)
    group.mkdir(parents=True, exist_ok=True)
    subprocess.Popen(
        ["nsenter", f"--net={network.NAMESPACES / namespace}", "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"',
         group, "/usr/bin/python3", "-m", "http.server", "80", "--bind", ADDRESS, "--directory", DOWNLOADS],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until("the downloads site starts", is_up, PATIENCE)


def is_up():
    """Whether the site is served."""
    return bool(cgroups.processes(cgroups.group(GROUP)))


def down():
    """End the site."""
    cgroups.end(cgroups.group(GROUP))


def offer(path: Path):
    """Put a file on the site; returns the pillar that a download of it takes: source and source_hash."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    offered = DOWNLOADS / path.name
    if path != offered:
        unfinished = offered.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        unfinished.hardlink_to(path)
        unfinished.rename(offered)
        unfinished.unlink(missing_ok=True)   # renaming does nothing where both are the same file already
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"source": f"http://{ADDRESS}/{path.name}", "source_hash": f"sha256={digest}"}
