"""
An operator who types quickly: Python at the seat that has Salt and the SDK imported, and makes a process of its own of
each command. What is typed, and the project's own code, are read anew each time; half of a short command is saved.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from contextlib import contextmanager

import pytest

from lab.cloud import config, faults
from lab.cloud.settings import TRIAL

from .conftest import CTL, Failed, Lab

PYTHON, COMMAND = ".venv/bin/python", ".venv/bin/salt-run"
THEIRS = "/home/operator/.config/openstack/theirs.yaml"  # of who has other clouds than the operator
# Reads a line for each command, its words; says the process that it is, and what became of it. Who makes the processes
# imports nothing of the project's.
AT_THE_SEAT = """
import json, os, runpy, sys, tempfile
import openstack.connection, salt.cli.run, salt.daemons.masterapi, salt.netapi, salt.runner, salt.scripts

def tell(**said):
    print(json.dumps(said), file=answers, flush=True)

answers = sys.stdout
for line in sys.stdin:
    files = [tempfile.TemporaryFile() for _ in range(2)]
    process = os.fork()
    if not process:
        break
    tell(process=process)
    _, status = os.waitpid(process, 0)
    said = []
    for file in files:
        file.seek(0)
        said.append(file.read().decode(errors="replace"))
        file.close()
    tell(code=os.waitstatus_to_exitcode(status), said=said)
else:
    sys.exit()
for number, file in enumerate((open(os.devnull, "rb"), *files)):
    os.dup2(file.fileno(), number)
sys.argv = json.loads(line)
if sys.argv[0] == "-c":
    exec(sys.argv.pop(1), {"__name__": "__main__"})
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Typist(Lab):
    """The lab, whose `outside` types the project's commands and programs quickly, one at a time."""

    def __init__(self, *environment):
        """ENVIRONMENT: variables that the commands have, e.g. ``OS_CLIENT_CONFIG_FILE=/tmp/clouds.yaml``."""
        words = (CTL, "outside", "env", *environment, PYTHON, "-c", AT_THE_SEAT)
        self.python = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.process = None  # the command that is being typed, or was
        self.typing = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.python.stdin.close()
        self.python.wait(300)

    def outside(self, *command, check=True, seconds=600, stdin=None):
        if command == (PYTHON, "-"):
            words = ("-c", stdin)
        elif stdin is None and command[:2] == (PYTHON, "-c"):
            words = command[1:]
        elif stdin is None and command[0] == COMMAND:
            words = command
        else:
            return super().outside(*command, check=check, seconds=seconds, stdin=stdin)
        assert self.typing.acquire(blocking=False), "one types one command at a time; beside it, by a Lab()"
        try:
            self.python.stdin.write(json.dumps(words) + "\n")
            self.python.stdin.flush()
            self.process = self._answer(command, seconds)["process"]
            answer = self._answer(command, seconds)
        finally:
            self.typing.release()
        if check and answer["code"]:
            raise Failed(" ".join(command), answer["code"], "".join(answer["said"]))
        return subprocess.CompletedProcess(command, answer["code"], *answer["said"])

    def kill(self, words):
        """Kill the command that is being typed in another thread; returns its process, None where it has ended."""
        killed = self.exec("seat", "kill", "-KILL", str(self.process), check=False)
        return self.process if killed.returncode == 0 else None

    def _listen(self):
        for line in self.python.stdout:
            self.answers.put(json.loads(line))
        self.answers.put(None)

    def _answer(self, command, seconds):
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.python.kill()  # whose next answer would be that of this command
            raise subprocess.TimeoutExpired(command, seconds) from None
        assert answer, "Python at the seat has ended"
        return answer


@contextmanager
def with_clouds(lab, clouds):
    """The lab with an operator who types quickly, and has CLOUDS for a clouds.yaml."""
    lab.outside("sh", "-ec", f"umask 077; cat > {THEIRS}", stdin=clouds)
    try:
        with Typist(f"OS_CLIENT_CONFIG_FILE={THEIRS}") as typist:
            yield typist
    finally:
        lab.outside("rm", "-f", THEIRS)


@pytest.fixture(name="lab", scope="module")
def quickly(lab):
    """The lab with an operator who types quickly, for a module in which a hundred commands are typed."""
    with Typist() as typist:
        yield typist


@pytest.fixture(name="lab", scope="module")
def by_the_other_door(lab):
    """The lab with an operator who types quickly, and in a project of their own by a door of their own."""
    with faults.at(TRIAL), with_clouds(lab, config.clouds_yaml(TRIAL, TRIAL)) as typist:
        yield typist
