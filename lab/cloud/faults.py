#!/usr/bin/env python3
"""
What stands between clients and the API, hands every call on, counts it, and does it wrong when it is told to. Each of
the API's doors has rules and counts of its own.

A rule is a dictionary. Which calls it is about, all of them where it doesn't say:

    service   nova, neutron, cinder, keystone, glance or placement
    method    GET, POST, …
    path      regular expression, searched for in path and query
    skip      so many of these calls go well before the rule begins, 0
    times     so many it spoils, then it has no effect any more; without, all

and what happens to them, of which waiting ends when the rule is gone:

    before    seconds to wait before the call is handed on; a client that hangs up meanwhile has not sent it
    after     seconds to wait after its effect before the answer is given, unless the client hangs up
    answer    a status (500, 503, 409, 413, 429 …) instead of handing it on; `reset`: the connection is cut instead;
              `lost`: it is handed on, and the connection cut instead of the answer; `refused`: the connection is cut,
              and the service's port closed, so that whoever tries again is refused
    closed    seconds that it is closed after a `refused` call; without, as long as the rule is there (only with
              `service`, and for all its calls)

The first rule that isn't used up applies, so that rules of one call, with `times`, are what it meets one after another.
`tell` and its callers work from anywhere on this machine; they mean the first region's door, or that of an `at` block.
"""

import contextlib
import http.client
import json
import re
import select
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.dont_write_bytecode = True

from lab.cloud import processes
from lab.cloud.settings import ADDRESS, API, DIRECTORY, DOORS, PORTS, REGION
from lab.shell import PATIENCE, LabError, wait_until

NAME = "faults"
SOCKET = DIRECTORY / "faults.sock"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
RESET = struct.pack("ii", 1, 0)   # SO_LINGER: closing sends RST
FIELDS = {"service", "method", "path", "skip", "times", "before", "after", "answer", "closed"}


_at = [REGION]


@contextlib.contextmanager
def at(region):
    """Have this process mean the door of another REGION while the block lasts."""
    _at.append(region)
    try:
        yield
    finally:
        _at.pop()


def up():
    """Start it unless it runs, without rules."""
    processes.start(NAME, API, "/usr/bin/python3", "-B", Path(__file__).resolve())
    wait_until("what makes faults answers", is_up, PATIENCE,
               lambda: None if processes.is_on(NAME) else f"it ended: {processes.last_words(NAME)}")


def is_up():
    """Whether it answers."""
    try:
        return processes.is_on(NAME) and bool(tell({}))
    except OSError:
        return False


def rules(*wanted):
    """Have these rules instead of all earlier ones, none of them used yet. Refuses one that it doesn't understand."""
    said = tell({"rules": wanted})
    if "refused" in said:
        raise LabError(said["refused"])


def hits():
    """How many calls each rule has met, the skipped ones too, in the order of the rules."""
    return tell({})["hits"]


def effects():
    """How many calls each rule has met that were handed on and answered, whatever became of the answer."""
    return tell({})["effects"]


def in_hand():
    """How many calls have come and aren't done with yet."""
    return tell({})["in_hand"]


def calls():
    """All calls since `forget`, as a dictionary of (service, method, path without query): how many."""
    return {tuple(call): count for call, count in tell({})["calls"]}


def forget():
    """Count calls from 0 again."""
    tell({"forget": True})


def tell(request):
    """Send it a request and return its answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(str(SOCKET))
        line.sendall(json.dumps({"door": _at[-1], **request}).encode() + b"\n")
        return json.loads(line.makefile().readline())


def _stays_closed(rule):
    """Whether a service's port is closed as long as that rule is there."""
    return rule.get("answer") == "refused" and "closed" not in rule


