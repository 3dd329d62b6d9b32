"""Case tables: one YAML list in tests/cases/ for each table-driven test."""

from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parent.parent


def cases(table):
    """Parameters for pytest: the cases of tests/cases/<table>.yaml, each known by its `name`."""
    listed = yaml.safe_load((REPO / "tests" / "cases" / f"{table}.yaml").read_text())
    return [pytest.param(case, id=case["name"]) for case in listed]
