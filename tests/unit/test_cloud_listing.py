"""The environments of a cloud in a line each."""

import importlib.util

from idr.cloud import listing
from tests import clouds
from tests.tables import REPO
from tests.unit.test_cloud_planning import BOTH

SPEC = importlib.util.spec_from_file_location("outputter", REPO / "_output/environment.py")
OUTPUTTER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(OUTPUTTER)


def test_what_a_restore_put_aside_is_in_the_line_of_its_environment(monkeypatch):
    said = {"idr_environment": "newidr", "idr_aside": "run-2", "idr_aside_for": "idr-20261125T030000Z"}
    aside = clouds.volume(500, "omero-data", said)
    facts = clouds.added(BOTH, clouds.Thing("volume", "newidr-omero-data-before-run-2", "v-9", "newidr", None, aside))
    monkeypatch.setattr(listing, "connect", lambda name: None)
    monkeypatch.setattr(listing, "facts", lambda connection: facts)
    monkeypatch.setattr(listing.live, "addresses_of", lambda name: set())

    found = listing.environments("idr")

    assert {name: it["aside"] for name, it in found.items()} == {
        "idr": [],
        "newidr": ["newidr-omero-data-before-run-2"],
    }
    head, idr, newidr = OUTPUTTER.output({"environments": found}).splitlines()
    assert newidr.endswith("kept aside: newidr-omero-data-before-run-2") and "aside" not in idr
