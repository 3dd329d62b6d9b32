"""Nova's end, which whatever else is made of servers would meet, too."""

from __future__ import annotations

import pytest

from lab.cloud import control

from .environments import script

pytestmark = pytest.mark.lab


def test_servers_outlive_nova(lab):
    boots = "cut -d' ' -f22 /proc/1/stat"  # when its first process began, which tells one boot from another
    before = lab.sh("idr-a-omero", boots)
    control.restart("nova")
    assert script(lab, "said = compute.find_server('idr-a-omero').status") == "ACTIVE"
    assert lab.sh("idr-a-omero", boots) == before
