"""Pillar as Salt compiles it for each server of an environment, without a minion or a daemon."""

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from idr.checkout import CHECKOUT
from idr.table import FILE


@contextlib.contextmanager
def options_of_checkout(name, text, folder):
    """
    Salt's configuration for this checkout's pillar, as the master of environment NAME would have it with that table and
    FOLDER's site.sls.
    """
    import salt.config  # takes its time, and only what compiles pillar needs it

    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch, "site")
        site.mkdir()
        (site / FILE).write_text(text)
        own = Path(folder, "site.sls").absolute()
        if os.access(own, os.R_OK):
            (site / "site.sls").symlink_to(own)
        yield salt.config.apply_master_config(
            {
                "root_dir": scratch,
                "pillar_roots": {"base": [str(CHECKOUT / "pillar"), str(site)]},
                "file_roots": {"base": [str(CHECKOUT / "salt")]},
                "idr_environment": name,
                "lazy_loader_strict_matching": True,
                "pillar_safe_render_error": False,
            }
        )


def pillars(opts, servers):
    """
    The pillar of these servers as a master with this configuration compiles it, and what didn't render:
    ``({id: pillar}, problems)``. A server whose pillar didn't render isn't among them.
    """
    import salt.pillar

    found, problems, functions = {}, [], None
    with _quiet():
        for id_ in servers:
            compiler = salt.pillar.Pillar(dict(opts), {}, id_, "base", functions=functions)
            functions = compiler.functions  # the same for all, and half of the time
            found[id_] = compiler.compile_pillar()
    for id_, pillar in found.items():
        problems += [f"{id_}: {_in_a_line(error)}" for error in pillar.get("_errors", ())]
    return {id_: pillar for id_, pillar in found.items() if "_errors" not in pillar}, problems


@contextlib.contextmanager
def _quiet():
    """What doesn't render would be logged with its surroundings, which may be secret; what it is about is told."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _in_a_line(error):
    """Of an error and the lines around it, what is wrong and where."""
    told = str(error).strip().partition("\n---")[0]
    return " ".join(told.split())
