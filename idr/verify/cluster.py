"""
PostgreSQL on a clone: recovered, every page and index checked, every value read.

It's run by whoever owns its files, on a socket that only they and root can reach, and by none of the volume's own
configuration.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from idr.verify.commands import OURS, below, last, lines, plain, run

DATABASE = "idr"  # OMERO's, by the states of salt/postgresql
OLDEST = 15  # PostgreSQL that can be looked at: older ones don't tell the version of a database's collation
LONGEST = "86400"  # seconds for a recovery, or a shutdown
WORKERS = os.cpu_count() or 1
# What has to be as large as where the log was written, as pg_controldata tells it.
AT_LEAST = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "config_file": "/dev/null",
    "ident_file": "/dev/null",
    "archive_mode": "off",
    "autovacuum": "off",
    "fsync": "off",  # nothing that it writes has to outlive this
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
}
# Of each session, whatever the clone's databases and roles have as their own (ALTER ROLE … SET).
SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",  # amcheck may have to be installed
    "search_path": "public",
    "lc_messages": "C",  # by whose words a fault of the server's is known
    "session_preload_libraries": "",
    "local_preload_libraries": "",
}
COLLATIONS = """
SELECT datname FROM pg_database
WHERE datallowconn AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
"""
BTREES = """
SELECT count(*) AS count FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relkind = 'i' AND a.amname = 'btree'
"""
# Toast tables are read with their own tables. A pseudo-type (in pg_statistic) can't be made a text of.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       coalesce((SELECT json_agg(quote_ident(a.attname) ORDER BY attnum) FROM pg_attribute a JOIN pg_type t
                 ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                 AND t.typtype <> 'p'), '[]') AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' ORDER BY c.relpages DESC
"""
RELATION = """
SELECT CASE c.relkind WHEN 'i' THEN 'index ' || c.oid::regclass || ' of table ' || i.indrelid::regclass
       WHEN 't' THEN 'long values of table ' || o.oid::regclass ELSE 'table ' || c.oid::regclass END AS name
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class o ON o.reltoastrelid = c.oid
WHERE pg_relation_filenode(c.oid) = {node}
"""
PATCH = "SELECT currentversion || ' ' || currentpatch AS patch FROM dbpatch ORDER BY id DESC LIMIT 1"
IS_OMERO = "SELECT to_regclass('dbpatch') IS NOT NULL AND to_regclass('originalfile') IS NOT NULL AS there"


class QueryFailed(Exception):
    """A query that PostgreSQL couldn't answer, with what it said of it."""


def clusters(volume):
    """
    The clusters on a volume: ``[(path, major version)]``, the newest version last. One whose PG_VERSION is no version
    comes first. What can't be read of it is an OSError.
    """
    found = []
    for version in [path for depth in ("", "*/", "*/*/") for path in below(volume, f"{depth}PG_VERSION")]:
        where = os.path.dirname(version)
        if below(where, "global"):  # each database of a cluster has a PG_VERSION too
            found.append((where, Path(version).read_bytes().decode(errors="replace").strip()))
    return sorted(found, key=lambda it: (float(it[1]) if is_version(it[1]) else 0, it[0]))


def is_version(text):
    """Whether that is a major version of PostgreSQL: it becomes part of a package's name."""
    return bool(re.fullmatch(r"[0-9]{1,2}(\.[0-9])?", text))


