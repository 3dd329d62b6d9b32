"""The parser of pillar: one broken value for each rule, and this repository's own pillar."""

import copy
import dataclasses
import json
import shutil

import jinja2
import pytest
import yaml

from idr import topology, values
from idr.errors import Refused
from idr.values import compiled, servers
from tests.tables import BY_HAND, IDR, REPO, cases, laid_over

ENVIRONMENT = topology.parse(yaml.safe_load((REPO / "tests/cases/topology_environment.yaml").read_text()), "idr")
# by way of JSON, so that what the file has by reference is each server's own
GOOD = json.loads(json.dumps(yaml.safe_load((REPO / "tests/cases/pillar_servers.yaml").read_text())))
ODD = [None, True, -1, 0.5, "", "odd: value", [], ["odd"], [[]], {}, {"odd": 1}, {"odd": {"odd": []}}]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc0zQY0w8iKs1m1U1iFzGx5o0bQ8bW1m3v0fJ0XkQ8e ada@desk"


def problems(change, environment=ENVIRONMENT, demanded=True):
    return servers.problems(environment, laid_over(copy.deepcopy(GOOD), copy.deepcopy(change)), demanded)


@pytest.mark.parametrize("case", cases("pillar"))
def test_a_rule_broken_is_told_with_its_place(case):
    told = problems(case["change"], demanded=case.get("demanded", True))

    assert told == case["problems"]
    assert "hunter2" not in str(told)


def test_good_pillar_is_good():
    assert problems({}) == []


def test_what_holds_for_several_servers_is_said_once():
    wrong = {"base": {"journal_max_use": "much"}}
    said = "base.journal_max_use: has to be a size as systemd writes it, e.g. 1G, not 'much'"

    assert problems(dict.fromkeys(GOOD, wrong)) == [f"every server: {said}"]
    assert problems({"idr-proxy": wrong, "idr-database": wrong}) == [f"idr-proxy, idr-database: {said}"]


def without(id_=None, **fields):
    """The environment without a server, or with its proxy otherwise."""
    there = {name: server for name, server in ENVIRONMENT.servers.items() if name != id_}
    there["idr-proxy"] = dataclasses.replace(there["idr-proxy"], **fields)
    return dataclasses.replace(ENVIRONMENT, servers=there)


def test_zones_without_a_volume_have_no_room():
    assert problems({}, without(volumes=())) == [
        "idr-proxy: nginx.cache.zones: have no room: no volume is mounted at /var/cache/nginx"
    ]


def test_jupyter_leads_to_a_docker_server():
    assert problems({"idr-a-dockermanager": None}, without("idr-a-dockermanager")) == [
        "idr-proxy: nginx.jupyter.enabled: there is no Docker server that /jupyter could lead to"
    ]


