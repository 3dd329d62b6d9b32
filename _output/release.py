"""What the release runner shows: how it stands, the history as a table, or a plan."""

from idr import columns
from idr.release import status

OF_HISTORY = ("when", "kind", "from", "to", "end", "took", "gap", "checks", "commit", "who")


def output(data, **kwargs):
    """
    How a release stands, the table of what ended, or a plan.

    CLI Example:

    .. code-block:: bash

        salt-run release.history
    """
    if "history" in data:
        rows = [[_cell(it[key]) for key in OF_HISTORY] for it in data["history"]]
        return "\n".join(columns.lines([OF_HISTORY, *rows]) if rows else ["nothing was moved yet"])
    if "addresses" in data:
        return "\n".join(status.lines(data))
    return "\n".join([*data["lines"], data["comment"]])


def _cell(value):
    return "" if value is None else str(value)
