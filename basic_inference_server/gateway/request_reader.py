"""Reads the requests of one connection with llhttp (httptools), whole and under limits.

Parsing is the library's; what a general-purpose server lacks is here: limits of everything that is
collected, no trailers that pass as headers, and an end that comes too early is an error (RFC 9112).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import (
    BadRequest,
    HeadersTooLarge,
    ServiceError,
    UriTooLong,
)
from basic_inference_server.gateway import http_limits
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.request_head import ONLY_ONCE, body_too_large, check_head

if TYPE_CHECKING:
    from basic_inference_server.gateway.http_connection import HttpConnection
    from basic_inference_server.gateway.http_limits import HttpLimits


class RequestReader:
    """Hands each complete request to `connection.take`, and keeps its deadline for the next one.

    Attributes:
        target: the target of the request that is being read, as far as it has come.
        headers: its headers, as far as they have come.
    """

    __slots__ = (
        "_body", "_body_bytes", "_connection", "_expected", "_head_bytes", "_in_head", "_is_old",
        "_limits", "_max_body_bytes", "_method", "_parser", "_trailer_bytes", "headers", "target",
    )  # fmt: skip

    def __init__(self, connection: HttpConnection, limits: HttpLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._max_body_bytes = limits.max_body_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._method = b""
        self._reset()

    def _reset(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expected = 0
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._is_old = False

    def close(self) -> None:
        """Forget what refers back to this object: no cycle, no garbage."""
        del self._parser, self._connection

    @property
    def is_inside(self) -> bool:
        """Whether a part of a request is there."""
        return bool(self.target or self._head_bytes or not self._in_head)

    @property
    def is_in_head(self) -> bool:
        """Whether no complete head is there."""
        return self._in_head

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            ServiceError: this is no request that is taken here.
        """
        if self._in_head:
            if not self._head_bytes:
                self._connection.deadline_s = monotonic_s() + self._limits.head_timeout_s
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, ServiceError):
                raise cause from None
            raise BadRequest(f"This is not a valid HTTP request: {error}.") from error
        else:
            if not self._in_head or self._head_bytes > http_limits.MAX_HEAD_BYTES:
                self._bound_what_is_no_body(len(data))

    def _bound_what_is_no_body(self, received: int) -> None:
        """Refuse a head without end, and chunk extensions or trailers without end."""
        is_too_much = self._in_head
        if not self._in_head:
            self._body_bytes += received
            allowed = http_limits.MAX_CHUNK_OVERHEAD * len(self._body) + http_limits.MAX_HEAD_BYTES
            is_too_much = self._body_bytes > allowed
        if is_too_much:
            raise _head_too_large()

    # --- httptools callbacks

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self.target += url
        if len(self.target) > http_limits.MAX_TARGET_BYTES:
            raise UriTooLong(
                f"The request target is longer than {http_limits.MAX_TARGET_BYTES} bytes."
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; one that must not be repeated is refused when it is."""
        if not self._in_head:
            # A trailer: nothing that comes after the body may pass as a header.
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > http_limits.MAX_HEAD_BYTES:
                raise _head_too_large()
            return
        name = name.lower()
        if name in self.headers and name in ONLY_ONCE:
            raise BadRequest(f"The header {name.decode('latin-1')!r} is there more than once.")
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        """Decide early what can be decided without the body."""
        self._in_head = False
        if (
            self._head_bytes > http_limits.MAX_HEAD_BYTES
            and len(self.target)
            + sum(len(name) + len(value) for name, value in self.headers.items())
            > http_limits.MAX_HEAD_BYTES
        ):
            raise _head_too_large()
        version = self._parser.get_http_version()
        self._is_old = version == "1.0"
        headers = self.headers
        self._expected = check_head(headers, version, self._max_body_bytes)
        sending_s = self._expected / http_limits.MIN_BODY_BYTES_PER_S
        self._connection.deadline_s = monotonic_s() + self._limits.body_timeout_s + sending_s
        if version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue":
            self._connection.invite_body()

    def on_body(self, body: bytes) -> None:
        """Collect the body under its limit; a chunked one has no length to check before."""
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body)
            self._body += body
        else:
            self._body += body
        if not self._expected and self._connection.deadline_s is not None:
            # as for an announced length
            self._connection.deadline_s += len(body) / http_limits.MIN_BODY_BYTES_PER_S
        if len(self._body) > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Serve a request that offers another protocol as plain HTTP/1.1 (RFC 9110, 7.8).

        The parser stops at the end of such a head, so a body after it is read by a fresh parser
        that is shown the same head without the offer.
        """
        if not self.target:
            self._connection.ignore_the_rest()  # it had no body and is being answered
            return
        head = [b"%b %b HTTP/1.1\r\nconnection: close\r\n" % (self._method, self.target)]
        head += [
            b"%b: %b\r\n" % (name, value)
            for name, value in self.headers.items()
            if name not in {b"connection", b"upgrade", b"expect", b"http2-settings"}
        ]
        self._parser = httptools.HttpRequestParser(self)
        self._reset()
        self.feed(b"".join([*head, b"\r\n", rest]))

    def on_message_complete(self) -> None:
        """Hand the request over, or queue it behind the one before (pipelining)."""
        has_body = self._expected or b"transfer-encoding" in self.headers
        method = self._parser.get_method()
        if self._parser.should_upgrade() and has_body and method != b"CONNECT" and not self._body:
            self._method = method
            return  # `_decline_upgrade` reads the body
        parser = self._parser
        exchange = Exchange(
            self._connection,
            method,
            self.target,
            self.headers,
            self._body,
            keep_alive=parser.should_keep_alive() and not parser.should_upgrade(),
            takes_chunks=not self._is_old,
        )
        self._reset()
        self._connection.take(exchange)


def _head_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"The header section is larger than {http_limits.MAX_HEAD_BYTES} bytes.")
