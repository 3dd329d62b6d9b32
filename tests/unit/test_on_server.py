"""What enrolment does on a server, done here in a directory of the test's own."""

import io
import json
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
