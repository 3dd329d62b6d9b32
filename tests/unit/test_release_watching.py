"""How long an address gave no answer is counted from the first question without one to the next answer."""

import threading
from types import SimpleNamespace

import pytest

from idr.release import watching


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def ask_all(clock, *answers, each=1.0):
    left = list(answers)

    def answer():
        clock.now += each
        return left.pop(0)

    watch = watching.Watch(answer)
    for _ in answers:
        watch.ask()
    return watch


def test_answers_alone_are_no_gap(clock):
    assert ask_all(clock, True, True).end() == 0.0


def test_from_the_first_without_one_to_the_next_answer(clock):
    watch = ask_all(clock, True, False, False, True, True, False, True)
    assert (watch.end(), watch.silent) == (3.0 + 2.0, 0)


def test_one_that_is_silent_in_the_end_counts_up_to_then(clock):
    watch = ask_all(clock, False, False)
    clock.now += 10
    assert (watch.end(), watch.silent) == (12.0, 2)


def test_it_asks_all_the_while(monkeypatch):
    monkeypatch.setattr(watching, "EVERY", 0.001)
    enough, asked = threading.Event(), []

    def answer():
        asked.append(1)
        if len(asked) == 3:
            enough.set()
        return True

    with watching.Watch(answer).going_on():
        assert enough.wait(120)
