"""
nginx_cache.refresh of 5 000 URLs beside one after another. The back end answers 4 at a time in 20 ms each, so that the
bound is 200 a second. Then it takes a second for each, and the brake is looked at.

One after another is measured on the first 500. ``python -m bench.refresh``, as root.
"""

from __future__ import annotations

from bench.machine import machine
from bench.proxy import THUMBNAIL, proxy
from tests.functional.proxy_host import OMERO

URLS, ONE_BY_ONE, SLOTS = 5000, 500, 4

_SLOTS = f"""
import asyncio, os
slots, body = asyncio.Semaphore({SLOTS}), os.urandom(3000)
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: 3000\\r\\n\\r\\n"
async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            async with slots:
                await asyncio.sleep(float(open("/srv/takes").read()))
            writer.write(head + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    async with await asyncio.start_server(answer, "{OMERO}", 8080) as server:
        await server.serve_forever()
asyncio.run(main())
"""


def main() -> None:
    capacity = SLOTS / 0.02
    print(f"{machine()}; a back end that can give {capacity:.0f} answers a second")
    print(f"{'refresh':34}{'URLs':>6}{'seconds':>9}{'a second':>10}{'of the bound':>14}")
    with proxy() as host:
        host.dead()
        host.run(f"cat > /srv/slots.py <<'END'\n{_SLOTS}\nEND\necho 0.02 > /srv/takes")
        host.run("python3 /srv/slots.py > /dev/null 2>&1 & echo $! > /run/slots.pid; sleep 0.5")
        try:
            for file, count in (("few", ONE_BY_ONE), ("all", URLS)):
                host.run(f"seq -f '{THUMBNAIL.format('%.0f')}' {count} > /srv/{file}")
            for name, file, most in (("one after another", "few", 1), ("4 at a time", "all", 4), ("8", "all", 8)):
                done = host.salt("nginx_cache.refresh", file=f"/srv/{file}", concurrency=most)
                assert not done["failed"] and not done["left"], done
                told(name, done, capacity)
            host.run("echo 1 > /srv/takes")
            done = host.salt("nginx_cache.refresh", file="/srv/all", concurrency=8, slow=0.5, patience=5)
            told("8, and a second each", done, capacity)
            print(f"{'':34}{done['stopped']}; {done['left']} left")
            host.run("echo 0.02 > /srv/takes")
            done = host.salt("nginx_cache.refresh", file="/srv/all", concurrency=8)
            told("the same command after that", done, capacity)
        finally:
            host.run("kill $(cat /run/slots.pid)")


def told(name, done, capacity) -> None:
    rate = done["per_second"]
    print(f"{name:34}{done['verified']:6}{done['seconds']:9.1f}{rate:10.1f}{rate / capacity:14.0%}")


if __name__ == "__main__":
    main()
