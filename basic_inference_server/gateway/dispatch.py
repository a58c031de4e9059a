"""One request's way to an endpoint and back: the listener of its call in the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceError,
)
from basic_inference_server.core.topology import WAITING_STATES, Route
from basic_inference_server.gateway.accepted import accepts
from basic_inference_server.gateway.casualties import Particulars
from basic_inference_server.gateway.content_disposition import attachment
from basic_inference_server.gateway.hub import Call, QueueFull, Unreachable
from basic_inference_server.gateway.stream_relay import StreamRelay
from basic_inference_server.wire.frames import (
    REPLY_HEADER_BYTES,
    ReplyHeader,
    encode_request,
)

if TYPE_CHECKING:
    from basic_inference_server.gateway.data_plane import DataPlane
    from basic_inference_server.gateway.exchange import Exchange
    from basic_inference_server.gateway.request_body import RequestBody


class Dispatch:
    """Sends the request, at most twice where the endpoint allows it, and answers the exchange."""

    __slots__ = ("_attempts", "_body", "_call", "_deadline_ns", "_exchange", "_plane", "_route",
                 "_sent_ns", "_started_ns")  # fmt: skip

    def __init__(
        self, plane: DataPlane, exchange: Exchange, route: Route, body: RequestBody,
        timeout_s: float,
    ) -> None:  # fmt: skip
        self._plane = plane
        self._exchange = exchange
        self._route = route
        self._body = body
        self._started_ns = monotonic_ns()
        self._deadline_ns = self._started_ns + int(timeout_s * NS_PER_S)
        self._sent_ns = 0
        self._attempts = 0
        self._call: Call | None = None

    def send(self) -> None:
        """Send the request to the endpoint's socket.

        Raises:
            Overloaded: its queue is full.
            NotReady: nobody listens.
        """
        exchange = self._exchange
        self._attempts += 1
        self._sent_ns = monotonic_ns()
        content_type, content, fields = self._body
        head = encode_request(
            exchange.request_id, content_type, len(content), self._deadline_ns, self._sent_ns,
            0, accepts(exchange.headers.get(b"accept")), fields,
        )  # fmt: skip
        route = self._route
        try:
            self._call = self._plane.hub.call(
                route.socket_path, head, content, self._deadline_ns, self, route.socket_link
            )
        except QueueFull as error:
            retry_after_s = self._plane.expected_wait_s(route)
            raise Overloaded(
                f"{route.signature} has as many requests waiting as it takes; send it again later.",
                retry_after_s=retry_after_s,
            ) from error
        except Unreachable as error:
            self._plane.say_unreachable(route, str(error))
            raise NotReady(f"{route.signature} cannot be reached: {error}.") from error
        exchange.on_abandoned = self.abandon

    def abandon(self) -> None:
        """The client has left: a request that has not started will not be."""
        call, self._call = self._call, None
        if call is not None:
            self._plane.hub.abandon(call)
            self._plane.count_abandoned(self._route)
            self._plane.casualties.departed(*self._particulars())

    @property
    def signature(self) -> str:
        """Whom the request is for."""
        return self._route.signature

    @property
    def exchange(self) -> Exchange:
        """The request."""
        return self._exchange

    @property
    def is_waiting(self) -> bool:
        """Whether the request still waits for its answer."""
        return self._call is not None

    def give_up(self, error: ServiceError) -> None:
        """Stop waiting for an endpoint that could not be started; nothing was executed."""
        call, self._call = self._call, None
        if call is not None:
            self._plane.hub.abandon(call)
            self._fail(error)

    def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
        """Pass the worker's answer on, untouched."""
        self._call = None
        exchange, plane = self._exchange, self._plane
        headers = _timing(header) + plane.cors(exchange)
        if header.file_name_length:
            headers += attachment(bytes(frame[header.file_name_at : header.body_at]))
        plane.count_answer(self._route, header.status, self._started_ns)
        content_type = bytes(frame[REPLY_HEADER_BYTES : header.file_name_at])
        body: bytes | memoryview = memoryview(frame)[header.body_at :]
        if len(body) < 65536:
            body = bytes(body)
        if header.failed:
            body = plane.teller.failure(exchange, self._route.signature, bytes(body))
        exchange.answer(header.status, body, content_type, headers)

    def on_stream(self, header: ReplyHeader, head: bytes) -> StreamRelay:
        """Begin to hand a streamed answer on."""
        call, self._call = self._call, None
        assert call is not None
        call.patience_ns = self._deadline_ns - self._started_ns
        relay = StreamRelay(
            self._plane, self._exchange, call, self._route, self._particulars, self._started_ns
        )
        headers = _timing(header) + self._plane.cors(self._exchange)
        relay.begin(head[REPLY_HEADER_BYTES : header.file_name_at], headers)
        return relay

    def on_lost(self) -> None:
        """The worker died under the request: once more where that is allowed, else say so."""
        self._call = None
        particulars = self._particulars()
        if self._route.idempotent and self._attempts == 1 and monotonic_ns() < self._deadline_ns:
            self._plane.casualties.blame(*particulars)
            try:
                self.send()
            except ServiceError as error:
                self._fail(error)
            return
        self._plane.casualties.explain(*particulars, self._fail)

    def _particulars(self) -> Particulars:
        request_id = self._exchange.request_id.decode("ascii")
        return Particulars(self._sent_ns, self._route, self._body.identity, request_id)

    def on_deadline(self) -> None:
        """The time is up. A request that was still waiting for its endpoint was never started."""
        self._call = None
        route = self._plane.current_route(self._route)
        if route.state in WAITING_STATES and not route.ready_workers:
            self._fail(
                NotReady(
                    f"{route.signature} is still {route.state.value.lower()}; try again later.",
                    state=route.state.value,
                    retry_after_s=1,
                )
            )
            return
        if monotonic_ns() < self._deadline_ns:
            message = f"The gateway had to stop before {route.signature} had answered."
        else:
            seconds = (self._deadline_ns - self._started_ns) / NS_PER_S
            message = f"{route.signature} did not answer within {seconds:g} s."
            self._plane.casualties.departed(*self._particulars())
        self._fail(DeadlineExceeded(message))

    def _fail(self, error: ServiceError) -> None:
        self._plane.count_answer(self._route, error.status, self._started_ns)
        self._plane.fail(self._exchange, error)


def _timing(header: ReplyHeader) -> bytes:
    return b"server-timing: queue;dur=%.3f, pre;dur=%.3f, predict;dur=%.3f, post;dur=%.3f\r\n" % (
        header.queue_us / 1000, header.pre_us / 1000,
        header.predict_us / 1000, header.post_us / 1000,
    )  # fmt: skip
