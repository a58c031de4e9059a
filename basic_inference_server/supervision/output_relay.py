"""Passes a child's output on as events: its own records, and any other line it prints."""

from __future__ import annotations

import json
from collections import deque

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog, Sink

MAX_LINES_PER_S = 2000
OUTPUT_EVENT = b'"event":"output"'
KEPT_LINES = 120
SHOWN_LINES = 40


class OutputRelay:
    """Reads the lines of one child; a flood is counted instead of shown."""

    def __init__(self, name: str, log: EventLog, sink: Sink, mark: bytes) -> None:
        self._name = name
        self._log = log
        self._sink = sink
        self._mark = mark
        self._second = 0
        self._allowance = MAX_LINES_PER_S
        self._suppressed = 0
        self._last_lines: deque[tuple[int | None, str]] = deque(maxlen=KEPT_LINES)

    def __call__(self, line: bytes) -> None:
        """Take one line."""
        if not line.strip():
            return
        is_record = line.startswith(self._mark)
        if is_record and OUTPUT_EVENT not in line[:200]:
            self._relay_record(line)  # our own events are few, and what explains the flood
            return
        second = int(monotonic_s())
        if second != self._second:
            self._second, self._allowance = second, MAX_LINES_PER_S
            self._say_suppressed()
        if self._allowance <= 0:
            self._suppressed += 1
            return
        self._allowance -= 1
        if is_record:
            self._relay_record(line)
        else:
            text = line.decode("utf-8", "backslashreplace")
            self._last_lines.append((None, text))
            self._log.info("output", message=text)

    def last_lines(self, worker_id: int) -> list[str]:
        """Return the newest lines of a worker, and those that name none, such as stacks."""
        own = [text for owner, text in self._last_lines if owner in {None, worker_id}]
        return own[-SHOWN_LINES:]

    def _relay_record(self, line: bytes) -> None:
        try:
            event = json.loads(line[len(self._mark) :])
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._log.info("output", message=line.decode("utf-8", "backslashreplace"))
            return
        event["server"] = self._name
        if event.get("event") == "output":
            self._last_lines.append((event.get("worker_id"), str(event.get("message", ""))))
        self._sink(event)

    def _say_suppressed(self) -> None:
        if self._suppressed:
            self._log.warning("output_suppressed", lines=self._suppressed)
            self._suppressed = 0
