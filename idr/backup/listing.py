"""Backup sets as their readers get them: plain data, for the outputter and for programs."""

from idr.backup.model import CRASH, PARTIAL, QUIESCED, TAKING


def sets(project, environment=None):
    """The sets of a project, or of one environment in it, the newest first; and what an operator has to look at."""
    named = [it for it in project.sets if environment in (None, it.environment)]
    return {"sets": [told(it, project.held) for it in named], "problems": list(project.problems)}


def told(it, held):
    """
    One set as data.

    held:  environments that a run is on, and whose: its set may be in the making
    """
    return {
        "set": it.id,
        "environment": it.environment,
        "state": state(it, held),
        "taken": it.taken.isoformat(),
        "consistency": consistency(it),
        "size_gb": it.size_gb,
        "volumes": {piece.use: _piece(piece) for piece in it.pieces},
        "lacks": [use for use in it.uses if use not in {piece.use for piece in it.pieces}],
        "verified": it.verified and it.verified.isoformat(),
        "figures": it.figures,
        "disproved": it.disproved,
        "pinned": it.pinned,
        "copied": it.copied,
        "facts": dict(it.facts),
        "problems": list(it.problems),
    }


def state(it, held):
    """A word on whether it can be restored: good, partial, disproved, damaged, taking, abandoned, failed or going."""
    if it.phase == TAKING:
        return TAKING if it.environment in held else "abandoned"
    if it.is_damaged:
        return "damaged"
    if it.is_usable and it.disproved:
        return "disproved"
    return PARTIAL if it.is_usable and not it.is_complete else it.phase


def consistency(it):
    """That of what can't be made again: quiesced if all of it is."""
    return QUIESCED if all(piece.consistency == QUIESCED for piece in it.pieces if piece.required) else CRASH


def _piece(piece):
    return {
        "snapshot": piece.snapshot,
        "status": piece.status,
        "size_gb": piece.size_gb,
        "consistency": piece.consistency,
        "frozen": piece.frozen,
        "required": piece.required,
    }
