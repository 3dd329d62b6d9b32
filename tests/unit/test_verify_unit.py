"""What is sent to a scratch server runs there by itself, and what it tells comes back whole, piece by piece."""

import pytest

from idr import told_on_server
from idr.backup import verifying
from idr.verify import unit

RUNS = """#!/bin/sh
while [ "$1" != python3 ]; do
    case "$1" in
        --working-directory=*) cd "${1#*=}" ;;
        --property=StandardOutput=file:*) out="${1##*:}" ;;
        --property=StandardError=file:*) err="${1##*:}" ;;
    esac
    shift
done
env -i PATH="$PATH" "$@" > "$out" 2> "$err" || true
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A place for a server whose systemd runs a unit at once, and by the system's own python3."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"systemd-run": RUNS, "systemctl": "#!/bin/sh\necho ActiveState=inactive\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(unit, "HOME", tmp_path / "run")
    return tmp_path


def begin(asked):
    unit.begin({"files": verifying.sent(), "asked": asked}, None)


def progress(offset):
    return told_on_server.progress({"unit": unit.UNIT, "home": str(unit.HOME), "offset": offset}, None)


def test_what_is_sent_runs_and_its_result_comes_back(server):
    begin({"devices": {}, "patch": None, "sample": 1, "seed": 1})

    said = progress(0)

    assert said["told"] == [{"result": {"problems": [], "figures": {}, "notes": []}}] and said["ended"] == ""
    assert progress(said["offset"])["told"] == []


def test_what_ends_it_comes_back_as_a_line(server):
    begin({"patch": None})
    assert progress(0) == {"told": [], "offset": 0, "ended": "KeyError: 'devices'"}


def test_a_line_that_is_being_written_is_left_for_the_next_look(server):
    begin({"devices": {}})
    (server / "run/told").write_text('{"said": "a"}\n{"said": "b')
    said = progress(0)
    assert said["told"] == [{"said": "a"}] and said["offset"] == 14
    with open(server / "run/told", "a") as told:
        told.write('"}\n')
    assert progress(14)["told"] == [{"said": "b"}]


def test_a_unit_that_cannot_begin_is_told(server):
    (server / "bin/systemd-run").write_text("#!/bin/sh\necho 'Unit idr-verify.service already exists.' >&2; exit 1\n")
    with pytest.raises(SystemExit, match="already exists"):
        begin({"devices": {}})
