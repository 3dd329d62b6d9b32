"""The execution module `jupyterhub` and the hub's own service `draining`, beside a stand-in of JupyterHub's API."""

import importlib.util
import itertools
import json
import os
import stat
import time
import types

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.jupyterhub_api import TOKEN, Hub

DOCKER = """#!/bin/sh
case "$1" in
    ps) printf 'c1\\tada\\nc2\\tben\\n' ;;
    stats) printf 'c1\\t31.4MiB / 1GiB\\nc2\\t1.5GiB / 4GiB\\n' ;;
esac
"""


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def module(loaders, hub, tmp_path, monkeypatch):
    """The module of a dockermanager, with the stand-in as its hub and Docker, and its drain in a place of its own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made = loaders("idr-a-dockermanager").modules.jupyterhub
    for name, value in {"API": hub.url, "DRAIN": str(tmp_path / "drain.json")}.items():
        monkeypatch.setitem(made.servers.func.__globals__, name, value)
    return made


@pytest.fixture
def draining(repo, hub, tmp_path, monkeypatch):
    """The service, imported as the hub's configuration imports it."""
    source = repo / "salt/jupyterhub/files/draining.py"
    spec = importlib.util.spec_from_file_location("draining", source)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(made, "DRAIN", tmp_path / "drain.json")
    monkeypatch.setattr(made, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("JUPYTERHUB_API_URL", hub.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    return made


def on_disk(tmp_path):
    path = tmp_path / "drain.json"
    return json.loads(path.read_text()) if path.exists() else None


# --- who is on --------------------------------------------------------------------------------------------------------


def test_everyone_who_is_on_is_told_with_what_they_take(module, hub):
    hub.on("ada", "ben", "cai")

    assert module.servers() == {
        "servers": {
            "ada": {"started": "2026-11-24T00:38:15Z", "last_activity": "2026-11-24T00:38:15Z", "memory_mb": 33},
            "ben": {"started": "2026-11-24T00:38:15Z", "last_activity": "2026-11-24T00:38:15Z", "memory_mb": 1611},
            "cai": {"started": "2026-11-24T00:38:15Z", "last_activity": "2026-11-24T00:38:15Z", "memory_mb": None},
        },
        "draining": None,
    }


def test_more_users_than_the_hub_tells_at_once(module, draining, hub):
    hub.on(*(f"user{number:03}" for number in range(450)))

    assert len(module.servers()["servers"]) == 450
    assert len(draining.running()) == 450


def test_a_hub_that_is_down_is_said_in_one_line(module, hub):
    hub.close()

    for ask in (module.servers, module.drain, lambda: module.stop("ada")):
        with pytest.raises(CommandExecutionError, match=r"^JupyterHub doesn't answer \(.*refused.*\): systemctl"):
            ask()


def test_a_token_that_the_hub_does_not_know(module, hub, monkeypatch):
    monkeypatch.setattr("tests.functional.jupyterhub_api.TOKEN", "another")

    with pytest.raises(CommandExecutionError, match="^JupyterHub answers 403 to GET /users"):
        module.servers()


def test_it_is_on_the_docker_server_alone(loaders):
    assert "jupyterhub.servers" not in loaders("idr-a-omero").modules


# --- one server -------------------------------------------------------------------------------------------------------


def test_one_is_stopped_and_the_others_go_on(module, hub):
    hub.on("ada", "ben")
    hub.lingers = 2

    assert module.stop("ada", test=True) == {"would": "end ada's server, started 2026-11-24T00:38:15Z"}
    assert list(hub.users) == ["ada", "ben"]
    assert module.stop("ada") == {"did": "end ada's server, started 2026-11-24T00:38:15Z"}
    assert list(hub.users) == ["ben"]


def test_a_name_with_signs_of_urls_is_that_user_and_nobody_else(module, hub):
    hub.on("a/b?c@d.org")

    module.stop("a/b?c@d.org")
    assert hub.users == {}


def test_who_has_no_server_is_refused_with_who_has(module, hub):
    hub.on("ada", "ben")

    for user in ("cai", 7):
        with pytest.raises(CommandExecutionError, match=f"^{user} has no server. On now: ada, ben$"):
            module.stop(user)
    assert not [asked for asked in hub.asked if asked.startswith("DELETE")]


# --- a drain ----------------------------------------------------------------------------------------------------------


def test_what_a_drain_would_do_is_told_and_not_done(module, hub, loaders, tmp_path):
    hub.on("ada", "ben")

    no_more, ends = module.drain(30, test=True)["would"]
    assert no_more == "start no more servers" and ends.startswith("end 2 servers at 20") and ends.endswith(": ada, ben")
    assert module.undrain(test=True) == {"would": None}
    assert on_disk(tmp_path) is None and not [asked for asked in hub.asked if asked.startswith("DELETE")]


def test_a_state_run_in_test_mode_drains_nothing_either(module, hub, loaders, tmp_path, monkeypatch):
    rehearsing = loaders("idr-a-dockermanager", test=True).modules.jupyterhub
    for name in ("API", "DRAIN"):
        monkeypatch.setitem(rehearsing.drain.func.__globals__, name, module.drain.func.__globals__[name])
    hub.on("ada")

    assert "would" in rehearsing.drain() and "would" in rehearsing.stop("ada")
    assert on_disk(tmp_path) is None and list(hub.users) == ["ada"]


def test_a_drain_is_there_until_it_is_taken_away(module, hub, tmp_path):
    hub.on("ada")
    before = time.time()

    done = module.drain(30, notice="We move.")
    assert done["on"] == ["ada"] and done["notice"] == "We move."
    assert before + 1799 <= on_disk(tmp_path)["until"] <= time.time() + 1801
    assert stat.S_IMODE((tmp_path / "drain.json").stat().st_mode) == 0o600
    assert module.servers()["draining"] == {"until": done["until"], "notice": "We move."}

    module.drain(60, notice="Later.")
    assert module.servers()["draining"]["notice"] == "Later."
    assert module.undrain(test=True)["would"].startswith("end the drain until 20")
    assert module.undrain()["did"].startswith("end the drain until 20")
    assert module.undrain() == {"did": None}
    assert module.servers()["draining"] is None


@pytest.mark.parametrize(
    ("minutes", "notice", "why"),
    [
        (-1, "x", "minutes=-1: a number from 0 to 1440"),
        (1441, "x", "minutes=1441: a number from 0 to 1440"),
        ("soon", "x", "minutes='soon': a number from 0 to 1440"),
        (True, "x", "minutes=True: a number from 0 to 1440"),
        (5, " ", "notice=' ': one line that users are to read"),
        (5, "a\nb", "notice='a\\nb': one line that users are to read"),
        (5, None, "notice=None: one line that users are to read"),
    ],
)
def test_what_can_not_be_meant_is_refused_in_one_line(module, hub, tmp_path, minutes, notice, why):
    with pytest.raises(CommandExecutionError) as refusal:
        module.drain(minutes, notice=notice)
    assert str(refusal.value) == why
    assert on_disk(tmp_path) is None


def test_a_drain_without_notice_fails_when_somebody_stays(module, hub, monkeypatch):
    hub.on("ada", "ben")
    clock = itertools.count(step=50)
    hurried = types.SimpleNamespace(**{**vars(time), "monotonic": lambda: next(clock), "sleep": lambda _: None})
    monkeypatch.setitem(module.drain.func.__globals__, "time", hurried)

    with pytest.raises(CommandExecutionError, match="^ada, ben still on after 120 s: journalctl -u docker-jupyterhub"):
        module.drain(0)


# --- what the hub makes of it -----------------------------------------------------------------------------------------


def test_users_read_it_in_their_files_and_servers_end_at_the_time(module, draining, hub, tmp_path):
    hub.on("ada", "ben")
    for user in hub.users:
        draining.home_of(user).mkdir()
    assert draining.step("unknown") is None
    assert not draining.Announcement()

    module.drain(10, notice="We <move>.")
    drain = draining.step(None)
    assert draining.step(drain) == drain
    for user in ("ada", "ben"):
        [note] = draining.home_of(user).iterdir()
        assert note.name.startswith("!Ends at ") and note.name.endswith(" UTC - read me.txt")
        assert note.read_text().startswith("We <move>. Servers end at ")
    assert draining.Announcement() and "We &lt;move&gt;. Servers end at " in str(draining.Announcement())
    assert list(hub.users) == ["ada", "ben"]

    (tmp_path / "drain.json").write_text(json.dumps({**drain, "until": time.time() - 1}))
    draining.step(drain)
    assert draining.running() == []
    assert "Servers have ended" in draining.text(draining.current())

    module.undrain()
    draining.step(drain)
    assert not any(draining.home_of("ada").iterdir())


def test_a_later_drain_takes_the_earlier_notices_away(module, draining, hub):
    hub.on("ada")
    draining.home_of("ada").mkdir()
    module.drain(10)
    first = draining.step(None)
    module.drain(100)
    draining.step(first)

    [note] = draining.home_of("ada").iterdir()
    assert note.name == draining.note_of(draining.current())


def test_a_users_links_lead_nowhere(module, draining, hub, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    hub.on("ada", "ben", "cai")
    module.drain(10)
    note = draining.note_of(draining.current())
    draining.home_of("ada").mkdir()
    (draining.home_of("ada") / note).symlink_to(precious)
    draining.home_of("ben").mkdir()
    (draining.home_of("ben") / note).mkdir()
    draining.home_of("cai").mkdir()
    (draining.NOTEBOOKS / "a file").touch()

    draining.step(None)
    assert precious.read_text() == "kept"
    assert (draining.home_of("cai") / note).is_file()
    module.undrain()
    draining.step("another")
    assert precious.read_text() == "kept"
    assert not (draining.home_of("ada") / note).is_symlink()


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("ada", "ada"),
        ("ada@idr.org", "ada@idr.org"),
        ("..", "%2E."),
        (".ssh", "%2Essh"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a:b", "a%3Ab"),
    ],
)
def test_every_user_has_a_directory_below_the_notebooks(draining, user, name):
    assert draining.home_of(user) == draining.NOTEBOOKS / name


def test_a_hub_that_does_not_answer_is_asked_again(draining, hub, monkeypatch):
    seen = []

    def sleep(_):
        seen.append(draining.current())
        if len(seen) == 2:
            raise KeyboardInterrupt

    hub.on("ada")
    draining.DRAIN.write_text(json.dumps({"until": 0, "notice": "x"}))
    monkeypatch.setattr(draining.time, "sleep", sleep)
    url = os.environ["JUPYTERHUB_API_URL"]
    monkeypatch.setenv("JUPYTERHUB_API_URL", "http://127.0.0.1:1/")
    with pytest.raises(KeyboardInterrupt):
        draining.main()
    assert list(hub.users) == ["ada"]
    monkeypatch.setenv("JUPYTERHUB_API_URL", url)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        draining.main()
    assert hub.users == {}
