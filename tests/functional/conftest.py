"""Salt's real loaders without daemons: what a minion would see, for any server and either OS family."""

import contextlib
import copy
import logging

import pytest
import salt.config
import yaml
from saltfactories.utils.functional import Loaders

# What the states look at. The rest of the grains are this machine's own.
FAMILIES = {
    "Debian": {
        "os": "Debian",
        "os_family": "Debian",
        "osfullname": "Debian GNU/Linux",
        "oscodename": "bookworm",
        "osmajorrelease": 12,
        "osrelease": "12",
        "osfinger": "Debian-12",
        "osarch": "amd64",
    },
    "RedHat": {
        "os": "Rocky",
        "os_family": "RedHat",
        "osfullname": "Rocky Linux",
        "oscodename": "Blue Onyx",
        "osmajorrelease": 9,
        "osrelease": "9.4",
        "osfinger": "Rocky Linux-9",
        "osarch": "x86_64",
    },
}


def minion_opts(repo, root, minion_id, os_family="Debian", test=False):
    """The options of a server's minion whose own files are below `root`."""
    # only grains of a file override those that Salt finds out
    (root / "minion").write_text(yaml.safe_dump({"grains": FAMILIES[os_family]}))
    return salt.config.apply_minion_config(
        {
            "id": minion_id,
            "root_dir": str(root),
            "cachedir": str(root / "cache"),
            "pki_dir": str(root / "pki"),
            "conf_file": str(root / "minion"),
            "extension_modules": str(root / "cache" / "extmods"),
            "sock_dir": str(root / "sock"),
            "log_file": str(root / "log"),
            "file_client": "local",
            "file_roots": {"base": [str(repo / "salt")]},
            "pillar_roots": {
                "base": [str(repo / place) for place in ("pillar", "lab/by_hand", "tests/functional/site")],
            },
            "module_dirs": [str(repo / "_modules")],
            "states_dirs": [str(repo / "_states")],
            "idr_environment": "idr",
            "enable_fqdns_grains": False,
            "lazy_loader_strict_matching": True,
            "test": test,
        }
    )


@pytest.fixture(scope="session")
def _loaders_made(repo, tmp_path_factory):
    made = {}

    def make(minion_id, os_family, test):
        key = (minion_id, os_family, test)
        if key not in made:
            opts = minion_opts(repo, tmp_path_factory.mktemp(minion_id), minion_id, os_family, test)
            # a name of its own: modules of two loaders with one name share their __opts__
            made[key] = Loaders(opts, loaded_base_name=f"salt_of_{len(made)}")
        return made[key]

    return make


@pytest.fixture
def loaders(_loaders_made):
    """
    Loaders of one server: ``loaders('idr-omero', os_family='RedHat').modules.state.show_highstate()``.

    They are made once per server, family and mode, and cleaned of what an earlier test left in them.
    """

    def hand_out(minion_id, os_family="Debian", test=False):
        made = _loaders_made(minion_id, os_family, test)
        made.reset_state()
        return made

    return hand_out


@contextlib.contextmanager
def own_pillar(host):
    """The pillar that a server's modules see, for changes that are taken back."""
    pillar = host.modules.pillar.raw()
    before = copy.deepcopy(dict(pillar))
    try:
        yield pillar
    finally:
        pillar.clear()
        pillar.update(before)


def pytest_unconfigure():
    """At exit Salt's log handler writes what it kept to a stream that pytest has closed by then."""
    logging.raiseExceptions = False
