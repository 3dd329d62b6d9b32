"""Case tables, one YAML list in tests/cases/ for each table-driven test; and an environment to try things on."""

from pathlib import Path

import pytest
import yaml

from idr import topology

REPO = Path(__file__).resolve().parent.parent
BY_HAND = REPO / "lab/by_hand/environment.sls"
IDR = topology.read("idr", BY_HAND.read_text(), BY_HAND)


def cases(table):
    """Parameters for pytest: the cases of tests/cases/<table>.yaml, each known by its `name`."""
    listed = yaml.safe_load((REPO / "tests" / "cases" / f"{table}.yaml").read_text())
    return [pytest.param(case, id=case["name"]) for case in listed]


def laid_over(raw, change):
    """RAW with CHANGE over it; null takes a key away."""
    for key, value in change.items():
        if value is None:
            raw.pop(key, None)
        elif isinstance(value, dict) and isinstance(raw.get(key), dict):
            laid_over(raw[key], value)
        else:
            raw[key] = value
    return raw
