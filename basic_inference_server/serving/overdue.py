"""Keeps a worker with an overdue request from taking others.

Whoever takes longer than `TIMEOUT` in a worker with several requests in flight has that worker
killed. It must not cost the others: the worker takes no more, and is killed once they are done, or
at their own deadlines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.shared_slot import SharedSlot


class OverdueWatch:
    """Looks after one worker's requests.

    Args:
        slot: what is in flight.
        timeout_s: the endpoint's `TIMEOUT`.
        events: where it says that the worker takes no more.
        on_change: told whether the worker may take requests.
    """

    def __init__(
        self,
        slot: SharedSlot,
        timeout_s: float,
        events: EventLog,
        on_change: Callable[[bool], None],
    ) -> None:
        self._slot = slot
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._events = events
        self._on_change = on_change
        self._is_overdue = False
        self._lock = threading.Lock()

    def look(self) -> float:
        """See to it; return the seconds until nothing can have become overdue."""
        with self._lock:
            now_ns = monotonic_ns()
            earliest_ns = self._slot.earliest_deadline_ns()
            is_overdue = 0 < earliest_ns < now_ns
            if is_overdue != self._is_overdue:
                self._is_overdue = is_overdue
                self._on_change(not is_overdue)
                # An answer that streams could go on for ever.
                self._slot.limit(now_ns + self._timeout_ns if is_overdue else None)
                if is_overdue:
                    others = self._slot.in_flight - 1
                    self._events.warning("request_overdue", others_in_flight=others)
            left_ns = earliest_ns - now_ns if earliest_ns and not is_overdue else self._timeout_ns
            return min(left_ns, self._timeout_ns) / NS_PER_S
