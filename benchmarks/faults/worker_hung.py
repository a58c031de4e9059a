"""One request never ends; a deadline is configured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psutil

from faults import ledger
from faults.deployment import Deployment, deployed
from faults.exchange import Answer
from faults.ledger import Outcome, Row
from faults.system import WORKERS, Settings, System
from faults.verdict import Check, Finding

TITLE = "worker hung"
QUESTION = (
    "A deadline of 3 s by the system's own setting; one request sleeps for 60 s (a mild hang: a "
    "signal can interrupt it), while its neighbours ask 40 times a second for 5 ms of work. "
    "The caller waits 8 s, neighbours 5 s."
)
DEADLINE_S = 3.0
GRACE_S = 1.5
RATE = 40
WORK_MS = 5
BEFORE_S = 3.0
CALLER_PATIENCE_S = 8.0
NEIGHBOUR_PATIENCE_S = 5.0
WATCH_S = 9.0
REPLACED_WITHIN_S = 2.0
MAX_SLOWER_MS = 100.0


async def run(system: System) -> Finding:
    """Hang one request and watch the caller, the worker and the neighbours."""
    async with deployed(system, Settings(timeout_s=DEADLINE_S)) as deployment:
        async with deployment.load(RATE, NEIGHBOUR_PATIENCE_S, MS=WORK_MS) as load:
            await asyncio.sleep(BEFORE_S)
            hung_at_s = load.now_s
            began = time.monotonic()
            answer = await deployment.ask(deployment.request(HANG=1), CALLER_PATIENCE_S)
            waited_s = time.monotonic() - began
            await asyncio.sleep(max(0.0, hung_at_s + WATCH_S - load.now_s))
        rows = load.ledger.balanced()
        fate = await _fate(deployment)
    before = [row for row in rows if row.ended_s < hung_at_s]
    during = [row for row in rows if row.ended_s >= hung_at_s]
    return judge(answer, waited_s, fate, before, during)


async def _fate(deployment: Deployment) -> str:
    """What became of the worker."""
    if not deployment.is_up():
        return "the whole server ended"
    note = deployment.folder / "hung"
    if not note.exists():
        return "no worker took the request"
    if (deployment.folder / "hang_over").exists():
        return "freed"
    if psutil.pid_exists(int(note.read_text())):
        return "still hanging"
    workers = await deployment.workers(REPLACED_WITHIN_S)
    return "replaced" if len(workers) >= WORKERS else "ended, not replaced"


def judge(
    answer: Answer, waited_s: float, fate: str, before: Sequence[Row], during: Sequence[Row]
) -> Finding:
    """Hold caller, worker and neighbours to what a deadline means."""
    failed = ledger.failures(during)
    before_ms, during_ms = ledger.p99_ms(before), ledger.p99_ms(during)
    in_time = answer.outcome is Outcome.ANSWERED and waited_s <= DEADLINE_S + GRACE_S
    what = "no answer" if answer.outcome is Outcome.HUNG else answer.label
    caller = f"{what} after {waited_s:.1f} s"
    return Finding(
        brief=f"caller: {caller}; worker: {fate}; neighbours failed: {len(failed)}",
        observed=(
            f"The caller got {caller}. The worker after {WATCH_S:.0f} s: {fate}. "
            f"Neighbours: {ledger.labels(during)}; p99 {during_ms:.0f} ms, {before_ms:.0f} before."
        ),
        checks=(
            Check("the caller is answered at the deadline", in_time),
            Check("the worker is freed or replaced", fate in {"replaced", "freed"}),
            Check("no neighbour fails", not failed),
            Check(
                f"neighbours' p99 at most {MAX_SLOWER_MS:.0f} ms above before",
                during_ms <= before_ms + MAX_SLOWER_MS,
            ),
        ),
        figures={
            "caller": answer.label,
            "caller_waited_s": round(waited_s, 2),
            "worker": fate,
            "neighbours": len(during),
            "neighbours_failed": len(failed),
            "p99_before_ms": round(before_ms, 1),
            "p99_during_ms": round(during_ms, 1),
        },
    )
