"""OMERO's states, rendered for both sides and families, and what OMERO's own command makes of their drop-ins."""

import pytest

STATES = ["redis.running", "omero_server.running", "omero_web.running", "omero_web.served"]
SIDES = {"idr-omero": "idr", "idr-a-omero": "idr-a"}


def low(loaders, server, states=STATES, **kwargs):
    chunks = loaders(server, **kwargs).modules.state.show_low_sls(states)
    assert all(isinstance(chunk, dict) for chunk in chunks), chunks
    return chunks


@pytest.mark.parametrize("os_family", ["Debian", "RedHat"])
@pytest.mark.parametrize("server", SIDES)
def test_both_sides_differ_in_their_database_only_by_prefix(loaders, server, os_family):
    chunks = low(loaders, server, os_family=os_family)

    databases = {chunk["database"]["host"] for chunk in chunks if chunk["state"] == "omero"}
    assert databases == {f"{SIDES[server]}-database"}
