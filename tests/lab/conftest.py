"""
The real thing: one lab per session, brought up by the product's own commands. Each test leaves it as it found it.

A machine that can't have a lab fails here with the list of what it lacks; a lab that didn't run was not tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lab import hosts, seat
from lab.cloud import faults
from lab.shell import LabError

from .environments import BESIDE, inventory
from .faulty import get_through

ROOT = Path(__file__).parents[2]
CTL = ROOT / "lab/ctl"
PUBLIC = "198.51.100.10"
SERVERS = ("idr-proxy", "idr-omero", "idr-database", "idr-a-omero", "idr-a-database", "idr-a-dockermanager")
SCHEDULED = "idr-backup-scheduled"  # the unit in which idr's master takes a set by itself


# As enrolment asks it: a silent minion isn't waited for as long as by `salt`, which can't be told so.
ANSWERING = ("/opt/salt/bin/python", "-I", "/srv/idr/current/idr/with_salt.py", "-", "answering")


def until(what, seconds: float = 300):
    """Wait until this is so; on a busy machine any process may stand still for a while."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(1)


@dataclass(frozen=True)
class Answer:
    """What a client saw: status 0 is no answer at all."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def cache(self) -> str:
        return self.headers.get("x-proxy-cache", "")


@dataclass  # not frozen: raising sets a traceback
class Failed(Exception):
    """A command in the lab that ended with another code than zero."""

    command: str
    code: int
    output: str


def completed(words, typed, check: bool, seconds: float, stdin: str | None = None) -> subprocess.CompletedProcess:
    """Run what a command of `lab/ctl` comes down to; TYPED: that command, for whoever reads of its failure."""
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=seconds, input=stdin or "")
    if check and done.returncode:
        raise Failed(" ".join(typed), done.returncode, done.stdout + done.stderr)
    return done


class Lab:
    """The lab as its two kinds of users see it: from outside, and inside a server."""

    def _enter(self, host: str, words, typed, check: bool, seconds: float, stdin: str | None):
        """As `lab/ctl` enters a host, without a Python of its own for each of thousands of commands."""
        try:
            words = hosts.entering(hosts.named(host), *words)
        except LabError as error:  # it's off, or isn't there
            words = ["sh", "-c", 'echo "$0" >&2; exit 1', str(error)]
        return completed(words, typed, check, seconds, stdin)

    def exec(self, server: str, *command: str, check: bool = True, seconds: float = 600, stdin: str | None = None):
        """Run a command as root in a server."""
        return self._enter(server, command, ("exec", server, *command), check, seconds, stdin)

    def sh(self, server: str, script: str, **kwargs) -> str:
        """Run a shell script as root in a server and return what it said."""
        return self.exec(server, "bash", "-ec", script, **kwargs).stdout.strip()

    def outside(self, *command: str, check: bool = True, seconds: float = 600, stdin: str | None = None):
        """Run a command as the operator at the seat outside."""
        return self._enter(seat.ROLE, seat.command(*command), ("outside", *command), check, seconds, stdin)

    def kill(self, words: str) -> str | None:
        """
        Kill the newest command at the seat that has these WORDS, a regular expression; returns its process, None where
        it has ended before.
        """
        pid = self.exec("seat", "pgrep", "-n", "-f", words, check=False).stdout.strip()
        return pid if pid and self.exec("seat", "kill", "-KILL", pid, check=False).returncode == 0 else None

    def ctl(self, *command: str, seconds: float = 1200):
        return completed([CTL, *command], command, True, seconds)

    def get(self, path: str, base: str = f"https://{PUBLIC}", *options: str) -> Answer:
        """GET from outside; redirects are answers, not followed."""
        done = self.outside("curl", "-ksSi", "--max-time", "120", *options, base + path, check=False)
        return answer(done.stdout)

    def salt(self, target: str, function: str, *args: str, seconds: float = 600) -> dict:
        """Run an execution function on the master and return {minion: result}."""
        as_list = ["-L"] if "," in target else []
        # never --static: with it Salt 3008.3 gives up on a job of more than half a minute, which then goes on unseen
        said = self.exec(
            "idr-proxy", "salt", "--out=json", "--timeout=60", *as_list, target, function, *args, check=False,
            seconds=seconds,
        ).stdout
        answers, place = {}, said.find("{")
        while place >= 0:
            one, end = json.JSONDecoder().raw_decode(said, place)
            answers |= one
            place = said.find("{", end)
        return answers

    def wait_for_minions(self, *servers: str):
        """Wait until these servers' minions, all unless some are named, have a connection to their master."""
        wanted = servers or SERVERS
        asked = json.dumps({"minions": wanted, "seconds": 5})
        until(lambda: json.loads(self.exec("idr-proxy", *ANSWERING, stdin=asked).stdout) == sorted(wanted))

    def secrets(self, prefix: str) -> dict[str, dict[str, str]]:
        """One side's generated secrets, from the master's own files: asked through Salt, its logs would have them."""
        folder = f"/etc/idr/pillar/secrets/{prefix}"
        names = ("database", "omero", *(["jupyterhub"] if prefix == "idr-a" else []))
        read = [self.sh("idr-proxy", f"cat {folder}/{name}.sls") for name in names]
        return {group: words for text in read for group, words in yaml.safe_load(text)["secrets"].items()}

    def password_of_hub(self) -> str:
        """What everybody logs in with at JupyterHub, by whatever name."""
        site = yaml.safe_load(self.sh("idr-proxy", "cat /etc/idr/pillar/site.sls"))
        return site["jupyterhub"]["authenticator"]["config"]["SharedPasswordAuthenticator"]["user_password"]

    def operator(self, *command: str, seconds: float = 900, check: bool = True):
        """Run a command of the checkout's own environment at the seat, e.g. ``salt-run environment.enrol idr``."""
        return self.outside(f".venv/bin/{command[0]}", *command[1:], seconds=seconds, check=check)


