"""
A plan carried out: every step as soon as those it needs are done, so that what is independent goes on side by side.

Nothing is decided here. After an answer that doesn't tell whether a call took effect it's looked first, then tried
again. What was made stays whatever happens; the next plan, made of what is there then, goes on from it.
"""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from idr.cloud import deeds
from idr.cloud.answers import is_conflict, is_missing, is_quota, is_stale, is_unclear
from idr.cloud.connection import ERRORS, told
from idr.cloud.model import Ref, Step
from idr.errors import IdrError

AT_ONCE = 12  # steps; most of them wait for clones and servers
PAUSES = (1, 2, 4, 8)  # seconds before the second try of a call and each further one
WORD = 10  # seconds between two words of what is waited for
LIMITS = {"volume": 6 * 3600, "snapshot": 6 * 3600, "server": 1200, "attachment": 600}  # seconds, then it's a failure
DONE = {"make": "made", "wait": "waited for", "change": "changed", "tag": "tagged", "remove": "removed"}
BUSY = ("volume", "snapshot")  # whose removal takes its time, and may end where it began
HOLDS_BYTES = ("server", "volume", "snapshot")  # of which none is removed or changed by a run that lost its lock


@dataclass
class Outcome:
    """What became of a plan: steps that were done, why others failed, and which weren't begun."""

    done: list[Step] = field(default_factory=list)
    failed: list[tuple[Step, str]] = field(default_factory=list)
    left: list[Step] = field(default_factory=list)
    interrupted: bool = False

    @property
    def problems(self):
        """A line for each failure, and one for what wasn't begun; empty when all is done."""
        lines = [f"{step}: {why}" for step, why in self.failed]
        if self.left:
            lines.append(f"not begun: {', '.join(str(step) for step in self.left)}")
        return lines


class _Stopped(IdrError):
    """A step that was given up since the run is being stopped."""


class _Everything(IdrError):
    """A failure that ends the whole run, as no further step could succeed."""


def carry_out(cloud, plan, tell, lock, look_first=False, go_on=False):
    """
    Take a plan's steps; returns the ``Outcome``. Interrupted, it begins no further one and says what was done.

    lock:        this run's, which is looked at before anything with bytes in it is removed or changed
    look_first:  whether things may be there although the plan doesn't know them: a run before was cut off
    go_on:       whether what doesn't need a step that failed is still done
    """
    _ = cloud.network, cloud.compute, cloud.block_storage  # the SDK makes these at their first use, in one thread
    return _Run(cloud, plan, tell, lock, look_first, go_on).all()


def sent(send, look, pause, look_first=False):
    """
    Make a call, again where it may not have had its effect; returns what it or `look` returns.

    look:        finds what an earlier try has made, None if there's nothing
    pause:       waits for that many seconds before another try
    look_first:  whether it may be there before the first
    """
    found = look() if look_first else None
    if found:
        return found
    for seconds in (*PAUSES, None):
        try:
            return send()
        except ERRORS as error:
            if is_quota(error):
                raise _Everything(f"the project may not have more: {told(error)}") from error
            if is_missing(error):
                raise
            again = is_unclear(error) or is_conflict(error)
            if again and seconds:
                pause(seconds)
            found = look()  # a call that was lost may be what is in the way of this one
            if found:
                return found
            if is_stale(error):
                raise IdrError(f"somebody else had it first, once more will do ({told(error)})") from error
            if not (again and seconds):
                raise
    raise AssertionError("the last try ends above")


