"""Rows of text as a table, for the outputters: columns as wide as their longest cell."""


def lines(rows):
    """The rows, each a line with its cells under those above."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
