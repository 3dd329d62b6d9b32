"""
The words of backups. A set is the snapshots of an environment's data volumes taken together; its manifest is metadata
on each of them, so that credentials alone are enough to list and restore.

Nothing here asks a cloud: `manifest` reads sets out of a cloud's Facts and writes them as metadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

QUIESCED = "quiesced"  # both filesystems were frozen until the snapshot was there
CRASH = "crash-consistent"  # as after a power cut
TAKING, GOOD, PARTIAL, FAILED = "taking", "good", "partial", "failed"
# `partial`: an optional volume is missing; it counts as good wherever a set is needed. `taking` is also what a run
# that was killed leaves behind, told from one at work by the environment's lock.
USABLE = (GOOD, PARTIAL)


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

    @property
    def is_usable(self):
        """Whether it can be restored: it was ended well, and all that is required is still there and available."""
        return self.phase in USABLE and not self.lacks and all(it.status == "available" for it in self.pieces)

    @property
    def lacks(self):
        """The uses whose snapshots aren't there though the set was ended well with them."""
        there = {piece.use for piece in self.pieces}
        return tuple(use for use in self.uses if use not in there) if self.phase == GOOD else ()
