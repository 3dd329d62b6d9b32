"""A runner's module with what Salt's loader gives it, for tests that type its functions."""

import importlib.util

from tests.tables import REPO


def loaded(name, directory):
    """The module ``_runners/<name>.py``, whose events and records stay in that directory."""
    spec = importlib.util.spec_from_file_location(name, REPO / f"_runners/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__context__ = {}
    module.__opts__ = {"sock_dir": str(directory), "idr_record": str(directory / "actions.jsonl")}
    return module
