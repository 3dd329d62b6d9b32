"""
A repository of restic's, outside of the cloud: what is written there is encrypted before it leaves, and what is there
already isn't written again.

Neither its password nor what opens the way to it is ever an argument or in a file: restic gets them by its environment,
and an SSH key from memory that goes with this process, however it ends. Only the standard library: it's run on servers.
"""

import json
import os
import re
import signal
import socket
import subprocess
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
GIVEN = 20  # seconds for it to take its lock off, before it's ended
RETOLD = "idr_retold"  # a tag: how often a snapshot's tags were changed
# There's no repository, where no credential is what isn't there
MISSING = r"no such (file|object)|(not|n't) exist(?! in our records)|object not found"
# A place doesn't let a thing be removed. What may be is locks: one that only adds leaves that to everybody.
KEPT = r"Remove\(<(?!lock/).* returned error.*(\b403\b|Forbidden|Access ?Denied|permission denied)"
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


class OnlyAdds(Failed):
    """The place doesn't let anything be removed."""


class Repository:
    """
    The repository that a destination's file describes (idr/backup/destinations.py), as ASKED: ``name``, ``repository``,
    ``password``, ``environment``, ``ssh_key``, ``known_hosts``, ``ca``.

    place:  a directory that only its owner can look into, for files that restic has to read
    cache:  one that outlives this run, for what restic remembers; None: it remembers nothing
    """

    def __init__(self, asked, place, cache=None, say=lambda line: None):
        self.asked, self.place, self.say = asked, Path(place), say
        self.words = [PROGRAM, "--no-cache"] if cache is None else [PROGRAM, "--cache-dir", str(cache)]
        if asked["ca"]:
            self._write("ca.pem", asked["ca"])
            self.words += ["--cacert", str(self.place / "ca.pem")]
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
        """
        What is in it, as restic lists it: ``[{id, time, hostname, tags, paths, before}]``, the last one being the ids
        of what a snapshot was before its tags were changed, which stays at a place that only adds. Raises ``Missing``.
        """
        code, out, errors = self._once(("snapshots", "--json", "--no-lock"), None, ANSWERED)
        if code:
            raise self._failure("snapshots", code, errors)
        return _as_last_told(json.loads(out) or [])

    def init(self):
        """Make it."""
        self.run("init")

    def retag(self, snapshots, remove=(), add=(), options=()):
        """
        Have snapshots, as `snapshots` lists them, say something else of themselves. restic writes each anew and removes
        what it was; where the place only adds, both stay, and `snapshots` knows which is the later one.
        """
        for it in snapshots:
            kept = [tag for tag in it["tags"] if tag not in {*remove, *add}]
            told = [*kept, *add, f"{RETOLD}={it['retold'] + 1}"]
            with suppress(OnlyAdds):
                self.run("tag", *options, *(f"--set={tag}" for tag in told), it["id"])

    def forget(self, snapshots):
        """Remove snapshots, as `snapshots` lists them, and what nothing else there needs."""
        ids = [id_ for it in snapshots for id_ in (it["id"], *it["before"])]
        self.run("forget", "--prune", "--quiet", *ids)

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
        try:
            running = subprocess.Popen(
                command, cwd="/", env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, errors="replace",
            )  # fmt: skip
        except FileNotFoundError:
            raise Failed(f"there is no {PROGRAM} on {socket.gethostname()}: apt-get install {PROGRAM}") from None
        errors = []
        listening = threading.Thread(target=self._listen, args=(running, errors))
        with running, _limit(running, seconds) as late:
            listening.start()
            try:
                lines = []
                for line in running.stdout:
                    if heard:
                        heard(line)
                    else:
                        lines.append(line)
            except BaseException:
                _unlocked(running)
                raise
            finally:
                listening.join()
        said = "".join(errors) + "".join(f"\nFatal: no answer within {seconds} s" for _ in late)
        return running.returncode, "".join(lines), said

    def _listen(self, running, errors):
        """
        Gather what restic complains of. It tries everything for a quarter of an hour: what it waits for is told, and
        what the place will never allow isn't waited for.
        """
        said = 0
        for line in running.stderr:
            errors.append(line)
            if re.search(KEPT, line):
                running.send_signal(signal.SIGINT)  # upon which it takes its lock off
            elif "retrying after" in line and time.monotonic() - said > 60:
                self.say(self._masked(f"{self.asked['name']}: {line.strip()}"))
                said = time.monotonic()

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
        if any(re.search(KEPT, line) for line in lines):
            return OnlyAdds(
                f"{name}: restic {command}: nothing can be removed there. If it's to be so, its keeper has a "
                "destination file that can"
            )
        if "Is there a repository at the following location" in errors and re.search(MISSING, errors, re.I):
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
        given = self.asked["environment"].items()
        secrets = [text for key, text in given if len(text) > 3 or re.search("KEY|PASS|SECRET|TOKEN", key)]
        for secret in (self.asked["password"], *secrets):  # not 3, which OS_IDENTITY_API_VERSION is
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


def _as_last_told(listed):
    """
    Snapshots without what they were before their tags were changed: restic says of which one each was made. One with
    other files in it is no later one, whatever it says: at a place that only adds anybody may have added it.
    """
    versions = {}
    for it in listed:
        versions.setdefault((it.get("original") or it["id"], it["tree"]), []).append(it)
    return [_with_before(*sorted(each, key=_retold, reverse=True)) for each in versions.values()]


def _with_before(it, *before):
    tags = [tag for tag in it.get("tags") or () if not tag.startswith(f"{RETOLD}=")]
    return {**it, "tags": tags, "retold": _retold(it), "before": [each["id"] for each in before]}


def _retold(it):
    """How often its tags were changed."""
    said = [tag.partition("=")[2] for tag in it.get("tags") or () if tag.startswith(f"{RETOLD}=")]
    return max((int(text) for text in said if text.isdecimal()), default=0)


def _unlocked(running):
    """End restic so that it takes its lock off, if the place lets it."""
    running.send_signal(signal.SIGINT)
    try:
        running.wait(GIVEN)
    except subprocess.TimeoutExpired:
        running.terminate()


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