def places(value, place=()):
    """The way to everything in VALUE that has one."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(below, (*place, key))


@pytest.mark.parametrize("id_", GOOD)
def test_whatever_a_site_writes_is_read_to_the_end(id_):
    """Odd values at every place: the parser neither stumbles nor leaves out a problem elsewhere, nor shows a secret."""
    elsewhere = "idr-a-omero" if id_ == "idr-a-database" else "idr-a-database"
    for *way, last in places(GOOD[id_]):
        for odd in ODD:
            pillars = copy.deepcopy({**GOOD, elsewhere: GOOD[elsewhere] | {"odd": True}})
            holder = pillars[id_]
            for key in way:
                holder = holder[key]
            holder[last] = odd

            told = servers.problems(ENVIRONMENT, pillars, True)

            assert any(line.startswith(f"{elsewhere}: odd: unknown") for line in told), (way, last, odd)
            assert "not-a-secret" not in str(told)


# --- as Salt compiles it ----------------------------------------------------------------------------------------------


TABLE = BY_HAND.read_text()


def test_this_repositorys_pillar_is_clean_for_every_server(tmp_path):
    assert values.problems(IDR, TABLE, tmp_path / "none") == []


def test_a_second_omero_and_a_management_server_are_entries_of_the_table(tmp_path):
    raw = yaml.safe_load(TABLE)
    further = raw["environment"]["servers"]
    further["idr-management"] = {"role": "management", "addresses": {"idr": "192.168.1.30"}, "volumes": []}
    volume = {"name": "omero2-data", "mount": "/data", "size_gb": 500, "id": "6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a22"}
    further["idr-omero2"] = {"role": "omero", "addresses": {"idr": "192.168.1.31"}, "volumes": [volume]}
    text = yaml.safe_dump(raw)
    environment = topology.read("idr", text, "here")

    assert values.problems(environment, text, tmp_path / "none") == []
    with compiled.options_of_checkout("idr", text, tmp_path / "none") as opts:
        pillars, _ = compiled.pillars(opts, environment.servers)
    assert pillars["idr-omero2"]["server"]["prefix"] == "idr"
    assert pillars["idr-management"]["server"] == {
        "id": "idr-management",
        "role": "management",
        "prefix": "idr",
        "side": "production",
        "network": "idr",
        "cidr": "192.168.1.0/24",
        "address": "192.168.1.30",
        "volumes": [],
    }
    # production's database has connections for the pools of both
    assert [pillars[id_]["postgresql"]["pools"] for id_ in ("idr-database", "idr-a-database")] == [150, 75]


def test_a_site_has_the_last_word_and_is_read_for_every_server(tmp_path):
    (tmp_path / "site.sls").write_text(
        yaml.safe_dump(
            {
                "omero": {"database": {"poolsize": 40}},
                "base": {"operators": {"ada": {"fullname": "Ada", "uid": 0, "ssh_keys": [KEY]}}},
                "ngnix": {},
            }
        )
    )

    told = values.problems(IDR, TABLE, tmp_path)

    assert [line.partition(": has")[0].partition(": unk")[0].partition(": takes")[0] for line in told] == [
        "every server: ngnix",
        "every server: base.operators.ada.uid",
        "idr-database: postgresql",
        "idr-a-database: postgresql",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("omero: [", "Rendering SLS 'site' failed, render error: "),
        ("omero: 1\nomero: 2\n", "Rendering SLS 'site' failed, render error: "),
        ("{{ nothing.there }}", "Rendering SLS 'site' failed, render error: Jinja variable 'nothing' is undefined"),
        ("- a list", "SLS 'site' does not render to a dictionary"),
    ],
)
def test_a_site_that_does_not_render_is_a_line_for_every_server(tmp_path, capfd, text, problem):
    (tmp_path / "site.sls").write_text(text)

    told = values.problems(IDR, TABLE, tmp_path)

    assert [line.partition(": ")[0] for line in told] == list(IDR.servers)
    assert all(line.partition(": ")[2].startswith(problem) and "\n" not in line for line in told), told
    assert capfd.readouterr() == ("", "")


def test_a_master_demands_what_only_a_site_can_give_and_shows_no_secret(tmp_path):
    with compiled.options_of_checkout("idr", TABLE, tmp_path / "none") as opts:
        site = tmp_path / "site"
        shutil.copytree(REPO / "tests/functional/site", site)
        shutil.copy(BY_HAND, site)
        (site / "secrets/idr/omero.sls").write_text("secrets: {omero: {root_password: [not-a-secret]}}\n")
        opts["pillar_roots"]["base"][1] = str(site)

        assert values.problems_on_master(opts) == [
            "idr-omero: secrets.omero.public_password: missing",
            "idr-omero: secrets.omero.root_password: has to be a text that isn't empty",
        ]


def test_a_rehearsal_sees_where_servers_are_to_be_and_nothing_else_does(tmp_path):
    import salt.pillar

    rendered = jinja2.Template((REPO / "etc/master.j2").read_text()).render(environment="idr")
    (tmp_path / "candidate").mkdir()
    with compiled.options_of_checkout("idr", TABLE, tmp_path / "none") as opts:
        here = {
            "/srv/idr/current/pillar": str(REPO / "pillar"),
            "/srv/idr/next/pillar": str(REPO / "pillar"),
            "/etc/idr/next": str(tmp_path / "candidate"),
            "/etc/idr/pillar": opts["pillar_roots"]["base"][1],
        }
        roots = yaml.safe_load(rendered)["pillar_roots"]
        opts["pillar_roots"] = {saltenv: [here[root] for root in of_it] for saltenv, of_it in roots.items()}
        opts["pillar_source_merging_strategy"] = "none"

        def address(saltenv):
            own = {**opts, "saltenv": saltenv, "pillarenv": saltenv}
            pillar = salt.pillar.Pillar(own, {}, "idr-omero", saltenv, pillarenv=saltenv).compile_pillar()
            assert pillar["environment"]["servers"]["idr-omero"]["addresses"]["idr"] == pillar["server"]["address"]
            return pillar["server"]["address"]

        assert (address("base"), address("next")) == ("192.168.1.11", "192.168.1.11")
        (tmp_path / "candidate/environment.sls").write_text(TABLE.replace("192.168.1.11", "192.168.1.77"))
        assert (address("base"), address("next")) == ("192.168.1.11", "192.168.1.77")


def test_a_master_that_has_not_been_told_of_its_servers_says_who_tells_it(tmp_path):
    opts = {"idr_environment": "idr", "pillar_roots": {"base": [str(REPO / "pillar"), str(tmp_path)]}}

    with pytest.raises(Refused) as refused:
        values.problems_on_master(opts)

    assert refused.value.problems == [
        f"idr: this master hasn't been told of its servers ({tmp_path}/environment.sls): "
        "at your workstation, salt-run environment.update idr apply=True"
    ]
