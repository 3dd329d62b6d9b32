"""What restic complains of is told in a line, without what opens the repository; its own words for it are many."""

import json

import pytest

from idr.copies.restic import Failed, Missing, OnlyAdds, Repository

OPENED_BY = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-word", "OS_IDENTITY_API_VERSION": "1"}
ASKED = {
    "name": "vault", "repository": "s3:https://s3.example.org/idr", "password": "correct horse battery",
    "environment": OPENED_BY, "ssh_key": "", "known_hosts": "", "ca": "",
}  # fmt: skip
WHERE = "\nIs there a repository at the following location?\ns3:https://s3.example.org/idr"


@pytest.fixture
def complains(tmp_path, monkeypatch):
    def complains(text):
        (tmp_path / "restic").write_text(f"#!/bin/sh\ncat >&2 <<'.'\n{text}\n.\nexit 1\n")
        (tmp_path / "restic").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        with pytest.raises(Failed) as failed:
            Repository(ASKED, tmp_path).snapshots()
        assert "\n" not in str(failed.value)
        return failed.value

    return complains


@pytest.mark.parametrize(
    "said",
    [
        "<config/> does not exist", "Stat: The specified key does not exist.", "conn.Object: Object Not Found",
        "Stat: The specified bucket does not exist.", "storage: object doesn't exist",
        "stat /srv/idr/config: no such file or directory",
    ],
)  # fmt: skip
def test_there_is_no_repository_yet(complains, said):
    told = complains(f"Fatal: unable to open config file: {said}{WHERE}")
    assert isinstance(told, Missing) and str(told) == "vault: there is no repository at s3:https://s3.example.org/idr"


@pytest.mark.parametrize(
    "said",
    [
        "Stat: The AWS Access Key Id you provided does not exist in our records.",
        "Stat: The request signature we calculated does not match the signature you provided. Check your key.",
        "unexpected HTTP response (401): 401 Unauthorized", "dial tcp: lookup vault: no such host",
    ],
)  # fmt: skip
def test_what_keeps_from_looking_is_no_repository_that_is_missing(complains, said):
    told = complains(f"Fatal: unable to open config file: {said}{WHERE}")
    assert not isinstance(told, Missing)
    assert str(told) == f"vault: restic snapshots: exit 1: Fatal: unable to open config file: {said}"


def test_what_opens_it_is_not_told_but_what_is_no_secret_spoils_no_line(complains):
    assert str(complains("Fatal: an-id, a-word")) == "vault: restic snapshots: exit 1: Fatal: *****, *****"


@pytest.mark.parametrize(
    "why",
    ["blob not removed, server response: 403 Forbidden (403)", "client.RemoveObject: Access Denied.",
     "sftp: \"permission denied\" (SSH_FX_PERMISSION_DENIED)"],
)  # fmt: skip
def test_a_place_where_nothing_is_removed_is_known_by_that_and_not_by_its_locks(complains, why):
    assert isinstance(complains(f"Remove(<snapshot/4e6790ca1f>) returned error, retrying after 5ms: {why}"), OnlyAdds)
    assert not isinstance(complains(f"Remove(<lock/4e6790ca1f>) returned error, retrying after 5ms: {why}"), OnlyAdds)


LISTED = [
    {"id": "a", "tree": "t", "tags": None},
    {"id": "b", "tree": "t", "original": "a", "tags": ["idr_phase=taking", "idr_retold=1"]},
    {"id": "d", "tree": "t", "original": "a", "tags": ["idr_phase=good", "idr_retold=10"]},
    {"id": "c", "tree": "t", "original": "a", "tags": ["idr_phase=going", "idr_retold=9"]},
    {"id": "e", "tree": "another", "original": "a", "tags": ["idr_retold=11"]},
    {"id": "f", "tree": "t", "tags": ["idr_phase=good"]},
]


def test_of_a_snapshot_that_is_there_in_many_versions_the_last_counts_and_they_go_together(tmp_path, monkeypatch):
    (tmp_path / "restic").write_text(f"#!/bin/sh\necho '{json.dumps(LISTED)}'\necho \"$@\" >> {tmp_path}/words\n")
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    repository = Repository(ASKED, tmp_path)

    d, e, f = repository.snapshots()

    assert [(it["id"], it["tags"], it["before"]) for it in (d, e, f)] == [
        ("d", ["idr_phase=good"], ["c", "b", "a"]), ("e", [], []), ("f", ["idr_phase=good"], []),
    ]  # fmt: skip
    repository.retag([d, f], ["idr_phase=good"], ["idr_phase=going"])
    repository.forget([d])
    assert (tmp_path / "words").read_text().splitlines()[1:] == [
        "--no-cache tag --set=idr_phase=going --set=idr_retold=11 d",
        "--no-cache tag --set=idr_phase=going --set=idr_retold=1 f",
        "--no-cache forget --prune --quiet d c b a",
    ]
