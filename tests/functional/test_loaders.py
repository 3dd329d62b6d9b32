"""The fixture that the other functional tests stand on."""

import pytest


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
def test_a_server_sees_its_own_pillar(loaders, os_family):
    server = loaders("idr-a-omero", os_family=os_family)
    pillar = server.modules.pillar.items(unmask=True)

    assert server.modules.grains.get("os_family") == os_family
    assert pillar["server"]["prefix"] == "idr-a"
    assert pillar["secrets"]["omero"]["public_password"] == "not-a-secret-idr-a-public"


def test_a_server_sees_no_secret_of_the_other_side(loaders):
    assert "not-a-secret-idr-a" not in str(loaders("idr-omero").modules.pillar.items(unmask=True))
    assert set(loaders("idr-a-dockermanager").modules.pillar.items(unmask=True)["secrets"]) == {"jupyterhub"}
