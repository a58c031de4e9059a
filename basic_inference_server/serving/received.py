"""What a caller gets of an endpoint's result."""

from __future__ import annotations

from typing import Any

from basic_inference_server.wire.json_codec import decode, encode
from basic_inference_server.worker.binary import Binary, wire_parts


def as_received(result: Any) -> Any:
    """Return a result as a caller reads it: written as JSON and read again, or as its bytes.

    Raises:
        TypeError: it cannot be sent; the message says what to write instead.
    """
    if isinstance(result, Binary):
        wire_parts(result)
        return result
    return decode(encode(result))
