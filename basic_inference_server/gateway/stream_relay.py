"""Hands a streamed answer on: the listener of a call once the first item is there.

Each item has the whole time of the request. What goes wrong after the first item cannot be a status
any more: it is the last item, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import DeadlineExceeded, ServiceError
from basic_inference_server.core.topology import Route
from basic_inference_server.gateway.response_stream import ResponseStream
from basic_inference_server.wire.error_body import render_error
from basic_inference_server.wire.stream_layouts import layout_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from basic_inference_server.gateway.casualties import Particulars
    from basic_inference_server.gateway.data_plane import DataPlane
    from basic_inference_server.gateway.exchange import Exchange
    from basic_inference_server.gateway.hub import Call

NO_BUFFERING = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"


class StreamRelay:
    """One answer on its way, from its first item to its last."""

    def __init__(
        self, plane: DataPlane, exchange: Exchange, call: Call, route: Route,
        particulars: Callable[[], Particulars], started_ns: int,
    ) -> None:  # fmt: skip
        self._plane = plane
        self._exchange = exchange
        self._call = call
        self._route = route
        self._particulars = particulars
        self._started_ns = started_ns
        self._last = b""
        self._response = ResponseStream(exchange, self._pause, self._resume)
        exchange.on_abandoned = self._abandon

    @property
    def signature(self) -> str:
        """Whose answer it is."""
        return self._route.signature

    def begin(self, content_type: bytes, headers: bytes) -> None:
        """Send the head of the response."""
        self._layout = layout_of(content_type)
        head = self._exchange.head(200, content_type, headers + NO_BUFFERING)
        self._response.begin(head)

    def _pause(self) -> None:
        self._plane.hub.pause(self._call)

    def _resume(self) -> None:
        self._plane.hub.resume(self._call)

    def _abandon(self) -> None:
        """The client has left: the endpoint need not go on."""
        self._plane.hub.abandon(self._call)
        self._plane.count_abandoned(self._route)
        self._plane.casualties.departed(*self._particulars())

    def on_content(self, content: bytes) -> None:
        """Send on what has come."""
        self._last = content
        self._response.write(content)

    def on_end(self, content: bytes, status: int, error: bytes) -> None:
        """Send the last of it, and the error that it has ended with as the very last."""
        self._plane.count_answer(self._route, status, self._started_ns)
        if error:
            told = self._plane.teller.failure(self._exchange, self.signature, error)
            content += self._layout.error(told, content or self._last)
        self._response.end(content)

    def on_lost(self) -> None:
        """The worker has died in mid-stream."""
        self._exchange.on_abandoned = None
        self._plane.casualties.explain(*self._particulars(), self._fail)

    def on_deadline(self) -> None:
        """The next item did not come in time."""
        if monotonic_ns() < self._call.deadline_ns:
            message = f"The gateway had to stop before {self.signature} had sent everything."
        else:
            seconds = self._call.patience_ns / NS_PER_S
            message = f"{self.signature} did not send its next item within {seconds:g} s."
            self._plane.casualties.departed(*self._particulars())
        self._fail(DeadlineExceeded(message, executed="unknown"))

    def _fail(self, error: ServiceError) -> None:
        self._plane.say_failure(self._exchange, error)
        self._plane.count_answer(self._route, error.status, self._started_ns)
        body = render_error(error, self._exchange.request_id.decode("ascii"), self._plane.version)
        self._response.end(self._layout.error(body, self._last))