class _Run:
    def __init__(self, cloud, plan, tell, lock, look_first, go_on):
        self.cloud, self.plan, self.tell, self.lock = cloud, plan, tell, lock
        self.look_first, self.go_on = look_first, go_on
        self.ids = {}  # of what was made, by kind and name
        self.waiting = {}  # step: (since, state)
        self.stopping = threading.Event()

    def all(self):
        outcome, under_way = Outcome(), {}
        left = list(self.plan.steps)
        said = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while under_way or (left and not self.stopping.is_set()):
                try:
                    self._begin(pool, left, under_way, outcome)
                    if not under_way:
                        break  # what is left needs something that failed
                    ended, _ = wait(under_way, timeout=1, return_when=FIRST_COMPLETED)
                    for future in ended:
                        self._end(future, under_way.pop(future), outcome)
                    if time.monotonic() - said > WORD:
                        said = time.monotonic()
                        self._tell_waiting()
                except (KeyboardInterrupt, SystemExit):  # Salt makes the latter of Ctrl-C
                    if outcome.interrupted:
                        raise
                    self.tell("stopping: no further step is begun; what is under way is ended")
                    outcome.interrupted = True
                    self.stopping.set()
        outcome.left = left
        return outcome

    def _begin(self, pool, left, under_way, outcome):
        if self.stopping.is_set():
            return
        undone = {step.key for step in left} | {step.key for step in under_way.values()}
        undone |= {step.key for step, _ in outcome.failed}
        for step in [step for step in left if not undone.intersection(step.needs)]:
            if len(under_way) == AT_ONCE:
                return
            left.remove(step)
            under_way[pool.submit(self._take, step)] = step

    def _end(self, future, step, outcome):
        self.waiting.pop(step.key, None)
        error = future.exception()
        if error is None:
            outcome.done.append(step)
            self.tell(f"{DONE[step.verb]} {step.kind} {step.name} ({future.result():.1f} s)")
            return
        if not isinstance(error, (IdrError, *ERRORS)):
            raise error
        why = told(error) if isinstance(error, ERRORS) else str(error)
        outcome.failed.append((step, why))
        if not isinstance(error, _Stopped):
            self.tell(f"failed: {step}: {why}")
        if not self.go_on or isinstance(error, _Everything):
            self.stopping.set()

    def _tell_waiting(self):
        now = time.monotonic()
        lines = [f"{name}: {state} for {now - since:.0f} s" for (_, name), (since, state) in list(self.waiting.items())]
        if lines:
            self.tell(f"waiting: {'; '.join(sorted(lines))}")

    def _take(self, step):
        """One step until it has had its effect; returns the seconds that took."""
        began = time.monotonic()
        what, id_ = self._filled(step.what), self._filled(step.id)
        if step.verb == "make":
            self._make(step, what)
        elif step.verb == "wait":
            self.ids[step.kind, step.name] = id_
            self._wait(step, step.kind, id_, what, deeds.GOOD[step.kind], "in-use")
        elif step.verb == "remove":
            self._remove(step, id_, what)
        elif step.verb == "change":
            self._sent(
                self._while_locked(step, lambda: deeds.change(self.cloud, step.kind, id_, what)),
                lambda: deeds.changed(self.cloud, step.kind, id_, what),
            )
        else:
            self._sent(lambda: deeds.tag(self.cloud, step.kind, id_, what))
        return time.monotonic() - began

    def _make(self, step, what):
        if step.kind == "attachment":  # it may take a moment to come off another server
            self._wait(step, "volume", what["volume_id"], what, "available", "in-use", "reserved", "attaching")
        began = time.monotonic()
        id_ = self._sent(
            lambda: deeds.make(self.cloud, step.kind, what),
            lambda: deeds.look(self.cloud, self.plan.environment, step.kind, what),
        )
        self.ids[step.kind, step.name] = id_
        if step.kind in deeds.GOOD:
            self._wait(step, step.kind, id_, what, deeds.GOOD[step.kind])
        if step.kind == "volume" and "snapshot_id" in what:  # the next plan says from it how long clones take
            seconds = {"metadata": {"idr_clone_seconds": str(round(time.monotonic() - began))}}
            self._sent(lambda: deeds.change(self.cloud, "volume", id_, seconds))

    def _remove(self, step, id_, what):
        if step.kind in BUSY:  # on its way already, or not yet there to be removed
            self._wait(step, step.kind, id_, what, "available", deeds.GONE, *_FAILED)
        try:
            self._sent(
                self._while_locked(step, lambda: deeds.remove(self.cloud, step.kind, id_, what)),
                lambda: (
                    step.kind in BUSY and deeds.state(self.cloud, step.kind, id_, what)[0] in ("deleting", deeds.GONE)
                ),
            )
        except ERRORS as error:
            if not is_missing(error):
                raise
        if step.kind in deeds.GOOD:
            self._wait(step, step.kind, id_, what, deeds.GONE)

    def _while_locked(self, step, call):
        """The call, made only while the lock is this run's; what it waited for may have taken hours."""

        def send():
            if step.kind in HOLDS_BYTES:
                self.lock.check()
            return call()

        return send

    def _sent(self, send, look=lambda: None):
        return sent(send, look, self._pause, self.look_first)

    def _wait(self, step, kind, id_, what, *good):
        since, between = time.monotonic(), 0.3
        while True:
            state, why = deeds.state(self.cloud, kind, id_, what)
            if state in good:
                return
            why = f": {why}" if why else ""
            if state == "available" and kind in BUSY and good == (deeds.GONE,):
                raise IdrError("the cloud kept it, it is available again: something was made of it and needs it")
            if state in _FAILED or state == deeds.GONE:
                raise IdrError(f"its state is {state} after {time.monotonic() - since:.0f} s{why}")
            if time.monotonic() - since > LIMITS[kind]:
                raise IdrError(f"its state is still {state} after {LIMITS[kind]} s")
            self.waiting[step.key] = (since, state)
            self._pause(between)
            between = min(between * 1.3, 5)

    def _pause(self, seconds):
        if self.stopping.wait(seconds):
            raise _Stopped("begun, and not waited for")

    def _filled(self, value):
        """The value with every reference replaced by the id of what was made."""
        if isinstance(value, Ref):
            return self.ids[value.kind, value.name]
        if isinstance(value, dict):
            return {key: self._filled(it) for key, it in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._filled(it) for it in value]
        return value


_FAILED = ("error", "error_deleting", "error_restoring", "error_extending", "error_managing", "ERROR")
