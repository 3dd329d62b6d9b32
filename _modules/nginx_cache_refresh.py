"""
``nginx_cache.refresh``: URLs fetched anew from OMERO through port 9000, no faster than OMERO bears, to the end even
when it is killed in between.
"""

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import http.client
import os
import ssl
import statistics
import time

from salt.exceptions import CommandExecutionError

JOURNALS = "/var/lib/idr/refresh"
KEPT = 7 * 86400        # seconds that an unfinished refresh can be resumed
WINDOW = 20             # answers that the brake looks back on
PAUSE = 5               # seconds of the first pause; each further one in a row is twice as long
IN_PLACE = 2            # seconds until an entry has to be in its place: nginx has sent all of the answer before
SHOWN = 50              # failures that are returned one by one
# TLS without looking at the certificate: it is this server, asking itself. Made once, since that takes 30 ms.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def __virtual__():
    return "nginx_cache"


def refresh(urls=None, file=None, concurrency=4, timeout=900, slow=10, errors=0.2, patience=600, test=None):
    """
    Fetch URLs anew from OMERO and store them, then read each back as a visitor would.

    urls:         paths and queries as a browser sends them, or whole public URLs; a list, or one
    file:         instead of urls: a file on the proxy, one a line; empty lines and comments (#) don't count
    concurrency:  how many at a time at most, 1 to 16: each is real work for OMERO
    timeout:      seconds that OMERO may take for one
    slow:         seconds; when half of the last 20 answers took longer, half as many are asked at a time
    errors:       the same when more than this part of them were no good: no answer, or a status of 429 or 5xx
    patience:     seconds of pauses in a row, at one URL at a time, after which the rest is left
    test:         only say what is stored of them now

    Returns ``urls`` (how many); ``done_before``, by an earlier run of the same file; ``refreshed`` and ``verified``;
    ``failed`` (``{url: why}`` of the first 50) and ``reasons`` (``{why: how many}``); ``left``; ``seconds``,
    ``per_second``; ``braked``, how often; ``stopped``, why it gave up, if it did. An answer that is not 200 leaves the
    old entry, and verified means that port 443 answered from the cache with the same new body.
    With ``test=True``: ``urls``, ``done_before`` and the ``entries`` and ``bytes`` that would be replaced.
    Exits 1 if any failed or is left. The same command with the same file goes on where a killed or stopped one was, and
    does again what failed, for a week.
    Refused: a URL of another host, what a browser would send percent-encoded, and a file that is being refreshed now.

    CLI Example:

    .. code-block:: bash

        salt idr-proxy nginx_cache.refresh '["/webclient/metadata_details/image/1/", "/webgateway/render_thumbnail/1/"]'
        salt idr-proxy nginx_cache.refresh file=/root/idr0001.urls test=True
        salt -t 86400 idr-proxy nginx_cache.refresh file=/root/idr0001.urls concurrency=2
    """
    if (urls is None) == (file is None):
        raise CommandExecutionError("Give either urls or file")
    _number("concurrency", concurrency, 1, 16, int)
    for name, value in (("timeout", timeout), ("slow", slow), ("patience", patience)):
        _number(name, value, 0.001, 86400)
    _number("errors", errors, 0, 1)
    text = _read(file) if file else None
    listed = _lines(text) if file else [urls] if isinstance(urls, str) else urls
    stored = __salt__["nginx_cache.stored"](listed)
    targets = list(stored)                                     # each once, in their order
    if _only_test(test):
        done = _done(_journal(text)) if file else set()
        entries = [stored[target] for number, target in enumerate(targets) if number not in done and stored[target]]
        replaced = {"entries": len(entries), "bytes": sum(entry["bytes"] for entry in entries)}
        return {"urls": len(targets), "done_before": len(done), **replaced}
    with _resumed(text) if file else contextlib.nullcontext((set(), None)) as (done, journal):
        left = [(number, target) for number, target in enumerate(targets) if number not in done]
        run = _Run(left, journal, _Brake(concurrency, slow, errors, patience))
        run.all(__pillar__["environment"]["public"]["name"], timeout, __salt__["event.send"])
        result = {"urls": len(targets), "done_before": len(done), **run.result()}
        if journal and not result["left"] and not result["failed"]:
            os.unlink(journal.name)
    if result["stopped"]:
        result["stopped"] += "; the same command goes on from here" if file else ""
    if result["failed"] or result["left"]:
        __context__["retcode"] = 1
    return result


