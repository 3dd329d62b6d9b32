"""
A test for each row of pillar, made from it: links, menus and pools as they reach OMERO's and PostgreSQL's own files.
Redirects have theirs in test_nginx_site.py, operators in test_operators.py, links on a real page in tests/lab.
"""

import json
import re
import shlex

import pytest
import yaml

from tests.tables import IDR, REPO

OMERO = yaml.safe_load((REPO / "pillar/roles/omero.sls").read_text())["omero"]
SERVERS = IDR.servers
POOLS = 3  # of each OMERO.server: Blitz, Indexer and PixelData


def of_role(role):
    return [id_ for id_, server in SERVERS.items() if server.role == role]


@pytest.fixture(scope="module")
def written(_loaders_made, tmp_path_factory):
    """A file as a server's state writes it; each is rendered once."""
    made = {}

    def render(id_, sls, path):
        if (id_, path) not in made:
            modules = _loaders_made(id_, "Debian", False).modules
            chunk = next(chunk for chunk in modules.state.show_low_sls(sls) if chunk.get("name") == path)
            target = tmp_path_factory.mktemp(id_) / "file"
            modules.cp.get_template(chunk["source"], str(target), **(chunk.get("context") or {}))
            made[id_, path] = target.read_text()
        return made[id_, path]

    return render


@pytest.fixture
def properties(written):
    """What a drop-in of OMERO's configuration sets, by property."""

    def of(id_, part, name):
        text = written(id_, f"omero_{part}.configured", f"/opt/omero/{part}/config/{name}.omero")
        words = [shlex.split(line, comments=True) for line in text.splitlines()]
        return {line[3]: line[4] for line in words if line[:3] == ["config", "set", "--"]}

    return of


@pytest.mark.parametrize("id_", of_role("omero"))
@pytest.mark.parametrize("row", OMERO["web"]["top_links"], ids=lambda row: row[0])
def test_a_link_is_in_omero_webs_configuration(properties, id_, row):
    links = json.loads(properties(id_, "web", "20-apps")["omero.web.ui.top_links"])

    assert links.count(row) == 1
    assert len(links) == len(OMERO["web"]["top_links"])


@pytest.mark.parametrize("id_", of_role("omero"))
@pytest.mark.parametrize("menu", OMERO["web"]["mapr"])
def test_a_menu_looks_up_what_its_row_says_in_a_namespace_of_its_own(properties, id_, menu):
    menus = json.loads(properties(id_, "web", "20-apps")["omero.web.mapr.config"])

    assert [each["config"] for each in menus if each["menu"] == menu] == [
        {**OMERO["web"]["mapr"][menu], "ns": [f"openmicroscopy.org/mapr/{menu}"]}
    ]


@pytest.mark.parametrize("id_", of_role("database"))
def test_connections_suffice_for_the_pools_of_the_sides_omero(loaders, written, properties, id_):
    configuration = written(id_, "postgresql.configured", "/etc/idr-postgresql/postgresql.conf")
    clients = [name for name in of_role("omero") if SERVERS[name].prefix == SERVERS[id_].prefix]
    sizes = [int(properties(name, "server", "10-server")["omero.db.poolsize"]) for name in clients]
    reserve = loaders(id_).modules.pillar.get("postgresql:reserve", unmask=True)

    assert sizes == [OMERO["database"]["poolsize"]] * len(clients) and clients
    connections = int(re.search(r"^max_connections = (\d+)$", configuration, re.MULTILINE)[1])
    assert connections >= POOLS * sum(sizes) + reserve
