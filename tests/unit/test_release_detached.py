"""A deed goes on whatever becomes of who typed it; who types it again follows it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idr.errors import IdrError, Refused
from idr.release import detached

WORDS = ["release.switch", "newidr", "apply=True"]
DEED = """#!/bin/sh
echo "[   0.1 s] it begins: $*" >&2
until [ -e "$PLACE/go" ]; do sleep 0.05; done
echo "[   0.2 s] it ends" >&2
echo "[WARNING ] something of Salt's"
echo '{"result": true, "comment": "done"}'
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A `salt-run` that waits until it may go on."""
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setattr(detached, "PATIENCE", 0.2)
    file = tmp_path / "salt-run"
    file.write_text(DEED)
    file.chmod(0o755)
    yield file
    (tmp_path / "go").touch()  # whatever failed, it ends


def go(tmp_path):
    (tmp_path / "go").touch()


def until(what):
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_is_told_as_it_goes_on_and_returns_what_it_returned(command, tmp_path):
    go(tmp_path)
    told = []

    answer = detached.run("newidr", WORDS, told.append, command, tmp_path)

    assert answer == {"result": True, "comment": "done"}
    assert told[1:] == ["it begins: --out=json release.switch newidr apply=True", "it ends"]
    log = Path(told[0].split(": ")[1])
    assert log.stat().st_mode & 0o777 == 0o600 and (tmp_path / "newidr").stat().st_mode & 0o777 == 0o700


# What one who typed it does: is cut off, and somebody else goes on.
TYPED = """
import signal
from idr.release import detached
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is begun in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
detached.run("newidr", {words}, lambda line: print(line, flush=True), {command!r}, {place!r})
"""


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGKILL, signal.SIGINT])
def test_whoever_typed_it_may_go_and_it_is_followed_by_typing_it_again(command, tmp_path, how):
    script = TYPED.format(words=WORDS, command=str(command), place=str(tmp_path))
    first = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()}, start_new_session=True,
    )  # fmt: skip
    first.stdout.readline()
    assert "it begins" in first.stdout.readline()

    os.killpg(first.pid, how)  # as a terminal does that goes, or in which Ctrl-C is typed
    _, said = first.communicate(timeout=120)
    assert (how != signal.SIGINT) or "it goes on without you" in said

    with pytest.raises(Refused, match="refused") as refused:
        detached.run("newidr", ["release.resume", "newidr"], print, command, tmp_path)
    assert refused.value.problems[0].startswith("release.switch newidr apply=True goes on here since ")
    told = []

    def tell(line):
        told.append(line)
        go(tmp_path)

    assert detached.run("newidr", WORDS, tell, command, tmp_path)["comment"] == "done"
    assert sum("it begins" in line for line in told) == 1 and told[-1] == "it ends"
    assert len(list((tmp_path / "newidr").glob("*.log"))) == 1  # there was one deed


def test_one_that_is_killed_is_no_success_and_keeps_nobody_from_another(command, tmp_path):
    command.write_text("#!/bin/sh\necho '[  0.1 s] it begins' >&2\nkill -9 $$\n")

    with pytest.raises(IdrError, match="ended without a report.*release.status newidr"):
        detached.run("newidr", WORDS, print, command, tmp_path)

    command.write_text(DEED)
    go(tmp_path)
    assert detached.run("newidr", WORDS, print, command, tmp_path)["comment"] == "done"


def test_the_oldest_logs_go(command, tmp_path, monkeypatch):
    go(tmp_path)
    monkeypatch.setattr(detached, "KEPT", 2)
    for _ in range(5):
        detached.run("newidr", WORDS, print, command, tmp_path)
    assert len(list((tmp_path / "newidr").glob("*.log"))) == 3  # those kept, and its own
