"""What an endpoint is sent of a request: one JSON object of JSON, query or form; or raw bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from basic_inference_server.core.errors import (
    MissingSignature,
    UnsupportedMediaType,
    UriTooLong,
)
from basic_inference_server.gateway.form_fields import read_fields
from basic_inference_server.gateway.json_charset import require_utf8
from basic_inference_server.gateway.signature_peek import signature_of
from basic_inference_server.wire.frames import JSON_TYPE, MAX_FIELDS_BYTES
from basic_inference_server.wire.json_codec import encode

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange

JSON = JSON_TYPE.encode()
FORM = b"application/x-www-form-urlencoded"
MAX_TYPE_BYTES = 1024
_MEDIA_TYPE = re.compile(rb"[!-.0-~]+/[!-.0-~][ -~]*")


class RequestBody(NamedTuple):
    """What goes to the worker; `fields` is a JSON object that comes beside a raw body."""

    content_type: bytes
    content: bytes | bytearray
    fields: bytes = b""

    @property
    def identity(self) -> bytes | bytearray:
        """What is executed; the same raw body with other fields is another request."""
        return self.content + self.fields if self.fields else self.content


def read_body(exchange: Exchange) -> RequestBody:
    """Return the request's fields as JSON, or its raw body; what was sent is left untouched.

    A body that starts with `{` is JSON whatever its content type says, because `curl -d` sends
    JSON as a form.

    Raises:
        UnsupportedMediaType: the body is JSON, but not in UTF-8.
        BadRequest: the query or form cannot be decoded.
    """
    body = exchange.body
    if exchange.method == b"GET":
        return RequestBody(JSON, _fields(exchange.query))
    content_type = exchange.headers.get(b"content-type", b"")
    if content_type == JSON:
        return RequestBody(JSON, body)
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type in {b"", FORM}:
        if body[:1] == b"{" or (body and not media_type):
            return RequestBody(JSON, body)
        return RequestBody(JSON, _fields(bytes(body) or exchange.query))
    if media_type.endswith((b"/json", b"+json")):
        require_utf8(content_type)
        return RequestBody(JSON, body)
    if len(content_type) > MAX_TYPE_BYTES or not _MEDIA_TYPE.fullmatch(content_type):
        name = content_type[:128].decode("latin-1")
        raise UnsupportedMediaType(f"Content-Type {name!r} is not a media type.")
    fields = _fields(exchange.query) if exchange.query else b""
    if len(fields) > MAX_FIELDS_BYTES:
        raise UriTooLong(f"The fields of the query are longer than {MAX_FIELDS_BYTES} bytes.")
    return RequestBody(content_type, body, fields)


def addressee_of(body: RequestBody) -> str:
    """Return the `SIGNATURE` that a request names: in its JSON, or in the query of a raw body.

    Raises:
        BadJson: the body should be JSON, and is not.
        MissingSignature: there is none in it, or it is not a string.
        UnsupportedMediaType: the body is raw, and nothing says for whom.
    """
    if body.content_type == JSON:
        return signature_of(body.content)
    try:
        return signature_of(body.fields or b"{}")
    except MissingSignature as error:
        name = body.content_type.decode("latin-1")
        raise UnsupportedMediaType(
            f"Content-Type {name!r} names no endpoint; send it to /run/<signature>, or send JSON."
        ) from error


def _fields(encoded: bytes) -> bytes:
    return encode(read_fields(encoded))
