"""
What a cached thumbnail costs nginx, beside bare nginx that serves the same bytes from a file: CPU per request.

Same scheme, connections kept alive, nginx on one core and the client on another; in turns, of which the medians count.
Bare nginx writes no log. ``python -m bench.thumbnail``, as root.
"""

from __future__ import annotations

import statistics

from bench.machine import machine
from bench.proxy import THUMBNAIL, proxy, serve_pictures, wrk
from tests.functional.proxy_host import PROXY

GOAL = 1.3
TURNS, SECONDS = 5, 2

_BARE = """
user www-data; worker_processes auto; pid /run/bare.pid; error_log /var/log/nginx/bare.log;
events { worker_connections 4096; }
http {
    types { image/jpeg jpg; }
    sendfile on;
    tcp_nopush on;
    access_log off;
    ssl_certificate /etc/nginx/ssl/site.pem;
    ssl_certificate_key /etc/nginx/ssl/site.pem;
    server { listen 8081; listen 8443 ssl; root /srv/pictures; }
}
"""


def cpu(host, pid_file: str) -> float:
    """CPU time that an nginx's workers have used, in seconds."""
    return float(host.run(
        f"for pid in $(pgrep -P $(cat {pid_file}) -f 'nginx: worker'); do cat /proc/$pid/schedstat; done"
        " | awk '{ used += $1 } END { printf \"%.6f\", used / 1e9 }'"
    ))  # fmt: skip


def main() -> None:
    print(f"{machine()}; medians of {TURNS} turns of {SECONDS} s")
    print(f"{'':8}{'a cached thumbnail':>20}{'a file, bare nginx':>20}{'ratio':>8}   goal: {GOAL}")
    with proxy() as host:
        serve_pictures(host)
        host.run(f"cat > /run/bare.conf <<'END'\n{_BARE}\nEND\ntaskset -c 0 /usr/sbin/nginx -c /run/bare.conf")
        url = THUMBNAIL.format(1)
        assert [host.get(url).cache for _ in range(2)] == ["MISS", "HIT"]
        for scheme, ours, bare in (("http", 80, 8081), ("https", 443, 8443)):
            spent = {"ours": [], "bare": []}
            sides = (("ours", "/run/nginx.pid", ours, url), ("bare", "/run/bare.pid", bare, "/picture.jpg"))
            for _ in range(TURNS):
                for side, pid_file, port, path in sides:
                    before = cpu(host, pid_file)
                    answered = wrk(host, f"{scheme}://{PROXY}:{port}{path}", SECONDS)
                    spent[side].append((cpu(host, pid_file) - before) / answered * 1e6)
            ours, bare = statistics.median(spent["ours"]), statistics.median(spent["bare"])
            # of one turn each, since what else this machine does weighs on both alike
            ratio = statistics.median(one / other for one, other in zip(spent["ours"], spent["bare"], strict=True))
            print(f"{scheme:8}{ours:17.1f} µs{bare:17.1f} µs{ratio:8.2f}")


if __name__ == "__main__":
    main()
