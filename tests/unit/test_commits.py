"""Which commit may take the deployed one's place, asked of a real repository."""

import subprocess

import pytest

from idr import commits


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with the history  base -- deployed -- ours  and, beside it, base -- theirs."""
    monkeypatch.setattr(commits, "CHECKOUT", tmp_path)

    def git(*words):
        command = ["git", "-C", tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit(name):
        (tmp_path / name).touch()
        git("add", name)
        git("commit", "-q", "-m", f"Add {name}")
        return git("rev-parse", "HEAD")

    git("init", "-q", "-b", "main")
    made = {"base": commit("base")}
    git("checkout", "-q", "-b", "aside")
    made["theirs"] = commit("theirs")
    git("checkout", "-q", "main")
    made["deployed"] = commit("deployed")
    made["ours"] = commit("ours")
    return made


def test_a_descendant_and_the_same_may_follow_and_so_may_the_first(checkout):
    for deployed in (checkout["deployed"], checkout["base"], checkout["ours"], None):
        assert commits.fence(deployed, checkout["ours"], None) == []


def test_what_would_take_commits_back_is_refused_with_what_to_type(checkout):
    [line] = commits.fence(checkout["theirs"], checkout["ours"], None)

    assert "isn't a descendant of the deployed" in line and "would take back 1 commit (" in line
    assert line.endswith(f"If it is meant, name it: commit={checkout['ours'][:12]}")


@pytest.mark.parametrize("deployed", ["dev", "0" * 40, "--upload-pack=x"])
def test_what_isnt_known_here_is_refused(checkout, deployed):
    [line] = commits.fence(deployed, checkout["ours"], None)

    assert line.startswith(f"this checkout doesn't know what is deployed, {deployed[:12]}, ")


def test_a_named_commit_may_follow_anything_and_another_name_nothing(checkout):
    ours = checkout["ours"]
    for deployed in (checkout["theirs"], "dev", ours):
        assert commits.fence(deployed, ours, ours[:7]) == []
        for wrong in (checkout["theirs"], ours[:6], "", ours + "0"):
            [line] = commits.fence(deployed, ours, wrong)
            assert line.startswith(f"commit={wrong}: this checkout is at {ours}")


def test_only_a_clean_checkout_has_a_commit_to_install(checkout, tmp_path):
    assert commits.here() == (checkout["ours"], [])
    (tmp_path / "stray").touch()
    commit, [problem] = commits.here()
    assert commit == checkout["ours"] and "stray isn't committed" in problem


@pytest.mark.parametrize(
    ("deployed", "said"),
    [
        ("ours", "this checkout's"),
        ("base", "2 behind this checkout"),
        ("theirs", "2 behind this checkout and 1 ahead of this checkout"),
        (None, "nothing is deployed"),
        ("dev", "not known to this checkout"),
    ],
)
def test_the_deployed_commit_is_seen_from_here(checkout, deployed, said):
    assert commits.compared(checkout.get(deployed, deployed)) == said


def test_what_goes_along_is_told_newest_first(checkout):
    said = commits.between(checkout["base"], checkout["ours"])

    assert [line.split(" ", 1) for line in said] == [
        [checkout["ours"][:12], "Add ours"],
        [checkout["deployed"][:12], "Add deployed"],
    ]
