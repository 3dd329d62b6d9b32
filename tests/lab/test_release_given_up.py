"""A release given up, killed in the middle of it and typed once more: nothing is left of it."""

from __future__ import annotations

import pytest

from .environments import BESIDE, inventory, run, script
from .faulty import killed_at_first
from .test_release import release

pytestmark = [pytest.mark.lab, pytest.mark.cloud]

PREPARED = f"""
from idr.release import record
begun = record.Release("idr", "idr-20261124T030000Z", "0a1b2c3d4e5f", "20261124T050000Z")
[group] = [it for it in net.security_groups(name="{BESIDE.name}")]
for tag in (record.release_tag(begun), record.ready_tag(begun.began)):
    record.put(cloud, record.GROUPS, group.id, tag)
"""


def test_given_up_nothing_is_left_of_it_also_after_a_run_that_was_killed(lab, before):
    code, answer = run(lab, *BESIDE.apply)
    assert code == 0, answer
    script(lab, PREPARED)
    abort = (BESIDE.name, f"confirm={BESIDE.name}", "apply=True")

    broken = killed_at_first(lab, "release.abort", abort, ("cinder", "DELETE", r"/volumes/[0-9a-f-]+(\?|$)"))
    assert inventory(lab) != before
    code, told = release(lab, "abort", *abort, broken)

    assert code == 0, told
    assert inventory(lab) == before
