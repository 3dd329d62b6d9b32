"""What anyone outside gets: the page, the cache, and three ports."""

from __future__ import annotations

import subprocess

import pytest

from .conftest import PUBLIC

pytestmark = [pytest.mark.lab, pytest.mark.hosts]

SCAN = """
import asyncio, sys
async def probe(port, gate, found):
    async with gate:
        patience = 60 if port in (22, 80, 443) else 1.5   # of the others none is to answer
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), patience)
        except (OSError, asyncio.TimeoutError):
            return
        writer.close()
        found.append(port)
async def main():
    gate, found = asyncio.Semaphore(4000), []
    await asyncio.gather(*(probe(port, gate, found) for port in range(65535, 0, -1)))
    print(*sorted(found))
asyncio.run(main())
"""

def test_the_page_is_the_idr(lab):
    page = lab.outside("curl", "-ksS", f"https://{PUBLIC}/").stdout
    assert "<title>IDR: Image Data Resource" in page


def test_the_second_request_of_a_thumbnail_is_a_hit(lab, image):
    path = f"/webgateway/render_thumbnail/{image}/"
    first, second = lab.get(path), lab.get(path)
    assert (first.status, second.status) == (200, 200)
    assert second.cache == "HIT"
    assert second.headers["content-type"] == "image/jpeg"


def test_a_rendered_image_is_a_real_one(lab, image):
    lab.outside("curl", "-ksSo", "/tmp/image", f"https://{PUBLIC}/webgateway/render_image/{image}/0/0/?dummy=1")
    look = "stat -c %s /tmp/image; head -c 2 /tmp/image | od -An -tx1"
    size, magic = lab.outside("bash", "-c", look).stdout.split("\n")[:2]
    assert magic.split() == ["ff", "d8"]
    assert int(size) > 50_000


def test_tcp_of_all_ports_only_three_answer(lab):
    found = lab.outside("bash", "-c", f"ulimit -n 8000; python3 - {PUBLIC}", stdin=SCAN).stdout
    assert found.split() == ["22", "80", "443"]


@pytest.mark.parametrize(
    ("server", "address", "port"),
    [
        ("idr-a-omero", "192.168.1.12", 5432),
        ("idr-a-dockermanager", "192.168.1.12", 5432),
        ("idr-a-omero", "192.168.1.10", 9000),
        ("idr-a-omero", "192.168.2.10", 9000),
        ("idr-a-omero", "192.168.1.11", 4064),
        ("idr-omero", "192.168.2.12", 5432),
    ],
)
def test_the_two_sides_do_not_reach_each_other(lab, server, address, port):
    assert lab.exec(server, *connect(address, port), check=False).returncode != 0


@pytest.mark.parametrize(
    ("server", "address", "port"),
    [
        ("idr-omero", "192.168.1.12", 5432),
        ("idr-database", "192.168.1.10", 9000),
        ("idr-a-omero", "192.168.2.10", 4505),
    ],
)
def test_what_a_side_needs_it_reaches(lab, server, address, port):
    assert lab.exec(server, *connect(address, port, 60), check=False).returncode == 0


def connect(address: str, port: int, seconds: int = 3) -> list[str]:
    return ["python3", "-c", f"import socket; socket.create_connection(('{address}', {port}), {seconds})"]


@pytest.mark.parametrize("path", ["/webclient/login/", "/webadmin/", "/webclient/logout/", "/api/v0/login/"])
@pytest.mark.parametrize("base", [f"https://{PUBLIC}", f"http://{PUBLIC}"])
def test_nobody_logs_in_through_the_proxy(lab, base, path):
    assert lab.get(path, base).status in (403, 404)


def test_a_browser_shows_the_page_and_a_thumbnail(lab, image, tmp_path):
    shot = tmp_path / "thumbnail.png"
    dom = browse(f"https://{PUBLIC}/", "--dump-dom").stdout
    assert "IDR: Image Data Resource" in dom
    browse(f"https://{PUBLIC}/webgateway/render_thumbnail/{image}/", f"--screenshot={shot}", "--window-size=300,200")
    assert shot.stat().st_size > 3_000     # a blank page of this size is a tenth of it


def browse(url: str, *what: str) -> subprocess.CompletedProcess:
    """Headless Chromium on the network of the seat."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--ignore-certificate-errors"]
    return subprocess.run(
        ["ip", "netns", "exec", "idrlab-seat", "chromium", *quiet, *what, url],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
