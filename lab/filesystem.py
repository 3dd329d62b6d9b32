"""
The lab's own filesystem, on which all its state is: xfs in one sparse file.

Volumes' snapshots need its reflinks. Hosts are made and deleted by tens of thousands of files, which some filesystems
are slow at (an ext4 without a journal looks at each inode that was deleted minutes ago); and all of it goes at once.
"""

import os

from lab import volumes
from lab.settings import STATE, STATE_FILE
from lab.shell import PATIENCE, LabError, run, succeeds, wait_until

SIZE_GB = 80   # at most: the file grows with what is written, and shrinks with what is deleted


def mount():
    """Mount it, for all of this mount namespace; made if it isn't there. Refuses to where something else is."""
    if os.path.ismount(STATE):
        return
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(STATE.iterdir()):
        raise LabError(f"{STATE} has something in it that isn't of this lab: lab/ctl destroy deletes it")
    if not STATE_FILE.exists():
        unfinished = STATE_FILE.with_suffix(".new")
        with open(unfinished, "wb") as file:
            file.truncate(SIZE_GB * volumes.GIGABYTE)
        run("mkfs.xfs", "-q", "-m", "reflink=1", unfinished)
        unfinished.rename(STATE_FILE)
    # past the page cache of this machine's filesystem: what a file on it caches is enough
    device = run("losetup", "--find", "--show", "--nooverlap", "--direct-io=on", STATE_FILE).strip()
    run("mount", "-t", "xfs", "-o", "noatime,discard", device, STATE)
    run("losetup", "--detach", device)   # once it is unmounted


def delete():
    """Unmount it and delete it with all that is on it. Refuses while a host or a service uses it."""
    if os.path.ismount(STATE):
        wait_until(f"{STATE} can be unmounted", lambda: succeeds("umount", STATE), PATIENCE)
    volumes.detach(STATE_FILE)
    for path in (STATE_FILE, STATE_FILE.with_suffix(".new")):
        path.unlink(missing_ok=True)