def install(major, say):
    """Have PostgreSQL of that major version, from the server's own package sources; returns where its programs are."""
    places = (f"/usr/lib/postgresql/{major}/bin", f"/usr/pgsql-{major}/bin")
    there = [place for place in places if os.path.exists(f"{place}/postgres")]
    if there:
        return there[0]
    say(f"installing PostgreSQL {major}")
    run("sh", "-c", "command -v cloud-init >/dev/null && cloud-init status --wait", may_fail=True)  # it installs, too
    if os.path.exists("/usr/bin/apt-get"):
        Path("/etc/postgresql-common").mkdir(exist_ok=True)
        Path("/etc/postgresql-common/createcluster.conf").write_text("create_main_cluster = false\n")
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qqy", "-o", "DPkg::Lock::Timeout=300")
        run(*apt, "update", tries=5)
        run(*apt, "install", "--no-install-recommends", f"postgresql-{major}", "locales", tries=2)
    else:
        packages = (f"postgresql{major}-server", f"postgresql{major}-contrib", "glibc-langpack-en")
        run("dnf", "-qy", "install", *packages, tries=2)
    if "en_US.utf8" not in run("locale", "-a").stdout:  # which the IDR's databases were made in
        run("localedef", "-i", "en_US", "-f", "UTF-8", "en_US.UTF-8")
    return next(place for place in places if os.path.exists(f"{place}/postgres"))


