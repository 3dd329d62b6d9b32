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


def is_current(volume):
    """
    Whether a volume of an environment is the one that it has of its use, as it's neither ``idr_retained`` (its
    environment was removed, and its snapshots are kept) nor ``idr_aside`` (a restore put another in its place) nor
    ``idr_temporary`` (a clone that single files are brought back from).
    """
    return not {"idr_retained", "idr_aside", "idr_temporary"} & volume.what["metadata"].keys()


def is_enrolled(server):
    """
    Whether a server was enrolled since it was made. Before that, keys that are known under its name may be
    those of one that it's in the place of.
    """
    return "idr_enrolled" in server.what["metadata"]


def put_aside_for(volume):
    """The backup set for which a restore put that volume aside; None where none did, or its environment went since."""
    said = volume.what["metadata"]
    return None if "idr_retained" in said else said.get("idr_aside_for")


def put_aside_by(volume):
    """The command that goes on where what put that volume aside was cut off; it's said there since it was put aside."""
    said = volume.what["metadata"]
    return said.get("idr_aside_by") or f"backup.restore {said['idr_aside_for']} into={volume.environment}"


def retained_name(volume, run):
    """The name that a volume has once it's retained: by the run that says so already, or else by RUN."""
    end = f"-retained-{volume.what['metadata'].get('idr_retained', run)}"
    return volume.name.removesuffix(end) + end


def of(text):
    """Whose a Neutron resource is, and the run that made it, by its description: both None if it isn't ours."""
    found = DESCRIPTION.fullmatch(text or "")
    return (found["environment"], found["run"]) if found else (None, None)
