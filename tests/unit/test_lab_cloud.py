"""The lab's cloud as far as it needs none: what makes faults, and the services' configuration."""

import http.client
import http.server
import re
import socket
import threading
import time

import pytest
import yaml

from lab.cloud import config, faults


@pytest.fixture
def state():
    return faults.State("127.0.0.5")


def given(state, *rules):
    state.rules, state.hits, state.effects = list(rules), [0] * len(rules), [0] * len(rules)


@pytest.mark.parametrize(
    "rule, spoiled",
    [
        ({}, [1, 1, 1]),
        ({"times": 1}, [1, 0, 0]),
        ({"skip": 1}, [0, 1, 1]),
        ({"skip": 1, "times": 1}, [0, 1, 0]),
        ({"times": 0}, [0, 0, 0]),
        ({"service": "nova"}, [0, 0, 0]),
        ({"service": "neutron", "method": "POST", "path": r"/v2\.0/ports$"}, [1, 1, 1]),
        ({"method": "GET"}, [0, 0, 0]),
        ({"path": "routers"}, [0, 0, 0]),
    ],
)
def test_a_rule_spoils_the_calls_it_is_about(state, rule, spoiled):
    given(state, {**rule, "answer": 500})
    assert [bool(state.met("neutron", "POST", "/v2.0/ports")) for _ in range(3)] == [bool(one) for one in spoiled]


def test_the_first_rule_that_is_not_used_up_applies(state):
    given(state, {"answer": 409, "times": 1}, {"answer": 503})
    assert [state.met("nova", "GET", "/")["answer"] for _ in range(3)] == [409, 503, 503]
    assert state.hits == [1, 2]


def test_rules_of_each_call_are_what_it_meets_one_after_another(state):
    paths = ("/servers$", "/flavors$")
    given(state, *({"path": path, "answer": answer, "times": 1} for path in paths for answer in ("reset", 503)))
    met = [
        [state.met("nova", "GET", f"/v2.1{path.rstrip('$')}").get("answer") for path in (*paths, *paths)]
        for _ in range(2)
    ]
    assert met == [["reset", "reset", 503, 503], [None, None, None, None]]
    assert state.hits == [1, 1, 1, 1]


def test_calls_are_counted_without_their_query(state):
    for path in ("/v2.1/servers?limit=1", "/v2.1/servers", "/v2.1/flavors"):
        state.met("nova", "GET", path)
    assert state.calls == {("nova", "GET", "/v2.1/servers"): 2, ("nova", "GET", "/v2.1/flavors"): 1}


@pytest.mark.parametrize(
    "rule",
    [
        {"servce": "nova"},
        {"answer": "refused"},
        {"answer": "refused", "service": "heat"},
        {"answer": "reset", "closed": 1},
    ],
)
def test_what_is_no_rule_is_refused(state, rule):
    assert "not a rule" in state.answer({"rules": [rule]})["refused"]


@pytest.fixture
def api(state, monkeypatch):
    """A service that takes note of the bodies posted to it, behind what makes faults; the address of both."""
    had = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            had.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b"made")

        def log_message(self, *_):
            """Quiet."""

    service = http.server.ThreadingHTTPServer(("127.0.0.4", 0), Service)
    monkeypatch.setattr(faults, "PORTS", {"nova": service.server_port})
    monkeypatch.setattr(faults, "ADDRESS", "127.0.0.4")
    threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
    state.open("nova")
    yield service.server_port, had
    state.close("nova")
    service.shutdown()
    service.server_close()


