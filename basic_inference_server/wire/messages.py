"""Messages between the supervisor and everybody else: one JSON object per line or datagram.

Commands go to the supervisor over its control socket and are answered by one line; a subscriber
is sent a line whenever something changes. Announcements come from servers and gateway
processes over a socket that each child was given.
"""

from __future__ import annotations

from typing import Any, Final

from basic_inference_server.wire.json_codec import decode, encode_anything

MAX_MESSAGE: Final = 4 * 1024 * 1024
MAX_DATAGRAM: Final = 64 * 1024


class MessageError(Exception):
    """The bytes are not a message."""


def encode_message(message: dict[str, Any]) -> bytes:
    """Return the message as one line."""
    return encode_anything(message) + b"\n"


def decode_message(line: bytes | bytearray) -> dict[str, Any]:
    """Return the message in `line`.

    Raises:
        MessageError: it is not one JSON object.
    """
    try:
        message = decode(line)
    except ValueError as error:
        raise MessageError(f"not a message: {error}") from error
    if not isinstance(message, dict):
        raise MessageError("not a message: expected an object")
    return message
