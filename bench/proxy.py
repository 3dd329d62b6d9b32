"""The proxy that is measured: the real states and nginx of tests/functional/proxy_host.py, its cache on xfs."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from tests.functional.conftest import minion_opts
from tests.functional.proxy_fixtures import proxy_opts
from tests.functional.proxy_host import OMERO, ProxyHost, failed

ROOT = Path(__file__).parents[1]
THUMBNAIL = "/webgateway/render_thumbnail/{}/"

# OMERO.web's place taken by what costs next to nothing: nginx with one picture
_PICTURES = f"""
user www-data; worker_processes 1; pid /run/pictures.pid; error_log /var/log/nginx/pictures.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    types {{ image/jpeg jpg; }}
    server {{ listen {OMERO}:8080; root /srv/pictures; location / {{ try_files /picture.jpg =404; }} }}
}}
"""


@contextlib.contextmanager
def proxy():
    """A proxy with its states applied and nginx on the first core."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        scratch = Path(name)
        for part in ("minion", "stub", "world"):
            (scratch / part).mkdir()
        opts = proxy_opts(minion_opts(ROOT, scratch / "minion", "idr-proxy"), scratch / "stub")
        with ProxyHost(opts, scratch / "world") as host:
            volume = scratch / "volume"
            host.run(f"truncate -s 8G {volume}; mkfs.xfs -q {volume}; mount -o loop,noatime {volume} /var/cache/nginx")
            try:
                wrong = failed(host.salt("state.apply", "nginx.configured"))
                assert not wrong, wrong
                host.run("taskset -c 0 /usr/sbin/nginx")
                yield host
            finally:
                host.run("nginx -s stop; for other in /run/pictures.pid /run/bare.pid; do "
                         "[ ! -e $other ] || kill $(cat $other); done; umount -l /var/cache/nginx")


def serve_pictures(host, length=3000):
    """OMERO.web answers everything with one picture of so many bytes, from nginx on the second core."""
    host.dead()
    host.run(f"mkdir -p /srv/pictures && head -c {length} /dev/urandom > /srv/pictures/picture.jpg")
    host.run(f"cat > /run/pictures.conf <<'END'\n{_PICTURES}\nEND\ntaskset -c 1 /usr/sbin/nginx -c /run/pictures.conf")


def wrk(host, url, seconds):
    """Requests that one thread of wrk on the second core got answered; refused if one of them failed."""
    said = host.run(f"taskset -c 1 wrk -t1 -c16 -d{seconds}s -H 'Host: idr.example.org' {url}")
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    return int(re.search(r"(\d+) requests in", said)[1])
