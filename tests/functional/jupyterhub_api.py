"""What of JupyterHub's API the execution module and the draining service use, as JupyterHub 6 answers it."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "not-a-secret-idr-a-jupyterhub"
STARTED = "2026-11-24T00:38:15.123456Z"


class Hub:
    """Users with servers, told in pages; an end takes as many further looks as it is told."""

    def __init__(self):
        self.users, self.asked, self.lingers = {}, [], 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (_Asked,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}/jupyter/hub/api"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def on(self, *names):
        for name in names:
            self.users[name] = None     # looks until it is gone, once it is to end
        return self

    def page(self, offset, limit):
        for name, looks in list(self.users.items()):
            if looks is not None:
                self.users[name] = looks - 1
                if looks <= 0:
                    del self.users[name]
        times = {"started": STARTED, "last_activity": STARTED}
        models = [{"name": name, "servers": {"": {"name": "", **times}}} for name in sorted(self.users)]
        return models[offset : offset + limit]

    def end(self, name):
        if name not in self.users:
            return 404
        self.users[name] = self.lingers
        return 202

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Asked(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def _answer(self, code, body=None):
        self.send_response(code)
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body).encode())

    def _is_known(self):
        return self.headers["Authorization"] == f"token {TOKEN}" or self._answer(403)

    def do_GET(self):
        self.hub.asked.append(f"GET {self.path}")
        place = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(place.query))
        if self._is_known() and place.path == "/jupyter/hub/api/users" and query["state"] == "active":
            self._answer(200, self.hub.page(int(query["offset"]), int(query["limit"])))

    def do_DELETE(self):
        self.hub.asked.append(f"DELETE {self.path}")
        parts = self.path.removeprefix("/jupyter/hub/api/users/").split("/")
        if self._is_known() and parts[1:] == ["server"]:
            self._answer(self.hub.end(urllib.parse.unquote(parts[0])))
