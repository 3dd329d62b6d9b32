"""An environment's JupyterHub, drained and undrained by its master, from wherever that's asked for."""

import time

from idr import at_master
from idr.errors import IdrError

LOOK = 15  # seconds between two looks at who is still on
LATE = 180  # seconds after its time until a drain that isn't over is a failure


class Hub:
    """
    The hubs of an environment: those of its SERVERS of the role dockermanager, mostly one, or none. NOTICE is what
    users read, and what a drain of ours is known by.
    """

    def __init__(self, environment, servers, folder, notice):
        self.environment, self.servers, self.folder, self.notice = environment, servers, folder, notice

    def on(self):
        """Who is on, by server; an IdrError where one doesn't answer."""
        return self.look()[0]

    def look(self):
        """Who is on, by server, and the servers with a drain of ours; an IdrError where one doesn't answer."""
        said = {server: self._ask(server, "servers") for server in self.servers}
        ours = [id_ for id_, it in said.items() if it["draining"] and it["draining"]["notice"] == self.notice]
        return {id_: sorted(it["servers"]) for id_, it in said.items()}, ours

    def drain(self, minutes, tell):
        """
        Start no more servers, tell who is on, and wait until all are gone. A drain that is there is gone on with,
        whoever ordered it; with 0 minutes it ends now. An IdrError where that can't be had.
        """
        for server in self.servers:
            there = self._ask(server, "servers")["draining"]
            if there is None or not minutes:
                notice = there["notice"] if there else self.notice
                ordered = self._ask(server, "drain", minutes=minutes, notice=notice)
                tell(f"{server} is drained until {ordered['until']}, on are {', '.join(ordered['on']) or 'nobody'}")
            else:
                tell(f"{server} is drained already, until {there['until']}: {there['notice']}")
        until, said = time.monotonic() + minutes * 60 + LATE, None
        while left := {server: users for server, users in self.on().items() if users}:
            users = "; ".join(f"{server}: {', '.join(users)}" for server, users in left.items())
            if time.monotonic() > until:
                raise IdrError(f"still on {LATE} s after their time: {users}")
            if users != said:
                tell(f"still on: {users}")
            said = users
            time.sleep(LOOK)

    def undrain(self, tell, whosever=False):
        """End a drain of ours; one that somebody else ordered stays, unless it's to end, WHOSEVER it is."""
        for server in self.servers:
            ordered = None if whosever else self._ask(server, "servers")["draining"]
            if ordered and ordered["notice"] != self.notice:
                tell(f"{server} stays drained until {ordered['until']}, as somebody ordered: {ordered['notice']}")
            elif self._ask(server, "undrain")["did"]:
                tell(f"{server} takes users again")

    def _ask(self, server, function, **values):
        return at_master.execute(self.environment, self.folder, server, f"jupyterhub.{function}", **values)
