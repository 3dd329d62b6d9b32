"""What a server is sent to copy runs there in a unit, and of what opens the repository nothing stays."""

import os

import pytest

from idr import told_on_server
from idr.backup import copying
from idr.copies import unit

RUNS = """#!/bin/sh
while [ "$1" != python3 ]; do
    case "$1" in
        --working-directory=*) cd "${1#*=}" ;;
        --property=StandardInput=file:*) in="${1##*:}" ;;
        --property=StandardOutput=file:*) out="${1##*:}" ;;
        --property=StandardError=file:*) err="${1##*:}" ;;
    esac
    echo "$1" >> "$OUTSIDE/words"
    shift
done
mkdir -p "$OUTSIDE/secret" "$OUTSIDE/cache"
env -i PATH="$PATH" RUNTIME_DIRECTORY="$OUTSIDE/secret" CACHE_DIRECTORY="$OUTSIDE/cache" "$@" \\
    < "$in" > "$out" 2> "$err" || true
"""
RESTIC = """#!/bin/sh
echo "$RESTIC_REPOSITORY $RESTIC_PASSWORD $AWS_ACCESS_KEY_ID $*" >> {log}
case "$*" in *snapshots*) echo '[{{"id": "1234", "tree": "", "tags": ["idr_set=a", "idr_volume=v", "b", "c"]}}]' ;; esac
"""
WHERE = {
    "name": "vault", "repository": "s3:https://s3.example.org/idr", "password": "correct horse battery",
    "environment": {"AWS_ACCESS_KEY_ID": "an-id"}, "ssh_key": "", "known_hosts": "", "ca": "",
}  # fmt: skip
IDLE = "#!/bin/sh\nprintf 'ActiveState=inactive\\nWorkingDirectory=\\n'\n"
AT_WORK = "#!/bin/sh\nprintf 'ActiveState=active\\nWorkingDirectory=%s\\n' {home}\n"
SEAL = {"deed": "seal", "having": "idr_set=a", "each": ["idr_volume=v"], "tags": [["b"], ["c"]], "repository": WHERE}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A place for a server whose systemd runs a unit at once, and by the system's own python3."""
    programs = tmp_path / "bin"
    programs.mkdir()
    commands = {"systemd-run": RUNS, "systemctl": IDLE}
    commands["restic"] = RESTIC.format(log=tmp_path / "restic")
    for name, text in commands.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    monkeypatch.setattr(unit, "HOME", tmp_path / "run")
    return tmp_path


def begin(asked=SEAL, aside=None, run="a-run"):
    unit.begin({"run": run, "files": copying.sent(), "asked": asked, "aside": aside}, None)


def progress(offset, run="a-run"):
    return told_on_server.progress({"unit": unit.UNIT, "home": str(unit.HOME / run), "offset": offset}, None)


def test_what_is_sent_runs_and_its_result_comes_back(server):
    begin()

    said = progress(0)

    assert said["told"] == [{"said": "vault: checking what is there"}, {"result": {}}] and said["ended"] == ""
    check, _, tag, _ = (server / "restic").read_text().splitlines()
    opened_by = "s3:https://s3.example.org/idr correct horse battery an-id"
    assert check.startswith(opened_by) and check.endswith("check --quiet")
    assert tag.endswith("tag --set=idr_set=a --set=idr_volume=v --set=c --set=idr_retold=1 1234")


def test_nothing_of_what_opens_the_repository_is_an_argument_or_stays_in_a_file(server):
    begin(aside="/var/lib/pgsql/.idr-copy")

    words = (server / "words").read_text()
    assert "--property=ExecStopPost=/bin/rm -rf /var/lib/pgsql/.idr-copy" in words
    assert "--property=RuntimeDirectory=idr-copy-secret" in words and "--property=PrivateMounts=yes" in words
    assert "correct horse" not in words
    left = [path for path in (server / "run").rglob("*") if path.is_file() and b"correct horse" in path.read_bytes()]
    assert left == [] and (server / "run").stat().st_mode & 0o077 == 0
    unit.end({"run": "a-run"}, None)
    assert not (server / "run").exists()


def test_what_another_run_tells_is_nobody_elses(server):
    failing = "#!/bin/sh\necho 'Fatal: no room' >&2; exit 1\n"
    (server / "bin/restic").write_text(failing)
    begin()
    (server / "bin/restic").write_text(RESTIC.format(log=server / "restic"))
    begin(run="another")  # before whoever began the first one has looked
    (server / "bin/systemctl").write_text(AT_WORK.format(home=server / "run/another"))

    mine, others = progress(0), progress(0, "another")

    assert "no room" in mine["ended"] and [*mine["told"][-1]] == ["said"]
    assert others["told"][-1] == {"result": {}} and others["ended"] is None
    unit.end({"run": "a-run"}, None)
    assert not (server / "run/a-run").exists() and progress(0, "another") == others


def test_what_nobody_comes_for_is_gone_with_a_later_run(server):
    begin()
    begin(run="another")
    assert (server / "run/a-run").exists()
    os.utime(server / "run/a-run/told", (1_600_000_000, 1_600_000_000))
    begin(run="a-third")
    assert not (server / "run/a-run").exists() and (server / "run/another").exists()


def test_what_ends_it_comes_back_as_a_line(server):
    (server / "bin/restic").write_text("#!/bin/sh\necho 'Fatal: wrong password or no key found' >&2; exit 1\n")
    begin()
    ended = progress(30_000)
    assert ended["ended"] == "vault: its password isn't that of the repository, or the repository is another one"


def test_one_that_is_at_work_is_let_be(server):
    begin()
    (server / "bin/systemctl").write_text(AT_WORK.format(home=server / "run/a-run"))
    before = (server / "run/a-run/told").read_text()
    with pytest.raises(SystemExit, match="a copy or a restore goes on there already: systemctl status idr-copy"):
        begin(run="another")
    assert (server / "run/a-run/told").read_text() == before and not (server / "run/another").exists()
    with pytest.raises(SystemExit, match="idr-copy.service doesn't end"):
        unit.end({"run": "a-run"}, None)


def test_a_unit_that_cannot_begin_is_told_and_leaves_no_secret(server):
    (server / "bin/systemd-run").write_text("#!/bin/sh\necho 'Failed to start transient service' >&2; exit 1\n")
    with pytest.raises(SystemExit, match="Failed to start transient service"):
        begin()
    assert not (server / "run/a-run/asked").exists()
