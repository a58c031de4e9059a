"""The slot of a worker that executes several requests side by side, in threads or tasks.

Each request has a lane: what a worker with one request at a time does to its slot, it does to its
lane. The slot says all of them: until when the last one may take, and since when the first one
does.
"""

from __future__ import annotations

import threading
from bisect import bisect_left

from basic_inference_server.core.scoreboard import (
    BUSY_NS,
    DEADLINE,
    ERRORS,
    FIRST_BUCKET,
    HEARTBEAT,
    LANES,
    LATENCY_BOUNDS_US,
    REQUESTS,
    STARTED,
    STATE,
    Slot,
    WorkerState,
)


class SharedSlot:
    """Writes a worker's slot for all its lanes; one writer at a time.

    Attributes:
        lanes: one for each request that may be executed at the same time.
    """

    def __init__(self, slot: Slot, count: int) -> None:
        self._slot = slot
        self._lock = threading.Lock()
        self._started_ns: dict[int, int] = {}  # by lane, in the order in which they began
        self._deadline_ns: dict[int, int] = {}
        self._limit_ns: int | None = None
        for lane in range(count):  # of a predecessor that died
            slot.words[slot.first_call + lane] = 0
        slot.words[slot.base + LANES] = count
        self.lanes = [Lane(self, slot, number) for number in range(count)]

    @property
    def in_flight(self) -> int:
        """How many requests are being executed."""
        return len(self._started_ns)

    def earliest_deadline_ns(self) -> int:
        """Return until when the first of those in flight may take; 0 when there is none."""
        with self._lock:
            return min(self._deadline_ns.values(), default=0)

    def limit(self, limit_ns: int | None) -> None:
        """Let nothing in flight take longer than until then; `None` takes that back."""
        with self._lock:
            self._limit_ns = limit_ns
            self._write_deadline()

    def begin(self, lane: int, now_ns: int, deadline_ns: int, call: int) -> None:
        """Say that a request is being executed in a lane."""
        slot = self._slot
        words, base = slot.words, slot.base
        with self._lock:
            words[slot.first_call + lane] = call
            if not self._started_ns:
                words[base + STARTED] = now_ns
            self._started_ns[lane] = now_ns
            self._deadline_ns[lane] = deadline_ns
            self._write_deadline()
            words[base + STATE] = WorkerState.BUSY

    def extend(self, lane: int, deadline_ns: int) -> None:
        """Say that the request in a lane has until then for its next step."""
        with self._lock:
            self._deadline_ns[lane] = deadline_ns
            self._write_deadline()

    def finish(self, lane: int, started_ns: int, now_ns: int, *, failed: int, count: int) -> None:
        """Say that the request in a lane is done, and count it; busy times are added up."""
        slot = self._slot
        words, base = slot.words, slot.base
        with self._lock:
            self._started_ns.pop(lane, None)
            self._deadline_ns.pop(lane, None)
            if self._started_ns:
                words[base + STARTED] = next(iter(self._started_ns.values()))
            else:
                words[base + STATE] = WorkerState.IDLE
                words[base + STARTED] = 0
            self._write_deadline()
            words[slot.first_call + lane] = 0
            words[base + HEARTBEAT] = now_ns
            words[base + REQUESTS] += count
            words[base + ERRORS] += failed
            elapsed_ns = now_ns - started_ns
            words[base + BUSY_NS] += elapsed_ns
            words[base + FIRST_BUCKET + bisect_left(LATENCY_BOUNDS_US, elapsed_ns // 1000)] += count

    def _write_deadline(self) -> None:
        latest_ns = max(self._deadline_ns.values(), default=0)
        if self._limit_ns is not None:
            latest_ns = min(latest_ns, self._limit_ns)
        self._slot.words[self._slot.base + DEADLINE] = latest_ns


class Lane(Slot):
    """One request's part of a slot that several share."""

    def __init__(self, shared: SharedSlot, slot: Slot, number: int) -> None:
        super().__init__(slot.words, slot.index)
        self._shared = shared
        self._number = number

    def begin(self, now_ns: int, deadline_ns: int, call: int = 0) -> None:
        """Say that a request is being executed here."""
        self._shared.begin(self._number, now_ns, deadline_ns, call)

    def extend(self, deadline_ns: int) -> None:
        """Say that the request has come on, and has until then for the next step."""
        self._shared.extend(self._number, deadline_ns)

    def finish(self, started_ns: int, now_ns: int, *, failed: int, count: int = 1) -> None:
        """Say that the request is done, and count it."""
        self._shared.finish(self._number, started_ns, now_ns, failed=failed, count=count)
