"""
``salt-run`` and ``salt-call`` of a checkout: what .venv/bin has instead of Salt's own, so that they work for an
ordinary user, the first time, and wherever they're typed.

Salt finds a Saltfile only in the current directory and takes its relative paths from there; elsewhere it silently uses
/etc/salt. ``salt-run`` needs a directory that only a master's first start would make; it tells the master's event bus
that a run begins and ends, and where there's none it tries to reach it some 30 000 times, for a second each; and it
warns of what it leaves open itself when it ends.
"""

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def main():
    """Run the command by whose name this was called."""
    command = Path(sys.argv[0]).name
    os.chdir(CHECKOUT)
    os.environ.pop("SALT_SALTFILE", None)
    os.environ.pop("SALT_CONFIG_DIR", None)
    place = CHECKOUT / ".salt"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        (place / "var/cache/salt/master/proc").mkdir(parents=True, exist_ok=True)
        (place / "writable").touch()
    except PermissionError:
        sys.exit(
            f"{command}: {CHECKOUT} is another user's. Use a checkout of your own: git clone {CHECKOUT}; make venv"
        )
    import salt.scripts
    import salt.utils.event
    import salt.utils.resource_warnings

    salt.utils.resource_warnings.warn_until_close = lambda *args, **more: None
    salt.utils.event.SaltEvent.connect_pull = lambda self, timeout=1: False  # a checkout has no master, and so no bus
    getattr(salt.scripts, command.replace("-", "_"))()
