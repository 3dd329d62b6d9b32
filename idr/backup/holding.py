"""
Data volumes of several servers held still at the same time, through Salt, and let go again whatever happens.

The servers themselves know how long a freeze lasted: a volume counts as held still only by what its thaw says. Each
has a watchdog of its own, so that none stays frozen though nobody comes to thaw it.
"""

import time
from dataclasses import dataclass

from idr.errors import IdrError

THAW = 1.0  # seconds before its watchdog's time is over that a volume is thawed
ANSWER = 5  # seconds, and again, for a minion that does nothing; one that is at work is waited for
PART = 4  # of a long freeze, this part if that is more: who may be held still for longer is slower, too
TRIES = 2  # of a thaw that isn't answered


@dataclass(frozen=True)
class Held:
    """How long a volume was held still; WHY it can't be counted as that, "" where it can."""

    seconds: float | None
    why: str = ""


class Hold:
    """Volumes that are held still together."""

    def __init__(self, ask, uses, seconds):
        """
        ask:      ``ask(servers, function, arguments, timeout)``, of Salt
        uses:     the servers, each with the use of its volume
        seconds:  until each is thawed by itself
        """
        self.ask, self.uses, self.seconds = ask, uses, seconds
        self.patience = max(ANSWER, seconds // PART)
        self._until = time.monotonic()
        self._refused, self._frozen = {}, set()

    @property
    def left(self):
        """Seconds until they have to be thawed."""
        return max(self._until - time.monotonic(), 0)

    def freeze(self):
        """Freeze them all by one call. What couldn't be had is told by `thaw`."""
        self._until = time.monotonic() + self.seconds - THAW  # no server's own time is over earlier
        for server, answer in self._asked(list(self.uses), "data_volume.freeze", [self.seconds]).items():
            if isinstance(answer, dict):
                self._frozen.add(server)
            elif isinstance(answer, str):
                self._refused[server] = reason(answer)

    def thaw(self):
        """
        Thaw them all by one call, those too of which it isn't known whether they're frozen; returns ``{use: Held}``.
        """
        answers = {}
        for _ in range(TRIES):
            silent = [it for it in self.uses if it not in self._refused and not answers.get(it)]
            if silent:
                answers |= self._asked(silent, "data_volume.thaw", [])
        return {use: self._judged(server, use, answers.get(server)) for server, use in self.uses.items()}

    def _judged(self, server, use, answer):
        if server in self._refused:
            return Held(None, self._refused[server])
        if not isinstance(answer, dict) or use not in answer:
            if not answer:
                by_itself = f"is thawed by itself, {self.seconds} s after it was frozen"
                return Held(None, f"{server} didn't answer to its thaw: if {use} was frozen, it {by_itself}")
            return Held(None, f"{server}: {reason(answer)}")
        seconds, ended = answer[use]["seconds"], answer[use]["ended"]
        if server not in self._frozen:
            return Held(seconds, f"{server} didn't say since when it was frozen")
        if not answer[use]["quiesced"]:
            return Held(seconds, f"its freeze had ended before ({ended}, after {seconds} s)")
        return Held(seconds)

    def _asked(self, servers, function, arguments):
        """What each server answered; nothing where Salt itself couldn't ask."""
        if not servers:
            return {}
        try:
            return self.ask(servers, function, arguments, self.patience)
        except IdrError:
            return {}


def reason(answer):
    """Why a minion didn't do what it was asked, by its answer."""
    if isinstance(answer, str) and answer.strip():
        return answer.strip().splitlines()[-1].removeprefix("ERROR: ")  # of a traceback, what it was about
    return "its minion doesn't answer" if not answer else f"its minion says {answer}"
