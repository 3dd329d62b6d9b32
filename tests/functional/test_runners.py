"""Runners as an operator types them: the real `salt-run` of a checkout, its exit code and what it says."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def checkout(repo, tmp_path_factory):
    """A clean checkout of what is here, with the virtual environment of this one, and a home of its own."""
    place = tmp_path_factory.mktemp("operator") / "checkout"
    listed = subprocess.run(
        ["git", "-C", repo, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if not (repo / name).exists() and not (repo / name).is_symlink():
            continue
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repo / name, place / name, follow_symlinks=False)
    git = ["git", "-C", place, "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    (place / ".venv/bin").mkdir(parents=True)
    for command in ("salt-run", "salt-call"):
        script = place / ".venv/bin" / command
        python = repo / ".venv/bin/python"
        script.write_text(
            f"#!{python}\nimport sys\nsys.path[0] = {str(place)!r}\nfrom idr.checkout import main\nmain()\n"
        )
        script.chmod(0o755)
    (place.parent / "home").mkdir()
    return place


@pytest.fixture
def site(checkout, repo):
    """The operator's directory of environment `idr`, which says where its servers are and nothing else."""
    place = checkout.parent / "home/.config/idr/idr"
    place.mkdir(parents=True)
    place.chmod(0o700)
    shutil.copy(repo / "lab/by_hand/environment.sls", place)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def salt_run(checkout, site):
    """Type a command of the checkout's .venv/bin, anywhere; SSH and git are those in `path` first."""

    def run(*words, cwd=None, path=""):
        home = checkout.parent / "home"
        environment = {"HOME": str(home), "PATH": f"{path}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        return subprocess.run(
            [checkout / ".venv/bin" / words[0], *words[1:]],
            cwd=cwd or checkout, env=environment, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture
def unreachable(tmp_path):
    """An `ssh` that reaches nobody and remembers that it was asked."""
    asked = tmp_path / "asked"
    (tmp_path / "ssh").write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f"echo \"$last\" | tail -n 1 >> {asked}\necho 'connect to host: No route' >&2\nexit 255\n"
    )
    (tmp_path / "ssh").chmod(0o755)
    return tmp_path


def answer(done):
    return json.loads(done.stdout[done.stdout.index("{") :])


def test_it_works_the_first_time_and_wherever_it_is_typed(salt_run, checkout):
    assert not (checkout / ".salt").exists()
    for cwd in (checkout, checkout / "pillar", Path("/")):
        done = salt_run("salt-run", "--out=json", "environment.check", cwd=cwd)
        assert done.returncode == 1
        assert answer(done)["problems"] == ["only an environment's own master can ask its servers: ssh <env>-proxy"]
        assert done.stderr == ""


def test_no_masters_bus_is_looked_for(salt_run):
    done = salt_run("salt-run", "--log-level=debug", "environment.check")

    assert "[DEBUG" in done.stderr
    assert "master_event_pull" not in done.stderr


def test_salt_call_asks_no_master(salt_run, checkout):
    done = salt_run("salt-call", "--out=json", "--id=idr-omero", "state.show_top", cwd=checkout / "docs")

    assert done.returncode == 0, done.stderr
    assert answer(done) == {"local": {"base": ["roles.omero"]}}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["idr", "aply=True"], "aply: unknown argument; it takes env, apply, replace, commit, site"),
        ([], "env: missing; it takes env, apply, replace, commit, site"),
        (["idr", "apply=please"], "apply: True or False, not 'please'"),
        (["idr.sls"], "idr.sls: no name of an environment, which is of small letters and digits, e.g. newidr"),
        (["idr", "site=somewhere"], "site: has to be the absolute path of a directory that is there, not somewhere"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line_and_a_failure(salt_run, unreachable, words, problem):
    done = salt_run("salt-run", "--out=json", "environment.enrol", *words, path=unreachable)

    assert done.returncode == 1
    assert answer(done)["problems"] == [problem]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (unreachable / "asked").exists()


def test_all_that_is_wrong_is_told_at_once(salt_run, unreachable, checkout, site):
    site.chmod(0o755)
    (site / "site.sls").write_text("nginx: {upstream: [idr-omer]}\n")
    stray = checkout / "salt/stray.sls"
    stray.write_text("{}\n")
    try:
        done = salt_run(
            "salt-run", "--out=json", "environment.enrol", "idr", "apply=True", "replace=idr-omer", path=unreachable
        )
    finally:
        stray.unlink()

    assert done.returncode == 1
    problems = answer(done)["problems"]
    assert f"{site}: others may look into it, and it holds secrets: chmod 700 {site}" in problems
    assert (
        f"{checkout}: salt/stray.sls isn't committed, and a commit is what is installed: commit it, or take it away"
        in problems
    )
    assert "idr-proxy: nginx.upstream[0]: idr-omer is no server with OMERO.web in the network idr" in problems
    assert "idr-proxy: unreachable by SSH: connect to host: No route" in problems
    assert "idr-omero: not looked at, since it's reached through idr-proxy" in problems
    assert any(problem.startswith("idr-omer: replace= names no server of idr") for problem in problems)
    assert all(line.endswith(" facts") for line in (unreachable / "asked").read_text().splitlines())


def test_servers_that_nobody_knows_of_are_a_line_that_says_who_could(salt_run, unreachable, site):
    done = salt_run("salt-run", "--out=json", "environment.enrol", "newidr", path=unreachable)

    assert done.returncode == 1
    [problem] = answer(done)["problems"]
    assert problem.startswith(f"newidr: there is no {site.parent}/newidr/environment.sls, which would say where")
    assert "Traceback" not in done.stdout + done.stderr
    assert not (unreachable / "asked").exists()


def test_a_broken_table_is_told_with_its_place(salt_run, unreachable, site):
    table = site / "environment.sls"
    table.write_text(table.read_text().replace("role: omero", "role: omreo", 1))
    for command in ("enrol", "update", "show", "ssh_config"):
        done = salt_run("salt-run", "--out=json", f"environment.{command}", "idr", path=unreachable)

        assert done.returncode == 1
        assert answer(done)["problems"] == [
            f"{table}: environment.servers.idr-omero.role: unknown role 'omreo'; "
            "roles are proxy, omero, database, dockermanager, management"
        ]
    assert not (unreachable / "asked").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["idr", "appply=True"], "appply: unknown argument; it takes env, apply, commit, even_if, site"),
        (["idr", "even_if=yes-I-mean-it"], "even_if: only `failing` can be said, not yes-I-mean-it"),
        (["idr.sls"], "idr.sls: no name of an environment, which is of small letters and digits, e.g. newidr"),
    ],
)
def test_an_update_with_a_mistake_in_its_arguments_asks_nobody(salt_run, unreachable, words, problem):
    done = salt_run("salt-run", "--out=json", "environment.update", *words, path=unreachable)

    assert done.returncode == 1
    assert answer(done)["problems"] == [problem]
    assert not (unreachable / "asked").exists()


