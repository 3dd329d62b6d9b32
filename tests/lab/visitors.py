"""
Who is at a public address while it moves. A program of its own, for the seat and the checkout's Python: four kinds of
visitors come, stay until they are told to leave, and what became of each is printed as JSON.

- new: a connection every 10 ms, each with 5 s
- kept: one connection, over which a page is asked for again and again
- download: something large, so slowly that it takes a minute, and again
- notebook: a user of JupyterHub, who runs one cell after another over the websocket of their kernel

Those that stay come again by themselves when they are cut, as often as it takes, and each is answered once more after
all were told to leave. `cut` counts what was open and ended, `failed` tries to come that had no success; `wrong` has
what was answered otherwise than it should be, and `why` a line for each that was cut or failed.
"""

import asyncio
import hashlib
import http.client
import http.cookiejar
import json
import socket
import ssl
import sys
import time
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketError, websocket_connect

NAME = "idr.example.org"
THERE, LEAVE = Path("/tmp/visitors-there"), Path("/tmp/visitors-leave")  # all are answered; they are told to leave
NEW = 5  # seconds for a new connection and its answer
PATIENCE = 20  # seconds for another's connection, and for each piece of an answer: a machine may be busy
BACK = 300  # seconds after they were told to leave, until whoever isn't back is given up
BUFFER = 16384  # bytes on their way, so that what is read slowly isn't here long before
DOWNLOAD = 60  # seconds
STARTS = 300  # seconds for a user's server
CELL = 60  # seconds
ANYONES = ssl.create_default_context()  # which certificate it shows is another test's
ANYONES.check_hostname, ANYONES.verify_mode = False, ssl.CERT_NONE


class Refused(Exception):
    """Why somebody can't come, or is cut."""


GONE = (Refused, OSError, http.client.HTTPException, HTTPClientError, WebSocketError)


async def new(address):
    """A new connection every 10 ms: how many were answered, were cut before that, or failed."""
    found, asked, next_ = [], set(), time.monotonic()
    while not LEAVE.exists():
        asked.add(task := asyncio.create_task(_ask_once(address, found)))
        task.add_done_callback(asked.discard)
        next_ = max(next_, time.monotonic() - 0.1) + 0.01  # what was missed isn't made up for at once
        await asyncio.sleep(max(0, next_ - time.monotonic()))
    await asyncio.gather(*asked)
    return {became: found.count(became) for became in ("answered", "cut", "failed")}


