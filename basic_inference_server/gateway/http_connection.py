"""One client connection: HTTP/1.1 by llhttp (httptools), strict bodies, deadlines, JSON errors.

Requests are read whole, under limits, before anybody looks at them, and answered in order; the next
one is only started when the one before has been answered. Parsing is the library's; what a
general-purpose server lacks is here: deadlines for header, body and idle connection, and a half
sent body that is an error instead of a hang (RFC 9112).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import httptools

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import (
    BadRequest,
    HeadersTooLarge,
    RequestTimeout,
    ServiceError,
    UriTooLong,
)
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.http_limits import (
    MAX_REFUSED_AT_ONCE,
    HttpLimits,
    too_many_connections,
)
from basic_inference_server.gateway.request_head import ONLY_ONCE, body_too_large, check_head
from basic_inference_server.gateway.response_stream import ResponseStream

MAX_HEAD_BYTES = 65536
MAX_TARGET_BYTES = 8190
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 30.0
IDLE_TIMEOUT_S = 75.0
WRITE_TIMEOUT_S = 30.0
LINGER_S = 2.0
DRAIN_IDLE_S = 0.5
MIN_BODY_BYTES_PER_S = 64 * 1024
MAX_CHUNK_OVERHEAD = 16


class HttpConnection(asyncio.Protocol):
    """Parses requests, hands each to `limits.handle`, writes the answers.

    `bound_signature` is set on a server's own port, where every request is for that endpoint.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_deadline_s",
        "_exchange",
        "_expected",
        "_has_ended",
        "_head_bytes",
        "_headers",
        "_idle_until_s",
        "_in_head",
        "_is_old",
        "_is_write_paused",
        "_limits",
        "_method",
        "_parser",
        "_refused",
        "_target",
        "_trailer_bytes",
        "_unwritten",
        "_waiting",
        "bound_signature",
        "client",
        "transport",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, bound_signature: str | None = None) -> None:
        self._limits = limits
        self.bound_signature = bound_signature
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._refused = False
        self._has_ended = False
        self._is_write_paused = False
        self._unwritten = 0
        self._idle_until_s: float | None = None
        self._deadline_s: float | None = None
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.client = ""
        self._method = b""
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expected = 0
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._is_old = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first request has to come within the header deadline."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self._deadline_s = monotonic_s() + HEAD_TIMEOUT_S
        excess = self._limits.admit(self)
        if excess > MAX_REFUSED_AT_ONCE:
            self.transport.abort()
        elif excess > 0:
            self._refuse(too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; a request nobody waits for is not executed if it can be helped."""
        del exc
        self._limits.connections.discard(self)
        self._waiting.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.on_abandoned is not None:
            on_abandoned, exchange.on_abandoned = exchange.on_abandoned, None
            on_abandoned()
        del self._parser  # it refers back to this object

    def data_received(self, data: bytes) -> None:
        """Feed the parser; answer what it refuses."""
        if self._refused:
            return
        if self._in_head:
            if not self._head_bytes:
                self._deadline_s = monotonic_s() + HEAD_TIMEOUT_S
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, ServiceError):
                self._refuse(cause)
            else:
                self._refuse(BadRequest(f"This is not a valid HTTP request: {error}."))
        else:
            if not self._in_head or self._head_bytes > MAX_HEAD_BYTES:
                self._bound_what_is_no_body(len(data))

    def _bound_what_is_no_body(self, received: int) -> None:
        """Refuse a head without end, and chunk extensions or trailers without end."""
        is_too_much = self._in_head
        if not self._in_head:
            self._body_bytes += received
            allowed = MAX_CHUNK_OVERHEAD * len(self._body) + MAX_HEAD_BYTES
            is_too_much = self._body_bytes > allowed
        if is_too_much:
            self._refuse(_head_too_large())

    def eof_received(self) -> bool:
        """Answer a request that ends too early; otherwise the client has left."""
        is_inside = self._target or self._head_bytes or not self._in_head
        self._has_ended = True
        if is_inside and not self._refused and self._exchange is None:
            self._refuse(BadRequest("The request ended before it was complete."))
            return True
        return False

    # --- httptools callbacks

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._target += url
        if len(self._target) > MAX_TARGET_BYTES:
            raise UriTooLong(f"The request target is longer than {MAX_TARGET_BYTES} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; one that must not be repeated is refused when it is."""
        if not self._in_head:
            # A trailer: nothing that comes after the body may pass as a header.
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > MAX_HEAD_BYTES:
                raise _head_too_large()
            return
        name = name.lower()
        if name in self._headers and name in ONLY_ONCE:
            raise BadRequest(f"The header {name.decode('latin-1')!r} is there more than once.")
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Decide early what can be decided without the body."""
        self._in_head = False
        if (
            self._head_bytes > MAX_HEAD_BYTES
            and len(self._target)
            + sum(len(name) + len(value) for name, value in self._headers.items())
            > MAX_HEAD_BYTES
        ):
            raise _head_too_large()
        version = self._parser.get_http_version()
        self._is_old = version == "1.0"
        headers = self._headers
        self._expected = check_head(headers, version, self._limits.max_body_bytes)
        allowance_s = BODY_TIMEOUT_S + self._expected / MIN_BODY_BYTES_PER_S
        self._deadline_s = monotonic_s() + allowance_s
        expects = headers.get(b"expect", b"").lower() == b"100-continue"
        if expects and not self._exchange and version == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body under its limit; a chunked one has no length to check before."""
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body)
            self._body += body
        else:
            self._body += body
        if not self._expected and self._deadline_s is not None:
            self._deadline_s += len(body) / MIN_BODY_BYTES_PER_S  # as for an announced length
        if len(self._body) > self._limits.max_body_bytes:
            raise body_too_large(self._limits.max_body_bytes)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Serve a request that offers another protocol as plain HTTP/1.1 (RFC 9110, 7.8).

        The parser stops at the end of such a head, so a body after it is read by a fresh parser
        that is shown the same head without the offer.
        """
        if self._exchange is not None or not self._target:
            self._refused = True  # it had no body and is being answered; nothing may follow
            return
        head = [b"%b %b HTTP/1.1\r\nconnection: close\r\n" % (self._method, self._target)]
        head += [
            b"%b: %b\r\n" % (name, value)
            for name, value in self._headers.items()
            if name not in {b"connection", b"upgrade", b"expect", b"http2-settings"}
        ]
        self._parser = httptools.HttpRequestParser(self)
        self._reset()
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def on_message_complete(self) -> None:
        """Hand the request over, or queue it behind the one before (pipelining)."""
        has_body = self._expected or b"transfer-encoding" in self._headers
        method = self._parser.get_method()
        if self._parser.should_upgrade() and has_body and method != b"CONNECT" and not self._body:
            self._method = method
            return  # `_decline_upgrade` reads the body
        exchange = Exchange(
            self,
            method,
            self._target,
            self._headers,
            self._body,
            keep_alive=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            takes_chunks=not self._is_old,
        )
        self._reset()
        self._deadline_s = None
        if self._exchange is None and not self._is_write_paused:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Start no further request while the client does not read its answers."""
        self._is_write_paused = True
        if self._exchange is not None and self._exchange.stream is not None:
            self._deadline_s = monotonic_s() + WRITE_TIMEOUT_S
            self._exchange.stream.on_full()

    def resume_writing(self) -> None:
        """Go on with what waited for the client to read."""
        self._is_write_paused = False
        if self._exchange is None:
            self._start_next()
        elif self._exchange.stream is not None:
            self._deadline_s = None
            self._exchange.stream.on_room()

    def _start_next(self) -> None:
        if not self._waiting or self._is_write_paused:
            return
        # Not from here: a thousand pipelined requests would be a thousand calls deep.
        self._exchange = self._waiting.popleft()
        if not self._waiting:
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
        head += b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        if exchange.method == b"HEAD":
            self.transport.write(head)
        elif len(body) < MAX_HEAD_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self._conclude(exchange, keep_alive=keep_alive)

    def _keeps_alive(self, exchange: Exchange) -> bool:
        return exchange.keep_alive and not self._limits.is_draining and not self._refused

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
            self._conclude(exchange, keep_alive=exchange.keep_alive and not self._refused)

    def _conclude(self, exchange: Exchange, *, keep_alive: bool) -> None:
        exchange.on_abandoned = None  # it refers back to the exchange: no cycle, no garbage
        self._exchange = None
        self._unwritten = 0
        if not keep_alive:
            self._waiting.clear()
            self._finish_writing()
        elif self._waiting:
            self._deadline_s = monotonic_s() + WRITE_TIMEOUT_S
            self._start_next()
        elif self._in_head:
            is_idle = not self._target
            self._deadline_s = monotonic_s() + (IDLE_TIMEOUT_S if is_idle else HEAD_TIMEOUT_S)

    def _finish_writing(self) -> None:
        was_refused = self._refused
        self._refused = True
        if not was_refused or self._has_ended:
            self._deadline_s = monotonic_s() + WRITE_TIMEOUT_S
            self.transport.close()
            return
        # The client may still be sending. Closing now would reset the connection and could take
        # the answer with it, so the rest is read and thrown away for a moment.
        self._deadline_s = monotonic_s() + LINGER_S
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _refuse(self, error: ServiceError) -> None:
        """Answer a request that cannot be read, and close: what follows cannot be trusted."""
        self._refused = True
        if self._exchange is not None:
            return  # the answer that is due says `connection: close`
        exchange = Exchange(self, b"", self._target or b"/", self._headers, b"", keep_alive=False)
        self._exchange = exchange
        exchange.fail(error, self._limits.version)

    # --- deadlines

    def enforce_deadline(self, now_s: float) -> None:
        """End a connection that is too slow; called for each one about once a second."""
        if self._deadline_s is None or now_s < self._deadline_s:
            return
        if self._exchange is not None:
            if self._is_write_paused and self._exchange.stream is not None:
                self.transport.abort()  # the client has stopped reading, and holds a worker
            self._deadline_s = now_s + HEAD_TIMEOUT_S  # its turn comes after the answer
            return
        unwritten = self.transport.get_write_buffer_size()
        if self._unwritten and not unwritten:
            self._unwritten = 0
            self._deadline_s = now_s + IDLE_TIMEOUT_S  # all has gone, and only now it is idle
            return
        if 0 < unwritten < self._unwritten or (unwritten and not self._unwritten):
            self._unwritten = unwritten
            self._deadline_s = now_s + WRITE_TIMEOUT_S  # a slow reader, but one that reads
            return
        is_inside = self._target or self._head_bytes or not self._in_head
        if is_inside and not self._refused:
            self._refuse(RequestTimeout("The request was not complete in time."))
        else:
            self.transport.abort()

    def drain(self, now_s: float) -> None:
        """Close an idle connection soon; one with a request on it closes after the answer.

        Soon and not at once, because a request may be on its way: it is still answered.
        """
        is_inside = self._target or self._head_bytes or not self._in_head
        if self._exchange is not None or self._waiting or is_inside or self._refused:
            return
        if self._idle_until_s is None:
            self._idle_until_s = now_s + DRAIN_IDLE_S
        elif now_s >= self._idle_until_s:
            self.transport.close()

    @property
    def local_port(self) -> int:
        """The port that the client connected to."""
        name: Any = self.transport.get_extra_info("sockname")
        return int(name[1]) if name else 0


def _head_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"The header section is larger than {MAX_HEAD_BYTES} bytes.")
