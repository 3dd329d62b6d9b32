"""Nova's end, which whatever else is made of servers would meet, too."""

from __future__ import annotations

import pytest

from lab.cloud import control

from .environments import script
from .test_cloud import since

pytestmark = pytest.mark.lab


def test_servers_outlive_nova(lab):
    boot = since(lab, "idr-a-omero")
    control.restart("nova")
    assert script(lab, "said = compute.find_server('idr-a-omero').status") == "ACTIVE"
    assert since(lab, "idr-a-omero") == boot
