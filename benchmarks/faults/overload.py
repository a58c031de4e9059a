"""Ten times as many requests as two workers can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from faults import ledger
from faults.deployment import deployed
from faults.exchange import Answer
from faults.ledger import Outcome, Row
from faults.system import WORKERS, Settings, System
from faults.verdict import Check, Finding

TITLE = "overload"
QUESTION = (
    "50 ms of work on two workers is 40/s; 400 requests/s come for 10 s. A queue of 128 and a "
    "deadline of 10 s where the system has such settings. Callers wait 10 s."
)
WORK_MS = 50
CAPACITY = WORKERS * 1000 / WORK_MS
RATE = 10 * CAPACITY
LOAD_S = 10.0
PATIENCE_S = 10.0
QUEUE = 128
NEXT_PATIENCE_S = 10.0
MIN_GOODPUT = 0.8
MAX_REFUSAL_MS = 500.0


async def run(system: System) -> Finding:
    """Overload it, then see how long the next caller waits."""
    async with deployed(system, Settings(queue=QUEUE, timeout_s=PATIENCE_S)) as deployment:
        async with deployment.load(RATE, PATIENCE_S, MS=WORK_MS) as load:
            await asyncio.sleep(LOAD_S)
        rows = load.ledger.balanced()
        began = time.monotonic()
        following = await deployment.ask(deployment.request(MS=1), NEXT_PATIENCE_S)
        following_s = time.monotonic() - began
    return judge(rows, following, following_s)


def judge(rows: Sequence[Row], following: Answer, following_s: float) -> Finding:
    """Hold it to: useful work goes on, and who cannot be served learns so at once."""
    in_time = [row for row in rows if row.is_ok and row.ended_s <= LOAD_S]
    goodput = len(in_time) / (CAPACITY * LOAD_S)
    refused = [row for row in rows if row.outcome is Outcome.ANSWERED and not row.is_ok]
    unanswered = [row for row in rows if row.outcome is not Outcome.ANSWERED]
    refusal_ms = ledger.percentile([row.latency_s * 1000 for row in refused], 99)
    advised = sorted({row.retry_after for row in refused if row.retry_after})
    longest_s = max((row.latency_s for row in rows), default=0.0)
    refusals = "nobody was refused"
    if refused:
        header = f"`Retry-After` {' or '.join(advised)}" if advised else "no `Retry-After`"
        refusals = f"{len(refused)} refused, p99 after {refusal_ms:.0f} ms, {header}"
    return Finding(
        brief=f"goodput {goodput:.0%}, {len(refused)} refused, {len(unanswered)} unanswered",
        observed=(
            f"{len(rows)} requests: {ledger.labels(rows)}. Goodput {goodput:.0%} of capacity; "
            f"{refusals}; longest wait {longest_s:.1f} s; the next request, after all of these "
            f"had ended: {following.label} after {following_s:.2f} s."
        ),
        checks=(
            Check(f"goodput at least {MIN_GOODPUT:.0%} of capacity", goodput >= MIN_GOODPUT),
            Check(f"everybody is answered within {PATIENCE_S:.0f} s", not unanswered),
            Check(
                f"who is refused learns it within {MAX_REFUSAL_MS:.0f} ms (p99)",
                bool(refused) and refusal_ms <= MAX_REFUSAL_MS,
            ),
        ),
        figures={
            "requests": len(rows),
            "goodput": round(goodput, 3),
            "refused": len(refused),
            "refusal_p99_ms": round(refusal_ms, 1) if refused else None,
            "retry_after": advised,
            "unanswered": len(unanswered),
            "longest_s": round(longest_s, 2),
            "next": following.label,
            "next_s": round(following_s, 2),
        },
    )
