"""Checks a request's head before its body is read (RFC 9110 and 9112)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from basic_inference_server.core.errors import BadRequest, BodyTooLarge, UnsupportedMediaType

VERSIONS: Final = frozenset({"1.0", "1.1"})
ONLY_ONCE: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"authorization", b"transfer-encoding"}
)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


def check_head(headers: Mapping[bytes, bytes], version: str, max_body_bytes: int) -> int:
    """Return the announced length of the body; 0 when there is none or it is chunked.

    Raises:
        BadRequest: the version, `Host` or `Transfer-Encoding` is not one that is read here.
        UnsupportedMediaType: the body is compressed.
        BodyTooLarge: more is announced than is read.
    """
    if version not in VERSIONS:
        raise BadRequest(f"HTTP/{version} is not spoken here; send HTTP/1.1.")
    host = headers.get(b"host")
    if host is None and version == "1.1":
        raise BadRequest("The header 'host' is missing (RFC 9112, section 3.2).")
    if host and not _HOST.fullmatch(host):
        raise BadRequest("The header 'host' is not a host name (RFC 9112, section 3.2).")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise BadRequest("Only 'chunked' is read as Transfer-Encoding.")
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        name = encoding.decode("latin-1")
        raise UnsupportedMediaType(f"Content-Encoding {name!r} is not read; send plain bytes.")
    expected = int(headers.get(b"content-length", b"0"))
    if expected > max_body_bytes:
        raise body_too_large(max_body_bytes)
    return expected


def body_too_large(max_body_bytes: int) -> BodyTooLarge:
    """Return the error for a body over the limit."""
    return BodyTooLarge(
        f"The body is larger than {max_body_bytes} bytes (MAX_BODY_BYTES).",
        max_body_bytes=max_body_bytes,
    )
