"""
A repository of restic's, outside of the cloud: what is written there is encrypted before it leaves, and what is there
already isn't written again.

Neither its password nor what opens the way to it is ever an argument or in a file: restic gets them by its environment,
and an SSH key from memory that goes with this process, however it ends. Only the standard library: it's run on servers.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = "restic"
ANSWERED = 300  # seconds for what is there to be listed: restic tries some places for ever
LOCKED = 3600  # seconds that another run on the repository is waited for
STALE = 1860  # seconds after which a lock that was there before is stale for restic, whatever its process
PAUSE = 5
WORD = 10  # seconds between two words of progress
OF_ONE = r"ignoring error|does not match|does not exist|^error"  # in a line: what is wrong with one of many things
SSH = """\
Host *
    BatchMode yes
    ConnectTimeout 20
    ServerAliveInterval 15
    ServerAliveCountMax 8
    StrictHostKeyChecking yes
    IdentitiesOnly yes
    IdentityFile {key}
    UserKnownHostsFile {place}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


class Failed(Exception):
    """What couldn't be done, in a line."""


class Missing(Failed):
    """There's no repository at that place."""


class Repository:
    """
    The repository that a destination's file describes (idr/backup/destinations.py), as ASKED: ``name``, ``repository``,
    ``password``, ``environment``, ``ssh_key``, ``known_hosts``.

    place:  a directory that only its owner can look into, for files that restic has to read
    cache:  one that outlives this run, for what restic remembers; None: it remembers nothing
    """

    def __init__(self, asked, place, cache=None, say=lambda line: None):
        self.asked, self.place, self.say = asked, Path(place), say
        self.words = [PROGRAM, "--no-cache"] if cache is None else [PROGRAM, "--cache-dir", str(cache)]
        if asked["ssh_key"]:
            self._key = _in_memory(_line(asked["ssh_key"]))
            key = f"/proc/{os.getpid()}/fd/{self._key.fileno()}"
            self._write("known_hosts", asked["known_hosts"])
            self._write("ssh_config", SSH.format(key=key, place=self.place))
            to = " ".join(ssh_words(asked["repository"]))
            self.words += ["-o", f"sftp.command=ssh -F {self.place}/ssh_config -E {self.place}/ssh_log {to} -s sftp"]

    def _write(self, name, text):
        path = self.place / name
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(_line(text))

    def snapshots(self):
        """What is in it, as restic lists it: ``[{id, time, hostname, tags, paths}]``. Raises ``Missing``."""
        code, out, errors = self._once(("snapshots", "--json", "--no-lock"), None, ANSWERED)
        if code:
            raise self._failure("snapshots", code, errors)
        return json.loads(out) or []

    def init(self):
        """Make it."""
        self.run("init")

    def run(self, *words, heard=None):
        """
        What a command of restic's printed; another run on the repository is waited for. Locks of runs of this machine
        that are dead are taken off first, and no others but those that their owner has left alone for half an hour.

        heard:  gets each line as it's printed
        """
        until, said = time.monotonic() + LOCKED, 0
        while True:
            code, out, errors = self._once(words, heard)
            if code == 0:
                return out
            if "already locked" not in errors or time.monotonic() > until:
                raise self._failure(words[0], code, errors)
            if time.monotonic() - said > 60:
                self.say(f"{self.asked['name']}: waiting: {_line_with(errors, 'already locked')}")
                said = time.monotonic()
            time.sleep(PAUSE if said else 0)
            if time.monotonic() > until - LOCKED + STALE or not self._hangs_up():
                self._once(("unlock",), None)

    def _hangs_up(self):
        """
        Whether `unlock` would end a program that isn't restic: it asks by SIGHUP whether the process of a young lock of
        this machine is there, and after a crash that number may be anybody's.
        """
        for id_ in self._once(("list", "locks", "--no-lock"), None)[1].split():
            code, text, _ = self._once(("cat", "lock", id_, "--no-lock"), None)
            lock = json.loads(text) if code == 0 else {"hostname": None}  # it's gone
            if lock["hostname"] == socket.gethostname():
                name = Path(f"/proc/{lock['pid']}/comm")
                with suppress(OSError):  # there's no such process
                    if name.read_text().strip() != PROGRAM:
                        return True
        return False

    def _once(self, words, heard, seconds=None):
        command = [*self.words, *words]
        (self.place / "ssh_log").unlink(missing_ok=True)
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            try:
                running = subprocess.Popen(
                    command, cwd="/", env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=errors, text=True, errors="replace",
                )  # fmt: skip
            except FileNotFoundError:
                raise Failed(f"there is no {PROGRAM} on {socket.gethostname()}: apt-get install {PROGRAM}") from None
            with running, _limit(running, seconds) as late:
                try:
                    lines = []
                    for line in running.stdout:
                        if heard:
                            heard(line)
                        else:
                            lines.append(line)
                except BaseException:
                    running.terminate()  # it takes its lock off
                    raise
            errors.seek(0)
            said = errors.read() + "".join(f"\nFatal: no answer within {seconds} s" for _ in late)
            return running.returncode, "".join(lines), said

    def _environment(self):
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": str(self.place),
            "TZ": "UTC",  # in which it's told times
            "TMPDIR": os.environ.get("TMPDIR", "/var/tmp"),  # /tmp may be memory
            "RESTIC_REPOSITORY": self.asked["repository"],
            "RESTIC_PASSWORD": self.asked["password"],
            "RESTIC_PROGRESS_FPS": str(1 / WORD),
            **self.asked["environment"],
        }

    def _failure(self, command, code, errors):
        """What restic said, in a line, and without what nobody is to read."""
        name, lines = self.asked["name"], [line for line in errors.splitlines() if line.strip()]
        if "Is there a repository at the following location" in errors and re.search(r"no such file|not exist", errors):
            return Missing(f"{name}: there is no repository at {self._masked(self.asked['repository'])}")
        if "wrong password" in errors:
            return Failed(f"{name}: its password isn't that of the repository, or the repository is another one")
        fatal = [line for line in lines if line.startswith("Fatal: ")]
        first = next((line for line in lines if re.search(OF_ONE, line)), "")
        why = (self._ssh_said(), first, (fatal or lines or ["no output"])[-1])
        why = [_line_with(errors, "already locked")] if "already locked" in errors else dict.fromkeys(filter(None, why))
        return Failed(self._masked(f"{name}: restic {command}: exit {code}: {'; '.join(why)}"))

    def _ssh_said(self):
        """The last line of ssh's own, which restic may have lost."""
        log = self.place / "ssh_log"
        said = log.read_text(errors="replace").split("\n") if log.exists() else []
        return next((line.strip() for line in reversed(said) if line.strip()), "")

    def _masked(self, line):
        for secret in (self.asked["password"], *self.asked["environment"].values()):
            line = line.replace(secret, "*****")
        return re.sub(r"(://[^/@\s:]+:)[^/@\s]+@", r"\1*****@", line)


