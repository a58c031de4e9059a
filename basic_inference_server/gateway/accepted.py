"""What a client accepts of an endpoint that streams (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache

from basic_inference_server.wire.frames import Accepts

MAX_KNOWN_BYTES = 256
_ANYTHING = {b"*/*", b"application/*", b"application/x-ndjson"}


def accepts(header: bytes | None) -> Accepts:
    """Return how the items shall be sent: lines, events, or all in one answer.

    Lines, unless the client names events, or nothing but plain JSON.
    """
    if header is None:
        return Accepts.NDJSON
    # A client sends the same one again and again; only those of sane length are kept.
    return _known(header) if len(header) <= MAX_KNOWN_BYTES else _negotiated(header)


def _negotiated(header: bytes) -> Accepts:
    types = set()
    for media_range in header.lower().split(b","):
        media_type, *parameters = [part.strip() for part in media_range.split(b";")]
        if not any(part.startswith(b"q=0") and not part[3:].strip(b".0") for part in parameters):
            types.add(media_type)
    if b"text/event-stream" in types:
        return Accepts.EVENTS
    if b"application/json" in types and not types & _ANYTHING:
        return Accepts.WHOLE
    return Accepts.NDJSON


_known = lru_cache(256)(_negotiated)
