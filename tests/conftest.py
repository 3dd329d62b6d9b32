"""What every kind of test shares."""

import pytest

from tests.tables import REPO


@pytest.fixture(scope="session")
def repo():
    """The checkout under test."""
    return REPO
