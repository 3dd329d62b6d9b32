"""A destination for copies is refused with all that is wrong with its file, and never with what is secret in it."""

import pytest
import yaml

from idr.backup import destinations
from idr.errors import Refused

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"
GOOD = {
    "repository": "sftp:idr@vault.example.org:/srv/idr",
    "password": "correct horse battery",
    "keep": {"daily": 7, "verified": 2},
    "ssh_key": KEY,
    "known_hosts": "vault.example.org ssh-ed25519 AAAA",
}
S3 = {"repository": "s3:https://s3.example.org/idr", "ssh_key": "", "known_hosts": ""}


@pytest.fixture
def write(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "copies").mkdir()

    def write(**otherwise):
        said = {key: value for key, value in {**GOOD, **otherwise}.items() if value is not None}
        path = tmp_path / "copies/vault.yaml"
        path.write_text(yaml.safe_dump(said))
        path.chmod(0o600)
        return tmp_path

    return write


def problems(folder, name="vault"):
    with pytest.raises(Refused) as refused:
        destinations.read(folder, name)
    assert not [line for line in refused.value.problems if "correct horse" in line or "abc" in line]
    return [line.removeprefix(f"{folder}/copies/vault.yaml: ") for line in refused.value.problems]


def test_what_it_says_is_for_restic_and_is_not_shown_where_it_is_printed(write):
    found = destinations.read(write(), "vault")

    assert found.keep == {"daily": 7, "verified": 2} and found.name == "vault"
    asked = {key: value for key, value in GOOD.items() if key != "keep"}
    assert found.opened_by == asked | {"environment": {}, "ca": "", "name": "vault"}
    assert "correct horse" not in repr(found)
    assert destinations.read(write(**S3, environment={"AWS_ACCESS_KEY_ID": "x"}), "vault").opened_by["environment"]


@pytest.mark.parametrize(
    "repository",
    [
        "sftp:ada@vault:idr", "sftp://ada@vault:2222//srv/idr", "rest:https://ada:word@vault.example.org:8000/idr/",
        "s3:https://s3.example.org/bucket/idr", "s3:s3.amazonaws.com/bucket", "b2:bucket:idr", "azure:box:/idr",
        "gs:bucket:/idr", "swift:box:/idr",
    ],
)  # fmt: skip
def test_whatever_restic_reaches_from_every_server_is_a_place(write, repository):
    assert destinations.read(write(repository=repository), "vault").opened_by["repository"] == repository


@pytest.mark.parametrize(
    "repository",
    ["/srv/idr", "srv/idr", "./idr", "~/idr", "local:/srv/idr", "file:///srv/idr", "rclone:vault:idr", "S3:host/x",
     "s3:", "s3:host", "rest:vault.example.org", "rest:ftp://vault/",
     "C:\\idr", "ftp:vault:/idr", "sftp:", "rest:", "b2:", " s3:host/x"],
)  # fmt: skip
def test_what_is_another_place_on_each_server_or_none_is_refused_in_a_line(write, repository):
    [line] = problems(write(repository=repository))
    assert line.startswith("repository: ") and "\n" not in line


@pytest.mark.parametrize(
    ("otherwise", "why"),
    [
        ({"password": None}, "password: missing"),
        ({"password": "short"}, "password: has to have 12 characters or more"),
        ({"password": 123456789012}, "password: has to be a text"),
        ({"keep": None}, "keep: missing"),
        ({"keep": {"dayly": 7}}, "keep: has to be a number for any of hourly, daily, weekly, monthly, yearly"),
        ({"keep": {"daily": True}}, "keep: has to be a number"),
        ({"paswords": "x"}, "paswords: unknown; known are repository, password"),
        ({"repository": "/backup"}, "repository: one of sftp:…, rest:…"),
        ({"repository": "sftp:vault.example.org"}, "repository: sftp:user@host:/path, or with a port sftp://"),
        ({"repository": "sftp:-oProxyCommand=x:/srv"}, "repository: sftp:user@host:/path"),
        ({"ssh_key": None}, "ssh_key: missing, and sftp needs it"),
        ({"known_hosts": None}, "known_hosts: missing, and sftp needs it"),
        ({"ca": 5}, "ca: has to be a text"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": 5}}, "environment: has to be a mapping of texts"),
    ],
)
def test_what_is_wrong_with_it_is_told(write, otherwise, why):
    assert [line for line in problems(write(**otherwise)) if line.startswith(why)]


def test_all_of_it_is_told_at_once(write):
    assert len(problems(write(password="short", ssh_key=None, repository="/backup", keep={"daily": -1}))) == 3


def test_a_file_that_others_can_read_or_that_is_not_there_is_refused(write):
    folder = write()
    (folder / "copies/vault.yaml").chmod(0o640)
    assert problems(folder) == [f"has to be yours alone, since it holds secrets: chmod go= {folder}/copies/vault.yaml"]
    missing = f"{folder}/copies/tape.yaml: No such file or directory; destinations there: vault"
    assert problems(folder, "tape") == [missing]
    assert problems(folder, "../x")[0].startswith("../x: no name of a destination, which is of small letters")


def test_one_that_is_no_yaml_is_told_by_its_line_alone(write):
    folder = write()
    (folder / "copies/vault.yaml").write_text("password: correct horse battery\n  abc: [\n")
    assert problems(folder) == [f"{folder}/copies/vault.yaml, line 2: no YAML that can be read"]
    (folder / "copies/vault.yaml").write_text("- correct horse battery\n")
    assert problems(folder)[0].startswith("has to be a mapping of repository, password")
