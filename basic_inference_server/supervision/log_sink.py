"""The supervisor's log output: a bounded queue and one thread, so that writing never blocks it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from basic_inference_server.core.logs import Event, renderer

QUEUE_EVENTS = 10_000


class ThreadedSink:
    """Writes events to standard output; drops and counts them when nobody reads it."""

    def __init__(self, log_format: str) -> None:
        self._render = renderer(log_format)
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_EVENTS)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Queue one event."""
        if self._dropped:
            event = {**event, "records_dropped_before": self._dropped}
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, within the time."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        while (event := self._queue.get()) is not None:
            # A full disk or a closed terminal must not end the thread: later lines may pass.
            with contextlib.suppress(OSError, ValueError):
                os.write(1, self._render(event).encode("utf-8", "replace") + b"\n")