def test_an_update_that_reaches_nobody_is_refused_and_has_only_looked(salt_run, unreachable):
    done = salt_run("salt-run", "--out=json", "environment.update", "idr", "apply=True", path=unreachable)

    assert done.returncode == 1
    assert "idr-proxy: unreachable by SSH: connect to host: No route" in answer(done)["problems"]
    assert (unreachable / "asked").read_text().splitlines()[-1].endswith(" facts")


@pytest.mark.parametrize("apply", [[], ["apply=True"]])
def test_a_backup_goes_to_the_master_and_one_that_isnt_reached_is_one_line(salt_run, unreachable, apply):
    done = salt_run("salt-run", "--out=json", "backup.create", "idr", *apply, path=unreachable)

    assert done.returncode == 1
    assert answer(done)["comment"] == "idr-proxy: unreachable by SSH: connect to host: No route"
    assert (unreachable / "asked").read_text().split()[-1] == ("going_on" if apply else "answer")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_database_is_upgraded_on_the_environments_master_alone(salt_run, unreachable):
    done = salt_run("salt-run", "--out=json", "omero.upgrade_database", "idr", "apply=True", path=unreachable)

    assert done.returncode == 1
    assert answer(done)["problems"] == ["idr: only its own master can; type it there: ssh idr-proxy"]
    assert not (unreachable / "asked").exists() and "Traceback" not in done.stdout + done.stderr


def test_an_environment_that_nobody_reaches_is_shown_as_a_table_and_as_a_failure(salt_run, unreachable):
    done = salt_run("salt-run", "environment.show", "idr", path=unreachable)

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if "192.168." in line] == [
        "idr-proxy", "idr-omero", "idr-database", "idr-a-omero", "idr-a-database", "idr-a-dockermanager",
    ]  # fmt: skip
    assert "idr-proxy: unreachable by SSH: connect to host: No route" in lines
    assert "idr-omero: not looked at, since it's reached through idr-proxy" in lines

    done = salt_run("salt-run", "--out=json", "environment.show", "idr", "drift=False", path=unreachable)
    assert done.returncode == 1 and len(answer(done)["down"]) == 6


def test_what_ssh_config_prints_is_a_configuration_of_openssh(salt_run, tmp_path):
    done = salt_run("salt-run", "environment.ssh_config", "idr", "user=ada")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "config").write_text(done.stdout)

    read = subprocess.run(
        ["ssh", "-G", "-F", tmp_path / "config", "idr-a-tunnel-jupyterhub"], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert {"user ada", "proxyjump idr-proxy", "localforward 8000 [localhost]:8000"} <= set(read)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_checkout_of_somebody_else_is_told_so(repo):
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to others
        os.chmod(place, 0o755)
        (Path(place) / "idr").mkdir()
        (Path(place) / "idr/__init__.py").touch()
        shutil.copy(repo / "idr/checkout.py", Path(place) / "idr")
        typed = (
            f"import sys; sys.path.insert(0, {place!r}); sys.argv = ['salt-run']; import idr.checkout as c; c.main()"
        )
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", typed],
            capture_output=True, text=True,
        )  # fmt: skip

        assert done.returncode == 1
        assert done.stderr == (
            f"salt-run: {place} is another user's. Use a checkout of your own: git clone {place}; make venv\n"
        )


def test_each_action_is_recorded(salt_run, checkout):
    salt_run("salt-run", "environment.check")
    record = checkout.parent / "home/.local/state/idr/actions.jsonl"

    last = json.loads(record.read_text().splitlines()[-1])
    assert (last["what"], last["result"]) == ("environment.check", False)
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_release_that_fails_at_its_first_step_ends_there_and_fails(salt_run):
    given = {"new": "newidr", "from": "newidr", "production": "198.51.100.10", "even_if": {"check": "writes"}}

    done = salt_run("salt-run", "--out=json", "state.orchestrate", "orch.release", f"pillar={json.dumps(given)}")

    assert done.returncode == 1
    [steps] = answer(done)["data"].values()
    first, *others = sorted(steps.values(), key=lambda step: step["__run_num__"])
    assert first["changes"]["return"]["problems"] == ["newidr: can't be made from itself: from= is the live one"]
    assert [step["name"] for step in others] == ["release.check", "release.switch", "release.status"]
    assert {step["__state_ran__"] for step in others} == {False}
