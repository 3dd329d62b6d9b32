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
    lab.wait_for_minions()
    assert changes(lab) == {}
    assert lab.get(f"/webgateway/render_image/{image}/0/0/?dummy=reboot").status == 200


@pytest.mark.parametrize("side", ["idr", "idr-a"])
def test_every_index_is_sound(lab, side):
    amcheck = "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_amcheck --install-missing --heapallindexed -d idr"
    said = lab.exec(f"{side}-database", *amcheck.split(), check=False)
    assert said.returncode == 0, said.stdout + said.stderr


# grep is given the words in a file: as arguments they would be on a command line, where it looks for them
SEARCH = """
words=$(cat)
patterns() { printf '%s\\n' "$words"; }
{ grep -rlF -f <(patterns) /var/log /var/cache/salt/master/jobs /srv/idr 2>/dev/null
  journalctl -q --no-pager | grep -F -f <(patterns)
  cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -F -f <(patterns); } | head -3
"""


def test_no_secret_is_in_any_log_job_event_or_command_line(lab):
    sides = lab.secrets("idr"), lab.secrets("idr-a")
    words = {word for side in sides for group in side.values() for word in group.values()} - {"public"}
    assert len(words) >= 6
    for server in SERVERS:
        assert lab.exec(server, "bash", "-c", SEARCH, stdin="\n".join(words), check=False).stdout == "", server
