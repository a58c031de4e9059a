"""Exchanges one command and its answer with the supervisor over its control socket; blocking."""

from __future__ import annotations

import socket
from typing import Any

from basic_inference_server.wire.messages import (
    MAX_MESSAGE,
    MessageError,
    decode_message,
    encode_message,
)

READ_CHUNK = 65536


def exchange(control_path: str, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Send a command; return the answer, which may be a refusal.

    Args:
        control_path: where the supervisor listens.
        message: the command with its fields.
        timeout_s: how long each step may take: to connect, to send, to hear more.

    Raises:
        OSError: nobody listens there, or not in time.
        MessageError: what came is no answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(control_path)
        connection.sendall(encode_message(message))
        received = bytearray()
        while not received.endswith(b"\n"):
            chunk = connection.recv(READ_CHUNK)
            if not chunk:
                raise MessageError("the supervisor has closed the connection")
            received += chunk
            if len(received) > MAX_MESSAGE:
                raise MessageError("the supervisor's answer is too long")
    return decode_message(received)
