"""A worker is killed every second while requests come in."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterable, Sequence

from faults import ledger
from faults.deployment import deployed
from faults.ledger import Outcome, Row
from faults.system import WORKERS, System
from faults.verdict import Check, Finding

TITLE = "worker killed"
QUESTION = (
    "50 requests/s of 25 ms, so that a worker is busy for more than half of the time; about each "
    "second, 8 times, one of the workers that answer gets SIGKILL, chosen and timed by chance. "
    "Callers wait 5 s."
)
RATE = 50
WORK_MS = 25
KILLS = 8
INTERVAL_S = 1.0
JITTER_S = 0.2  # without it a kill would meet every request at the same moment of its life
RECENT_S = 1.5
SEED = 20  # the same chances for every system
PATIENCE_S = 5.0
SETTLE_S = 15.0
MAX_RECOVERY_S = 3.0


async def run(system: System) -> Finding:
    """Kill, then wait until both workers have answered again."""
    killed: list[int] = []
    last_kill_s = 0.0
    chance = random.Random(SEED)
    async with deployed(system) as deployment:
        async with deployment.load(RATE, PATIENCE_S, MS=WORK_MS) as load:
            for number in range(KILLS):
                due_s = (number + 1) * INTERVAL_S + chance.uniform(0, JITTER_S)
                await asyncio.sleep(max(0.0, due_s - load.now_s))
                workers = answering(load.ledger.so_far, load.now_s - RECENT_S, killed)
                if workers and await deployment.kill_worker(pid := chance.choice(workers)):
                    killed.append(pid)
                    last_kill_s = load.now_s
            while load.now_s < last_kill_s + SETTLE_S and math.isnan(
                recovery_s(load.ledger.so_far, last_kill_s, killed)
            ):
                await asyncio.sleep(0.1)
        rows = load.ledger.balanced()
        is_up = deployment.is_up()
    return judge(rows, len(killed), recovery_s(rows, last_kill_s, killed), is_up)


def answering(rows: Iterable[Row], since_s: float, killed: Sequence[int]) -> list[int]:
    """The workers that answered since then and were not killed."""
    pids = {row.worker_pid for row in rows if row.worker_pid and row.ended_s >= since_s}
    return sorted(pids - set(killed))


def recovery_s(rows: Iterable[Row], last_kill_s: float, killed: Sequence[int]) -> float:
    """Seconds from the last kill until both workers had answered."""
    return ledger.full_capacity_s(rows, last_kill_s, frozenset(killed), WORKERS)


def judge(rows: Sequence[Row], kills: int, recovered_s: float, is_up: bool) -> Finding:
    """Count what callers lost."""
    failed = ledger.failures(rows)
    silent = ledger.count(rows, Outcome.CUT) + ledger.count(rows, Outcome.REFUSED)
    hung = ledger.count(rows, Outcome.HUNG)
    slowest_s = max((row.latency_s for row in failed), default=0.0)
    per_kill = len(failed) / kills if kills else math.nan
    if not is_up:
        after = "the whole server had ended"
    elif math.isnan(recovered_s):
        after = f"both workers had not answered again {SETTLE_S:.0f} s after the last kill"
    else:
        after = f"both workers answered again {recovered_s:.1f} s after the last kill"
    return Finding(
        brief=f"{per_kill:.1f} failed per kill, {silent} without an answer, {hung} hung",
        observed=(
            f"{kills} kills, {len(rows)} requests: {ledger.labels(rows)}; those that failed did so "
            f"within {slowest_s:.2f} s. "
            f"Failed per kill: {per_kill:.1f}; without an HTTP answer: {silent}; "
            f"without one for {PATIENCE_S:.0f} s: {hung}; {after}."
        ),
        checks=(
            Check("at most one request fails for each kill", kills > 0 and len(failed) <= kills),
            Check("no connection ends without an HTTP answer", silent == 0),
            Check(f"nobody waits {PATIENCE_S:.0f} s", hung == 0),
            Check(
                f"full capacity within {MAX_RECOVERY_S:.0f} s",
                is_up and recovered_s <= MAX_RECOVERY_S,
            ),
        ),
        figures={
            "kills": kills,
            "requests": len(rows),
            "failed": len(failed),
            "failed_within_s": round(slowest_s, 3),
            "without_answer": silent,
            "hung": hung,
            "recovery_s": None if math.isnan(recovered_s) else round(recovered_s, 2),
        },
    )
