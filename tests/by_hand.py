"""
The document's path without a cloud. A server that somebody made by hand is made anew, and takes the data of its volume
as it is. All are copied as they run; of that copy alone, and six clean servers in their place, the IDR is back with its
rows, files and pages.

Makes a lab of its own and removes it; needs that none is there: ``make by-hand``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import hosts, seat
from lab.settings import STATE

from .lab.conftest import CTL, Lab
from .lab.test_copy import give_vault
from .lab.test_environments import FILES, rows

ANEW = "idr-database"
VAULT = "vault"  # in the operator's home
SIDES = "idr", "idr-a"


def typed(lab, function, *words):
    """`salt-run backup.FUNCTION …` at the seat, which has to succeed: its answer."""
    answer = lab.operator("salt-run", "--out=json", f"backup.{function}", *words, "apply=True", seconds=1800).stdout
    return json.loads(answer[answer.index("{") :])


def shown(lab):
    """What the public sees of the IDR: its images' names and a rendered one."""
    found = json.loads(lab.get("/api/v0/m/images/?limit=3").body)["data"]
    page = lab.get(f"/webgateway/render_image/{found[0]['@id']}/0/0/?dummy={time.time_ns()}")
    assert page.status == 200 and len(page.body) > 20_000, page
    return [one["Name"] for one in found], page.body


def held(lab):
    """What production's volumes hold: rows by table, and each file's hash."""
    return rows(lab, "idr"), lab.sh("idr-omero", FILES)


def remade(lab):
    """ANEW has a fresh system; only who says so has it enrolled."""
    lab.ctl("remake", ANEW)
    enrol = ("salt-run", "environment.enrol", "idr", "apply=True")
    refused = lab.operator(*enrol, check=False)
    assert refused.returncode and f"replace={ANEW}" in refused.stdout + refused.stderr, refused
    lab.operator(*enrol, f"replace={ANEW}")
    # the rehearsal of OMERO finds no database, which the deploy makes first
    lab.operator("salt-run", "environment.update", "idr", "apply=True", "even_if=failing", seconds=1800)


def carried(lab, words, **given):
    """A pipe in or out of the operator's home, bytes as they are."""
    inside = hosts.inside(seat.DIRECTORY, *seat.command("tar", "-C", seat.HOME, *words))
    return subprocess.run(inside, check=True, **given)


def said(what, began):
    print(f"by hand: {what} ({time.monotonic() - began:.0f} s)", flush=True)


def main():
    if STATE.exists():
        sys.exit("a lab is there, and this makes its own: lab/ctl destroy, then again")
    lab = Lab()
    with tempfile.TemporaryDirectory() as folder:
        try:
            through(lab, Path(folder) / "vault.tar")
        finally:
            lab.ctl("destroy")


def through(lab, kept):
    """All of it, with the copy KEPT in a file while there is neither server nor seat."""
    subprocess.run([CTL, "up", "--hosts-only"], check=True)
    before, seen = held(lab), shown(lab)
    began = time.monotonic()
    remade(lab)
    assert (held(lab), shown(lab)) == (before, seen), f"a new {ANEW} has other data"
    said(f"{ANEW} made anew has its old data", began)

    began = time.monotonic()
    give_vault(lab)
    id_ = typed(lab, "copy", "env=idr", f"to={VAULT}", "even_if=first")["comment"].split()[0]
    with open(kept, "wb") as file:
        carried(lab, ("-c", VAULT), stdout=file)
    said(f"{id_} is copied, of the servers as they run", began)

    lab.ctl("destroy")
    subprocess.run([CTL, "up", "--hosts-only", "--bare"], check=True)
    with open(kept, "rb") as file:
        carried(lab, ("-x",), stdin=file)
    give_vault(lab)
    began = time.monotonic()
    answer = typed(lab, "restore", id_, "into=idr", f"copy={VAULT}")
    said(f"{id_} is put back on clean servers: {answer['comment']}", began)

    for side in SIDES:
        assert rows(lab, side) == before[0], f"{side} has other rows"
        assert lab.sh(f"{side}-omero", FILES) == before[1], f"{side} has other files"
    assert shown(lab) == seen, "the public sees another IDR"
    print("by hand: the same rows and files on both sides, and the same pages; passed")


if __name__ == "__main__":
    main()
