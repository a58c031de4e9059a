"""The standard library's `logging`, as libraries and endpoints use it, made events of ours."""

from __future__ import annotations

import logging
from typing import Any, Final

from basic_inference_server.core.logs import LEVELS, EventLog
from basic_inference_server.core.showing import text_of, trace_of

# What a record has by itself; everything else in it came with `extra`.
OF_A_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Fields that say where an event comes from and what it is: `extra` cannot pass for them.
OURS: Final = frozenset(
    {
        "time", "level", "event", "server", "worker_id", "request_id", "pid", "color", "stream",
        "logger", "traceback", "stack", "logging_error", "records_dropped_before",
    }
)  # fmt: skip


class LibraryHandler(logging.Handler):
    """Turns the standard logging of libraries and endpoints into our events."""

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as an event; nothing that is in it can fail whoever has logged it."""
        try:
            fields = self._fields(record)
        except Exception as error:  # noqa: BLE001 - an argument or `extra` of any class
            fields = {
                "logger": record.name,
                "message": f"{text_of(record.msg)} {text_of(record.args)}",
                "logging_error": f"{type(error).__name__}: {text_of(error)}",
            }
        self._log.say(level_of(record.levelno), "library", **fields)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["traceback"] = trace_of(error).rstrip("\n")
        if record.stack_info:
            fields["stack"] = record.stack_info
        for name, value in vars(record).items():
            if name not in OF_A_RECORD:
                fields[f"extra_{name}" if name in OURS else name] = value
        return fields


def level_of(number: int) -> str:
    """Return our level for a number of the standard library's, or a library's own."""
    return max(
        (level for level, lowest in LEVELS.items() if lowest <= number),
        key=LEVELS.__getitem__,
        default="debug",
    )


def route_library_logging(log: EventLog, level: str = "warning") -> None:
    """Send the standard library's logging, from `level` on, to `log` and nowhere else."""
    root = logging.getLogger()
    root.handlers[:] = [LibraryHandler(log)]
    root.setLevel(LEVELS[level])