class State:
    """What there is for one door, an ADDRESS: the rules, how often each was met, and the calls that were counted."""

    def __init__(self, address):
        self.address = address
        self.lock, self.gate = threading.Lock(), threading.RLock()
        self.rules, self.hits, self.effects, self.calls, self.ports = [], [], [], Counter(), {}
        self.in_hand = 0
        self.idle = {}   # connections that wait for a call: their service
        self.shut, self.opens = set(), {}   # services that stay closed, and when others are opened again

    def met(self, service, method, path):
        """Count a call and return the rule that applies to it, or an empty one."""
        with self.lock:
            self.calls[service, method, path.partition("?")[0]] += 1
            for number, rule in enumerate(self.rules):
                if (rule.get("service", service) == service and rule.get("method", method) == method
                        and re.search(rule.get("path", ""), path)):
                    begins = rule.get("skip", 0)
                    if self.hits[number] >= begins + rule.get("times", float("inf")):
                        continue
                    self.hits[number] += 1
                    if self.hits[number] > begins:
                        return rule
        return {}

    def had_effect(self, rule):
        """Count a call that a rule was applied to, and that the service has answered."""
        with self.lock:
            for number, one in enumerate(self.rules):
                self.effects[number] += one is rule

    def has(self, rule):
        """Whether a rule is among those of now."""
        with self.lock:
            return any(one is rule for one in self.rules)

    @contextlib.contextmanager
    def taking_in_hand(self):
        """Count a call for as long as it isn't done with."""
        with self.lock:
            self.in_hand += 1
        try:
            yield
        finally:
            with self.lock:
                self.in_hand -= 1

    def answer(self, request):
        """Do what a REQUEST of `tell` asks for."""
        if "rules" in request:
            for rule in request["rules"]:
                unknown = set(rule) - FIELDS or ("closed" in rule and rule.get("answer") != "refused")
                if unknown or (_stays_closed(rule) and rule.get("service") not in PORTS):
                    return {"refused": f"not a rule: {rule}; its fields are among {', '.join(sorted(FIELDS))}, "
                                       f"`closed` is of `refused`, and without it that is of one service of "
                                       f"{', '.join(PORTS)}"}
            with self.lock:
                self.rules = request["rules"]
                self.hits, self.effects = [0] * len(self.rules), [0] * len(self.rules)
            with self.gate:
                self.shut = {rule["service"] for rule in request["rules"] if _stays_closed(rule)}
                for service in PORTS:
                    self.close(service) if service in self.shut else self.open(service)
        with self.lock:
            if request.get("forget"):
                self.calls.clear()
            return {"rules": self.rules, "hits": self.hits, "effects": self.effects, "in_hand": self.in_hand,
                    "calls": list(self.calls.items())}

    def open(self, service):
        """Listen for calls of a service."""
        with self.gate:
            if service not in self.ports:
                handler = type("Handler", (Call,), {"state": self, "service": service})
                server = ThreadingHTTPServer((self.address, PORTS[service]), handler)
                self.ports[service] = server
                threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self, service):
        """Listen no more: the kernel refuses connections. Those that wait for a call are cut, as they'd go on."""
        with self.gate:
            if service in self.ports:
                server = self.ports.pop(service)
                server.shutdown()
                server.server_close()
                for connection, of in list(self.idle.items()):
                    if of == service:
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)

    def close_for(self, service, seconds):
        """Close a service's port, and open it again after so many seconds from now, or from the last time."""
        with self.gate:
            self.opens[service] = time.monotonic() + seconds
            self.close(service)
        threading.Thread(target=self._open_again, args=(service,), daemon=True).start()

    def _open_again(self, service):
        while (left := self.opens[service] - time.monotonic()) > 0:
            time.sleep(left)
        with self.gate:
            if service not in self.shut and self.opens[service] <= time.monotonic():
                self.open(service)


class Call(BaseHTTPRequestHandler):
    """One connection of a client: each call on it is handed on, or not."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True   # headers and body are two packets, and the second waited 40 ms
    state = service = None

    def handle_one_request(self):
        self.state.idle[self.connection] = self.service
        try:   # known as idle first: closed a moment later, it's cut
            self.raw_requestline = self.rfile.readline(1 << 16) if self.service in self.state.ports else b""
        except ConnectionError:
            self.raw_requestline = b""
        finally:
            del self.state.idle[self.connection]
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            with contextlib.suppress(ConnectionError), self.state.taking_in_hand():
                self._call()

    def _call(self):
        body = self._body()
        rule = self.state.met(self.service, self.command, self.path)
        answer = rule.get("answer")
        self._wait(rule, "before")
        if "closed" in rule:
            self.state.close_for(self.service, rule["closed"])
        if answer in ("reset", "refused") or self._hangs_up_within(0):
            return self._cut()
        if isinstance(answer, int):
            text = json.dumps({"error": {"code": answer, "message": "a fault that the lab was told to make"}}).encode()
            return self._give(answer, [("Content-Type", "application/json")], text)
        status, headers, text = self._hand_on(body)
        self.state.had_effect(rule)
        self._wait(rule, "after")
        if answer == "lost":
            return self._cut()
        return self._give(status, headers, text)

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _hand_on(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        headers.update({"Connection": "close", "Content-Length": str(len(body))})
        upstream = http.client.HTTPConnection(ADDRESS, PORTS[self.service], timeout=600)
        try:
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            return response.status, response.getheaders(), response.read()
        except OSError as failure:
            return 502, [("Content-Type", "text/plain")], f"{self.service} isn't there: {failure}".encode()
        finally:
            upstream.close()

    def _give(self, status, headers, text):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if self.command == "HEAD":   # the length of what a GET would give
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            self.send_header("Content-Length", lengths[0] if lengths else "0")
            text = b""
        elif status not in (204, 304):
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _wait(self, rule, when):
        """Wait as long as a rule says and is there, unless the client hangs up."""
        until = time.monotonic() + rule.get(when, 0)
        while (left := until - time.monotonic()) > 0 and self.state.has(rule):
            if self._hangs_up_within(min(left, 0.1)):
                return

    def _hangs_up_within(self, seconds):
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _cut(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()


class Control(socketserver.StreamRequestHandler):
    """One request of `tell`."""

    def handle(self):
        request = json.loads(self.rfile.readline())
        answer = self.server.states[request["door"]].answer(request)
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def main():
    states = {region: State(address) for region, address in DOORS.items()}
    ThreadingHTTPServer.daemon_threads, ThreadingHTTPServer.request_queue_size = True, 128
    for state in states.values():
        for service in PORTS:
            state.open(service)
    SOCKET.unlink(missing_ok=True)
    with socketserver.UnixStreamServer(str(SOCKET), Control) as server:
        server.states = states
        server.serve_forever()


if __name__ == "__main__":
    main()