async def _ask_once(address, found):
    became = "failed"
    try:
        async with asyncio.timeout(NEW):
            reader, writer = await asyncio.open_connection(address, 80)
            became = "cut"
            writer.write(f"HEAD / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
            became = "answered" if await reader.read(1) else "cut"
            writer.close()
    except OSError:
        pass
    found.append(became)


async def stay(visitor, there):
    """
    Have somebody come, ask, and come again when they are cut, until they are told to leave.

    visitor:  can `come`, `ask` (returns what is wrong with the answer) and `leave`; PAUSE is seconds after an answer,
              AWAY until they come again
    there:    an event that is set once there was an answer
    """
    told = {"answered": 0, "cut": 0, "failed": 0, "wrong": [], "why": []}
    is_on, until = False, None
    while True:
        if until is None and LEAVE.exists():
            until = time.monotonic() + BACK
        try:
            if not is_on:
                await visitor.come()
                is_on = True
            wrong = await visitor.ask()
        except GONE as error:
            became = "cut" if is_on else "failed"
            told[became] += 1
            told["why"].append(f"{became} at {time.strftime('%H:%M:%S')}: {error!r}")
            is_on = False
            if until and time.monotonic() > until:
                told["wrong"].append("never came back")
                return told
            await asyncio.sleep(visitor.away)
            continue
        told["answered"] += 1
        told["wrong"] += [wrong] if wrong else []
        there.set()
        if until:
            await visitor.leave()
            return told
        await asyncio.sleep(visitor.pause)


class Connection:
    """One connection, over which the same is asked for again and again; SECONDS are what each answer is to take."""

    away = 1

    def __init__(self, address, path, sha256, pause, seconds):
        self._address, self._path, self._sha256, self.pause, self._seconds = address, path, sha256, pause, seconds

    async def come(self):
        self._connection = _SmallBuffer(self._address, 443, timeout=PATIENCE)
        self._hurries = True  # the first answer of each connection is taken as fast as it comes
        await asyncio.to_thread(self._connection.connect)

    async def ask(self):
        try:
            return await asyncio.to_thread(self._get)
        except GONE:
            self._connection.close()
            raise

    async def leave(self):
        self._connection.close()

    def _get(self):
        # where the server has ended it in order, after so many answers, it's made anew here, and nothing was cut
        self._connection.request("GET", self._path, headers={"Host": NAME})
        answer = self._connection.getresponse()
        length, digest = answer.length, hashlib.sha256()
        while part := answer.read(BUFFER):
            digest.update(part)
            if not self._hurries and not LEAVE.exists():
                time.sleep(self._seconds * len(part) / length)
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        self._hurries = False
        if answer.status != 200:
            return f"{self._path}: {answer.status}"
        return "" if digest.hexdigest() == self._sha256 else f"{self._path}: not what it was"


class _SmallBuffer(http.client.HTTPSConnection):
    """HTTPS, of which little is received before it's read."""

    def connect(self):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        plain.settimeout(self.timeout)
        try:
            plain.connect((self.host, self.port))
            self.sock = ANYONES.wrap_socket(plain, server_hostname=NAME)
        except BaseException:
            plain.close()
            raise


class Notebook:
    """A user of JupyterHub with a server, a kernel, and the websocket to it."""

    pause = 1
    away = 3  # each try makes a hub that is being drained look at one server more

    def __init__(self, address, user, password):
        self._site, self._user, self._password = f"{address}/jupyter", user, password
        self._own = f"/user/{user}"
        self._cells = 0

    async def come(self):
        kernel = await asyncio.to_thread(self._log_in)
        url = f"{self._site}{self._own}/api/kernels/{kernel}/channels"
        of_user = urllib.request.Request(f"https://{url}")
        self._cookies.add_cookie_header(of_user)
        cookies = {"Cookie": of_user.get_header("Cookie")}
        self._socket = await websocket_connect(
            HTTPRequest(f"wss://{url}", headers=cookies, validate_cert=False, connect_timeout=CELL)
        )

    async def ask(self):
        """Run one cell, and look at what it prints."""
        try:
            async with asyncio.timeout(CELL):
                return await self._run()
        except GONE:
            self._socket.close()
            raise

    async def leave(self):
        self._socket.close()
        await asyncio.to_thread(self._ask, f"/hub/api/users/{self._user}/server", None, "DELETE", "/hub/")

    def _log_in(self):
        """As anybody does at a browser that has never been there; returns a kernel's id."""
        self._cookies = http.cookiejar.CookieJar()
        self._browser = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ANYONES), urllib.request.HTTPCookieProcessor(self._cookies)
        )
        self._ask("/hub/login")
        form = {"username": self._user, "password": self._password, "_xsrf": self._token("/hub/")}
        self._ask("/hub/login?next=/jupyter/hub/spawn", urllib.parse.urlencode(form))
        until = time.monotonic() + STARTS
        while not self._ask(f"{self._own}/lab").url.startswith(f"https://{self._site}{self._own}/"):
            if time.monotonic() > until:
                raise Refused(f"no server of {self._user} within {STARTS} s")
            time.sleep(0.5)
        return json.load(self._ask(f"{self._own}/api/kernels", '{"name": "python3"}', "POST", f"{self._own}/"))["id"]

    def _ask(self, path, body=None, method=None, with_token_of=None):
        """An answer of the site's; an OSError where it's an error."""
        token = {"X-XSRFToken": self._token(with_token_of)} if with_token_of else {}
        request = urllib.request.Request(f"https://{self._site}{path}", body and body.encode(), token, method=method)
        return self._browser.open(request, timeout=CELL)

    def _token(self, below):
        """What forms have to bring along, which is a cookie of that path."""
        found = [it.value for it in self._cookies if (it.name, it.path) == ("_xsrf", f"/jupyter{below}")]
        if not found:
            raise Refused(f"no page below {below} gave a token for forms")
        return found[0]

    async def _run(self):
        self._cells += 1
        id_, printed = uuid.uuid4().hex, ""
        header = {"msg_id": id_, "msg_type": "execute_request", "session": id_, "username": "", "version": "5.3"}
        content = {"code": f"print({self._cells} * 7)", "silent": False, "store_history": False}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        await self._socket.write_message(json.dumps(message))
        while True:
            said = await self._socket.read_message()
            if said is None:
                raise Refused(f"the websocket was closed: {self._socket.close_code} {self._socket.close_reason or ''}")
            said = json.loads(said)
            if said["parent_header"].get("msg_id") != id_:
                continue
            if said["msg_type"] == "stream":
                printed += said["content"]["text"]
            if said["content"].get("execution_state") == "idle":  # comes last of what a cell prints
                return "" if printed == f"{self._cells * 7}\n" else f"cell {self._cells} printed {printed!r}"


def _front_page(address):
    """The hash of what is at /."""
    asked = http.client.HTTPSConnection(address, timeout=PATIENCE, context=ANYONES)
    asked.request("GET", "/", headers={"Host": NAME})
    return hashlib.sha256(asked.getresponse().read()).hexdigest()


async def main(address, user, password, large, sha256):
    visitors = {
        "kept": Connection(address, "/", _front_page(address), 0.2, 0),
        "download": Connection(address, large, sha256, 0, DOWNLOAD),
        "notebook": Notebook(address, user, password),
    }
    there = {name: asyncio.Event() for name in visitors}
    async with asyncio.TaskGroup() as group:
        come = {"new": group.create_task(new(address))}
        come |= {name: group.create_task(stay(it, there[name])) for name, it in visitors.items()}
        for event in there.values():
            await event.wait()
        THERE.touch()
    print(json.dumps({name: task.result() for name, task in come.items()}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
