"""
A proxy without a machine of its own: the real states and the real nginx, at their real paths and ports, in a process
with its own network and its own view of /etc, /run, /srv and /var. The back end counts what it is asked.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gzip
import http.client
import http.server
import importlib
import multiprocessing
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import salt.client
import salt.exceptions

from lab.shell import wait_until

PROXY = "192.168.1.10"
PROXY_OTHER = "192.168.2.10"
OMERO = "192.168.1.11"
INSIDE = "192.168.1.12"
ANALYSIS = "192.168.2.11"
JUPYTER = "192.168.2.13"
OUTSIDE = "198.51.100.2"
PUBLIC = "idr.example.org"
EVERYWHERE = [(80, OUTSIDE), (443, OUTSIDE), (9000, INSIDE)]     # each port, and a source that may use it

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod"}
_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_WORLD = """
mount --make-rprivate /
mount -t tmpfs none {scratch}
for tree in etc run srv var; do
    mkdir {scratch}/$tree {scratch}/$tree.work
    mount -t overlay none -o lowerdir=/$tree,upperdir={scratch}/$tree,workdir={scratch}/$tree.work /$tree
done
mkdir -p /var/cache/nginx && mount -t tmpfs none /var/cache/nginx
ip link set lo up
for address in {addresses}; do ip address add $address/32 dev lo; done
# port 80 of every address is nginx's here, OMERO.web's too
nft add table ip omero
nft 'add chain ip omero output {{ type nat hook output priority -100; }}'
for address in {omero} {inside}; do
    nft add rule ip omero output ip daddr $address tcp dport 80 dnat to $address:8080
done
"""


@dataclass
class Answer:
    """What came back for one request; `cache` is what the cache had to do with it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache(self) -> str | None:
        return self.headers.get("x-proxy-cache")


@dataclass
class Asked:
    """One request as OMERO.web saw it."""

    method: str
    target: str
    headers: dict[str, str]
    beside: int     # how many it was answering then, this one among them


@dataclass
class Behaviour:
    """
    How OMERO.web answers: `version` is in every body, so that stale and fresh differ, but of paths that begin with one
    of `bodies`. The first `errors` requests are answered 503, and what is asked after `held_after` requests gets no
    answer until it is let go.
    """

    version: int = 1
    bodies: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    errors: int = 0
    held_after: int | None = None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128        # or the kernel has nginx wait for a second where this process is slow to accept

    def __init__(self, *args):
        super().__init__(*args)
        self.counting, self.busy, self.let_go = threading.Lock(), 0, threading.Event()

    def behave(self, behaviour):
        """From now on, and nothing was asked before; what is held still goes on then."""
        with self.counting:
            self.let_go.set()
            self.let_go = threading.Event()
            self.behaviour, self.asked, self.busiest = behaviour, [], 0


