"""An outputter's module, as Salt's loader finds it in a file of a name that others have, too."""

import importlib.util

from tests.tables import REPO


def outputter(name):
    """The module ``_output/<name>.py``."""
    spec = importlib.util.spec_from_file_location(f"output_{name}", REPO / f"_output/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
