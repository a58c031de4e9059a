"""Two hundred clients send one header byte each second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from server_process import Address

from faults import ledger
from faults.deployment import deployed
from faults.ledger import Row
from faults.system import System
from faults.verdict import Check, Finding

TITLE = "slow clients"
QUESTION = (
    "200 connections send one header byte each second, while a healthy client asks 40 times a "
    "second for 5 ms of work. It waits 5 s."
)
CONNECTIONS = 200
RATE = 40
WORK_MS = 5
BEFORE_S = 4.0
ARRIVAL_S = 1.0  # not all at once: this is about slowness, not about a burst
DURING_S = 12.0
PATIENCE_S = 5.0
MAX_SLOWER_MS = 100.0


async def run(system: System) -> Finding:
    """Measure a healthy client before and while the slow ones are there."""
    async with deployed(system) as deployment:
        async with deployment.load(RATE, PATIENCE_S, MS=WORK_MS) as load:
            await asyncio.sleep(BEFORE_S)
            began_s = load.now_s
            address, path = deployment.address, system.path
            slow = []
            for _ in range(CONNECTIONS):
                slow.append(asyncio.create_task(_trickle(address, path)))
                await asyncio.sleep(ARRIVAL_S / CONNECTIONS)
            await asyncio.sleep(DURING_S)
            closed = sum(task.done() for task in slow)
            rows_until_s = load.now_s
        # The slow ones stay until every healthy request has had its whole time.
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        rows = load.ledger.balanced()
    before = [row for row in rows if row.ended_s < began_s]
    during = [row for row in rows if began_s <= row.planned_s < rows_until_s]
    return judge(before, during, closed)


async def _trickle(address: Address, path: str) -> None:
    """Ends only when the server closes the connection."""
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError:
        return
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ".encode())
        while not reader.at_eof():
            writer.write(b"a")
            await writer.drain()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1024), 1.0)
    except OSError:
        return
    finally:
        writer.transport.abort()


def judge(before: Sequence[Row], during: Sequence[Row], closed: int) -> Finding:
    """Hold it to: the healthy client does not notice."""
    failed = ledger.failures(during)
    before_ms, during_ms = ledger.p99_ms(before), ledger.p99_ms(during)
    return Finding(
        brief=f"p99 {during_ms:.0f} ms ({before_ms:.0f} without), {len(failed)} failed",
        observed=(
            f"The healthy client: {ledger.labels(during)}; p99 {during_ms:.0f} ms, "
            f"{before_ms:.0f} before. Slow connections closed by the server within "
            f"{DURING_S:.0f} s: {closed} of {CONNECTIONS}."
        ),
        checks=(
            Check("no healthy request fails", not failed),
            Check(
                f"p99 at most {MAX_SLOWER_MS:.0f} ms above before",
                during_ms <= before_ms + MAX_SLOWER_MS,
            ),
        ),
        figures={
            "requests": len(during),
            "failed": len(failed),
            "p99_before_ms": round(before_ms, 1),
            "p99_during_ms": round(during_ms, 1),
            "slow_closed": closed,
        },
    )
