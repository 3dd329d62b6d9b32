"""
The public's address moved from one proxy to another and back, ten times in turn: by a release's moves, by the
document's procedure (both addresses off, both on again), and by a bare single call. What counts is the gap that a
client outside sees, who opens 100 new connections a second and gives each of them 5 s.

Needs the lab up, and nobody else at work on the machine: ``make bench``.
"""

from __future__ import annotations

import json
import os
import statistics

from bench.environment import environment, seat
from bench.lab import run
from bench.machine import machine
from tests.lab.environments import BESIDE

TURNS = 10
GOAL, GOAL_RATIO = 1.0, 1.5
# What the other proxy answers with; nothing is deployed on it.
WEB = """
import asyncio
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    writer.close()
async def main():
    async with await asyncio.start_server(answer, "0.0.0.0", 80, backlog=1000) as web:
        await web.serve_forever()
asyncio.run(main())
"""
# Runs at the seat: a process asks all the while, the other moves; answers are by their moments.
MOVES = """
import asyncio, json, multiprocessing, sys, time
from idr.cloud import live, mark
from idr.cloud.connection import connect
from idr.release import moves, record, seen

OTHER, TURNS = sys.argv[1], int(sys.argv[2])
EVERY, PATIENCE, AROUND = 0.01, 5, 1.5  # seconds

async def ask(address, found):
    began, became = time.monotonic(), "failed"
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, 80)
            became = "cut"  # unless it's answered: it was there when the address moved
            writer.write(b"HEAD / HTTP/1.0\\r\\nHost: idr.example.org\\r\\n\\r\\n")
            became = "answered" if await reader.read(1) else "cut"
            writer.close()
    except (OSError, TimeoutError):
        pass
    found.append((began, time.monotonic(), became))

def client(address, stop, answers):
    async def all_the_while():
        found, asked, next_ = [], set(), time.monotonic()
        while not stop.is_set():
            asked.add(task := asyncio.create_task(ask(address, found)))
            task.add_done_callback(asked.discard)
            next_ += EVERY
            await asyncio.sleep(max(0, next_ - time.monotonic()))
        await asyncio.gather(*asked)
        answers.put(found)
    asyncio.run(all_the_while())

cloud = connect("idr")
before = seen.look(cloud)
public = cloud.network.get_ip(before.public.id)
spare = before.on(before.proxy(OTHER))[0]

def move_of():
    now = seen.look(connect("idr"))
    source = now.holder(now.public) or "idr"  # nobody: it was stopped between off and on
    target = OTHER if source != OTHER else "idr"
    return now, record.Move(record.SWITCH, source, target, spare.ip, record.moment(), "bench")

def ours(now, move):
    moves.carry_out(lambda: connect("idr"), move, time.monotonic() + 60, lambda line: None)

def put(address, port):
    return cloud.network.update_ip(address.id, port_id=port)

def documents(now, move):
    put(now.named(spare.ip), None)
    put(now.public, None)
    put(now.public, now.proxy(move.target).id)
    put(now.named(spare.ip), now.proxy(move.source).id)

def bare(now, move):
    put(now.public, now.proxy(move.target).id)

def measured(deed):
    now, move = move_of()
    if deed is bare:  # the target's port has to be free for it; that isn't its part
        put(now.named(spare.ip), None)
    stop, answers = multiprocessing.Event(), multiprocessing.Queue()
    asking = multiprocessing.Process(target=client, args=(now.public.ip, stop, answers))
    asking.start()
    time.sleep(AROUND)
    began = time.monotonic()
    deed(now, move)
    took = time.monotonic() - began
    time.sleep(AROUND)
    stop.set()
    found = answers.get()
    asking.join()
    ours(now, move)  # whatever it left otherwise (whose they are, where the spare one is) is as a switch leaves it
    moments = sorted(end for _, end, became in found if became == "answered")
    return {
        "gap": max(after - before for before, after in zip(moments, moments[1:])),
        "failed": sum(became == "failed" for *_, became in found),
        "cut": sum(became == "cut" for *_, became in found),
        "slowest": max(end - began for began, end, became in found if became == "answered"),
        "asked": len(found), "took": took,
    }

said = {}
try:
    for _ in range(TURNS):
        for deed in (ours, documents, bare):
            said.setdefault(deed.__name__, []).append(measured(deed))
finally:
    now, move = move_of()
    ours(now, move if move.target == "idr" else move.back)
    cloud.network.update_ip(public.id, description=public.description)
    if "idr" not in before.released:
        record.take(cloud, record.GROUPS, before.records["idr"].id, live.RELEASED)
print(json.dumps(said))
"""


def main() -> None:
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}; {TURNS} turns, medians", flush=True)
    run("outside", "tee", BESIDE.declared, script=BESIDE.declaration)
    try:
        seat(*environment(*BESIDE.apply))
        run("exec", f"{BESIDE.name}-proxy", "systemd-run", "--unit=bench-web", "python3", "-c", WEB)
        asked = run("outside", ".venv/bin/python", "-", BESIDE.name, str(TURNS), script=MOVES)
        said = json.loads(asked.splitlines()[-1])
    finally:
        seat(*environment(*BESIDE.destroy))
        run("outside", "rm", "-f", BESIDE.declared)
    gaps = {name: [it["gap"] for it in turns] for name, turns in said.items()}
    for name, title in (("ours", "a release's moves"), ("documents", "off and on again"), ("bare", "a bare call")):
        turns = said[name]
        print(
            f"{title:18} gap {statistics.median(gaps[name]):6.3f} s   worst {max(gaps[name]):6.3f} s   "
            f"failed {sum(it['failed'] for it in turns)}, cut {sum(it['cut'] for it in turns)} "
            f"of {sum(it['asked'] for it in turns)}   "
            f"slowest answer {max(it['slowest'] for it in turns):5.2f} s"
        )
    below = sum(mine < theirs for mine, theirs in zip(gaps["ours"], gaps["documents"], strict=True))
    ratio = statistics.median(gaps["ours"]) / statistics.median(gaps["bare"])
    print(
        f"worst gap {max(gaps['ours']):5.3f} s   goal {GOAL} s, no failed connection   "
        f"below off and on again in {below} of {TURNS}   beside the bare call {ratio:4.2f}   goal {GOAL_RATIO}"
    )


if __name__ == "__main__":
    main()
