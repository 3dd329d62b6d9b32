"""Each link of pillar is on the page that visitors get, and leads somewhere."""

import html
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from .conftest import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.hosts]

LINKS = yaml.safe_load((ROOT / "pillar/roles/omero.sls").read_text())["omero"]["web"]["top_links"]
LINK = re.compile(r"<a\s([^>]*)>\s*([^<]*?)\s*</a>")


@pytest.fixture(scope="module")
def shown(lab):
    """The attributes of every link on OMERO.web's first page, by its text."""
    page = lab.get("/webclient/userdata/?experimenter=-1").body
    return {
        html.unescape(text): {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', about)}
        for about, text in LINK.findall(page)
    }


@pytest.mark.parametrize("row", LINKS, ids=lambda row: row[0])
def test_a_link_of_pillar_is_on_the_page(lab, shown, row):
    text, leads, attributes = row
    link = shown[text]

    assert attributes.items() <= link.items()
    if isinstance(leads, dict):
        asked = dict(parse_qsl(urlsplit(link["href"]).query))
        assert asked == {name: str(value) for name, value in leads.get("query_string", {}).items()}
        assert lab.get(link["href"]).status in (200, 302)
    else:
        assert link["href"] == leads
