"""
The words of backups. A set is the snapshots of an environment's data volumes taken together; its manifest is metadata
on each of them, so that credentials alone are enough to list and restore.

Nothing here asks a cloud: `manifest` reads sets out of a cloud's Facts and writes them as metadata.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from idr import topology

QUIESCED = "quiesced"  # both filesystems were frozen until the snapshot was there
CRASH = "crash-consistent"  # as after a power cut
TAKING, GOOD, PARTIAL, FAILED, GOING = "taking", "good", "partial", "failed", "going"
# `partial`: an optional volume is missing; it counts as good wherever a set is needed. `taking` is also what a run
# that was killed leaves behind, told from one at work by the environment's lock. `going` is being removed: it's said
# before the first snapshot goes, so that a set with some of them gone never looks like a good one.
USABLE = (GOOD, PARTIAL)
UNUSABLE = {GOING: "its removal was begun", FAILED: "it failed", TAKING: "it was never ended"}  # and why
PRODUCTION = re.compile(rf"({'|'.join(topology.REQUIRED)})\d*-")  # uses of what can't be made again


@dataclass(frozen=True)
class Piece:
    """One volume of a set: its snapshot, whose state is the cloud's word. FROZEN are the seconds it was held still."""

    use: str  # pillar's name of the volume: omero-data
    snapshot: str  # the cloud's id
    volume: str  # the cloud's id of what was snapshotted
    size_gb: int
    status: str
    consistency: str
    required: bool
    frozen: float | None = None


@dataclass(frozen=True)
class BackupSet:
    """
    A set as its snapshots tell it. ID is ``idr-20261125T030000Z``; USES are all volumes that it was to have, so that
    one which is gone is missed.
    """

    id: str
    environment: str
    taken: datetime
    phase: str
    uses: tuple[str, ...]
    pieces: tuple[Piece, ...]
    facts: Mapping[str, str] = field(default_factory=dict)  # lsn, database_patch, omero_version, commit, by (who)
    pinned: str | None = None  # who and why, as typed
    verified: datetime | None = None
    figures: str | None = None  # of the verification
    disproved: str | None = None  # when a verification found it not to be whole, and what; gone with one that passes
    copied: str | None = None  # where else it is, and since when
    run: str = ""  # the id of the run that took it
    made: datetime | None = None  # of its first snapshot, by the cloud's clock; None where that isn't told
    spare: tuple[Piece, ...] = ()  # second snapshots of a use, of calls whose answers were lost: they go with the set
    problems: tuple[str, ...] = ()  # what an operator has to look at; until then it's neither restored nor removed

    @property
    def when(self):
        """Its moment among others: by the cloud's clock, since a server's own may have jumped."""
        return self.made or self.taken

    @property
    def size_gb(self):
        """What the cloud counts it as, of the quota: its volumes in full."""
        return sum(piece.size_gb for piece in (*self.pieces, *self.spare))

    @property
    def is_usable(self):
        """Whether it can be restored: it was ended well, and all that is required is still there and available."""
        return not self.why_not

    @property
    def is_good(self):
        """Whether it's one to count on: it can be restored, and no verification has disproved it."""
        return self.is_usable and not self.disproved

    @property
    def why_not(self):
        """What keeps it from being restored, a line each."""
        lines = [] if self.phase in USABLE else [UNUSABLE[self.phase]]
        lines += [f"it has lost its snapshot of {use}" for use in self.lacks if PRODUCTION.match(use)]
        lines += [
            f"its snapshot of {piece.use} is {piece.status}"
            for piece in self.pieces
            if piece.required and piece.status != "available"
        ]
        return (*lines, *self.problems)

    @property
    def is_complete(self):
        """Whether everything that it was to have can be restored."""
        there = all(piece.status == "available" for piece in self.pieces)
        return self.is_usable and self.phase == GOOD and not self.lacks and there

    @property
    def is_damaged(self):
        """Whether it was ended well and can't be restored all the same."""
        return self.phase in USABLE and not self.is_usable

    @property
    def lacks(self):
        """The uses whose snapshots aren't there though the set was ended well with them."""
        there = {piece.use for piece in self.pieces}
        gone = tuple(use for use in self.uses if use not in there)
        if self.phase == PARTIAL:  # never without these
            return tuple(use for use in gone if PRODUCTION.match(use))
        return gone if self.phase == GOOD else ()
