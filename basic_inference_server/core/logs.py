"""Structured logs: one event, one line.

Every process says events through an `EventLog`. A supervised child writes each event as one
record to its standard error, where the supervisor reads it; the supervisor renders everything,
in colour on a terminal and as JSON elsewhere. A record is one write of at most `MAX_RECORD`
bytes, so lines of several workers never mix, and writing never blocks and never raises.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from basic_inference_server.core.clock import utc_timestamp
from basic_inference_server.core.showing import text_of

RECORD_MARK: Final = b"\x1e"  # RFC 7464 record separator: tells our records from plain output
LOG_MARK_VARIABLE: Final = "BIS_LOG_MARK"
KEPT_RECORDS: Final = 100
MAX_RECORD: Final = 4000  # below PIPE_BUF (4096): a write is whole or not at all
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

Event = dict[str, Any]
Sink = Callable[[Event], None]


class EventLog:
    """Says events with the fields of its owner, e.g. the server's name, on each."""

    def __init__(self, sink: Sink, level: str = "info", **context: Any) -> None:
        self._sink = sink
        self._threshold = LEVELS[level]
        self._level = level
        self._context = context

    def bind(self, **context: Any) -> EventLog:
        """Return a log whose events also carry `context`."""
        return EventLog(self._sink, self._level, **{**self._context, **context})

    def is_enabled(self, level: str) -> bool:
        """Say whether events of `level` are written."""
        return LEVELS[level] >= self._threshold

    def say(self, level: str, event: str, /, **fields: Any) -> None:
        """Write one event."""
        if LEVELS[level] >= self._threshold:
            self._sink(
                {"time": utc_timestamp(), "level": level, "event": event}
                | self._context
                | {name: value for name, value in fields.items() if value is not None}
            )

    def debug(self, event: str, **fields: Any) -> None:
        """Write a decision."""
        self.say("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write a state change."""
        self.say("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write something that is degraded but served."""
        self.say("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a lost request or server."""
        self.say("error", event, **fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Write that nothing can be served."""
        self.say("critical", event, **fields)


def to_line(event: Mapping[str, Any]) -> bytes:
    """Render an event as one line of ASCII JSON that nothing in it can break or forge."""
    try:
        return _to_json(event)
    except (TypeError, ValueError, RecursionError):  # a key that is no text, a circle, too deep
        return _to_json({text_of(name): text_of(value) for name, value in event.items()})


def _to_json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, default=text_of, ensure_ascii=True, separators=(",", ":")).encode()


def to_bounded_line(event: Event) -> bytes:
    """Render an event in at most `MAX_RECORD` bytes, cutting the middle of its longest field."""
    line = to_line(event)
    while len(line) > MAX_RECORD:
        longest = max(event, key=lambda name: len(text_of(event[name])))
        text = text_of(event[longest])
        keep = max(40, len(text) - (len(line) - MAX_RECORD) - 80) // 2
        if keep * 2 + 10 >= len(text):
            return _cut_everywhere(event)
        event = {**event, longest: f"{text[:keep]} [...] {text[-keep:]}"}
        line = to_line(event)
    return line


def _cut_everywhere(event: Event) -> bytes:
    """Render an event of many wide fields: the first ones, each cut until all fit."""
    width = 200
    while True:
        line = to_line({name[:100]: text_of(event[name])[:width] for name in list(event)[:12]})
        if len(line) <= MAX_RECORD or not width:
            return line[:MAX_RECORD]
        width //= 2


def record_mark() -> bytes:
    """Return what this process's records begin with.

    The supervisor adds a secret of its own, so that no text that a client sends and an endpoint
    prints can pass as a record.
    """
    return RECORD_MARK + os.environ.get(LOG_MARK_VARIABLE, "").encode()


class RecordWriter:
    """A child's sink: records to a pipe that may be full.

    What the endpoint prints is dropped and counted then; the newest of our own events are kept and
    written as soon as there is room. It never waits, and has a description of the pipe of its own
    for that: what the endpoint starts inherits `fd`, and ordinary programs do not expect their
    standard output to refuse a write.
    """

    def __init__(self, fd: int = 2) -> None:
        self._inherited_fd = fd
        self._fd: int | None = None
        self._mark = record_mark()
        self._kept: deque[bytes] = deque(maxlen=KEPT_RECORDS)
        self._lock = threading.RLock()  # a signal handler may log while its thread does
        self.dropped = 0

    def open(self) -> None:
        """Open the description; by the process that writes, not by the master that forks it."""
        if self._fd is None:
            self._fd = reopened_without_waiting(self._inherited_fd)

    def __call__(self, event: Event) -> None:
        """Write one record, or keep or drop it when nobody reads fast enough."""
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        if self.dropped:
            event = {**event, "records_dropped_before": self.dropped}
        record = self._mark + to_bounded_line(event) + b"\n"
        if self.flush() and self._write(record):
            self.dropped = 0
        elif event.get("event") == "output":
            self.dropped += 1
        else:
            self.dropped += len(self._kept) == KEPT_RECORDS  # the oldest one goes
            self._kept.append(record)

    def flush(self) -> bool:
        """Write what is kept; say whether all of it could be written."""
        with self._lock:
            while self._kept:
                if not self._write(self._kept[0]):
                    return False
                self._kept.popleft()
        return True

    def forget(self) -> None:
        """Be as new, in a forked child: what is kept is its parent's, and so are held locks."""
        self._lock = threading.RLock()
        self._kept.clear()
        self.dropped = 0

    def _write(self, record: bytes) -> bool:
        self.open()
        assert self._fd is not None
        try:
            os.write(self._fd, record)
        except OSError:
            return False
        return True


def reopened_without_waiting(fd: int) -> int:
    """Return another description of an open pipe, for writing that never waits.

    All writers of a process, and of those that it forks, share one for each pipe. Anything but a
    pipe is used as it is: a file opened again would be written from its beginning.
    """
    details = os.fstat(fd)
    if not stat.S_ISFIFO(details.st_mode):
        return fd
    pipe = details.st_dev, details.st_ino
    if pipe in _reopened:
        return _reopened[pipe]
    try:
        opened = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return fd
    shared = _reopened.setdefault(pipe, opened)
    if shared != opened:  # another thread was faster; a lock could be held by a fork
        os.close(opened)
    return shared


_reopened: dict[tuple[int, int], int] = {}


_COLOURS: Final = {
    "debug": "\x1b[2m",
    "info": "",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_NAMED_COLOURS: Final = {
    "r": "\x1b[31m", "red": "\x1b[31m", "g": "\x1b[32m", "green": "\x1b[32m",
    "y": "\x1b[33m", "yellow": "\x1b[33m", "b": "\x1b[34m", "blue": "\x1b[34m",
    "m": "\x1b[35m", "magenta": "\x1b[35m", "c": "\x1b[36m", "cyan": "\x1b[36m",
}  # fmt: skip
_RESET: Final = "\x1b[0m"
_SHOWN_FIRST: Final = ("time", "level", "event", "server", "message", "color", "traceback")


def _printable(text: str) -> str:
    """Make control characters visible, so that no text can move the cursor or forge a line."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def to_console(event: Mapping[str, Any], *, colour: bool) -> str:
    """Render an event for a person; further lines of a text are indented under it."""
    level = str(event.get("level", "info"))
    head = f"{str(event.get('time', ''))[11:23]} {level.upper():<8} "
    if "server" in event:
        head += f"[{event['server']}] "
    name = str(event.get("event", ""))
    parts = [] if name in {"message", "output"} else [name]
    if event.get("message"):
        parts.append(str(event["message"]))
    parts += [f"{key}={value}" for key, value in event.items() if key not in _SHOWN_FIRST]
    text = _printable(head).replace("\n", " ")
    text += _printable(" ".join(parts)).replace("\n", "\n    | ")
    if event.get("traceback"):
        text += _printable("\n" + str(event["traceback"]).rstrip()).replace("\n", "\n    | ")
    if not colour:
        return text
    paint = _NAMED_COLOURS.get(str(event.get("color", ""))) or _COLOURS.get(level, "")
    return f"{paint}{text}{_RESET}" if paint else text


def renderer(log_format: str) -> Callable[[Mapping[str, Any]], str]:
    """Return how events look on standard output: for a person, or as JSON."""
    is_terminal = sys.stdout.isatty()
    if log_format == "console" or (log_format == "auto" and is_terminal):
        colour = is_terminal and "NO_COLOR" not in os.environ
        return lambda event: to_console(event, colour=colour)
    return lambda event: to_line(event).decode("ascii")


def direct_sink(log_format: str = "auto") -> Sink:
    """Return a sink for a process that nobody supervises: straight to standard output."""
    render = renderer(log_format)

    def write(event: Event) -> None:
        print(render(event), flush=True)  # noqa: T201 - this is the log's own output

    return write


def process_sink() -> Sink:
    """Return the sink that fits this process: records under a supervisor, else direct."""
    if os.environ.get("BIS_SUPERVISED") == "1":
        writer = RecordWriter()
        writer.open()  # now, and not in the middle of a lack of descriptors
        return writer
    return direct_sink(os.environ.get("BIS_LOG_FORMAT", "auto"))
