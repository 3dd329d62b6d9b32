"""What enrolment does on a server, done here in a directory of the test's own."""

import io
import json
import os
import stat
import tarfile

import pytest

from idr import on_server


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name, place in {
        "SALT": "opt/salt",
        "PKI": "pki",
        "RELEASES": "srv/releases",
        "CURRENT": "srv/current",
        "NEXT": "srv/next",
        "PILLAR": "pillar",
        "NEXT_PILLAR": "next_pillar",
        "FILE_LISTS": "file_lists",
    }.items():
        monkeypatch.setattr(on_server, name, tmp_path / place)
    return tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def tar(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mtime = len(text), 0
            archive.addfile(about, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


def test_passwords_are_made_once_and_are_roots_alone(root):
    wanted = {"secrets": {"idr/database": {"password": None}, "idr-a/omero": {"public_password": "public"}}}
    on_server.make_secrets(wanted, None)
    made = json.loads((root / "pillar/secrets/idr/database.sls").read_text())
    wanted["secrets"]["idr/database"]["readonly_password"] = None
    on_server.make_secrets(wanted, None)

    again = json.loads((root / "pillar/secrets/idr/database.sls").read_text())["secrets"]["database"]
    assert again["password"] == made["secrets"]["database"]["password"]
    assert len(again["password"]) == len(again["readonly_password"]) == 40
    assert again["password"] != again["readonly_password"]
    assert json.loads((root / "pillar/secrets/idr-a/omero.sls").read_text()) == {
        "secrets": {"omero": {"public_password": "public"}}
    }
    paths = ("pillar/secrets", "pillar/secrets/idr", "pillar/secrets/idr/database.sls")
    assert [mode(root / path) for path in paths] == [0o700, 0o700, 0o600]


def test_facts_tell_which_passwords_there_are_and_never_what_they_are(root):
    on_server.make_secrets({"secrets": {"idr/database": {"password": "hunter2"}}}, None)

    facts = on_server.facts({"files": [], "units": {}, "secrets": ["idr/database", "idr/omero"]}, None)

    assert facts["secrets"] == {"idr/database": ["password"], "idr/omero": []}
    assert "hunter2" not in json.dumps(facts)


def test_a_files_facts_change_with_its_content_and_its_mode(root):
    path = root / "etc/salt/minion"

    def fact():
        return on_server.facts({"files": [str(path)], "units": {}, "secrets": []}, None)["files"][str(path)]

    seen = [fact()]
    for text, permissions in (("a", 0o640), ("b", 0o640), ("b", 0o600)):
        on_server.put({"files": {str(path): (text, permissions)}}, None)
        assert (path.read_text(), mode(path)) == (text, permissions)
        seen.append(fact())
    assert len(set(seen)) == 4
    assert [entry.name for entry in path.parent.iterdir()] == ["minion"]


def test_a_key_that_is_set_is_the_only_one_of_its_name(root):
    for folder in ("minions_pre", "minions_denied", "minions_rejected", "minions"):
        (root / "pki/master" / folder).mkdir(parents=True)
        (root / "pki/master" / folder / "idr-omero").write_text("another")
    (root / "pki/master/minions_pre/stranger").write_text("a stranger's")

    on_server.set_keys({"accept": {"idr-omero": "its own"}}, None)

    keys = on_server.facts({"files": [], "units": {}, "secrets": []}, None)["keys"]
    assert keys == {
        "accepted": {"idr-omero": "its own"},
        "pending": {"stranger": "a stranger's"},
        "rejected": {},
        "denied": {},
    }


def test_a_release_is_there_whole_before_the_link_leads_to_it(root):
    on_server.install_release({"commit": "one"}, tar(file="1"))
    (root / "srv/releases/two.unpacked").mkdir()
    (root / "srv/releases/two.unpacked/half").write_text("of a run that was cut off")
    on_server.install_release({"commit": "two"}, tar(file="2"))

    assert (root / "srv/current/file").read_text() == "2"
    assert sorted(path.name for path in (root / "srv/releases/two").iterdir()) == ["file"]
    assert (root / "srv/current/file").stat().st_mtime > 0
    on_server.install_release({"commit": "one"}, io.BytesIO())
    assert (root / "srv/current/file").read_text() == "1"


def test_a_release_that_is_cut_off_on_its_way_changes_nothing(root):
    on_server.install_release({"commit": "one"}, tar(file="1"))

    with pytest.raises(SystemExit):
        on_server.install_release({"commit": "two"}, io.BytesIO(tar(file="2" * 4000).read()[:1500]))

    assert (root / "srv/current/file").read_text() == "1"


def candidate(commit, stream, **kwargs):
    on_server.bring_candidate({"commit": commit, "site": {}, "secrets": {}, **kwargs}, stream)


def test_a_candidate_is_beside_the_release_and_brings_only_what_will_be_otherwise(root):
    on_server.install_release({"commit": "one"}, tar(file="1"))
    on_server.make_secrets({"secrets": {"idr/omero": {"root_password": None}}}, None)
    here = (root / "pillar/secrets/idr/omero.sls").read_text()
    (root / "file_lists").mkdir()
    for name in ("base.p", "next.p", "next.w"):
        (root / "file_lists" / name).touch()

    missing = {"idr/omero": {"root_password": None, "public_password": None}}
    candidate("two", tar(file="2"), site={f"{root}/pillar/site.sls": "a: 1\n"}, secrets=missing)

    assert ((root / "srv/current/file").read_text(), (root / "srv/next/file").read_text()) == ("1", "2")
    assert on_server.candidate({}, None) == "two"
    assert [path.name for path in (root / "file_lists").iterdir()] == ["base.p"]
    assert (root / "pillar/secrets/idr/omero.sls").read_text() == here
    passwords = json.loads((root / "next_pillar/secrets/idr/omero.sls").read_text())["secrets"]["omero"]
    assert passwords["root_password"] == json.loads(here)["secrets"]["omero"]["root_password"]
    assert len(passwords["public_password"]) == 40
    assert (root / "next_pillar/site.sls").read_text() == "a: 1\n" and mode(root / "next_pillar") == 0o700

    candidate("one", io.BytesIO())
    assert list((root / "next_pillar").iterdir()) == []


def test_old_releases_are_forgotten_but_never_one_in_use(root):
    for number in range(9):
        on_server.install_release({"commit": f"r{number}"}, tar(file="x"))
        os.utime(root / f"srv/releases/r{number}", (number, number))
    candidate("r3", io.BytesIO())
    on_server.install_release({"commit": "r0"}, tar(file="x"))

    there = sorted(path.name for path in (root / "srv/releases").iterdir())
    assert there == ["r0", "r3", "r4", "r5", "r6", "r7", "r8"]


ASKED = {"unit": on_server.DEPLOY, "action": None, "report": "report"}


def record(path, *events):
    with open(path, "a") as file:
        file.writelines(json.dumps({"tag": tag, "data": data}) + "\n" for tag, data in events)


def test_progress_is_what_servers_began_and_ended_since_the_last_look(root, monkeypatch):
    events, report = root / "events.jsonl", root / "report.json"
    monkeypatch.setattr(on_server, "EVENTS", events)
    monkeypatch.setattr(on_server, "_going_on", {on_server.DEPLOY: str(report)}.get)
    record(events, ("salt/job/1/new", {"fun": "state.highstate", "minions": ["of before"]}))
    asked = {"unit": on_server.DEPLOY, "action": None, "report": str(report), "offset": events.stat().st_size}
    states = {"a": {"changes": {"x": 1}, "result": True}, "b": {"changes": {}, "result": False}}
    record(
        events,
        ("salt/job/2/new", {"fun": "state.highstate", "minions": ["idr-omero"]}),
        ("salt/job/3/new", {"fun": "test.ping", "minions": ["idr-omero"]}),
        ("salt/job/2/ret/idr-omero", {"fun": "state.highstate", "id": "idr-omero", "return": states}),
    )
    with open(events, "a") as file:
        file.write('{"tag": "half')

    said = on_server.progress(asked, None)

    assert said["events"] == [
        {"began": ["idr-omero"]},
        {"ended": "idr-omero", "states": 2, "changed": 1, "failed": 1},
    ]
    assert said["report"] is None
    report.write_text("the report")
    monkeypatch.setattr(on_server, "_going_on", lambda unit: None)
    said = on_server.progress({**asked, "offset": said["offset"]}, None)
    assert (said["events"], said["report"]) == ([], "the report")


def test_who_joins_later_is_told_what_comes_from_then_on(root, monkeypatch):
    monkeypatch.setattr(on_server, "EVENTS", root / "events.jsonl")
    monkeypatch.setattr(on_server, "PATIENCE", 0)
    monkeypatch.setattr(on_server, "_going_on", lambda unit: "report")
    assert on_server.progress(ASKED | {"offset": None}, None)["events"] == []
    record(on_server.EVENTS, ("salt/job/2/new", {"fun": "state.highstate", "minions": ["idr-omero"]}))

    said = on_server.progress(ASKED | {"offset": None}, None)

    assert (said["events"], said["offset"]) == ([], on_server.EVENTS.stat().st_size)


def test_a_rotated_record_is_read_from_its_beginning(root, monkeypatch):
    events = root / "events.jsonl"
    monkeypatch.setattr(on_server, "EVENTS", events)
    monkeypatch.setattr(on_server, "_going_on", lambda unit: "report")
    record(events, ("salt/job/2/new", {"fun": "state.highstate", "minions": ["idr-omero"]}))

    said = on_server.progress(ASKED | {"offset": 10_000}, None)

    assert said["events"] == [{"began": ["idr-omero"]}]


def test_of_an_action_its_own_milestones_are_the_progress(root, monkeypatch):
    monkeypatch.setattr(on_server, "EVENTS", root / "events.jsonl")
    monkeypatch.setattr(on_server, "_going_on", lambda unit: "report")
    record(
        on_server.EVENTS,
        ("salt/job/2/new", {"fun": "state.highstate", "minions": ["idr-omero"]}),
        ("idr/environment/apply/progress", {"message": "another's"}),
        ("idr/backup/create/progress", {"message": "omero-data goes on after 3.1 s"}),
        ("idr/action", {"what": "backup.create"}),
    )

    said = on_server.progress(ASKED | {"action": "backup/create", "offset": 0}, None)

    assert said["events"] == [{"said": "omero-data goes on after 3.1 s"}]


def test_a_runner_is_begun_in_its_unit_for_whoever_became_root_and_old_reports_go(root, monkeypatch):
    asked = []
    monkeypatch.setattr(on_server, "_run", lambda *command: asked.append(command))
    monkeypatch.setattr(on_server, "REPORTS", root / "log")
    monkeypatch.setattr(on_server, "EVENTS", root / "events.jsonl")
    monkeypatch.setenv("SUDO_USER", "ada")
    (root / "log/backup").mkdir(parents=True)
    for number in range(25):
        (root / f"log/backup/20251125T0300{number:02}Z-create.json").touch()
    words = ["backup.create", "idr", "apply=True"]

    began = on_server.begin(
        {"unit": "idr-backup.service", "folder": "backup", "of": "create", "words": words, "action": "backup/create"},
        None,
    )

    [command] = asked
    assert command[0] == "systemd-run" and command[-5:] == (str(root / "opt/salt/bin/salt-run"), "--out=json", *words)
    report = began["report"]
    assert {"--unit=idr-backup.service", f"--description={report}", f"--property=StandardOutput=file:{report}"} <= set(
        command
    )
    assert "--setenv=SUDO_USER=ada" in command and began["offset"] == 0
    assert len(list((root / "log/backup").iterdir())) == 20
    monkeypatch.setattr(on_server, "_going_on", {"idr-backup.service": report}.get)
    assert on_server.going_on({"unit": "idr-backup.service"}, None) == report
    monkeypatch.setattr(on_server, "PATIENCE", 0)
    assert on_server.progress(began, None)["report"] is None


def test_what_a_runner_prints_is_told_with_what_it_complains_of(root):
    (root / "opt/salt/bin").mkdir(parents=True)
    (root / "opt/salt/bin/salt-run").write_text('#!/bin/sh\necho "$*"; echo "a complaint" >&2; exit 1\n')
    (root / "opt/salt/bin/salt-run").chmod(0o755)

    assert on_server.answer({"words": ["backup.create", "idr"]}, None) == (
        "--out=json backup.create idr\na complaint\n"
    )


def test_what_a_module_tells_of_its_own_action_is_progress_too(root, monkeypatch):
    monkeypatch.setattr(on_server, "EVENTS", root / "events.jsonl")
    monkeypatch.setattr(on_server, "_going_on", lambda unit: "report")
    said = {"id": "idr-proxy", "tag": "idr/nginx_cache/refresh", "data": {"message": "12 refreshed"}}
    record(on_server.EVENTS, ("idr/nginx_cache/refresh", said), ("idr/nginx_cache/purge", said))

    told = on_server.progress(ASKED | {"action": "nginx_cache/refresh", "offset": 0}, None)

    assert told["events"] == [{"said": "12 refreshed"}]