def answer(text: str) -> Answer:
    """Parse what ``curl -i`` printed."""
    while True:
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        lines = head.splitlines()
        if not lines:
            return Answer(0, {}, "")
        status = int(lines[0].split()[1])
        if status not in (100, 103):
            break
        text = body
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(status, headers, body)


def pytest_collection_modifyitems(items):
    """What ends the lab's idr is last."""
    items.sort(key=lambda item: item.get_closest_marker("ending") is not None)


@pytest.fixture(scope="session")
def lab() -> Lab:
    if os.environ.get("IDR_LAB_IS_UP"):
        return Lab()
    missing = subprocess.run([str(CTL), "check"], capture_output=True, text=True)
    assert missing.returncode == 0, f"no lab can run on this machine:\n{missing.stdout}{missing.stderr}"
    subprocess.run([str(CTL), "up"], check=True)
    return Lab()


@pytest.fixture(autouse=True)
def no_set_by_the_clock(lab):
    """At 03:00 UTC there would be one, of which tests know nothing: none is begun while its unit is there."""
    now = time.gmtime()
    if now.tm_hour == 2 and now.tm_min >= 30:
        seconds = 60 * (60 - now.tm_min) + 30
        begin = f"systemd-run --quiet --collect --unit={SCHEDULED} sleep {seconds}"
        lab.exec("idr-proxy", "sh", "-c", f"systemctl is-active --quiet {SCHEDULED} || {begin}", check=False)


@pytest.fixture(scope="module")
def image(lab) -> int:
    """The id of an image of the lab's study."""
    return json.loads(lab.get("/api/v0/m/images/?limit=1").body)["data"][0]["@id"]


@pytest.fixture(scope="module")
def small():
    """The small environment of a module's tests."""
    return BESIDE


@pytest.fixture(scope="module")
def before(lab, small):
    """What there is without the small environment, which is declared at the seat, and gone again afterwards."""
    small.declare(lab)
    get_through(lab, small.destroy)  # of a run that was ended
    found = inventory(lab)
    yield found
    faults.rules()
    get_through(lab, small.destroy)
    small.forget(lab)
    assert inventory(lab) == found
