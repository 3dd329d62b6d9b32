"""
OpenStack's Swift as Debian packages it, its four servers in one process, on loopback; it speaks S3, too. For Debian's
own Python: where it keeps what it's given, the port of its proxy, and the certificate and key of that one. KEY in its
environment is what opens it for the user ada of the account idr.

What isn't real here is the memcached in which tokens are remembered: that is a dictionary.
"""

import os
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.wsgi import SwiftHttpProtocol, loadapp

FOLDER, PROXY, CERTIFICATE = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ETC, KINDS = FOLDER / "etc", {"account": PROXY + 1, "container": PROXY + 2, "object": PROXY + 3}
KEPT_BY = """\
[DEFAULT]
swift_dir = {etc}
devices = {folder}/devices
mount_check = false
[app:main]
use = egg:swift#{kind}
"""
ASKED_BY = """\
[DEFAULT]
swift_dir = {etc}
[pipeline:main]
pipeline = cache s3api tempauth dlo slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:cache]
paste.filter_factory = {module}:remembering
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_idr_ada = {key} .admin
[filter:dlo]
use = egg:swift#dlo
[filter:slo]
use = egg:swift#slo
"""


class Memory:
    """As much of a memcached's client as Swift asks for."""

    def __init__(self):
        self.held = {}

    def set(self, key, value, **_):
        self.held[key] = value

    def get(self, key, **_):
        return self.held.get(key)

    def delete(self, key, **_):
        self.held.pop(key, None)


def remembering(_conf, **_):
    memory = Memory()

    def filter_(app):
        def asked(environ, start_response):
            environ["swift.cache"] = memory
            return app(environ, start_response)

        return asked

    return filter_


def configured():
    """Files as Swift's own servers are given them."""
    (FOLDER / "devices/one").mkdir(parents=True, exist_ok=True)
    ETC.mkdir(exist_ok=True)
    policy = "[storage-policy:0]\nname = one\ndefault = yes\n"
    (ETC / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_suffix = one\n{policy}")
    for kind, port in KINDS.items():
        ring = RingBuilder(2, 1, 1)
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "one", "weight": 1})
        ring.rebalance()
        ring.get_ring().save(str(ETC / f"{kind}.ring.gz"))
        (ETC / f"{kind}.conf").write_text(KEPT_BY.format(etc=ETC, folder=FOLDER, kind=kind))
    (ETC / "proxy.conf").write_text(ASKED_BY.format(etc=ETC, module=Path(__file__).stem, key=os.environ["KEY"]))


def main():
    utils.eventlet_monkey_patch()
    configured()
    utils.SWIFT_CONF_FILE = str(ETC / "swift.conf")
    utils.validate_hash_conf()
    reload_storage_policies()
    serving = []
    for name, port in {**KINDS, "proxy": PROXY}.items():
        socket = eventlet.listen(("127.0.0.1", port))
        if name == "proxy":
            socket = eventlet.wrap_ssl(socket, certfile=CERTIFICATE, keyfile=CERTIFICATE, server_side=True)
        app = loadapp(str(ETC / f"{name}.conf"), global_conf={"log_name": name})
        said = {"protocol": SwiftHttpProtocol, "capitalize_response_headers": False}
        serving.append(eventlet.spawn(eventlet.wsgi.server, socket, app, **said))
    for each in serving:
        each.wait()


if __name__ == "__main__":  # the proxy imports it
    main()