class _Run:
    """One refresh: what came of each URL."""

    def __init__(self, left, journal, brake):
        self.waiting, self.journal, self.brake = collections.deque(left), journal, brake
        self.refreshed = self.verified = 0
        self.failed, self.reasons = {}, collections.Counter()
        self.began = self.told = time.monotonic()
        self.seconds = 0

    def all(self, host, timeout, tell):
        asked = {}
        with concurrent.futures.ThreadPoolExecutor(self.brake.most) as pool:
            while asked or (self.waiting and not self.brake.gave_up):
                while self.waiting and len(asked) < self.brake.now and not self.brake.wait():
                    number, target = self.waiting.popleft()
                    asked[pool.submit(_refresh, target, host, timeout)] = number, target
                if asked:
                    ready, _ = concurrent.futures.wait(asked, 1, concurrent.futures.FIRST_COMPLETED)
                    for future in ready:
                        self.heard(*asked.pop(future), **future.result())
                else:
                    time.sleep(min(1, self.brake.wait()))
                if time.monotonic() > self.told + 10:
                    self.told = time.monotonic()
                    tell("idr/nginx_cache/refresh", {"message": self.progress()})
        self.seconds = time.monotonic() - self.began

    def heard(self, number, target, refreshed, why, seconds, overloaded):
        self.refreshed += refreshed
        self.verified += not why
        if why:
            self.reasons[why] += 1
            if len(self.failed) < SHOWN:
                self.failed[target] = why
        elif self.journal:
            self.journal.write(b"%d\n" % number)
        self.brake.heard(seconds, overloaded)

    def progress(self):
        return (
            f"{self.verified} refreshed, {sum(self.reasons.values())} failed, {len(self.waiting)} left, "
            f"{self.brake.now} at a time"
        )

    def result(self):
        return {
            "refreshed": self.refreshed,
            "verified": self.verified,
            "failed": self.failed,
            "reasons": dict(self.reasons),
            "left": len(self.waiting),
            "seconds": round(self.seconds, 1),
            "per_second": round(self.verified / self.seconds, 1) if self.seconds else 0,
            "braked": self.brake.braked,
            "stopped": self.brake.gave_up,
        }