class _Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        behaviour = self.server.behaviour
        if behaviour is None:
            self.close_connection = True
            return
        # http.server folds a leading `//` of the path: the first line is what really came
        target = self.requestline.split()[1]
        headers = {k.lower(): v for k, v in self.headers.items()}
        with self.server.counting:
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
            self.server.asked.append(Asked(self.command, target, headers, self.server.busy))
            number, let_go = len(self.server.asked), self.server.let_go
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(behaviour.delay)
        if behaviour.held_after is not None and number > behaviour.held_after:
            let_go.wait()
        with self.server.counting:
            self.server.busy -= 1       # before the answer, which may be followed by the next request at once
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(4)[::-1])
            return
        who = self.headers.get("Cookie") or self.headers.get("Authorization") or "the public"
        body = f"version {behaviour.version} of {target} for {who} at {self.headers['Host']}".encode()
        body = next((its for path, its in behaviour.bodies.items() if target.startswith(path)), body)
        self.send_response(503 if number <= behaviour.errors else behaviour.status)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        told = {
            "Set-Cookie": "sessionid_idr=private; Path=/",
            "Vary": "Cookie, Accept-Encoding",
            "Cache-Control": "private, no-store, max-age=0",
            "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
            "X-Accel-Expires": "0",
            "Access-Control-Allow-Origin": "https://elsewhere.example.org",
            "Content-Length": str(len(body)),
        }
        for name, value in {**told, **behaviour.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


class ProxyHost:
    """A context: inside it, methods run in the host's process, the ones of `salt` as its minion."""

    def __init__(self, opts, scratch: Path):
        self._opts = opts
        self._scratch = scratch

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self._calls, theirs = context.Pipe()
        # a child of fork has one thread, as a new mount namespace demands
        self._process = context.Process(target=_Inside(self._opts, self._scratch).serve, args=(theirs,))
        self._process.start()
        self._answer()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self._calls.send(None)
        self._process.join(30)

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self._calls.send((name, args, kwargs))
            return self._answer()

        return call

    def _answer(self):
        fine, result = self._calls.recv()
        if not fine:
            raise RuntimeError(result)
        return result


class _Inside:
    """What the host's own process does."""

    def __init__(self, opts, scratch):
        self._opts, self._scratch = opts, scratch
        self._backends = {}

    def serve(self, calls):
        try:
            self._make_world()
            calls.send((True, None))
            while call := calls.recv():
                name, args, kwargs = call
                try:
                    calls.send((True, getattr(self, name)(*args, **kwargs)))
                except Exception as error:  # carried to the test
                    calls.send((False, f"{error}\n{traceback.format_exc()}"))
        except Exception:
            calls.send((False, traceback.format_exc()))
        finally:
            subprocess.run(["nginx", "-s", "stop", "-q"], stderr=subprocess.DEVNULL)

    def _make_world(self):
        if ctypes.CDLL(None).unshare(_CLONE_NEWNS | _CLONE_NEWNET):
            raise OSError("no namespaces of one's own")
        addresses = " ".join([PROXY, PROXY_OTHER, OMERO, INSIDE, ANALYSIS, JUPYTER, OUTSIDE])
        script = _WORLD.format(scratch=self._scratch, addresses=addresses, omero=OMERO, inside=INSIDE)
        subprocess.run(["sh", "-ec", script], check=True)
        self._minion = salt.client.Caller(mopts=self._opts)
        self.answering()

    def salt(self, function, *args, **kwargs):
        """Run an execution function as the proxy's minion; its error is returned as text."""
        try:
            return self._minion.cmd(function, *args, **kwargs)
        except salt.exceptions.CommandExecutionError as error:
            return f"ERROR: {error}"

    def call(self, module, function, *args, **kwargs):
        """What a function of the project returns that runs on this host, asking by its network."""
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    def killed_at(self, step, below, function, *args, **kwargs):
        """
        Run a function of the minion in a process of its own that is killed before its nth change below a directory.

        Returns whether it was; False means that the function had fewer and is done.
        """
        pid = os.fork()
        if not pid:
            changes = iter(range(1, step))

            def kill(event, arguments):
                if _changes(event, arguments, below) and next(changes, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            self.salt(function, *args, **kwargs)
            os._exit(0)
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

    def begun(self, function, *args, **kwargs):
        """The process in which a function of the minion runs from now on; it ends with 1 if that is refused."""
        pid = os.fork()
        if not pid:
            os._exit(isinstance(self.salt(function, *args, **kwargs), str))
        return pid

    def killed(self, pid):
        """End a process of `begun` in the middle."""
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])

    def ended(self, pid):
        """The exit code of a process of `begun`, once it is done."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def start(self):
        """nginx, as systemd starts it."""
        subprocess.run(["/usr/sbin/nginx"], check=True)
        self._await_other_workers(set())

    def reload(self):
        """What systemd does for a reload, until the workers of the earlier configuration are gone."""
        before = self._workers()
        subprocess.run(["nginx", "-s", "reload"], check=True)
        self._await_other_workers(before)

    def _workers(self):
        master = Path("/run/nginx.pid").read_text().strip()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return {pid for pid in children if "nginx: worker" in Path(f"/proc/{pid}/cmdline").read_text()}

    def _await_other_workers(self, before):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError, ValueError):      # a pid file that is just being written is empty
                workers = self._workers()
                if workers and not workers & before:
                    self.get("/about/")
                    return
            time.sleep(0.02)
        raise TimeoutError("nginx has no workers of its present configuration")

    def run(self, script):
        """A shell script's output on this host."""
        done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script}: {done.stderr}")
        return done.stdout

    def answering(self, **behaviour):
        """OMERO.web, a second one and Jupyter are up, have forgotten what they were asked, and answer like this."""
        for address, port in ((OMERO, 8080), (INSIDE, 8080), (JUPYTER, 8000)):
            if (address, port) not in self._backends:
                server = _Server((address, port), _Backend)
                server.behave(None)
                threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
                self._backends[address, port] = server
            self._backends[address, port].behave(Behaviour(**behaviour))

    def let_go(self):
        """What is held is answered, as it would have been when it was asked; nothing more is held."""
        for server in self._backends.values():
            server.let_go.set()

    def dead(self, address=OMERO):
        """OMERO.web refuses connections, and answers nothing on those that are open."""
        server = self._backends.pop((address, 8080))
        server.behave(None)
        server.shutdown()
        server.server_close()

    def asked(self, backend=(OMERO, 8080)):
        """What OMERO.web was asked since `answering`."""
        return list(self._backends[backend].asked)

    def busiest(self):
        """How many requests OMERO.web had at one time at most, since `answering`."""
        return self._backends[OMERO, 8080].busiest

    def get(self, target, port=80, source=OUTSIDE, to=PROXY, method="GET", headers=None, body=None):
        """One request to the proxy."""
        options = {"timeout": 120, "source_address": (source, 0)}
        if port == 443:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(to, port, context=context, **options)
        else:
            connection = http.client.HTTPConnection(to, port, **options)
        try:
            connection.request(method, target, body=body, headers={"Host": PUBLIC, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def together(self, targets, **kwargs):
        """One request for each target, all at once."""
        answers = [None] * len(targets)

        def ask(number, target):
            answers[number] = self.get(target, **kwargs)

        threads = [threading.Thread(target=ask, args=item) for item in enumerate(targets)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def under_load(self, targets, function, *args, **kwargs):
        """How often visitors got which answer while a function of the minion ran, and what it returned."""
        answers, done = collections.Counter(), threading.Event()

        def visit(start):
            while not done.is_set():
                for target in targets[start:] + targets[:start]:
                    if done.is_set():
                        return
                    try:
                        answer = self.get(target)
                        answers[answer.status if answer.body else "empty"] += 1
                    except (OSError, http.client.HTTPException) as error:
                        answers[repr(error)] += 1

        visitors = [threading.Thread(target=visit, args=(number * 7,)) for number in range(4)]
        for visitor in visitors:
            visitor.start()
        try:
            wait_until("visitors are answered", lambda: sum(answers.values()) > 100, 120)
            returned = self.salt(function, *args, **kwargs)
            before = sum(answers.values())
            wait_until("they are, still", lambda: sum(answers.values()) > before + 100, 120)
        finally:
            done.set()
            for visitor in visitors:
                visitor.join()
        return answers, returned

    def websocket(self, target, message):
        """What a websocket's other end makes of four bytes."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(socket.create_connection((PROXY, 443), 120, (OUTSIDE, 0))) as connection:
            connection.sendall(
                f"GET {target} HTTP/1.1\r\nHost: {PUBLIC}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode()
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            connection.sendall(message)
            head, _, rest = head.partition(b"\r\n\r\n")
            while len(rest) < 4:
                rest += connection.recv(4096)
            return int(head.split()[1]), rest


def _changes(event, arguments, below):
    """Whether an event of Python's audit is a change of something below a directory."""
    if event == "open":
        path, _, flags = arguments
        paths, writes = [path], flags & (os.O_WRONLY | os.O_RDWR)
    else:
        paths, writes = arguments[:2], event in _CHANGES
    if not writes:
        return False
    start = os.readlink(f"/proc/self/fd/{arguments[-1]}") if event != "open" and arguments[-1] >= 0 else "/"
    return any(isinstance(path, str) and os.path.join(start, path).startswith(below) for path in paths)


def failed(states):
    """The failed states of a run and why."""
    assert isinstance(states, dict), states
    return {state["__id__"]: state["comment"] for state in states.values() if state["result"] is False}


def changed(states):
    """The states of a run that changed something, or would."""
    assert isinstance(states, dict), states
    return {state["__id__"] for state in states.values() if state["changes"]}
