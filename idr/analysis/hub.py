"""An environment's JupyterHub, drained and undrained by its master, from wherever that's asked for."""

import time

from idr import at_master
from idr.errors import IdrError

NOTICE = "The data of the analysis service are being brought up to date."  # by which our own drain is known
LOOK = 15  # seconds between two looks at who is still on
LATE = 180  # seconds after its time until a drain that isn't over is a failure


class Hub:
    """The hubs of an environment: those of its servers of the role dockermanager, mostly one, or none."""

    def __init__(self, environment, servers, folder):
        self.environment, self.servers, self.folder = environment, servers, folder

    def on(self):
        """Who is on, by server; an IdrError where one doesn't answer."""
        return {server: sorted(self._ask(server, "servers")["servers"]) for server in self.servers}

    def drain(self, minutes, tell):
        """Start no more servers, tell who is on, and wait until all are gone; a drain that is there is gone on with."""
        for server in self.servers:
            if self._ask(server, "servers")["draining"] is None:
                ordered = self._ask(server, "drain", minutes=minutes, notice=NOTICE)
                tell(f"{server} is drained until {ordered['until']}, on are {', '.join(ordered['on']) or 'nobody'}")
        until = time.monotonic() + minutes * 60 + LATE
        while left := {server: users for server, users in self.on().items() if users}:
            if time.monotonic() > until:
                users = "; ".join(f"{server}: {', '.join(users)}" for server, users in left.items())
                raise IdrError(f"still on {LATE} s after their time, so nothing is swapped: {users}")
            time.sleep(LOOK)

    def undrain(self, tell):
        """End a drain of ours; one that somebody else ordered stays."""
        for server in self.servers:
            ordered = self._ask(server, "servers")["draining"]
            if ordered and ordered["notice"] == NOTICE:
                self._ask(server, "undrain")
                tell(f"{server} takes users again")
            elif ordered:
                tell(f"{server} stays drained until {ordered['until']}, as somebody ordered: {ordered['notice']}")

    def _ask(self, server, function, **values):
        return at_master.execute(self.environment, self.folder, server, f"jupyterhub.{function}", **values)
