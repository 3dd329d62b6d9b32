"""Connections to PostgreSQL: as many as omero.db.poolsize says, each tried before it is used, so that the server works
again as soon as the database does."""
import contextlib
import threading

import psycopg2

# A database that went without a word is given up after these, in seconds and milliseconds
PATIENCE = {"connect_timeout": 30, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 9,
            "tcp_user_timeout": 60_000}


class Database:
    """The database that the settings omero.db.* name."""

    def __init__(self, settings):
        self._where = {
            "host": settings["omero.db.host"], "port": settings["omero.db.port"], "dbname": settings["omero.db.name"],
            "user": settings["omero.db.user"], "password": settings["omero.db.pass"],
        }
        self._idle = []
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(int(settings["omero.db.poolsize"]))

    @contextlib.contextmanager
    def cursor(self):
        """A cursor in a transaction of its own: committed at the end, rolled back by an exception.

        Refuses (psycopg2.OperationalError) while the database cannot be reached.
        """
        with self._free:
            connection = self._working() or psycopg2.connect(
                application_name="Blitz-0", **PATIENCE, **self._where)
            try:
                with connection, connection.cursor() as cursor:
                    yield cursor
            finally:
                if connection.closed:
                    connection.close()
                else:
                    with self._lock:
                        self._idle.append(connection)

    def _working(self):
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("select 1")
                return connection
            except psycopg2.Error:
                connection.close()

    def rows(self, sql, **parameters):
        """All rows that one statement gives."""
        with self.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def row(self, sql, **parameters):
        """The first row that one statement gives, or None."""
        rows = self.rows(sql, **parameters)
        return rows[0] if rows else None
