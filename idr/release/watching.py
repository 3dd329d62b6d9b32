"""The public's address asked again and again, as a visitor would, and how long it gave no answer."""

import threading
import time
from contextlib import contextmanager

EVERY = 0.25  # seconds between two questions while addresses move


class Watch:
    """GAP is the seconds without an answer so far, SILENT how many questions in a row had none."""

    def __init__(self, answers):
        """ANSWERS asks once, by a new connection, and tells whether there was an answer."""
        self._answers, self._since = answers, None
        self.gap, self.silent = 0.0, 0

    def ask(self):
        """Ask once more."""
        began = time.monotonic()
        if not self._answers():
            self._since = began if self._since is None else self._since
            self.silent += 1
            return
        if self._since is not None:
            self.gap += time.monotonic() - self._since
        self._since, self.silent = None, 0

    @contextmanager
    def going_on(self):
        """Ask all the while, beside what is done in the block."""
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                self.ask()
                stop.wait(EVERY)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            yield
        finally:
            stop.set()
            asking.join()

    def end(self):
        """Count what is without an answer up to now; returns the seconds of all."""
        if self._since is not None:
            now = time.monotonic()
            self.gap, self._since = self.gap + now - self._since, now
        return round(self.gap, 1)
