"""Blitz-0: the process that icegridnode starts (bin/blitz). Its log is var/log/Blitz-0.log."""
import faulthandler
import logging
import logging.handlers
import signal
import sys
import threading
import time
from pathlib import Path

import Ice
import omero
import omero.all  # noqa: F401
import omero.rtypes
import psycopg2

from .database import Database
from .factory import SessionManager, Verifier
from .sessions import Sessions
from .settings import load

LOG = logging.getLogger("blitz")
DATABASE_LIMIT = 240    # seconds; `omero admin start` waits 300 for all of it
IDLE_CHECK = 60         # seconds


class WrongPatch(Exception):
    """The database isn't of this server's version."""


def ready_database(settings):
    """The database, once it answers and is of the right version.

    Refuses (WrongPatch) another version, and (psycopg2.OperationalError) a database that doesn't answer in time.
    """
    database, deadline = Database(settings), time.monotonic() + DATABASE_LIMIT
    while True:
        try:
            found = database.row("select currentVersion, currentPatch from dbpatch order by id desc limit 1")
        except psycopg2.OperationalError as fault:
            if time.monotonic() > deadline:
                raise
            LOG.warning("waiting for the database: %s", str(fault).strip())
            time.sleep(2)
            continue
        wanted = (settings["omero.db.version"], int(settings["omero.db.patch"]))
        if found != wanted:
            raise WrongPatch(f"the database is {found[0]}__{found[1]}, this server needs {wanted[0]}__{wanted[1]}"
                             if found else "the database has no row in dbpatch")
        return database


def close_idle_sessions(sessions):
    """Every minute, for as long as the process lives."""
    while True:
        time.sleep(IDLE_CHECK)
        try:
            sessions.close_idle()
        except psycopg2.Error as fault:
            LOG.error("closing idle sessions: %s", fault)


class Blitz(Ice.Application):
    """The object adapter that Glacier2 and `omero admin status` find by IceGrid."""

    def run(self, arguments):
        """Serve until icegridnode says stop; 1 where the database isn't this server's."""
        communicator = self.communicator()
        settings = load(Path.cwd())
        settings["omero.router.insecure"] = communicator.getProperties().getProperty("omero.router.insecure")
        try:
            database = ready_database(settings)
        except (WrongPatch, psycopg2.Error) as fault:
            LOG.critical("OMERO.server cannot start: %s", fault)
            return 1
        sessions = Sessions(database, int(settings["omero.sessions.timeout"]))
        threading.Thread(target=close_idle_sessions, args=[sessions], daemon=True).start()
        omero.ObjectFactoryRegistrar.registerObjectFactory(communicator, None)
        for factory in list(omero.rtypes.ObjectFactories.values()):
            factory.register(communicator)
        adapter = communicator.createObjectAdapter("BlitzAdapter")
        adapter.add(Verifier(sessions), communicator.stringToIdentity("BlitzVerifier"))
        adapter.add(SessionManager(adapter, database, sessions, settings),
                    communicator.stringToIdentity("BlitzManager"))
        adapter.activate()
        LOG.info("OMERO.server %s Ready.", settings["omero.version"])
        communicator.waitForShutdown()
        LOG.info("stopped")
        return 0


def main():
    """Log to a file of its own, tell the threads to var/log/master.err when asked as a JVM is, and run."""
    faulthandler.register(signal.SIGQUIT)
    Path("var/log").mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler("var/log/Blitz-0.log", maxBytes=5_000_000, backupCount=3)
    logging.basicConfig(level=logging.INFO, handlers=[handler],
                        format="%(asctime)s %(levelname)-5s [%(name)s] %(message)s")
    return Blitz().main(sys.argv)


sys.exit(main())
