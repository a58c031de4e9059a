"""One HTTP request and the means to answer it, whoever does that and whenever."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import unquote

from basic_inference_server.core.clock import http_date
from basic_inference_server.core.errors import MethodNotAllowed, ServiceError
from basic_inference_server.gateway.challenge import challenge
from basic_inference_server.wire.error_body import render_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from basic_inference_server.gateway.http_connection import HttpConnection
    from basic_inference_server.gateway.response_stream import ResponseStream

JSON = b"application/json"
# A token that was put there by mistake would end in the log.
_SANE_ID = re.compile(rb"(?!bis_)[A-Za-z0-9._:/+=-]{1,128}")
_ESCAPED_SLASH = re.compile(rb"%2[fF]")
_REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 414: b"URI Too Long", 415: b"Unsupported Media Type",
    422: b"Unprocessable Content", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))
    for status in range(200, 600)
}
# Request ids are unique across processes and restarts: a random prefix and a counter.
_id_prefix = secrets.token_hex(6).encode()
_id_counter = itertools.count(1)


def renew_id_prefix() -> None:
    """Choose a new random prefix; each process does this after it was forked."""
    global _id_prefix  # noqa: PLW0603 - one per process by definition
    _id_prefix = secrets.token_hex(6).encode()


class Exchange:
    """A complete request; answered exactly once.

    Attributes:
        path: the decoded path, without the query and without a slash at its end.
        query: the raw query string.
        headers: names in lower case; of a repeated one the last value.
        takes_chunks: whether the answer may be chunked; not so in HTTP/1.0.
        stream: the body of the answer, while it is being sent part by part.
    """

    __slots__ = (
        "body", "connection", "headers", "keep_alive", "method", "on_abandoned", "path", "query",
        "request_id", "stream", "takes_chunks",
    )  # fmt: skip

    def __init__(
        self,
        connection: HttpConnection,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes | bytearray,
        *,
        keep_alive: bool,
        takes_chunks: bool = True,
    ) -> None:
        self.connection = connection
        self.method = method
        if target[:1] not in {b"/", b"*"}:
            target = _origin_form(target)
        path, _, self.query = target.partition(b"?")
        if b"%" in path:
            path = _decoded(path)
        self.path = path[:-1] if path[-1:] == b"/" and path != b"/" else path
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.takes_chunks = takes_chunks
        self.stream: ResponseStream | None = None
        self.on_abandoned: Callable[[], None] | None = None
        given = headers.get(b"x-request-id")
        if given is not None and _SANE_ID.fullmatch(given):
            self.request_id = given
        else:
            self.request_id = b"%b-%x" % (_id_prefix, next(_id_counter))

    def answer(
        self, status: int, body: bytes | memoryview, content_type: bytes = JSON,
        extra_headers: bytes = b"",
    ) -> None:  # fmt: skip
        """Send the response; `extra_headers` are complete header lines."""
        head = b"%bdate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b" % (
            _STATUS_LINES[status], http_date(), content_type, len(body), self.request_id,
            extra_headers,
        )  # fmt: skip
        self.connection.respond(self, head, body)

    def head(self, status: int, content_type: bytes, extra_headers: bytes = b"") -> bytes:
        """Return the head of a response whose length is not known yet."""
        return b"%bdate: %b\r\ncontent-type: %b\r\nx-request-id: %b\r\n%b" % (
            _STATUS_LINES[status], http_date(), content_type, self.request_id, extra_headers,
        )  # fmt: skip

    def answer_empty(self, status: int, extra_headers: bytes = b"") -> None:
        """Send a response that has no body at all, such as 204."""
        head = b"%bdate: %b\r\nx-request-id: %b\r\n%b" % (
            _STATUS_LINES[status], http_date(), self.request_id, extra_headers,
        )  # fmt: skip
        self.connection.respond(self, head, b"")

    def fail(self, error: ServiceError, version: str, extra_headers: bytes = b"") -> None:
        """Send the error as JSON, with the headers that its kind asks for."""
        body = render_error(error, self.request_id.decode("ascii"), version)
        self.answer(error.status, body, JSON, extra_headers + _headers_of(error))


def _decoded(path: bytes) -> bytes:
    """Return a path without its escapes, but for slashes: an escaped one separates nothing."""
    return b"%2F".join(
        unquote(part.decode("ascii")).encode() for part in _ESCAPED_SLASH.split(path)
    )


def _origin_form(target: bytes) -> bytes:
    """Return path and query of an absolute target (RFC 9112, section 3.2.2)."""
    if target[:8].lower().startswith((b"http://", b"https://")):
        authority_and_rest = target.partition(b"://")[2]
        for index, byte in enumerate(authority_and_rest):
            if byte in b"/?":
                rest = authority_and_rest[index:]
                return rest if rest[:1] == b"/" else b"/" + rest
        return b"/"
    return target


def _headers_of(error: ServiceError) -> bytes:
    headers = b""
    retry_after_s = error.details.get("retry_after_s")
    if retry_after_s is not None:
        headers += b"retry-after: %d\r\n" % max(1, round(retry_after_s))
    asked = challenge(error)
    if asked is not None:
        headers += b"www-authenticate: %b\r\n" % asked.encode("ascii")
    if isinstance(error, MethodNotAllowed):
        headers += b"allow: %b\r\n" % ", ".join(error.details.get("allowed", [])).encode()
    return headers
