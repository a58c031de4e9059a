"""One client connection: its requests in order, its answers, its deadlines (HTTP/1.1, RFC 9112).

Requests are read whole, under limits, before anybody looks at them, and answered in order; the next
one is only started when the one before has been answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import (
    BadRequest,
    RequestTimeout,
    ServiceError,
)
from basic_inference_server.gateway import http_limits
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.http_limits import (
    MAX_REFUSED_AT_ONCE,
    HttpLimits,
    too_many_connections,
)
from basic_inference_server.gateway.peer_owner import Peer
from basic_inference_server.gateway.request_reader import RequestReader
from basic_inference_server.gateway.response_stream import ResponseStream
from basic_inference_server.gateway.unsent_answers import untaken_bytes

SMALL_BODY_BYTES = 65536


class HttpConnection(asyncio.Protocol):
    """Parses requests, hands each to `limits.handle`, writes the answers.

    `bound_signature` is set on a server's own port, where every request is for that endpoint.
    """

    __slots__ = (
        "_exchange",
        "_has_ended",
        "_idle_until_s",
        "_is_write_paused",
        "_limits",
        "_peer",
        "_reader",
        "_refusal",
        "_refused",
        "_room_until_s",
        "_unwritten",
        "_waiting",
        "bound_signature",
        "client",
        "deadline_s",
        "transport",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, bound_signature: str | None = None) -> None:
        self._limits = limits
        self.bound_signature = bound_signature
        self._reader = RequestReader(self, limits)
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._refused = False
        self._refusal: tuple[Exchange, ServiceError] | None = None
        self._has_ended = False
        self._is_write_paused = False
        self._unwritten = 0
        self._idle_until_s: float | None = None
        self._room_until_s: float | None = None
        self._peer: Peer | None = None
        self.deadline_s: float | None = None
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.client = ""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first request has to come within the header deadline."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self.deadline_s = monotonic_s() + self._limits.head_timeout_s
        excess = self._limits.admit(self)
        if excess > MAX_REFUSED_AT_ONCE:
            self.transport.abort()
        elif excess > 0:
            self._refuse(too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; a request nobody waits for is not executed if it can be helped."""
        del exc
        self._limits.forget(self)
        self._waiting.clear()
        self._refusal = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.stream is not None:
            exchange.stream.forget()
            exchange.stream = None
        if exchange is not None and exchange.on_abandoned is not None:
            on_abandoned, exchange.on_abandoned = exchange.on_abandoned, None
            on_abandoned()
        self._reader.close()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; answer what it refuses."""
        if self._refused:
            return
        try:
            self._reader.feed(data)
        except ServiceError as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        """Answer a request that ends too early; otherwise the client has left."""
        self._has_ended = True
        if self._reader.is_inside and not self._refused and self._exchange is None:
            self._refuse(BadRequest("The request ended before it was complete."))
            return True
        return False

    # --- what the reader tells

    def invite_body(self) -> None:
        """Have the client send the body that it holds back, unless an answer is still due."""
        if self._exchange is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def ignore_the_rest(self) -> None:
        """Read nothing more: what follows is of another protocol."""
        self._refused = True

    def take(self, exchange: Exchange) -> None:
        """Hand a request over, or queue it behind the one before (pipelining)."""
        self.deadline_s = None
        if self._exchange is None and not self._is_write_paused:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Start no further request while the client does not read its answers."""
        self._is_write_paused = True
        if self._exchange is not None and self._exchange.stream is not None:
            self._room_until_s = monotonic_s() + http_limits.WRITE_TIMEOUT_S
            self._unwritten = untaken_bytes(self.transport)
            self._exchange.stream.on_full()

    def resume_writing(self) -> None:
        """Go on with what waited for the client to read."""
        self._is_write_paused = False
        if self._exchange is None:
            self._start_next()
        elif self._exchange.stream is not None:
            self._room_until_s = None
            self._exchange.stream.on_room()

    def _start_next(self) -> None:
        if not self._waiting or self._is_write_paused:
            return
        # Not from here: a thousand pipelined requests would be a thousand calls deep.
        self._exchange = self._waiting.popleft()
        if not self._waiting and not self._limits.is_draining:
            self.transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._start_if_current, self._exchange)

    # --- answering

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._limits.handle(exchange, self.bound_signature)

    def _start_if_current(self, exchange: Exchange) -> None:
        if self.awaits(exchange):
            self._start(exchange)

    def awaits(self, exchange: Exchange) -> bool:
        """Say whether the client still waits for the answer to this request."""
        return self._exchange is exchange

    def respond(self, exchange: Exchange, head: bytes, body: bytes | memoryview) -> None:
        """Write the answer to the current request, then start the next one."""
        if self._exchange is not exchange:
            return  # the client has left, or this was answered before
        keep_alive = self._keeps_alive(exchange)
        if not keep_alive:
            head += b"connection: close\r\n\r\n"
        elif exchange.takes_chunks:
            head += b"\r\n"
        else:
            head += b"connection: keep-alive\r\n\r\n"  # HTTP/1.0 expects the opposite
        if exchange.method == b"HEAD":
            self.transport.write(head)
        elif len(body) < SMALL_BODY_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
            if self._is_write_paused:
                self._limits.unsent.add(self, len(body))
        self._conclude(exchange, keep_alive=keep_alive)

    def _keeps_alive(self, exchange: Exchange) -> bool:
        return exchange.keep_alive and (
            not (self._limits.is_draining or self._refused) or self._has_more_to_answer()
        )

    def _has_more_to_answer(self) -> bool:
        """Whether requests, or one that cannot be read, wait behind the current one."""
        return bool(self._waiting) or self._refusal is not None

    def begin_stream(self, exchange: Exchange, head: bytes, stream: ResponseStream) -> None:
        """Write the head of an answer whose body comes part by part."""
        if self._exchange is exchange:
            exchange.stream = stream
            exchange.keep_alive = self._keeps_alive(exchange)
            end = b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n"
            self.transport.write(head + end)

    def write_stream(self, exchange: Exchange, data: bytes) -> None:
        """Write a part of it."""
        if self._exchange is exchange:
            self.transport.write(data)

    def end_stream(self, exchange: Exchange, data: bytes) -> None:
        """Write the last part, then start the next request."""
        if self._exchange is exchange:
            exchange.stream = None  # it refers back to the exchange
            self.transport.write(data)
            is_last = self._refused and not self._has_more_to_answer()
            self._conclude(exchange, keep_alive=exchange.keep_alive and not is_last)

    def _conclude(self, exchange: Exchange, *, keep_alive: bool) -> None:
        exchange.on_abandoned = None  # it refers back to the exchange: no cycle, no garbage
        self._exchange = None
        self._unwritten = 0
        self._room_until_s = None
        if not keep_alive:
            self._waiting.clear()
            self._refusal = None
            self._finish_writing()
        elif self._waiting:
            self.deadline_s = monotonic_s() + http_limits.WRITE_TIMEOUT_S
            self._start_next()
        elif self._refusal is not None:
            self._answer_refusal(*self._refusal)
        elif self._reader.is_in_head:
            is_idle = not self._reader.target
            self.deadline_s = monotonic_s() + (
                self._limits.idle_timeout_s if is_idle else self._limits.head_timeout_s
            )

    def _finish_writing(self) -> None:
        may_be_sending = self._refused or not self.transport.is_reading()
        self._refused = True
        if not may_be_sending or self._has_ended:
            self.deadline_s = monotonic_s() + http_limits.WRITE_TIMEOUT_S
            self.transport.close()
            return
        # The client may still be sending. Closing now would reset the connection and could take
        # the answer with it, so the rest is read and thrown away for a moment.
        self.deadline_s = monotonic_s() + http_limits.LINGER_S
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.transport.write_eof()

    def _refuse(self, error: ServiceError) -> None:
        """Answer a request that cannot be read, and close: what follows cannot be trusted.

        Those before it are answered first.
        """
        self._refused = True
        exchange = Exchange(
            self, b"", self._reader.target or b"/", self._reader.headers, b"", keep_alive=False
        )
        if self._exchange is None and not self._waiting:
            self._answer_refusal(exchange, error)
        else:
            self._refusal = exchange, error

    def _answer_refusal(self, exchange: Exchange, error: ServiceError) -> None:
        self._refusal = None
        self._exchange = exchange
        exchange.fail(error, self._limits.version)

    # --- deadlines

    def give_time(self, seconds: float) -> None:
        """Count against the client none of the time for which this process has stood still."""
        if self._room_until_s is not None:
            self._room_until_s += seconds
        if self.deadline_s is not None:
            self.deadline_s += seconds

    def enforce_deadline(self, now_s: float) -> None:
        """End a connection that is too slow; called for each one about once a second."""
        if self._room_until_s is not None and now_s >= self._room_until_s:
            self._require_progress(now_s)
            return
        if self.deadline_s is None or now_s < self.deadline_s:
            return
        if self._exchange is not None:
            self.deadline_s = now_s + self._limits.head_timeout_s  # its turn comes after the answer
            return
        unwritten = self.transport.get_write_buffer_size()
        if unwritten:
            unwritten = untaken_bytes(self.transport)
        if self._unwritten and not unwritten:
            self._unwritten = 0
            # All has gone, and only now it is idle.
            self.deadline_s = now_s + self._limits.idle_timeout_s
            return
        if 0 < unwritten < self._unwritten or (unwritten and not self._unwritten):
            self._unwritten = unwritten
            # A slow reader, but one that reads.
            self.deadline_s = now_s + http_limits.WRITE_TIMEOUT_S
            return
        if self._reader.is_inside and not self._refused and not self._waiting:
            self._refuse(RequestTimeout("The request was not complete in time."))
        else:
            self.transport.abort()

    def _require_progress(self, now_s: float) -> None:
        """Cut a client that has read nothing of a stream: it holds a worker."""
        untaken = untaken_bytes(self.transport)
        if untaken >= self._unwritten:
            self._room_until_s = None
            self.transport.abort()
            return
        self._unwritten = untaken
        self._room_until_s = now_s + http_limits.WRITE_TIMEOUT_S

    def drain(self, now_s: float) -> None:
        """Close an idle connection soon; one with a request on it closes after the answer.

        Soon and not at once, because a request may be on its way: it is still answered.
        """
        if self._exchange is not None or self._waiting or self._reader.is_inside or self._refused:
            return
        if self._idle_until_s is None:
            self._idle_until_s = now_s + http_limits.DRAIN_IDLE_S
        elif now_s >= self._idle_until_s:
            self.transport.close()

    @property
    def unanswered(self) -> int:
        """How many requests would be lost with the connection, a part of an answer included."""
        begun = len(self._waiting) + (self._exchange is not None)
        return begun or int(
            (self._reader.is_inside and not self._refused)
            or self.transport.get_write_buffer_size() > 0
        )

    @property
    def peer(self) -> Peer:
        """The other end: whose it is, which the kernel is asked once for each connection."""
        if self._peer is None:
            known = self.transport.get_extra_info
            self._peer = Peer(known("peername"), known("sockname"))
        return self._peer

    @property
    def local_port(self) -> int:
        """The port that the client connected to."""
        name: Any = self.transport.get_extra_info("sockname")
        return int(name[1]) if name else 0
