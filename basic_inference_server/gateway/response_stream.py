"""The body of one response, sent as it comes into being: chunked (RFC 9112, section 7.1).

A client of HTTP/1.0 gets it unchunked, and the end of the connection as its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange


class ResponseStream:
    """Writes the parts of a response, and says when the client does not keep up.

    Args:
        exchange: the request that is answered.
        on_full: called when the client does not keep up with reading.
        on_room: called when it has caught up.
    """

    __slots__ = ("_connection", "_exchange", "_is_chunked", "on_full", "on_room")

    def __init__(
        self, exchange: Exchange, on_full: Callable[[], None], on_room: Callable[[], None]
    ) -> None:
        self._exchange = exchange
        self._connection = exchange.connection
        self._is_chunked = exchange.takes_chunks
        self.on_full = on_full
        self.on_room = on_room

    def begin(self, head: bytes) -> None:
        """Send the head; `head` is the status line and header lines."""
        if not self._is_chunked:
            self._exchange.keep_alive = False
        lines = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        self._connection.begin_stream(self._exchange, head + lines, self)

    def write(self, content: bytes) -> None:
        """Send a part of the body."""
        if content:
            self._connection.write_stream(self._exchange, self._framed(content))

    def end(self, content: bytes = b"") -> None:
        """Send the last part; the connection is ready for the next request then."""
        self.forget()
        data = self._framed(content) if content else b""
        last = b"0\r\n\r\n" if self._is_chunked else b""
        self._connection.end_stream(self._exchange, data + last)

    def forget(self) -> None:
        """Tell nobody any more; whoever is told refers back to this: no cycle, no garbage."""
        self.on_full = self.on_room = _nothing

    def _framed(self, content: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(content), content) if self._is_chunked else content


def _nothing() -> None:
    pass
