"""
The project's own modules and states on a minion: the release's, from one request to the master and one for each file.

Salt's `autoload_dynamic_modules` does the same before every highstate, with a login at the master for each of the 18
kinds of modules that there could be: half of the processor time of a highstate that has nothing else to do.
"""

import os
import re

import salt.utils.hashutils


def current(name):
    """
    Make the modules and states of this minion those of the release. States after this one use them already; what is
    called while files are rendered is used by the next run.

    .. code-block:: yaml

        this release's modules are in use:
          own_modules.current:
            - order: 1
            - reload_modules: True
    """
    ret = {"name": name, "result": True, "comment": "they are", "changes": {}}
    wanted, here = _of_release(), _of_minion()
    other = sorted(path for path in wanted.keys() | here.keys() if wanted.get(path) != here.get(path))
    if not other:
        return ret
    changes = {path: "new" if path not in here else "gone" if path not in wanted else "another" for path in other}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "they would be brought", "changes": changes}
    __salt__["saltutil.sync_all"](saltenv=__env__)
    if _of_minion() != wanted:
        return {**ret, "result": False, "comment": f"they were brought, and are still others: {', '.join(other)}"}
    return {**ret, "comment": "they were brought", "changes": changes}


def _of_release():
    """The master's files and their hashes, by where they are to be in the minion's directory of modules."""
    files = {}
    for path in __salt__["cp.list_master"](saltenv=__env__, prefix="_"):
        kind = re.fullmatch(r"_(\w+)/(.+\.py)", path)
        if kind:
            files[f"{kind[1]}/{kind[2]}"] = __salt__["cp.hash_file"](f"salt://{path}", saltenv=__env__)["hsum"]
    return files


def _of_minion():
    """The same of what is here."""
    top = __opts__["extension_modules"]
    files = {}
    for directory, _, names in os.walk(top):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                hash_type = __opts__["hash_type"]
                files[os.path.relpath(path, top)] = salt.utils.hashutils.get_hash(path, hash_type)
    return files
