"""Whether an environment may become the public's: every guard of a release, all of them run, and nothing changed."""

from dataclasses import dataclass

WRITES = "writes"


@dataclass(frozen=True)
class Checked:
    """What was found: PROBLEMS say each what to do. WRITES are those to OLD since the set that NEW was made from."""

    new: str
    old: str | None
    passed: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float
    commit: str | None  # what NEW has, whole
    writes: tuple[str, ...] = ()


def check(new, old=None, *, address=None, set_=None, even_if=(), folders, tell):
    """The ``Checked`` of an environment."""
    raise NotImplementedError
