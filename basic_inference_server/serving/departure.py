"""The end of a worker that has given its last answer: in order if it can, in time in any case.

Python waits at its end for threads that are no daemons, for child processes of `multiprocessing`
and for what was registered with `atexit`. Any of them may take for ever, and nobody would notice: a
worker that leaves is neither hung nor dead. So it has a second. The supervisor ends it when even
that does not help, because C code of the endpoint's holds the interpreter.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import Slot, WorkerState

LEAVE_WITHIN_S = 1.0
FAILED = 1


class Departure:
    """Bounds how long one worker takes to end.

    Args:
        slot: where it says that it ends.
        events: where it says what has kept it.
        flush: sends what the worker has kept: notifications, log records.
    """

    def __init__(self, slot: Slot, events: EventLog, flush: Callable[[], None]) -> None:
        self._slot = slot
        self._events = events
        self._flush = flush
        self._has_begun = False
        # Registered before the endpoint is loaded, so it is called after the endpoint's own.
        atexit.register(flush)

    def begin(self, *, failed: bool = False) -> None:
        """Say that the last answer is given; whatever happens, the process ends in a second."""
        if self._has_begun:
            return
        self._has_begun = True
        now_ns = monotonic_ns()
        self._slot.leave(now_ns)
        if not failed:  # what has failed is found in the state in which it did
            self._slot.set_state(WorkerState.LEAVING, now_ns)
        exit_code = FAILED if failed else 0
        try:
            threading.Thread(
                target=self._end_in_time, args=(exit_code,), name="departure", daemon=True
            ).start()
        except RuntimeError:  # the endpoint has taken all threads that there are
            self.end_now(exit_code)
        self._flush()

    def _end_in_time(self, exit_code: int) -> None:
        threading.Event().wait(LEAVE_WITHIN_S)
        try:
            self._events.warning("worker_end_forced", kept_by=kept_by())
        finally:
            self.end_now(exit_code)

    def end_now(self, exit_code: int = 0) -> None:
        """End the process without what Python does at its end."""
        try:
            self._flush()
        finally:
            os._exit(exit_code)


def kept_by() -> str:
    """Return what Python waits for at its end, as far as one can see."""
    main = threading.main_thread()
    names = [t.name for t in threading.enumerate() if not t.daemon and t is not main]
    return ", ".join(f"thread {name}" for name in names) or "what runs at its exit"
