"""Makes every accepted form of a request one JSON object: JSON, query string, form."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from basic_inference_server.core.errors import BadRequest, UnsupportedMediaType
from basic_inference_server.wire.json_codec import encode

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange

FORM = b"application/x-www-form-urlencoded"
MAX_FIELDS = 1000


def json_body(exchange: Exchange) -> bytes | bytearray:
    """Return the request's fields as JSON bytes; a JSON body is returned untouched.

    A body that starts with `{` is JSON whatever its content type says, because `curl -d` sends
    JSON as a form.

    Raises:
        UnsupportedMediaType: the content type is none of JSON and form.
        BadRequest: the query or form cannot be decoded.
    """
    body = exchange.body
    if exchange.method == b"GET":
        return _fields(exchange.query)
    content_type = exchange.headers.get(b"content-type", b"")
    if content_type == b"application/json":
        return body
    media_type, _, parameters = content_type.partition(b";")
    media_type = media_type.strip().lower()
    if media_type in {b"", FORM} and body[:1] == b"{":
        return body
    if media_type == FORM and body:
        return _fields(bytes(body))
    if media_type.endswith((b"/json", b"+json")):
        if b"charset" in parameters and b"utf-8" not in parameters.lower():
            raise UnsupportedMediaType("JSON is read as UTF-8 only; send charset=utf-8.")
        return body
    if media_type in {b"", FORM}:
        return body or _fields(exchange.query)
    name = media_type.decode("latin-1")
    raise UnsupportedMediaType(
        f"Content-Type {name!r} is not read here; send application/json or a form."
    )


def _fields(encoded: bytes) -> bytes:
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest(f"The fields cannot be decoded as UTF-8 form data: {error}.") from error
    return encode(dict(pairs))
