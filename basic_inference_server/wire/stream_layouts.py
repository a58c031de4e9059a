"""How the items of a streamed answer stand in its body.

A line of JSON each (NDJSON), or an event each (Server-sent events, as the HTML standard defines
them, section 9.2). An error after the first item is the last line or event, and says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from basic_inference_server.wire.frames import Accepts


class Layout(NamedTuple):
    """What stands around an item, an error and at the end."""

    content_type: bytes
    before: bytes
    after: bytes
    before_error: bytes
    before_end: bytes | None  # None: nothing at the end

    def item(self, encoded: bytes) -> bytes:
        """Return one item of the body."""
        return self.before + encoded + self.after

    def error(self, encoded: bytes, written: bytes = b"") -> bytes:
        """Return the error that a stream ends with, after what was `written` of it last."""
        is_inside = bool(written) and not written.endswith(self.after)
        return (self.after if is_inside else b"") + self.before_error + encoded + self.after

    def end(self, metadata: bytes) -> bytes:
        """Return what a stream ends with when it is complete."""
        return b"" if self.before_end is None else self.before_end + metadata + self.after


NDJSON: Final = Layout(b"application/x-ndjson", b"", b"\n", b"", None)
EVENTS: Final = Layout(
    b"text/event-stream", b"data: ", b"\n\n", b"event: error\ndata: ", b"event: end\ndata: "
)


def layout_for(accepts: int) -> Layout:
    """Return the layout for what a caller accepts."""
    return EVENTS if accepts == Accepts.EVENTS else NDJSON


def layout_of(content_type: bytes) -> Layout:
    """Return the layout of a body of that content type."""
    return EVENTS if content_type == EVENTS.content_type else NDJSON
