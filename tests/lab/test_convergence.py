"""What is configured stays configured: a second highstate changes nothing, whatever happened in between."""

from __future__ import annotations

import pytest

from .conftest import SERVERS

pytestmark = pytest.mark.lab


def changes(lab, *arguments: str) -> dict[str, list[str]]:
    """What a highstate of all servers changed, would change or failed at, by server."""
    results = lab.salt(",".join(SERVERS), "state.highstate", *arguments, seconds=1200)
    assert set(results) == set(SERVERS)
    wrong = {}
    for server, states in results.items():
        assert isinstance(states, dict), f"{server}: {states}"
        bad = [state for state in states.values() if state["changes"] or not state["result"]]
        if bad:
            wrong[server] = [f"{state['__id__']}: {state['comment']} {state['changes']}" for state in bad]
    return wrong


def test_a_second_highstate_changes_nothing(lab):
    assert changes(lab) == {}


def test_and_its_rehearsal_says_so(lab):
    assert changes(lab, "test=True") == {}


def test_nor_after_a_reboot_of_all(lab, image):
    lab.ctl("reboot", *SERVERS)
    lab.operator("salt-run", "environment.enrol", "idr")
    assert changes(lab) == {}
    assert lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=reboot").status == 200


MANIFEST = "cd /data && find . -printf '%p %U:%G %m %y\\n' -type f -exec sha256sum {} + | sort"
IDENTITY = "/usr/lib/postgresql/15/bin/pg_controldata /var/lib/pgsql/15/data | grep 'system identifier'"
ROWS = "; ".join(
    f"SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
    for table in ("image", "plate", "screen", "well", "pixels", "originalfile", "experimenter", "dbpatch")
)


def rows(lab) -> str:
    return lab.exec("idr-database", "runuser", "-u", "postgres", "--", "psql", "-Atd", "idr", stdin=ROWS).stdout


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_servers_made_anew_take_the_existing_data_as_it_is(lab, image, how):
    """The document: it is sufficient to restore these directories into a clean server before running the deployment."""
    lab.salt("idr-omero", "service.stop", "omero-web")
    lab.salt("idr-omero", "service.stop", "omero-server")
    before = lab.sh("idr-omero", MANIFEST), lab.sh("idr-database", IDENTITY), rows(lab)
    if how == "kill":
        lab.ctl("kill", "idr-omero", "idr-database")
    for server in ("idr-omero", "idr-database"):
        lab.ctl("remake", server)
    # other passwords than the data was made with, as for the data of another installation
    lab.sh("idr-proxy", "rm /etc/idr/pillar/secrets/idr/*.sls")

    refused = lab.operator("salt-run", "environment.enrol", "idr", "apply=True", check=False)
    assert refused.returncode != 0 and "replace=" in refused.stdout + refused.stderr
    lab.operator("salt-run", "environment.enrol", "idr", "apply=True", "replace=idr-omero,idr-database")
    lab.operator("salt-run", "environment.update", "idr", "apply=True", seconds=1200)

    assert (lab.sh("idr-omero", MANIFEST), lab.sh("idr-database", IDENTITY), rows(lab)) == before
    assert lab.get(f"/webgateway/render_image/{image}/0/0/?dummy={how}").status == 200
    assert changes(lab) == {}


def test_every_index_is_sound(lab):
    amcheck = "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_amcheck --install-missing --heapallindexed -d idr"
    said = lab.exec("idr-database", *amcheck.split(), check=False)
    assert said.returncode == 0, said.stdout + said.stderr


# grep is given the word in a file: as an argument it would be on a command line, where it looks for it
SEARCH = """
read -r word
pattern() { printf '%s\\n' "$word"; }
{ grep -rlF -f <(pattern) /var/log /var/cache/salt/master/jobs /srv/idr 2>/dev/null
  journalctl -q --no-pager | grep -F -f <(pattern)
  cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -F -f <(pattern); } | head -3
"""


def test_no_secret_is_in_any_log_job_event_or_command_line(lab):
    sides = lab.secrets("idr"), lab.secrets("idr-a")
    words = {word for side in sides for group in side.values() for word in group.values()} - {"public"}
    assert len(words) >= 6
    for server in SERVERS:
        for word in words:
            assert lab.exec(server, "bash", "-c", SEARCH, stdin=word + "\n", check=False).stdout == "", server
