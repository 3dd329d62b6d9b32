"""
Commands on an environment's servers over OpenSSH: through the proxy's public address to the inside, one connection a
server.

The operator's own configuration (user, key, agent) counts; what makes it safe doesn't depend on it. A host key has to
be known beforehand under the server's name, in the operator's known_hosts or the one beside the site's files.
"""

import json
import shlex
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from idr import on_server, with_salt
from idr.errors import IdrError

SALTS_PYTHON = "/opt/salt/bin/python"
CONNECT = 30  # seconds until a server that doesn't answer is unreachable; a busy one may take some to log somebody in
FIRST_ANSWER = 300  # seconds until a server that has just been made has to be reached by SSH
PAUSE = 2  # seconds between two attempts

# The source goes ahead on stdin, so that neither it nor what it's asked is ever an argument.
RUN = """if [ "$(id -u)" = 0 ]; then as=; else as='sudo -n'; fi
command -v python3 >/dev/null || { echo 'no python3' >&2; exit 97; }
exec $as %s -c 'import sys; exec(sys.stdin.buffer.read(int(sys.argv[1])))' %d %s"""
INSTALL_PYTHON = """if [ "$(id -u)" = 0 ]; then as=; else as='sudo -n'; fi
if command -v apt-get >/dev/null; then
  $as apt-get -qq update && $as env DEBIAN_FRONTEND=noninteractive apt-get -qqy install python3
else
  $as dnf -qy install python3 python3.11
fi >/dev/null"""


class Unreachable(IdrError):
    """SSH didn't get as far as running anything on a server."""


class Silent(Unreachable):
    """Nothing on the way to a server said why it isn't reached; it may be one that is just starting."""


class Late(IdrError):
    """What was asked of a server isn't done in its time."""


class NoPython(IdrError):
    """A server that answers, but has no python3 to run anything with."""


@dataclass(frozen=True)
class Alone:
    """A server that isn't in an environment's table, and is reached by an address of its own; for ``connections``."""

    id: str
    public_address: str

    @property
    def proxy(self):
        return self

    @property
    def servers(self):
        return {self.id: self}


class Ssh:
    """Connections to the servers of one environment; made with ``connections``."""

    def __init__(self, environment, sockets, known_hosts):
        self.environment = environment
        self.sockets = sockets
        self.known_hosts = known_hosts

    def do(self, server, deed, asked, stream=None, seconds=120, of=on_server):
        """
        Run a function of ``idr/on_server.py`` on a server as root and return what it returned.

        stream:   an open binary file that follows what's asked
        seconds:  until it's given up
        of:       the module that has it, where that's another one made for this
        """
        return self._do(server, "python3", of, deed, asked, stream, seconds)

    def ask_salt(self, server, deed, asked, seconds=120):
        """Run a function of ``idr/with_salt.py`` on a server as root, by Salt's Python, and return what it returned."""
        return self._do(server, SALTS_PYTHON, with_salt, deed, asked, None, seconds)

    def _do(self, server, python, module, deed, asked, stream, seconds):
        source = Path(module.__file__).read_bytes()
        script = RUN % (python, len(source), deed)
        return json.loads(
            self._run(server, script, source + json.dumps(asked).encode() + b"\n", stream, seconds, deed)
        )

    def wait_for(self, server, tell):
        """Wait until a server that has just been made answers, where its address is known before the way to it is."""
        since, told = time.monotonic(), False
        while True:
            try:
                self._run(server, "true", b"", None, 3 * CONNECT, "a first answer")
                return
            except (Silent, Late) as error:  # it may listen before it lets somebody in
                if time.monotonic() - since > FIRST_ANSWER:
                    raise
                if not told:
                    tell(f"waited for: {error}")
                    told = True
                time.sleep(PAUSE)

    def install_python(self, server):
        """Install what the rest needs, from the server's own package sources."""
        self._run(server, INSTALL_PYTHON, b"", None, 600, "installing python3")

    def close(self):
        """End the connections, those through the proxy before the proxy's own."""
        for server in sorted(self.environment.servers.values(), key=lambda server: server == self.environment.proxy):
            if (self.sockets / server.id).exists():
                subprocess.run([*self._command(server), "-O", "exit", server.id], capture_output=True)

    def _command(self, server):
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "HostKeyAlias": server.id,
            "CheckHostIP": "no",
            "UserKnownHostsFile": " ".join(map(str, self.known_hosts)),
            "ConnectTimeout": CONNECT,
            "ServerAliveInterval": 5,
            "ServerAliveCountMax": 6,
            "ControlMaster": "auto",
            "ControlPersist": 60,
            "ControlPath": self.sockets / server.id,
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",  # that doesn't clear these, and root there could use the operator's keys
            "ForwardX11": "no",
            "LogLevel": "ERROR",
        }
        proxy = self.environment.proxy
        if server == proxy:
            options |= {"HostName": self.environment.public_address, "ProxyJump": "none"}
        else:
            to_proxy = [*self._command(proxy), "-o", "ClearAllForwardings=no", "-W", "%h:%p", proxy.id]
            options |= {"HostName": server.address, "ProxyCommand": shlex.join(to_proxy)}
        return ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]

    def _run(self, server, script, ahead, stream, seconds, what):
        process = subprocess.Popen(
            [*self._command(server), server.id, script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            try:
                process.stdin.write(ahead)
                if stream:
                    shutil.copyfileobj(stream, process.stdin, 1 << 20)
            except BrokenPipeError:
                pass  # it ended early; why is on its stderr
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Late(f"{server.id}: {what} wasn't done after {seconds} s") from None
        finally:
            process.kill()
        if process.returncode:
            raise _problem(server, process.returncode, err.decode(errors="replace"), what)
        return out.decode()


@contextmanager
def connections(environment, known_hosts=()):
    """
    Connections to an environment's servers, or to one ``Alone``, for as long as the block lasts.

    known_hosts:  files with the servers' host keys, beside the operator's own
    """
    with tempfile.TemporaryDirectory(prefix="idr-") as folder:  # short: a socket's path has at most 104 characters
        ssh = Ssh(environment, Path(folder), [Path("~/.ssh/known_hosts").expanduser(), *known_hosts])
        try:
            yield ssh
        finally:
            ssh.close()


def _problem(server, code, said, what):
    """What SSH meant, as one line with what to do about it."""
    last = next((line for line in reversed(said.strip().splitlines()) if line.strip()), "no output")
    if code == 97:
        return NoPython(f"{server.id}: it has no python3")
    if code != 255:
        if "sudo" in last:
            return Unreachable(f"{server.id}: its user may not become root by `sudo -n`: {last}")
        return IdrError(f"{server.id}: {what}: {last}")
    known = f"Put the key that its console shows in known_hosts, under the name {server.id}"
    meanings = {
        "IDENTIFICATION HAS CHANGED": f"its SSH host key is another than the known one. Was it remade? {known} "
        f"(ssh-keygen -R {server.id} takes the old one out)",
        "host key is known for": f"its SSH host key isn't known. {known}",
        "Host key verification failed": f"its SSH host key isn't the known one, or none is known. {known}",
        "Permission denied": f"SSH doesn't let you in: {last}",
    }
    for mark, meaning in meanings.items():
        if mark in said:
            return Unreachable(f"{server.id}: {meaning}")
    return Silent(f"{server.id}: unreachable by SSH: {last}")
