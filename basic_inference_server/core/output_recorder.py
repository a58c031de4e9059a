"""What a worker's code prints: each line becomes one event.

`print` in an endpoint is then labelled with its worker and request, never blocks the worker and
never fails, even when nobody reads the pipe.
"""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import MAX_RECORD, EventLog

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ERRORS: Final = "backslashreplace"
PROGRESS_EVERY_S: Final = 10.0
LEFT_OUT: Final = "[...]"


class OutputRecorder(io.TextIOBase):
    """Stands in for `sys.stdout` and `sys.stderr` of a worker.

    Writers that write at the same time have lines of their own. A line that is written over and
    over, such as a progress bar, is one event with its last state; while it goes on, its state is
    an event every ten seconds.

    Args:
        log: where the lines go.
        stream: `stdout` or `stderr`.
        writer: says who writes now; 0 stands for nobody that is known.
    """

    encoding = "utf-8"
    errors = ERRORS
    newlines = None
    line_buffering = True
    write_through = True
    mode = "w"

    def __init__(self, log: EventLog, stream: str, writer: Callable[[], int] = lambda: 0) -> None:
        self._log = log
        self._stream = stream
        self._writer = writer
        self._partial: dict[int, str] = {}  # the lines without an end, by writer
        self._progress_at_s = monotonic_s()
        self._lock = threading.RLock()  # a signal handler may print while its thread does
        self.name = f"<{stream}>"
        self.buffer = BytesRecorder(self)

    def write(self, text: str, /) -> int:
        """Record the complete lines of `text`; keep the rest for the next call."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        writer = self._writer()
        with self._lock:
            *lines, rest = (self._partial.pop(writer, "") + text).split("\n")
            if "\r" in rest:
                rest = self._progress(rest)
            if len(rest) > MAX_RECORD:
                lines.append(rest)
            elif rest:
                self._partial[writer] = rest
        for line in lines:
            self._record(line)
        return len(text)

    def _progress(self, rest: str) -> str:
        """Return an unfinished line without the states that were written over.

        What stood there first stays: a text that an endpoint prints cannot wipe out what is
        printed before it.
        """
        first, *over = rest.split("\r")
        now_s = monotonic_s()
        if len(over) < 2:
            self._progress_at_s = now_s
            return rest
        *_, shown, last = over
        if now_s >= self._progress_at_s + PROGRESS_EVERY_S:
            self._progress_at_s = now_s
            self._record(f"{first}\r{shown or last}".lstrip())
        return f"{first}\r{LEFT_OUT}\r{last}"

    @property
    def has_partial_line(self) -> bool:
        """Whether something was written without a line end."""
        return bool(self._partial)

    def end_line(self) -> None:
        """Record what this writer, or nobody that is known, has written without a line end."""
        for writer in (self._writer(), 0):
            partial = self._partial.pop(writer, "")
            if partial:
                self._record(partial)

    def forget(self) -> None:
        """Be as new, in a forked child: what is kept is its parent's, and so are held locks."""
        self._lock = threading.RLock()
        self._partial.clear()
        self.buffer = BytesRecorder(self)

    def _record(self, line: str) -> None:
        line = line.rstrip("\r")
        first, *over = line.split("\r")
        if len(over) > 1:
            line = f"{first} {LEFT_OUT} {over[-1]}".lstrip()
        if line.strip():
            self._log.info("output", stream=self._stream, message=line)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Record several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing: each line has already been written."""

    def close(self) -> None:
        """Record what has no line end; others print here as well, so it stays open."""
        self.end_line()

    def reconfigure(self, **options: Any) -> None:
        """Do nothing: encoding and buffering are the log's."""

    def writable(self) -> bool:
        """Return true."""
        return True

    def isatty(self) -> bool:
        """Return false: a recorder is no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real descriptor, for code that writes to it directly."""
        return 1 if self._stream == "stdout" else 2


class BytesRecorder(io.BufferedIOBase):
    """Stands in for `sys.stdout.buffer`: UTF-8, which may be written in any pieces."""

    def __init__(self, text: OutputRecorder) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")(ERRORS)
        self.name = text.name
        self.mode = "wb"

    def write(self, data: ReadableBuffer, /) -> int:
        """Record the complete lines; return the number of bytes."""
        raw = bytes(data)
        self._text.write(self._decoder.decode(raw))
        return len(raw)

    def flush(self) -> None:
        """Do nothing: each line has already been written."""

    def close(self) -> None:
        """Do nothing: others print here as well."""

    def writable(self) -> bool:
        """Return true."""
        return True

    def isatty(self) -> bool:
        """Return false: a recorder is no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real descriptor, for code that writes to it directly."""
        return self._text.fileno()
