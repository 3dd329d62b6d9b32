"""Running commands and waiting, each with a bound and an error that says what happened."""

import os
import subprocess
import time

PATIENCE = 180   # seconds for what takes a moment: on a busy machine any process may stand still for a while


class LabError(Exception):
    """Something an operator of the lab can act on; its text is one line for the terminal."""


def run(*command, stdin=None, env=None, cwd=None, log=None):
    """
    Run a command and return its standard output as text.

    stdin:  text to give it, instead of nothing
    log:    open file that takes its output; then "" is returned

    Refuses with the command and the last lines it said when it ends with another code than zero.
    """
    done = subprocess.run(
        [os.fspath(word) for word in command], input=stdin or "", text=True, env=env, cwd=cwd, errors="replace",
        stdout=log or subprocess.PIPE, stderr=subprocess.STDOUT if log else subprocess.PIPE,
    )
    if done.returncode:
        said = f"see {log.name}" if log else (done.stderr or done.stdout).strip()[-600:]
        raise LabError(f"{' '.join(map(os.fspath, command))}: exit {done.returncode}: {said}")
    return done.stdout or ""


def succeeds(*command):
    """Whether a command ends with code zero; what it says is dropped."""
    return subprocess.run([os.fspath(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def delete(directory):
    """
    Delete a directory and all below it, by many processes at once.

    Ten times as fast as one where each deletion waits for the disk (a filesystem mounted with `discard`).
    """
    files = 'find "$0" -xdev ! -type d -print0 | xargs --null --no-run-if-empty --max-procs=16 --max-args=100 rm -f'
    run("sh", "-ec", f'{files}; rm -rf --one-file-system "$0"', directory)


def wait_until(what, reached, seconds, failed=lambda: None, every=0.05):
    """
    Wait until `reached()` is true.

    what:     the condition in words, for the error
    seconds:  the longest wait
    failed:   returns a reason as soon as waiting is pointless

    Refuses when the time is over, and at once when `failed()` gives a reason.
    """
    end = time.monotonic() + seconds
    while not reached():
        reason = failed()
        if reason:
            raise LabError(f"{what}: {reason}")
        if time.monotonic() > end:
            raise LabError(f"{what}: not so after {seconds:g} s")
        time.sleep(every)
