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
MAX_KNOWN_HOSTS: Final = 256
_known_hosts: set[bytes | None] = set()  # a client says the same name again and again
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
    if host not in _known_hosts:
        _check_host(host, version)
    if version == "1.0" and b"transfer-encoding" in headers:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding (RFC 9112, section 6.1).")
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


def _check_host(host: bytes | None, version: str) -> None:
    if host is None:
        if version == "1.1":
            raise BadRequest("The header 'host' is missing (RFC 9112, section 3.2).")
        return
    if not _HOST.fullmatch(host):
        raise BadRequest("The header 'host' is not a host name (RFC 9112, section 3.2).")
    if len(_known_hosts) < MAX_KNOWN_HOSTS and len(host) < 256:
        _known_hosts.add(host)


def body_too_large(max_body_bytes: int) -> BodyTooLarge:
    """Return the error for a body over the limit."""
    return BodyTooLarge(
        f"The body is larger than {max_body_bytes} bytes (MAX_BODY_BYTES).",
        max_body_bytes=max_body_bytes,
    )