class _Brake:
    """How many may be asked at a time, by the last answers: half as many after bad ones, one more after good ones."""

    def __init__(self, most, slow, errors, patience):
        self.most = self.now = most
        self.slow, self.errors, self.patience = slow, errors, patience
        self.answers = []
        self.braked, self.gave_up = 0, None
        self.pause, self.paused, self.until = PAUSE, 0, 0

    def heard(self, seconds, overloaded):
        self.answers.append((seconds, overloaded))
        # alone and braked, one answer is enough to know whether it got better
        if len(self.answers) < (1 if self.pause > PAUSE and self.now == 1 else WINDOW):
            return
        share = sum(overloaded for _, overloaded in self.answers) / len(self.answers)
        median = statistics.median(seconds for seconds, _ in self.answers)
        if share > self.errors:
            self._brake(f"{share:.0%} of OMERO's last answers were errors")
        elif median > self.slow:
            self._brake(f"half of OMERO's last answers took longer than {self.slow} s ({median:.1f} s)")
        else:
            self.now, self.pause, self.paused = min(self.most, self.now + 1), PAUSE, 0
        self.answers = []

    def _brake(self, why):
        self.braked += 1
        if self.now == 1:
            if self.paused >= self.patience:
                self.gave_up = f"{why}, even one at a time and after {self.paused:.0f} s of pauses"
                return
            self.paused += min(self.pause, self.patience)
        self.now = max(1, self.now // 2)
        self.until = time.monotonic() + min(self.pause, self.patience)
        self.pause = min(2 * self.pause, 60)

    def wait(self):
        """Seconds until the next may be asked."""
        return 1 if self.gave_up else max(0, self.until - time.monotonic())


@contextlib.contextmanager
def _resumed(text):
    """
    The numbers of a file's URLs that are done, and the journal to which further ones are written.

    It is kept under the hash of the file's content until all are done or a week has passed. A number is one write, as
    soon as it is done; one that a crash cut short doesn't count.
    """
    os.makedirs(JOURNALS, mode=0o700, exist_ok=True)
    for name in os.listdir(JOURNALS):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(os.path.join(JOURNALS, name)).st_mtime < time.time() - KEPT:
                os.unlink(os.path.join(JOURNALS, name))
    with open(_journal(text), "ab", buffering=0) as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandExecutionError("this file is being refreshed already") from None
        with open(journal.name, "rb") as before:
            journal.truncate(before.read().rfind(b"\n") + 1)
        yield _done(journal.name), journal


def _journal(text):
    return os.path.join(JOURNALS, hashlib.sha256(text.encode()).hexdigest()[:32])


def _done(journal):
    """The numbers in a journal; none where there isn't one."""
    with contextlib.suppress(FileNotFoundError), open(journal, "rb") as lines:
        return {int(number) for number in lines.read().rpartition(b"\n")[0].split()}
    return set()


def _read(file):
    """The text of a file of URLs."""
    try:
        with open(file, encoding="utf-8") as lines:
            return lines.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandExecutionError(f"{file} on this server: {error}") from None


def _lines(text):
    """The URLs of a file."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _number(name, value, least, most, kind=(int, float)):
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        raise CommandExecutionError(f"{name} is {value!r}, not a number from {least} to {most}")


def _refresh(target, host, timeout):
    """Whether one URL was stored anew, what is wrong with it if anything is, and how OMERO took it."""
    began = time.monotonic()

    def outcome(refreshed, why, overloaded=False):
        return {"refreshed": refreshed, "why": why, "seconds": seconds, "overloaded": overloaded}

    try:
        stored = _get(http.client.HTTPConnection("127.0.0.1", 9000, timeout=timeout), target, host)
    except (OSError, http.client.HTTPException) as error:
        seconds = time.monotonic() - began
        return outcome(False, f"port 9000: {error}", overloaded=True)
    seconds = time.monotonic() - began
    if stored["status"] != 200:
        bad = stored["status"] == 429 or stored["status"] >= 500
        return outcome(False, f"OMERO answered {stored['status']}; an entry that was there stays", overloaded=bad)
    if stored["cache"] != "BYPASS":
        return outcome(False, "no zone stores this URL")
    until = time.monotonic() + IN_PLACE
    while True:
        try:
            read = _get(http.client.HTTPSConnection("127.0.0.1", 443, timeout=60, context=TLS), target, host)
        except (OSError, http.client.HTTPException) as error:
            return outcome(True, f"stored, but port 443: {error}")
        if read == {**stored, "cache": "HIT"}:
            return outcome(True, None)
        if read["status"] != 200 or time.monotonic() > until:
            got = f"{read['status']} {read['cache'] or 'uncached'}"
            return outcome(True, f"stored, but visitors get {got}, or another body")
        time.sleep(0.1)


def _get(connection, target, host):
    """Status, cache status and the body's hash of one answer."""
    try:
        connection.request("GET", target, headers={"Host": host})
        answer = connection.getresponse()
        body = hashlib.sha256()
        while part := answer.read(1024**2):
            body.update(part)
        return {"status": answer.status, "cache": answer.getheader("X-Proxy-Cache"), "body": body.hexdigest()}
    finally:
        connection.close()


def _only_test(test):
    return __opts__.get("test", False) if test is None else test