def ssh_words(repository):
    """
    Whom OpenSSH is to log in at for a repository, as its arguments: ``sftp:ada@vault:/srv/idr``, or with a port
    ``sftp://ada@vault:2222//srv/idr``. A ValueError where it's neither.
    """
    found = re.fullmatch(r"sftp://(?P<to>([^/:@]+@)?[^/:@]+)(:(?P<port>\d+))?/.+", repository)
    found = found or re.fullmatch(r"sftp:(?!//)(?P<to>([^/:@]+@)?[^/:@]+):(?P<port>(?!))?.+", repository)
    if not found or found["to"].startswith("-"):
        raise ValueError(repository)
    return [*(["-p", found["port"]] if found["port"] else []), found["to"]]


@contextmanager
def _limit(running, seconds):
    """Have a program end after so long, None: not; it's in the list that is handed out if that had to be."""
    late = []

    def end():
        late.append(running)
        running.terminate()

    timer = threading.Timer(seconds, end) if seconds else None
    if timer:
        timer.start()
    try:
        yield late
    finally:
        if timer:
            timer.cancel()
            timer.join()


def _in_memory(text):
    """A text as a file that is nowhere but in memory, for programs of this user to open while this process lives."""
    file = os.fdopen(os.memfd_create("secret"), "w")
    os.fchmod(file.fileno(), 0o600)
    file.write(text)
    file.flush()
    return file


def _line(text):
    return text if text.endswith("\n") else text + "\n"


def _line_with(text, words):
    return next((line.strip() for line in text.splitlines() if words in line), "")
