"""A new version of a model that takes 5 s to load is taken over while requests come in."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from faults import ledger
from faults.deployment import Deployment, deployed
from faults.exchange import request_bytes
from faults.ledger import Row
from faults.open_loop import OpenLoop
from faults.system import WORKERS, Reload, System
from faults.verdict import Check, Finding

TITLE = "reload under load"
QUESTION = (
    "20 requests/s of 10 ms while the model, which now takes 5 s to load, is reloaded by the "
    "system's own means; those without one are stopped with SIGTERM and started. "
    "Callers wait 10 s."
)
RATE = 20
WORK_MS = 10
BEFORE_S = 2.0
AFTER_S = 1.5
PATIENCE_S = 10.0
LIMIT_S = 25.0
SLOW_S = 1.0


async def run(system: System) -> Finding:
    """Reload, and go on until the new version serves or the time is up."""
    async with deployed(system) as deployment:
        deployment.set_load_mode("slow")
        loads_before = len(deployment.loads())
        async with deployment.load(RATE, PATIENCE_S, MS=WORK_MS) as load:
            await asyncio.sleep(BEFORE_S)
            began_s = load.now_s
            old = {row.worker_pid for row in load.ledger.so_far if row.worker_pid}
            said = await _reload(deployment, load, old)
            took_s = load.now_s - began_s
            await asyncio.sleep(AFTER_S)
        rows = [row for row in load.ledger.balanced() if row.planned_s >= began_s]
        has_loaded = len(deployment.loads()) >= loads_before + WORKERS
    return judge(rows, took_s, said, has_loaded and took_s < LIMIT_S)


async def _reload(deployment: Deployment, load: OpenLoop, old: set[int]) -> str:
    """Ask for the new version and wait for it; returns what was done and what it said."""
    system = deployment.system
    if system.reload is Reload.CALL:
        call = request_bytes("POST", system.reload_path, system.reload_body)
        answer = await deployment.ask(call, LIMIT_S)
        return f"`{system.reload_path}` {answer.label}"
    if system.reload is Reload.HANGUP:
        os.kill(deployment.server.pid, signal.SIGHUP)
        said = "SIGHUP"
    else:
        await asyncio.to_thread(deployment.server.stop)
        deployment.launch()
        said = "SIGTERM and start"
    began_s = load.now_s
    while load.now_s < began_s + LIMIT_S:
        answered = [row for row in load.ledger.so_far if row.is_ok and row.ended_s > began_s]
        if len({row.worker_pid for row in answered} - old - {0}) >= WORKERS:
            return said
        await asyncio.sleep(0.1)
    return f"{said}, but both new workers had not answered after {LIMIT_S:.0f} s"


def judge(rows: Sequence[Row], took_s: float, said: str, is_new: bool) -> Finding:
    """Count who noticed."""
    failed = ledger.failures(rows)
    slow = [row for row in rows if row.is_ok and row.latency_s > SLOW_S]
    quick = [row for row in rows if row.is_ok and row.latency_s <= SLOW_S]
    longest_s = max((row.latency_s for row in rows), default=0.0)
    outcome = f"served after {took_s:.1f} s" if is_new else "did not come to serve"
    return Finding(
        brief=f"{len(failed)} of {len(rows)} lost, {len(slow)} slow, longest {longest_s:.2f} s",
        observed=(
            f"{said}; the new version {outcome}. Of {len(rows)} requests meanwhile: "
            f"{ledger.labels(rows)}; {len(slow)} of the answered waited more than {SLOW_S:.0f} s; "
            f"longest wait {longest_s:.2f} s."
        ),
        checks=(
            Check("no request is lost", is_new and not failed),
            Check(
                f"every request is served within {SLOW_S:.0f} s",
                is_new and len(quick) == len(rows),
            ),
        ),
        figures={
            "requests": len(rows),
            "failed": len(failed),
            "slow": len(slow),
            "longest_s": round(longest_s, 2),
            "took_s": round(took_s, 2),
            "new_version_serves": is_new,
        },
    )
