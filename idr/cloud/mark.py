"""
How a resource of the cloud says whose it is: Neutron's in its description, all others in their metadata.

It's given in the call that makes the resource, so there is no moment at which one of ours isn't known as ours.
"""

import re
import secrets
from datetime import UTC, datetime

BEGIN = "IDR environment "
DESCRIPTION = re.compile(rf"{BEGIN}(?P<environment>[^,;\s]+)(?:, made by (?P<run>[^,;\s]+))?(?:[,;].*)?", re.DOTALL)


def new_run():
    """The id of a run, which whatever it makes will carry: ``20261124-044302-4f2c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def description(environment, run=None):
    """What the description of an environment's network, port, … begins with."""
    return f"{BEGIN}{environment}" + (f", made by {run}" if run else "")


def metadata(environment, run, **further):
    """The metadata of an environment's server, volume or snapshot; `further` without its ``idr_``, e.g. ``server``."""
    return {"idr_environment": environment, "idr_run": run} | {f"idr_{key}": value for key, value in further.items()}


def of(text):
    """Whose a Neutron resource is, and the run that made it, by its description: both None if it isn't ours."""
    found = DESCRIPTION.fullmatch(text or "")
    return (found["environment"], found["run"]) if found else (None, None)
