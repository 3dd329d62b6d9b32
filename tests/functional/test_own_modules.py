"""A minion's modules are the release's, by a state that asks the master less than Salt itself would."""

import shutil
from pathlib import Path

import pytest

ID = "this release's modules are in use"


@pytest.fixture
def minion(loaders):
    """Apply salt_minion.modules on a minion that has had nothing yet; `place` is where its modules are."""
    hosts = {test: loaders("idr-database", test=test) for test in (False, True)}
    place = Path(hosts[False].opts["extension_modules"])
    hosts[True].opts["extension_modules"] = str(place)

    def apply(test=False):
        done = hosts[test].modules.state.apply("salt_minion.modules")
        (state,) = done.raw.values()
        assert state["__id__"] == ID
        return state

    apply.place = place
    shutil.rmtree(place, ignore_errors=True)
    yield apply
    shutil.rmtree(place, ignore_errors=True)


def there(minion):
    return {str(path.relative_to(minion.place)) for path in minion.place.rglob("*.py")}


def test_they_are_brought_once(minion, repo):
    wanted = {f"{kind}/{path.name}" for kind in ("modules", "states") for path in (repo / f"_{kind}").glob("*.py")}

    would = minion(test=True)
    assert (would["result"], would["changes"]) == (None, dict.fromkeys(wanted, "new"))
    assert there(minion) == set()

    brought = minion()
    assert (brought["result"], brought["changes"]) == (True, dict.fromkeys(wanted, "new"))
    assert there(minion) == wanted
    assert minion()["changes"] == minion(test=True)["changes"] == {}


def test_another_releases_are_replaced_and_what_is_no_longer_there_goes(minion):
    minion()
    (minion.place / "modules/readiness.py").write_text("# of another release\n")
    (minion.place / "states/former.py").write_text("")
    (minion.place / "modules/omero.py").unlink()
    changes = {"modules/readiness.py": "another", "states/former.py": "gone", "modules/omero.py": "new"}

    assert minion(test=True)["changes"] == changes
    assert minion()["changes"] == changes
    assert "former.py" not in str(there(minion))
    assert minion()["changes"] == {}
