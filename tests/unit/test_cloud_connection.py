"""Calls of a cloud: timeouts, tries, counts; and what is said of those that fail."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from openstack.exceptions import HttpException

from idr.cloud import connection
from idr.errors import IdrError

LATE, NEVER = "late", "never"  # wrong credentials, told after a moment; no answer


@pytest.fixture
def service(monkeypatch):
    """
    A service that gives the answers of a list, the last one for ever: a status, None to cut the connection, LATE or
    NEVER.
    """
    monkeypatch.setattr(connection, "PAUSE", 0)
    answers, seen, over = [], [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            seen.append(self.command)
            if status is None:
                self.connection.close()
                return
            if status in (LATE, NEVER):
                over.wait(None if status == NEVER else 0.2)
                status = 401
            status, headers = status if isinstance(status, tuple) else (status, {})
            self.send_response(status)
            for name, value in ({"Content-Length": "2"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    calls = connection.Calls()
    calls.know([{"name": "neutron", "type": "network", "endpoints": [{"url": url}]}])
    session = requests.Session()
    session.mount("http://", connection._Patient(calls))
    session.url, session.calls, session.answers, session.seen = url, calls, answers, seen
    yield session
    over.set()
    session.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "first", [500, 502, 503, 504, None, (429, {"Retry-After": "0"}), (200, {"Content-Length": "9"})]
)
def test_a_read_is_tried_again(service, first):
    service.answers += [first, 200]

    assert service.get(f"{service.url}/v2.0/ports").status_code == 200
    assert service.calls.total == 2 and service.calls.by == {("GET", "neutron"): 2}


def test_a_read_is_not_tried_for_ever(service):
    service.answers += [503]

    assert service.get(service.url).status_code == 503
    assert service.calls.total == connection.TRIES
    service.answers[:] = [None]
    with pytest.raises(requests.exceptions.ConnectionError):
        service.get(service.url)


@pytest.mark.parametrize("status", [404, 409, 401, 413])
def test_an_answer_that_stays_the_same_is_not_asked_for_again(service, status):
    service.answers += [status, 200]

    assert service.get(service.url).status_code == status


@pytest.mark.parametrize("method", ["post", "put", "delete"])
@pytest.mark.parametrize("answer", [503, None, 429])
def test_a_write_is_never_tried_again(service, method, answer):
    service.answers += [answer, 200]

    if answer is None:
        with pytest.raises(requests.exceptions.ConnectionError):
            getattr(service, method)(service.url)
    else:
        assert getattr(service, method)(service.url).status_code == answer
    assert service.calls.total == len(service.seen) == 1


def test_logging_in_is_a_read(service):
    service.answers += [503, 200]

    assert service.post(f"{service.url}/v3/auth/tokens").status_code == 200


def test_a_wait_that_the_service_asks_for_has_an_end(service, monkeypatch):
    waited = []
    monkeypatch.setattr(connection.time, "sleep", waited.append)
    service.answers += [(429, {"Retry-After": "7"}), (503, {"Retry-After": "3600"}), 200]

    service.get(service.url)

    assert waited == [7, connection.LONGEST_PAUSE]


def test_an_error_names_service_code_message_and_request(service):
    service.answers += [(409, {"x-openstack-request-id": "req-1"})]
    response = service.get(f"{service.url}/v2.0/floatingips")

    told = connection.told(HttpException(message="Quota exceeded\n for floatingip", response=response))

    assert told == "neutron: HTTP 409: Quota exceeded for floatingip (request req-1)"


ENTRY = "auth_url: {url}, username: idr, project_name: idr, user_domain_name: Default, project_domain_name: Default"


@pytest.mark.parametrize(
    ("clouds", "line"),
    [
        ("{other: {}}", "cloud idr: Cloud idr was not found. clouds.yaml is looked for in {file}"),
        ("{idr: {auth: {username: idr}}}", "cloud idr: its entry in clouds.yaml is incomplete: "),
        (f"{{idr: {{auth: {{{ENTRY}}}}}}}", "cloud idr: its entry in clouds.yaml is incomplete: password"),
        (
            f"{{idr: {{auth: {{{ENTRY}, password: x}}}}}}",
            "cloud idr: http://127.0.0.1:9/v3/auth/tokens doesn't answer: ",
        ),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line(tmp_path, monkeypatch, clouds, line):
    file = tmp_path / "clouds.yaml"
    file.write_text(f"clouds: {clouds.replace('{url}', 'http://127.0.0.1:9/v3')}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.setattr(connection, "PAUSE", 0)

    with pytest.raises(IdrError) as refused:
        connection.connect("idr")

    assert str(refused.value).startswith(line.replace("{file}", str(file))) and "\n" not in str(refused.value)


def test_wrong_credentials_are_one_line(tmp_path, monkeypatch, service):
    service.answers += [200, 401]
    entry = ENTRY.replace("{url}", f"{service.url}/v3")
    (tmp_path / "clouds.yaml").write_text(f"clouds: {{idr: {{auth: {{{entry}, password: x}}}}}}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))

    with pytest.raises(IdrError, match="cloud idr: the credentials in clouds.yaml are wrong or have expired"):
        connection.connect("idr")


@pytest.mark.parametrize(
    ("seconds", "answer", "line"),
    [
        ("0.05", NEVER, "cloud idr: .*timed out"),
        ("300", LATE, "cloud idr: the credentials in clouds.yaml are wrong"),
        ("0", LATE, "cloud idr: api_timeout in clouds.yaml is seconds, more than 0, not 0"),
        ("soon", LATE, "cloud idr: api_timeout in clouds.yaml is seconds, more than 0, not 'soon'"),
    ],
)
def test_an_answer_is_waited_for_as_long_as_clouds_yaml_says(tmp_path, monkeypatch, service, seconds, answer, line):
    service.answers += [200, answer]
    entry = ENTRY.replace("{url}", f"{service.url}/v3")
    text = f"clouds: {{idr: {{api_timeout: {seconds}, auth: {{{entry}, password: x}}}}}}\n"
    (tmp_path / "clouds.yaml").write_text(text)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))

    with pytest.raises(IdrError, match=line):
        connection.connect("idr")