class Cluster:
    """A cluster on a clone. SCRATCH is a directory for its socket and its log."""

    def __init__(self, data, programs, scratch):
        self.data, self.programs, self.scratch = Path(data), programs, Path(scratch)
        owner = os.stat(data)
        self.as_owner = ("setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups")
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGHOST": str(scratch), "PGUSER": "postgres"}
        self.environment["PGOPTIONS"] = " ".join(f"-c {key}={value}" for key, value in SESSION.items())
        self.scratch.mkdir(parents=True, exist_ok=True)
        os.chown(self.scratch, owner.st_uid, owner.st_gid)
        (self.scratch / "pg_hba.conf").write_text("local all all trust\n")
        self.log = self.scratch / "log"
        self.control = {}

    @property
    def has_checksums(self):
        """Whether each of its pages has a checksum."""
        return self.control["Data page checksum version"] != "0"

    def recovered(self, found):
        """Take off what ties it to another server, and have it recover as after a power cut; whether it could."""
        for signal in ("standby.signal", "recovery.signal"):
            if (self.data / signal).exists():
                found.wrong("clusters", f"database-db: its cluster waits for another server's log ({signal})")
                return False
        done = self._program("pg_controldata", self.data)
        if done.returncode:
            found.wrong("clusters", f"database-db: its cluster's control file: {last(done)}")
            return False
        told = (line.partition(":") for line in lines(done.stdout))
        self.control = {key: value.strip() for key, _, value in told}
        for strange in ("postmaster.pid", "postgresql.auto.conf"):
            (self.data / strange).unlink(missing_ok=True)
        found.say(f"recovering PostgreSQL's cluster, which was {self.control['Database cluster state']}")
        return self.started(found)

    def started(self, found):
        """Start it; whether it could be."""
        settings = {**SETTINGS, "hba_file": self.scratch / "pg_hba.conf", "unix_socket_directories": self.scratch}
        settings |= {key: self.control[words] for key, words in AT_LEAST.items() if words in self.control}
        options = " ".join(f"-c {key}='{value}'" for key, value in settings.items())
        self.log.unlink(missing_ok=True)
        words = ("-w", "-s", "-t", LONGEST, "-D", self.data, "-l", self.log, "-o", options)
        done = self._program("pg_ctl", "start", *words)
        log = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        ours = [plain(line) for line in log if OURS.search(line)][:1]  # before its end, which may only say what follows
        for line in ours:
            found.unseen(f"database-db: {line}")
        if done.returncode == 0:
            return True
        why = [plain(line) for line in log if re.search(r"(WARNING|ERROR|FATAL|PANIC):", line)] or [last(done)]
        for line in [] if ours else why[-5:]:
            found.wrong("clusters", f"database-db: PostgreSQL doesn't start on it: {line}")
        return False

    def stop(self, may_fail=True):
        """Stop it cleanly, if it runs."""
        if (self.data / "postmaster.pid").exists():
            words = ("-w", "-s", "-t", LONGEST, "-m", "fast", "-D", self.data)
            self._program("pg_ctl", "stop", *words, may_fail=may_fail)

    def bad_pages(self, found):
        """Check every page of the stopped cluster; returns ``[(file, page)]`` of those with another checksum."""
        found.say("checking every page")
        done = self._program("pg_checksums", "--check", "-D", self.data)
        counted = re.search(r"Blocks scanned:\s+(\d+)", done.stdout)
        found.figures["pages"] = int(counted[1]) if counted else 0
        pattern = r'checksum verification failed in file "([^"]+)", block (\d+)'
        bad = [(os.path.relpath(file, self.data), page) for file, page in re.findall(pattern, done.stderr)]
        if done.returncode and (not bad or OURS.search(last(done))):
            found.wrong("pages", f"database-db: its pages can't be checked: {last(done)}")
        return bad

    def rows(self, text, database="postgres"):
        """What a query returns, a dict a row. Raises ``QueryFailed``."""
        return json.loads(self.sql(f"SELECT coalesce(json_agg(it), '[]') FROM ({text}) AS it", database))

    def sql(self, text, database="postgres"):
        """What psql prints of a query. Raises ``QueryFailed``."""
        done = self._program("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text)
        if done.returncode:
            raise QueryFailed(last(done))
        return done.stdout

    def script(self, text, database):
        """What psql prints of a script, whose queries may fail one by one."""
        return self._program("psql", "-XAtq", "-d", database, input=text).stdout

    def copied(self, text, database):
        """The rows of a query one after another, lists of texts: there may be millions. Raises ``QueryFailed``."""
        copy = f"COPY ({text}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
        psql = (f"{self.programs}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", copy)
        reading = subprocess.Popen(
            [*self.as_owner, *psql], env=self.environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        with reading:
            # newlines as they are: a name may have one in it
            yield from csv.reader(io.TextIOWrapper(reading.stdout, "utf-8", "surrogateescape", newline=""))
            said = reading.stderr.read().decode(errors="replace")
        if reading.returncode:
            raise QueryFailed((lines(said) or ["no output"])[0])

    def amcheck(self, database, *options):
        """Check the tables of a database and their indexes; returns what is said of each that isn't whole."""
        words = ("--install-missing", "--heapallindexed", f"--jobs={WORKERS}", *options, "-d", database)
        done = self._program("pg_amcheck", *words)
        if done.returncode not in (0, 2) or (done.returncode and not done.stdout):
            raise QueryFailed(last(done))
        said = []
        for line in lines(done.stdout):
            if line[0].isspace() and said:
                said[-1] += f" {line.strip()}"
            else:
                said.append(line)
        return said

    def databases(self):
        """The names of all databases that can be looked into."""
        return [row["datname"] for row in self.rows("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")]

    def _program(self, name, *words, may_fail=True, **further):
        command = (*self.as_owner, f"{self.programs}/{name}", *words)
        done = run(*command, may_fail=may_fail, env=self.environment, cwd="/", **further)
        if done.returncode in (126, 127):  # setpriv's own: it can't be run
            sys.exit(last(done))
        return done


def name_pages(found, it, bad):
    """Tell of pages whose checksum isn't theirs, each by the table or index that it's of."""
    try:
        rows = it.rows("SELECT oid::text AS id, datname AS name FROM pg_database WHERE datallowconn")
    except QueryFailed:  # it may be the very page
        rows = []
    names = {row["id"]: row["name"] for row in rows}
    for file, page in bad:
        what = file
        of = re.fullmatch(r"base/(\d+)/(\d+)(_\w+)?(\.\d+)?", file)
        if of and of[1] in names:
            try:
                what = f"{it.rows(RELATION.format(node=of[2]), names[of[1]])[0]['name']} in {names[of[1]]} ({file})"
            except (QueryFailed, IndexError):
                what = f"{file} in {names[of[1]]}"
        found.wrong("pages", f"{what}: page {page} has another checksum than its content")


def structure(found, it):
    """The structure of every table and of every B-tree, and that every row is in its B-trees (amcheck)."""
    differing = [row["datname"] for row in it.rows(COLLATIONS)]
    checked = 0
    for database in it.databases():
        options = ["--parent-check"]
        if database in differing:
            options = ["--no-dependent-indexes"]
            found.notes.append(
                f"{database}: its indexes are in the order of another version of its collation than this server has, "
                f"and weren't checked: a restore makes them anew"
            )
        found.say(f"checking tables and indexes of {database}")
        try:
            for line in it.amcheck(database, *options):
                found.wrong("damages of tables and indexes", line)
            checked += it.rows(BTREES, database)[0]["count"] * (database not in differing)
        except QueryFailed as error:
            found.wrong("damages of tables and indexes", f"{database}: its tables can't be checked: {error}")
    found.figures["indexes"] = checked


def values(found, it):
    """Every value of every table read, and every text tried for its encoding; by that, rows are counted."""
    counts = {}
    for database in it.databases():
        found.say(f"reading every value of {database}")
        try:
            tables = it.rows(TABLES, database)
        except QueryFailed as error:
            found.wrong("tables", f"{database}: its list of tables can't be read: {error}")
            continue
        with ThreadPoolExecutor(WORKERS) as pool:  # the largest come first, and each of these gets its share
            shares = [tables[number::WORKERS] for number in range(WORKERS)]
            for read in pool.map(lambda share, database=database: _counts(it, database, share), shares):
                for name, (count, wrong) in read.items():
                    counts[database, name] = count
                    if wrong:
                        found.wrong("tables", f"{database}: table {name}: {wrong}")
    found.figures["tables"] = len(counts)
    found.figures["rows"] = sum(counts.values())
    found.figures["rows_of"] = {
        name.partition(".")[2]: count
        for (database, name), count in counts.items()
        if database == DATABASE and name.startswith("public.")
    }


def _counts(it, database, tables):
    """The rows of tables, and what is wrong with one's values, None if nothing is: ``{name: (count, line)}``."""
    numbered = enumerate(tables)
    asked = [f"{_reading(table['name'], table['columns'])};\n\\echo read {number}\n" for number, table in numbered]
    counts, before = {}, ""
    for line in it.script("".join(asked), database).splitlines():
        if line.startswith("read ") and before[:1].isdigit():  # where it failed, there's no row before
            counts[int(line.split()[1])] = int(before.partition("|")[0])
        before = line
    return {
        table["name"]: (counts[number], None) if number in counts else _alone(it, database, table)
        for number, table in enumerate(tables)
    }


def _alone(it, database, table):
    """As `_counts`, of one table whose values can't all be read: which column it is, and why."""
    name, columns = table["name"], table["columns"]
    try:
        return int(it.sql(_reading(name, columns), database).partition("|")[0]), None
    except QueryFailed as error:
        for column in columns:
            try:
                it.sql(_reading(name, [column]), database)
            except QueryFailed as of_it:
                return 0, f"column {column}: {of_it}"
        return 0, str(error)


def _reading(table, columns):
    """A query for a table's rows that makes a text of every value and tries its encoding, as reading alone doesn't."""
    tried = [f"count(convert_from(textsend({column}::text), getdatabaseencoding()))" for column in columns]
    return f"SELECT {', '.join(['count(*)', *tried])} FROM ONLY {table}"


def omero(found, it, patch):
    """Whether OMERO's database is there, which is to have the PATCH that the manifest tells; None: it tells none."""
    if DATABASE not in it.databases() or not it.rows(IS_OMERO, DATABASE)[0]["there"]:
        found.wrong("databases", f"database-db: there is no database {DATABASE} with OMERO's tables")
        return False
    there = next((row["patch"] for row in it.rows(PATCH, DATABASE)), None)
    found.figures["patch"] = there
    if patch is None:
        found.notes.append("the set's manifest doesn't tell the patch of OMERO's database")
    elif there != patch:
        found.wrong("databases", f"OMERO's database has the patch {there}, and the set's manifest says {patch}")
    return True
