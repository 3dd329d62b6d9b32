"""
Single files of a backup set brought back, as `files` plans it: a clone of its snapshot is attached to the server, they
are copied over there (idr/files_on_server.py), and the clone goes again, whatever happened.

No clone is detached before its server has said that nothing is mounted any more.
"""

import time
from pathlib import Path

from idr import at_master, files_on_server
from idr.backup import files
from idr.cloud import inventory, lock, mark, wanted
from idr.cloud.connection import ERRORS, connect, told
from idr.cloud.making import carry_out
from idr.cloud.model import Plan, Step
from idr.errors import IdrError, Refused
from idr.ssh import Unreachable

OUT_OF_SIGHT = 300  # seconds without an answer of a server until it's given up
END = 600  # seconds for it to take away what wasn't finished
WORD = 10  # seconds between two words of progress
AT_REST = ("available", "in-use", "error", "error_deleting")  # of a volume: nothing is under way that has to end first


def plan(asked, name):
    """
    What has to be done until single files of a set are back on an environment's servers: a ``Plan`` with its problems.

    asked:  the ``Files``
    name:   the environment's; the set may be another's
    """
    try:
        return _look(connect(wanted.cloud_of(name)), asked, name, mark.new_run()).plan
    except ERRORS as error:
        raise IdrError(told(error)) from error


def bring(asked, name, broken, folder, typed, tell):
    """
    Bring single files back, as `plan` says; returns where they are: ``["idr-omero:/data/restored-…/OMERO/Files/12"]``.

    broken:  the holder of a lock that is to be broken
    folder:  the operator's site directory
    typed:   what was typed, which others are told
    tell:    is told one line of progress at a time

    Refused with every problem at once: of the plan before anything is made, of the paths and of room before anything is
    copied. Nothing is left of it then.
    """
    run = mark.new_run()
    try:
        cloud = connect(wanted.cloud_of(name))
        _unblocked(_look(cloud, asked, name, run))
        with lock.held(cloud, name, run, "restore", broken, typed) as held, at_master.reached(name, folder) as (ssh, _):
            return _Run(cloud, name, held, ssh, tell).all(_unblocked(_look(cloud, asked, name, run)))
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _look(cloud, asked, name, run):
    return files.coming(asked, inventory.facts(cloud), name, run)


def _unblocked(it):
    if it.plan.problems:
        raise Refused(it.plan.problems)
    return it


class _Run:
    def __init__(self, cloud, name, held, ssh, tell):
        self.cloud, self.name, self.held, self.ssh, self.tell = cloud, name, held, ssh, tell

    def all(self, it):
        """Bring all of it; returns where it is."""
        self._server_is_ready(it)
        left = self._clear()
        if left:
            raise Refused(left, "stopped: what an earlier run left couldn't be cleared away, and nothing was copied")
        try:
            self._make(it)
            brought = self._copy(it)
        except BaseException:  # Ctrl-C, too; it is what is raised
            for line in self._clear():
                self.tell(f"not cleared away, and goes with the next run: {line}")
            raise
        left = self._clear()
        if left:
            raise Refused(left, f"{', '.join(brought)}: there, but what they came from goes with the next run only")
        return brought

    def _server_is_ready(self, it):
        said = self._do(it.server.name, "ready", {"mount": files.MOUNT, "live": it.live.id})
        if said:
            raise Refused(f"{it.server.name}: {why}" for why in said)

    def _make(self, it):
        steps = tuple(step for step in it.plan.steps if step.verb == "make")
        outcome = carry_out(self.cloud, Plan(self.name, steps), self.tell, self.held)
        if outcome.problems:
            raise Refused(outcome.problems, "stopped, nothing was copied")

    def _copy(self, it):
        server = it.server.name
        [clone] = [it for it in files.clones(inventory.facts(self.cloud), self.name) if it.what["attachments"]]
        asked = {
            "set": it.set,
            "clone": clone.id,
            "live": it.live.id,
            "mount": files.MOUNT,
            "folder": it.folder,
            "paths": it.paths,
        }
        self.tell(f"{server}: looks at what is asked for")
        found = self._followed(server, "look", asked, "looks")
        if found["problems"]:
            raise Refused([f"{server}: {why}" for why in found["problems"]], "refused, nothing was copied")
        self.tell(f"{server}: copies {found['entries']} files and folders, {found['bytes'] / 1e9:.2f} GB")
        folder = self._followed(server, "bring", asked, "copies")["folder"]
        return [f"{server}:{folder}/{path}" for path in it.paths]

    def _followed(self, server, deed, asked, does):
        """What a deed in its unit on a server returned; meanwhile it's told how far it is."""
        program = Path(files_on_server.__file__).read_text()
        self._patiently(server, "begin", {**asked, "deed": deed, "program": program})
        said = time.monotonic()
        while True:
            now = self._patiently(server, "so_far", {})
            if "answer" in now:
                return now["answer"]
            if "failed" in now:
                raise IdrError(f"{server}: {now['failed']}")
            if time.monotonic() - said > WORD:
                said = time.monotonic()
                self.tell(f"{server}: {does}" + (f", {now['bytes'] / 1e9:.2f} GB until now" if now["bytes"] else ""))

    def _clear(self):
        """Have all clones go that files are brought back from, of dead runs too; what couldn't go, a line each."""
        try:
            seen = inventory.facts(self.cloud)
            under_way = [it for it in files.clones(seen, self.name) if it.what["status"] not in AT_REST]
            if under_way:
                steps = tuple(Step("wait", "volume", it.name, id=it.id) for it in under_way)
                carry_out(self.cloud, Plan(self.name, steps), self.tell, self.held, go_on=True)
                seen = inventory.facts(self.cloud)
            for clone in files.clones(seen, self.name):
                self._end(seen, clone)
            return carry_out(self.cloud, files.clearing(seen, self.name), self.tell, self.held, go_on=True).problems
        except (IdrError, *ERRORS) as error:
            return [told(error) if isinstance(error, ERRORS) else str(error)]

    def _end(self, seen, clone):
        """Have the server that a clone is attached to let go of it."""
        said = clone.what["metadata"]
        on = [each["server_id"] for each in clone.what["attachments"]]
        for server in seen.of(self.name, "server"):
            if server.id in on and server.what["status"] == "ACTIVE":
                folder = files.folder_of(said["idr_set"], clone.run)
                asked = {"set": said["idr_set"], "clone": clone.id, "mount": files.MOUNT, "folder": folder}
                self._patiently(server.name, "end", asked)

    def _patiently(self, server, deed, asked):
        """What a server returned, asked again while it's out of sight for a moment."""
        since = time.monotonic()
        while True:
            try:
                return self._do(server, deed, asked)
            except Unreachable as error:
                if time.monotonic() - since > OUT_OF_SIGHT:
                    raise
                self.tell(f"out of sight: {error}")
                time.sleep(2)

    def _do(self, server, deed, asked):
        if server not in self.ssh.environment.servers:
            raise IdrError(f"{server}: isn't in the table of {self.name}'s servers, which says where it is")
        return self.ssh.do(self.ssh.environment.servers[server], deed, asked, seconds=END, of=files_on_server)
