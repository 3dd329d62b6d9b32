"""
Where the table of an environment comes from, which says what servers it has and where they are.

Git doesn't know it. An operator has it in ``~/.config/idr/<env>/environment.sls`` where servers were made by hand, and
otherwise from the cloud; its master has it from the operator who enrolled or updated it last, as pillar.
"""

import re
from pathlib import Path

import yaml

from idr import topology
from idr.errors import IdrError, Refused
from idr.topology import Environment

FILE = "environment.sls"
HEAD = """\
# The servers of {name}, as the cloud described them at the last enrolment or update, which write this anew.
"""


def of_operator(name: str, folder: Path) -> tuple[Environment, str]:
    """
    The environment NAME and its table's text, as its master is to have it.

    folder:  the operator's site directory, whose ``environment.sls`` goes before the cloud

    Refused where neither knows the environment, and where its table is broken, with every problem.
    """
    if not re.fullmatch(topology.NAME, str(name)):
        raise Refused([f"{name}: no name of an environment, which is of small letters and digits, e.g. newidr"])
    own = folder / FILE
    text = _text(own)
    if text is not None:
        return topology.read(name, text, own), text
    try:
        described = _in_the_cloud(name)
    except IdrError as error:
        raise Refused(
            [
                f"{name}: there is no {own}, which would say where servers made by hand are, and the cloud doesn't "
                f"say it: {problem}"
                for problem in error.problems
            ]
        ) from error
    # keys are sorted, so that what is the same is the same text
    told = yaml.safe_dump(described, default_flow_style=None, width=120)
    text = HEAD.format(name=name) + told
    return topology.read(name, text, f"{name} in the cloud"), text


def is_by_hand(folder: Path) -> bool:
    """Whether the operator's site directory says where the servers are, and the cloud isn't asked."""
    return (folder / FILE).exists()


def of_master(opts: dict) -> Environment:
    """
    The environment of the master with that configuration, from the first of its pillar's roots that has a table.

    Refused where none has, and where the table is broken, with every problem.
    """
    name, roots = opts["idr_environment"], opts["pillar_roots"]["base"]
    for root in roots:
        text = _text(Path(root) / FILE)
        if text is not None:
            return topology.read(name, text, Path(root) / FILE)
    raise Refused(
        [
            f"{name}: this master hasn't been told of its servers ({Path(roots[-1]) / FILE}): "
            f"at your workstation, salt-run environment.update {name} apply=True"
        ]
    )


def _text(path):
    """What a file says, None if there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused([f"{path}: can't be read: {getattr(error, 'strerror', None) or error}"]) from error


def _in_the_cloud(name):
    try:
        from idr.cloud import described  # a master, which never asks, hasn't what this needs
    except ModuleNotFoundError as error:
        raise IdrError(f"what asks a cloud isn't installed ({error.name}): make venv") from error
    return described.environment(name)
