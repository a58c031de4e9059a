"""Finds workers that are hung, stopped, loading or leaving for too long, and ends them.

Reads the scoreboard only: a worker that is busy within its deadline is healthy. A hung worker
first gets SIGABRT, which shows its stacks, and SIGKILL when that does not help.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard, SlotReading, WorkerState
from basic_inference_server.supervision.autopsy import Verdict
from basic_inference_server.supervision.generation import Generation

HANG_GRACE_NS = 100_000_000
KILL_AFTER_S = 1.0
SILENCE_NS = 10 * NS_PER_S
PARKED_NS = NS_PER_S
MOST_STILLS = 16
LEAVING_NS = 3 * NS_PER_S // 2  # a worker ends itself after a second
ASKED_S = 3.0  # a worker looks once a second whether it is asked, and ends in another one


def process_is_stopped(pid: int) -> bool:
    """Say whether a process is stopped: by SIGSTOP, or by a debugger."""
    try:
        stat = (Path("/proc") / str(pid) / "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] in {"T", "t"}


class WorkerWatch:
    """Watches the workers of one server."""

    def __init__(
        self,
        scoreboard: ServerScoreboard,
        load_timeout_s: float,
        log: EventLog,
        is_stopped: Callable[[int], bool] = process_is_stopped,
    ) -> None:
        self._scoreboard = scoreboard
        self.load_timeout_s = load_timeout_s
        self._log = log
        self._is_stopped = is_stopped
        self._doomed: dict[int, tuple[Verdict, float]] = {}
        self._stills_ns: deque[tuple[int, int]] = deque(maxlen=MOST_STILLS)
        self._deaf: dict[int, float] = {}  # asked to leave, nothing to do, still there: since when

    def excuse(self, seconds: float) -> None:
        """Count for nobody the time for which we have stood still, and they as well."""
        now_ns = monotonic_ns()
        self._stills_ns.append((now_ns - int(seconds * NS_PER_S), now_ns))
        self._deaf.clear()

    def _stood_still_ns(self, since_ns: int) -> int:
        return sum(max(0, end - max(begin, since_ns)) for begin, end in self._stills_ns)

    def _running_ns(self, since_ns: int, now_ns: int) -> int:
        """Return how long it has run since then; what stood still did not."""
        return now_ns - since_ns - self._stood_still_ns(since_ns)

    def verdict_on(self, pid: int) -> Verdict | None:
        """Return why that worker was ended, once; `None` if it was not ended from here."""
        self._deaf.pop(pid, None)
        doom = self._doomed.pop(pid, None)
        return doom[0] if doom else None

    def end(
        self, generation: Generation, slot: SlotReading, why: str, now_s: float,
        *, blames: bool = True,
    ) -> None:  # fmt: skip
        """End a worker at once for something that it did; `blames` its request for it."""
        if slot.pid not in self._doomed:
            self._doomed[slot.pid] = (Verdict(why, blames), now_s)
            self._log.error("worker_ended", pid=slot.pid, worker_id=slot.worker_id, why=why)
            generation.signal_worker(slot.pid, signal.SIGKILL)

    def check(self, generation: Generation, now_s: float) -> None:
        """End the workers of `generation` that break a rule."""
        now_ns = monotonic_ns()
        for slot in self._scoreboard.occupied():
            if slot.generation != generation.number or not slot.pid:
                continue
            if slot.pid in self._doomed:
                if now_s - self._doomed[slot.pid][1] >= KILL_AFTER_S:
                    generation.signal_worker(slot.pid, signal.SIGKILL)
                continue
            if self._stays_for_too_long(slot, now_ns, now_s):
                self.end(
                    generation, slot, "it did not end when it had to leave", now_s, blames=False
                )
                continue
            if slot.state is WorkerState.PARKED:
                self._let_parked_try_again(generation, slot, now_ns)
                continue
            reason = self._broken_rule(slot, now_ns)
            if reason:
                self._end_hung(generation, slot, reason, now_s)

    def _end_hung(
        self, generation: Generation, slot: SlotReading, reason: str, now_s: float
    ) -> None:
        stopped = self._is_stopped(slot.pid)
        if stopped:
            reason += "; it was stopped from outside (SIGSTOP)"
        blames_request = slot.state is WorkerState.BUSY and not stopped
        self._doomed[slot.pid] = (Verdict(reason, blames_request), now_s)
        self._log.error("worker_hung", pid=slot.pid, worker_id=slot.worker_id, why=reason)
        generation.signal_worker(slot.pid, signal.SIGABRT)

    def _stays_for_too_long(self, slot: SlotReading, now_ns: int, now_s: float) -> bool:
        """Say whether a worker that has to leave, and has nothing to finish, does not."""
        if slot.state is WorkerState.LEAVING:
            return self._running_ns(slot.since_ns, now_ns) > LEAVING_NS
        if slot.state is WorkerState.BUSY or not (slot.asked_ns or slot.is_leaving):
            self._deaf.pop(slot.pid, None)
            return False
        # Since when it has nothing to do, nobody writes down: its last answer may be on its way.
        return now_s - self._deaf.setdefault(slot.pid, now_s) > ASKED_S

    def _let_parked_try_again(self, generation: Generation, slot: SlotReading, now_ns: int) -> None:
        """Only reached while other workers serve: otherwise the whole generation has ended."""
        if now_ns - slot.since_ns > PARKED_NS:
            # Code that could not be loaded may have taken SIGTERM's handler before it failed.
            is_deaf = now_ns - slot.since_ns > PARKED_NS + KILL_AFTER_S * NS_PER_S
            generation.signal_worker(slot.pid, signal.SIGKILL if is_deaf else signal.SIGTERM)

    def _broken_rule(self, slot: SlotReading, now_ns: int) -> str | None:
        if slot.state is WorkerState.BUSY and slot.deadline_ns:
            excused_ns = self._stood_still_ns(slot.started_ns)
            if now_ns > slot.deadline_ns + excused_ns + HANG_GRACE_NS:
                seconds = (now_ns - slot.started_ns) / NS_PER_S
                return f"hang: one request took {seconds:.1f} s, longer than TIMEOUT"
        elif slot.state is WorkerState.LOADING:
            if self._running_ns(slot.since_ns, now_ns) > self.load_timeout_s * NS_PER_S:
                return f"it did not load within LOAD_TIMEOUT ({self.load_timeout_s:g} s)"
        elif slot.state is WorkerState.IDLE and (
            self._running_ns(slot.heartbeat_ns, now_ns) > SILENCE_NS
        ):
            return f"no sign of life for {SILENCE_NS / NS_PER_S:g} s"
        return None

    def is_healthy(self, slots: Iterable[SlotReading]) -> bool:
        """Say whether one of these workers is idle with a fresh beat, or busy within its time."""
        now_ns = monotonic_ns()
        return any(
            slot.state in {WorkerState.IDLE, WorkerState.BUSY}
            and not slot.is_leaving
            and self._broken_rule(slot, now_ns) is None
            for slot in slots
        )
