"""What is said of a server that SSH doesn't reach, and that no connection is less strict than it has to be."""

from pathlib import Path

import pytest

from idr import files_on_server, ssh
from idr.errors import IdrError
from idr.ssh import Alone, NoPython, Silent, Unreachable, connections
from idr.verify import unit
from tests.tables import IDR

SAID = {
    "unknown": (255, "No ED25519 host key is known for idr-omero and you have requested strict checking.\n"
                "Host key verification failed."),
    "changed": (255, "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\n"
                "Host key verification failed."),
    "silent": (255, "ssh: connect to host 192.168.1.11 port 22: Connection timed out"),
    "closed": (255, "root@192.168.1.11: Permission denied (publickey)."),
    "no sudo": (1, "sudo: a password is required"),
    "full": (1, "mkdir: No space left on device"),
}  # fmt: skip


@pytest.fixture
def ssh_says(tmp_path, monkeypatch):
    """Put an `ssh` first in PATH that says something and ends with a code; returns the words it was called with."""

    def say(code, text, answer=""):
        (tmp_path / "said").write_text(text)
        (tmp_path / "answer").write_text(answer)
        (tmp_path / "ssh").write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\ncat > {tmp_path}/stdin\n'
            f"cat {tmp_path}/answer\ncat {tmp_path}/said >&2\nexit {code}\n"
        )
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    say.words = lambda: (tmp_path / "words").read_text()
    say.stdin = lambda: (tmp_path / "stdin").read_text()
    return say


def do(server="idr-omero", asked=()):
    with connections(IDR) as ssh:
        return ssh.do(IDR.servers[server], "facts", dict(asked))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            "unknown",
            "idr-omero: its SSH host key isn't known. Put the key that its console shows in known_hosts, under",
        ),
        ("changed", "idr-omero: its SSH host key is another than the known one. Was it remade?"),
        ("silent", "idr-omero: unreachable by SSH: ssh: connect to host 192.168.1.11 port 22: Connection timed out"),
        ("closed", "idr-omero: SSH doesn't let you in: root@192.168.1.11: Permission denied (publickey)."),
        ("no sudo", "idr-omero: its user may not become root by `sudo -n`: sudo: a password is required"),
        ("full", "idr-omero: facts: mkdir: No space left on device"),
    ],
)
def test_a_failure_is_one_line_that_names_the_server(ssh_says, what, line):
    ssh_says(*SAID[what])

    with pytest.raises(IdrError) as error:
        do()

    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(ssh, "PAUSE", 0.01)


def test_a_server_that_has_just_started_is_waited_for_and_that_is_told_once(ssh_says, no_pause):
    told = []

    def tell(line):
        told.append(line)
        ssh_says(0, "")

    ssh_says(*SAID["silent"])
    with connections(IDR) as made:
        made.wait_for(IDR.servers["idr-omero"], tell)

    [line] = told
    assert line.startswith("waited for: idr-omero: unreachable by SSH: ssh: connect to host 192.168.1.11")


@pytest.mark.parametrize("what", ["unknown", "changed", "closed"])
def test_one_that_answers_and_lets_nobody_in_is_not_waited_for(ssh_says, what):
    ssh_says(*SAID[what])

    with connections(IDR) as made, pytest.raises(Unreachable):
        made.wait_for(IDR.servers["idr-omero"], pytest.fail)


def test_one_that_lets_in_but_is_not_done_in_time_is_waited_for_too(ssh_says, no_pause, monkeypatch, tmp_path):
    told = []

    def tell(line):
        told.append(line)
        ssh_says(0, "")

    ssh_says(0, "")
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(ssh, "CONNECT", 0.2)
    with connections(IDR) as made:
        made.wait_for(IDR.servers["idr-omero"], tell)

    [line] = told
    assert line.startswith("waited for: idr-omero: a first answer wasn't done after ")


def test_one_that_never_comes_is_given_up(ssh_says, no_pause, monkeypatch):
    monkeypatch.setattr(ssh, "FIRST_ANSWER", 0.1)
    ssh_says(*SAID["silent"])

    with connections(IDR) as made, pytest.raises(Silent, match="Connection timed out"):
        made.wait_for(IDR.servers["idr-omero"], str)


def test_a_server_without_python_is_told_apart(ssh_says):
    ssh_says(97, "no python3")

    with pytest.raises(NoPython):
        do()


def test_a_function_of_another_module_is_sent_with_that_one(ssh_says):
    ssh_says(0, "", "[]")

    with connections(IDR) as ssh:
        assert ssh.do(IDR.servers["idr-omero"], "ready", {"mount": "/data"}, of=files_on_server) == []

    assert ssh_says.stdin() == Path(files_on_server.__file__).read_text() + '{"mount": "/data"}\n'


def test_what_is_asked_is_no_argument_that_others_could_read(ssh_says):
    ssh_says(0, "", '{"os": "debian 12"}')

    assert do(asked={"text": "hunter2"}) == {"os": "debian 12"}
    assert "hunter2" not in ssh_says.words()
    assert ssh_says.stdin().endswith('{"text": "hunter2"}\n')


def test_every_hop_is_strict_about_the_host_key_of_its_own_name(ssh_says):
    ssh_says(0, "", "{}")
    do()

    words = ssh_says.words().splitlines()
    for option in ("StrictHostKeyChecking=yes", "BatchMode=yes", "HostKeyAlias=idr-omero", "HostName=192.168.1.11"):
        assert option in words
    [hop] = [word for word in words if word.startswith("ProxyCommand=")]
    for option in ("StrictHostKeyChecking=yes", "HostKeyAlias=idr-proxy", "HostName=198.51.100.10", "-W %h:%p"):
        assert option in hop.replace("'", "")


def test_no_server_gets_the_operators_agent_whatever_their_own_configuration_says(ssh_says):
    ssh_says(0, "", "{}")
    do()

    words = ssh_says.words().splitlines()
    [hop] = [word for word in words if word.startswith("ProxyCommand=")]
    for option in ("ForwardAgent=no", "ForwardX11=no"):
        assert option in words and option in hop.replace("'", "")


def test_a_server_alone_is_reached_by_its_own_address_and_known_key(ssh_says, tmp_path):
    ssh_says(0, "", "[]")
    server = Alone("idrscratch-server", "198.51.100.11")

    with connections(server, [tmp_path / "known_hosts"]) as ssh:
        assert ssh.do(server, "progress", {"offset": 0}, of=unit) == []

    words = ssh_says.words()
    for option in ("HostName=198.51.100.11", "HostKeyAlias=idrscratch-server", "StrictHostKeyChecking=yes"):
        assert option in words
    assert f"{tmp_path}/known_hosts" in words and "ProxyCommand" not in words
    assert ssh_says.stdin().startswith(Path(unit.__file__).read_text()) and ssh_says.stdin().endswith('{"offset": 0}\n')
