"""One connection from a gateway process: one request frame in, one reply out."""

from __future__ import annotations

import select
import socket
import struct

from basic_inference_server.wire.frames import (
    FrameError,
    RequestFrame,
    decode_request,
    request_length,
)

READ_CHUNK = 65536
FRAME_TIMEOUT_S = 10
_TIMEVAL = struct.pack("ll", FRAME_TIMEOUT_S, 0)
_NOTHING = memoryview(b"")
_UNIX, _STREAM = int(socket.AF_UNIX), int(socket.SOCK_STREAM)
_SEND_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def accept(listener: socket.socket) -> socket.socket:
    """Return the next connection of a listening Unix socket.

    As `listener.accept`, which asks for family and type, as enums, each time: 1.3 of its 4.6 us.

    Raises:
        BlockingIOError: there is none.
        OSError: see accept(2).
    """
    fd, _ = listener._accept()  # type: ignore[attr-defined] # noqa: SLF001 - as `socket.accept`
    return socket.socket(_UNIX, _STREAM, 0, fd)


class FrameConnection:
    """Reads and writes frames; never waits for a stuck peer longer than a time-out."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> RequestFrame | None:
        """Return the request, or `None` when the peer left before it was complete.

        Raises:
            FrameError: the peer does not speak this version of the protocol.
            OSError: the connection broke or the peer was too slow.
        """
        connection = self._connection
        # The kernel keeps the time: a worker often accepts before the gateway has sent, and a
        # time-out of Python's own would cost a failed read and a poll then.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
        data: bytes | bytearray = connection.recv(READ_CHUNK)
        if not data:
            return None
        if request_length(data) == len(data):
            return decode_request(data)
        return self._receive_slowly(bytearray(data))

    def _receive_slowly(self, data: bytearray) -> RequestFrame | None:
        length = request_length(data)
        while not length:
            chunk = self._connection.recv(READ_CHUNK)
            if not chunk:
                return None
            data += chunk
            length = request_length(data)
        filled = len(data)
        if filled > length:
            raise FrameError("more than one frame on a connection")
        whole = bytearray(length)  # zeroed by the kernel, page by page, as it is written to
        whole[:filled] = data
        with memoryview(whole) as view:
            while filled < length:
                count = self._connection.recv_into(view[filled:])
                if not count:
                    return None
                filled += count
        return decode_request(whole)

    def caller_has_left(self) -> bool:
        """Say whether the gateway closed the connection: nobody waits for an answer."""
        poller = select.poll()
        poller.register(self._connection, select.POLLRDHUP)
        return bool(poller.poll(0))

    def send(self, head: bytes, body: bytes | memoryview) -> None:
        """Write the reply; a large body is not copied.

        Raises:
            OSError: the gateway has gone or does not read.
        """
        left = self.send_at_once(head, body)
        if left:
            self.send_patiently(left, FRAME_TIMEOUT_S)

    def send_at_once(self, head: bytes, body: bytes | memoryview) -> memoryview:
        """Write what of a reply can be written without waiting; return what is left.

        Raises:
            OSError: the gateway has gone.
        """
        if len(body) <= READ_CHUNK:
            return self.send_now(head + body)
        return self.send_now(head) or memoryview(body)

    def send_now(self, data: bytes) -> memoryview:
        """Write what can be written without waiting; return what is left.

        Raises:
            OSError: the gateway has gone.
        """
        try:
            sent = self._connection.send(data, _SEND_FLAGS)
        except BlockingIOError:
            sent = 0
        return _NOTHING if sent == len(data) else memoryview(data)[sent:]

    def send_patiently(self, data: memoryview, timeout_s: float) -> None:
        """Write all of it, waiting for the gateway to read.

        Raises:
            OSError: it has gone, or has read nothing for so long.
        """
        while data:
            data = self.send_some(data, timeout_s)

    def send_some(self, data: memoryview, timeout_s: float) -> memoryview:
        """Write a part of it, waiting for the gateway to read; return what is left.

        Raises:
            OSError: as for `send_patiently`.
        """
        self._connection.settimeout(timeout_s)
        try:
            return data[self._connection.send(data, socket.MSG_NOSIGNAL) :]
        finally:
            self._connection.settimeout(None)  # with a time-out Python polls before `send_now`
