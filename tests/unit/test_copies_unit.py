"""What a server is sent to copy runs there in a unit, and of what opens the repository nothing stays."""

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
case "$*" in *snapshots*) echo '[{{"tags": ["idr_set=a", "idr_volume=v", "c"]}}]' ;; esac
"""
WHERE = {
    "name": "vault", "repository": "s3:https://s3.example.org/idr", "password": "correct horse battery",
    "environment": {"AWS_ACCESS_KEY_ID": "an-id"}, "ssh_key": "", "known_hosts": "",
}  # fmt: skip
SEAL = {"deed": "seal", "having": "idr_set=a", "each": ["idr_volume=v"], "tags": [["b"], ["c"]], "repository": WHERE}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A place for a server whose systemd runs a unit at once, and by the system's own python3."""
    programs = tmp_path / "bin"
    programs.mkdir()
    commands = {"systemd-run": RUNS, "systemctl": "#!/bin/sh\necho inactive\n"}
    commands["restic"] = RESTIC.format(log=tmp_path / "restic")
    for name, text in commands.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    monkeypatch.setattr(unit, "HOME", tmp_path / "run")
    return tmp_path


def begin(asked=SEAL, aside=None):
    unit.begin({"files": copying.sent(), "asked": asked, "aside": aside}, None)


def progress(offset):
    return told_on_server.progress({"unit": unit.UNIT, "home": str(unit.HOME), "offset": offset}, None)


def test_what_is_sent_runs_and_its_result_comes_back(server):
    begin()

    said = progress(0)

    assert said["told"] == [{"said": "vault: checking what is there"}, {"result": {}}] and said["ended"] == ""
    check, tag, _ = (server / "restic").read_text().splitlines()
    opened_by = "s3:https://s3.example.org/idr correct horse battery an-id"
    assert check.startswith(opened_by) and check.endswith("check --quiet") and tag.endswith("--remove=b --add=c")


def test_nothing_of_what_opens_the_repository_is_an_argument_or_stays_in_a_file(server):
    begin(aside="/var/lib/pgsql/.idr-copy")

    words = (server / "words").read_text()
    assert "--property=ExecStopPost=/bin/rm -rf /var/lib/pgsql/.idr-copy" in words
    assert "--property=RuntimeDirectory=idr-copy-secret" in words and "--property=PrivateMounts=yes" in words
    assert "correct horse" not in words
    left = [path for path in (server / "run").rglob("*") if path.is_file() and b"correct horse" in path.read_bytes()]
    assert left == [] and (server / "run").stat().st_mode & 0o077 == 0
    unit.end({}, None)
    assert not (server / "run").exists()


def test_what_ends_it_comes_back_as_a_line(server):
    (server / "bin/restic").write_text("#!/bin/sh\necho 'Fatal: wrong password or no key found' >&2; exit 1\n")
    begin()
    ended = progress(30_000)
    assert ended["ended"] == "vault: its password isn't that of the repository, or the repository is another one"


def test_one_that_is_at_work_is_let_be(server):
    begin()
    (server / "bin/systemctl").write_text("#!/bin/sh\necho active\n")
    before = (server / "run/told").read_text()
    with pytest.raises(SystemExit, match="a copy or a restore goes on there already: systemctl status idr-copy"):
        begin()
    assert (server / "run/told").read_text() == before
    with pytest.raises(SystemExit, match="idr-copy.service doesn't end"):
        unit.end({}, None)


def test_a_unit_that_cannot_begin_is_told_and_leaves_no_secret(server):
    (server / "bin/systemd-run").write_text("#!/bin/sh\necho 'Failed to start transient service' >&2; exit 1\n")
    with pytest.raises(SystemExit, match="Failed to start transient service"):
        begin()
    assert not (server / "run/asked").exists()
