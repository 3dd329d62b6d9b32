"""Commands on a scratch server, and what is found out by them."""

import errno
import os
import re
import stat
import subprocess
import sys
import time

SEEN = 120  # seconds until a volume that the cloud attached is seen here
TOLD = 50  # problems of a kind that are told one by one
# What PostgreSQL says where the server that it's on lacks something, or where the cloud doesn't give it what is on a
# volume: that tells nothing of the clone.
UNREAD = r"Input/output error|Read-only file system|Connection timed out|No such device( or address)?|Remote I/O error"
OURS = re.compile(
    r"(ERROR|FATAL|PANIC|error): .*(No space left on device|out of (shared )?memory|Cannot allocate memory"
    r"|Too many open files|incompatible with operating system|could not (access file \"\$libdir|load library)"
    r"|canceling statement due to)"
    rf"|(ERROR|FATAL|PANIC|error|LOG): .*: ({UNREAD})( |$)"
)
# What a read fails with where the storage is at fault. What the filesystem's own checks find has other numbers.
STORAGE = (
    errno.EIO, errno.ENODATA, errno.ENODEV, errno.ENOLINK, errno.ENOMEM, errno.ENXIO, errno.EREMOTEIO, errno.EROFS,
    errno.ETIMEDOUT,
)  # fmt: skip


class Findings:
    """
    What was found: problems of the set, figures, and notes on what couldn't be looked at.

    What keeps a set from being looked at is none of its problems: that ends all of it, with a message.
    """

    def __init__(self, say):
        self.say, self.problems, self.figures, self.notes = say, [], {}, []
        self._counts, self._lacking = {}, []

    def wrong(self, kind, line):
        """
        One more problem; of each KIND the first are told, and the rest counted. A line that tells what this server
        lacks is none.
        """
        if OURS.search(line):
            self.unseen(line)
            return
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= TOLD:
            self.problems.append(line)
            self.say(f"WRONG: {line}")

    def failed(self, kind, what, error):
        """A read of the clone that FAILED with an OSError: a problem, but where it's the storage that is at fault."""
        if error.errno in STORAGE:
            self.unseen(f"{what}: {error.strerror}")
        else:
            self.wrong(kind, f"{what}: {error.strerror}")

    def unseen(self, line):
        """What couldn't be looked at, and why, which says nothing of the set."""
        self._lacking.append(line)
        self.say(f"can't be looked at: {line}")

    def ended(self):
        """
        All of it as plain data: ``{problems, figures, notes}``. Where there's no problem, but not all could be looked
        at for what this server lacks or the cloud couldn't give it, it's ended with that.
        """
        if self._lacking and not self.problems:
            sys.exit(f"this server can't look at it: {self._lacking[0]}")
        self.notes += [f"wasn't looked at, as the server couldn't: {line}" for line in self._lacking[:TOLD]]
        more = [f"{count - TOLD} more {kind}" for kind, count in self._counts.items() if count > TOLD]
        return {"problems": self.problems + more, "figures": self.figures, "notes": self.notes}


def run(*command, may_fail=False, tries=1, **further):
    """Run a command; ends this program with its last line where it fails and may not, TRIES times."""
    for left in reversed(range(tries)):
        quiet = {"input": "", "capture_output": True, "text": True, "errors": "replace"}
        done = subprocess.run([str(word) for word in command], **{**quiet, **further})
        if done.returncode == 0 or may_fail:
            break
        if not left:
            sys.exit(f"{' '.join(map(str, command[:4]))}: exit {done.returncode}: {last(done)}")
        time.sleep(5)
    return done


def attached(device, what):
    """Wait until the device of WHAT was attached is seen; ends this program where it isn't in time."""
    until = time.monotonic() + SEEN
    while not os.path.exists(device):
        if time.monotonic() > until:
            sys.exit(f"{what}: there is no {device} after {SEEN} s")
        time.sleep(0.5)


def below(folder, pattern):
    """The paths below a folder that names and ``*`` fit, sorted. Unlike glob's, what can't be read is an OSError."""
    first, _, rest = pattern.partition("/")
    names = sorted(name for name in os.listdir(folder) if name[0] != ".") if first == "*" else [first]
    found = []
    for path in (os.path.join(folder, name) for name in names):
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue
        if rest and is_folder:
            found += below(path, rest)
        elif not rest:
            found.append(path)
    return found


def lines(text):
    """The lines of a text that aren't empty."""
    return [line for line in text.splitlines() if line.strip()]


def last(done):
    """The last line that a command said; of PostgreSQL's the first that says what is wrong, and not the hint."""
    said = lines(done.stderr) or lines(done.stdout) or ["no output"]
    return plain(next((line for line in said if re.search("(ERROR|FATAL|PANIC):", line)), said[-1]))


def plain(line):
    """A line of PostgreSQL's log without when it was and which process."""
    return re.sub(r"^[\d-]+ [\d:.]+ \w+ \[\d+\] ", "", line.strip())
