"""
The snapshots of a set: asked for side by side, and looked at until each is there.

A call whose answer was lost may have had its effect: the snapshot is looked for by its name, which has the set's moment
in it, before it's asked for again.
"""

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from idr.cloud import deeds
from idr.cloud.answers import is_unclear
from idr.cloud.connection import ERRORS, told
from idr.cloud.making import LIMITS, sent
from idr.errors import IdrError

QUICK, SLOW = 0.25, 2.0  # seconds between two looks at a snapshot: while volumes are held still for it, and otherwise
WAITED_FOR = ("creating", "unmanaging", "backing-up")


class Snapshots:
    """Snapshots under way. A context: once it's left, nothing more is asked of the cloud."""

    def __init__(self, cloud, environment, wanted):
        """WANTED: each one's attributes by its use."""
        self.cloud, self.environment, self.wanted = cloud, environment, wanted
        self.ids = {}  # of those that were made, by use
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(len(wanted))
        self._under_way = {}
        self._unanswered = set()  # of those that go first
        self._others_may = threading.Event()

    def __enter__(self):
        _ = self.cloud.network, self.cloud.compute, self.cloud.block_storage  # the SDK makes these at their first use
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._pool.shutdown()

    def begin(self, first):
        """
        Ask for all of them: at once for those that others are held still for, and for the rest as soon as the cloud has
        answered to these.
        """
        self._unanswered.update(first)
        for use in sorted(self.wanted, key=lambda use: use not in first):
            self._under_way[use] = self._pool.submit(self._first if use in first else self._other, use)

    def wait(self, uses, seconds=None):
        """Wait until those are there, or one has failed, or the time is over."""
        wait([self._under_way[use] for use in uses], timeout=seconds, return_when=FIRST_EXCEPTION)

    def there(self):
        """The uses whose snapshots are there now, each with the seconds that took."""
        return {use: it.result() for use, it in self._ended().items() if it.exception() is None}

    def failed(self):
        """The uses whose snapshots have failed until now, each with why."""
        found = {}
        for use, error in ((use, it.exception()) for use, it in self._ended().items()):
            if isinstance(error, (IdrError, *ERRORS)):
                found[use] = told(error) if isinstance(error, ERRORS) else str(error)
            elif error:
                raise error
        return found

    def _ended(self):
        return {use: it for use, it in self._under_way.items() if it.done()}

    def _first(self, use):
        began = time.monotonic()
        try:
            self._ask(use)
        finally:
            self._unanswered.discard(use)
            if not self._unanswered:
                self._others_may.set()
        return self._waited_for(use, began, QUICK)

    def _other(self, use):
        while not self._others_may.wait(0.1):
            self._pause(0)
        began = time.monotonic()
        self._ask(use)
        return self._waited_for(use, began, SLOW)

    def _ask(self, use):
        what = self.wanted[use]
        self.ids[use] = sent(
            lambda: deeds.make(self.cloud, "snapshot", what),
            lambda: deeds.look(self.cloud, self.environment, "snapshot", what),
            self._pause,
        )

    def _waited_for(self, use, began, between):
        """Look at one until it's there; returns the seconds since it was asked for."""
        while (state := self._state(use)) != deeds.GOOD["snapshot"]:
            took = time.monotonic() - began
            if state not in WAITED_FOR:
                raise IdrError(f"its state is {state} after {took:.0f} s")
            if took > LIMITS["snapshot"]:
                raise IdrError(f"its state is still {state} after {took:.0f} s")
            self._pause(between)
            between = min(between * 1.02, 5)
        return time.monotonic() - began

    def _state(self, use):
        try:
            return deeds.state(self.cloud, "snapshot", self.ids[use], self.wanted[use])[0]
        except ERRORS as error:
            if not is_unclear(error):
                raise
            return WAITED_FOR[0]  # the cloud goes on with it, whether or not it can be asked

    def _pause(self, seconds):
        if self._stopping.wait(seconds):
            raise IdrError("not waited for any longer")
