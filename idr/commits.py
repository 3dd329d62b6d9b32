"""Commits of this checkout: which one it is at, and whether it may follow the one that is deployed."""

import re
import subprocess

from idr.checkout import CHECKOUT

SHOWN = 12  # characters of a commit's name, in what people read


def here():
    """This checkout's commit, and why it can't be installed: ``(commit, problems)``."""
    try:
        unclean = _git("status", "--porcelain").splitlines()
        commit = _git("rev-parse", "HEAD").strip()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        why = getattr(error, "stderr", "") or error
        return "", [
            f"{CHECKOUT}: not a git checkout with a commit, and a commit is what is installed: {str(why).strip()}"
        ]
    if unclean:
        names = ", ".join(line[3:] for line in unclean[:3]) + (", …" if len(unclean) > 3 else "")
        return commit, [
            f"{CHECKOUT}: {names} isn't committed, and a commit is what is installed: commit it, or take it away"
        ]
    return commit, []


def fence(deployed, commit, named):
    """
    Why COMMIT may not take the deployed one's place, one line each. It has to be its descendant, or named by whoever
    means it, so that nobody undoes by chance what somebody else has deployed.

    deployed:  the commit that the master has, None if it has none
    named:     the beginning of a commit's name, or None
    """
    if named is not None:
        if re.fullmatch("[0-9a-f]{7,40}", str(named)) and commit.startswith(str(named)):
            return []
        return [f"commit={named}: this checkout is at {commit}; name that, by seven characters or more"]
    if not commit or deployed in (None, commit):
        return []
    mend = f"If it is meant, name it: commit={commit[:SHOWN]}"
    if not known(deployed):
        return [
            f"this checkout doesn't know what is deployed, {deployed[:SHOWN]}, so {commit[:SHOWN]} may lack what it "
            f"has: git fetch. {mend}"
        ]
    if _says_yes("merge-base", "--is-ancestor", deployed, commit):
        return []
    lost = between(commit, deployed)
    return [
        f"{commit[:SHOWN]} isn't a descendant of the deployed {deployed[:SHOWN]} and would take back "
        f"{len(lost)} commit{'s' * (len(lost) != 1)} (git log {commit[:SHOWN]}..{deployed[:SHOWN]}): git pull. {mend}"
    ]


def compared(deployed):
    """Where the deployed commit is, seen from this checkout's."""
    commit = _git("rev-parse", "HEAD").strip()
    if deployed is None:
        return "nothing is deployed"
    if deployed == commit:
        return "this checkout's"
    if not known(deployed):
        return "not known to this checkout"
    behind, ahead = len(between(deployed, commit)), len(between(commit, deployed))
    places = [f"{count} {what} this checkout" for count, what in ((behind, "behind"), (ahead, "ahead of")) if count]
    return " and ".join(places)


def known(commit):
    """Whether this checkout has that commit."""
    if not re.fullmatch("[0-9a-f]{40}", commit or ""):
        return False
    return _says_yes("cat-file", "-e", f"{commit}^{{commit}}")


def between(old, new):
    """What NEW has and OLD hasn't, a line for each commit, the newest first."""
    return _git("log", "--oneline", f"--abbrev={SHOWN}", f"{old}..{new}").splitlines()


def archive(commit, path):
    """Write a commit's files to a tar file."""
    _git("archive", "--format=tar", f"--output={path}", commit)


def _says_yes(*words):
    return subprocess.run(["git", "-C", CHECKOUT, *words], capture_output=True).returncode == 0


def _git(*words):
    return subprocess.run(["git", "-C", CHECKOUT, *words], capture_output=True, text=True, check=True).stdout