def post(port):
    """The status and text of a call; None when the connection was cut."""
    connection = http.client.HTTPConnection("127.0.0.5", port, timeout=60)
    try:
        connection.request(
            "POST", "/servers", iter([b"a ", b"server"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        response = connection.getresponse()
        return response.status, response.read()
    except ConnectionError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(
    "rule, seen, effects",
    [
        ({"method": "GET", "answer": 500}, (201, b"made"), 1),
        ({"answer": "reset"}, None, 0),
        ({"answer": "lost"}, None, 1),
        ({"before": 0.1}, (201, b"made"), 1),
        ({"after": 0.1}, (201, b"made"), 1),
    ],
)
def test_a_call_and_its_effect(state, api, rule, seen, effects):
    port, had = api
    given(state, rule)
    assert post(port) == seen
    assert had == [b"a server"] * effects
    assert state.effects == [effects if "method" not in rule else 0]


@pytest.mark.parametrize("status", [500, 503, 409, 413, 429])
def test_an_answer_instead_of_an_effect(state, api, status):
    port, had = api
    given(state, {"answer": status, "times": 1})
    assert post(port)[0] == status
    assert had == []
    assert post(port) == (201, b"made")


@pytest.mark.parametrize(("moment", "effects"), [("before", 0), ("after", 1)])
def test_a_client_that_hangs_up_is_done_with_at_once(state, api, moment, effects):
    """Before the effect it has sent nothing."""
    port, had = api
    given(state, {moment: 600})
    with socket.create_connection(("127.0.0.5", port)) as client:
        client.sendall(b"POST /servers HTTP/1.1\r\nHost: nova\r\nContent-Length: 8\r\n\r\na server")
        until(lambda: state.in_hand == 1 and state.effects == [effects])
    until(lambda: state.in_hand == 0)
    assert had == [b"a server"] * effects


@pytest.mark.parametrize(("moment", "effects"), [("before", 0), ("after", 1)])
def test_a_call_that_is_held_goes_on_once_its_rule_is_gone(state, api, moment, effects):
    port, had = api
    state.answer({"rules": [{moment: 600}]})
    answers = []
    client = threading.Thread(target=lambda: answers.append(post(port)))
    client.start()
    until(lambda: state.in_hand == 1 and state.effects == [effects])
    assert had == [b"a server"] * effects and not answers
    state.answer({"rules": []})
    client.join(60)
    assert answers == [(201, b"made")] and had == [b"a server"]


def test_a_refused_connection(state, api):
    port, _ = api
    state.answer({"rules": [{"service": "nova", "answer": "refused"}]})
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.5", port, timeout=60).connect()
    state.answer({"rules": []})
    assert post(port) == (201, b"made")


def test_a_call_that_is_refused_closes_the_port_for_a_while(state, api):
    """And cuts connections that are open: a client that has another one would try again by it, and not be refused."""
    port, had = api
    given(state, {"method": "POST", "times": 1, "answer": "refused", "closed": 3600})
    kept = http.client.HTTPConnection("127.0.0.5", port, timeout=60)
    kept.connect()
    until(lambda: len(state.idle) == 1)
    assert post(port) is None
    assert kept.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.5", port, timeout=60).connect()
    state.close_for("nova", 0.1)  # what is said last counts
    until(lambda: "nova" in state.ports)
    assert post(port) == (201, b"made")
    assert had == [b"a server"] and state.hits == [1]


def test_a_port_that_a_rule_closes_stays_closed_whatever_a_call_closed_it_for(state, api):
    port, _ = api
    state.close_for("nova", 0.2)
    state.answer({"rules": [{"service": "nova", "answer": "refused"}]})
    opened = state.opens["nova"]
    until(lambda: time.monotonic() > opened + 0.1)
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.5", port, timeout=60).connect()


def until(what):
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("service", config.FILES)
def test_every_setting_of_a_service_has_a_value(service):
    name, kind = config.FILES[service]
    text = config.text(service, kind, "/venv")
    assert not re.search(r"\$", text)
    if service != "keystone":
        assert f"\nservice_type = {kind}\n" in text


def test_a_user_goes_through_what_makes_faults_by_the_door_of_their_region():
    for given, door, region in (((), "198.51.100.5", "lab"), (("trial", "trial"), "198.51.100.6", "trial")):
        cloud = yaml.safe_load(config.clouds_yaml(*given))["clouds"]["idr"]
        said = cloud["auth"]["auth_url"], cloud["region_name"], cloud["interface"]
        assert said == (f"http://{door}:5000/v3", region, "public")
