"""One connection from a gateway process, read and written without blocking the event loop."""

from __future__ import annotations

import asyncio
import socket

from basic_inference_server.serving.connection import FRAME_TIMEOUT_S, READ_CHUNK, FrameConnection
from basic_inference_server.wire.frames import (
    FrameError,
    RequestFrame,
    decode_request,
    request_length,
)

SEND_CHUNK = 4 * READ_CHUNK


class AsyncConnection(FrameConnection):
    """Reads and writes frames on the running loop."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        connection.setblocking(False)
        self._loop = asyncio.get_running_loop()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._connection.fileno()

    async def receive_async(self) -> RequestFrame | None:
        """Return the request, or `None` when the peer left before it was complete.

        Raises:
            FrameError: the peer does not speak this version of the protocol.
            OSError: the connection broke or the peer was too slow.
        """
        try:
            data: bytes | bytearray = self._connection.recv(READ_CHUNK)
        except BlockingIOError:
            data = await self._receive_some()
        length = request_length(data)
        if data and length == len(data):
            return decode_request(data)
        while data and not length:
            more = await self._receive_some()
            if not more:
                return None
            data = data + more
            length = request_length(data)
        return await self._receive_rest(data, length) if data else None

    async def _receive_some(self) -> bytes:
        receiving = self._loop.sock_recv(self._connection, READ_CHUNK)
        return await asyncio.wait_for(receiving, FRAME_TIMEOUT_S)

    async def _receive_rest(self, data: bytes | bytearray, length: int) -> RequestFrame | None:
        filled = len(data)
        if filled > length:
            raise FrameError("more than one frame on a connection")
        whole = bytearray(length)  # zeroed by the kernel, page by page, as it is written to
        whole[:filled] = data
        with memoryview(whole) as view:
            while filled < length:
                count = await self._receive_into(view[filled:])
                if not count:
                    return None
                filled += count
        return decode_request(whole)

    async def _receive_into(self, view: memoryview) -> int:
        receiving = self._loop.sock_recv_into(self._connection, view)
        return await asyncio.wait_for(receiving, FRAME_TIMEOUT_S)

    async def send_async(self, head: bytes, body: bytes | memoryview) -> None:
        """Write the reply; a large body is not copied.

        Raises:
            OSError: the gateway has gone or does not read.
        """
        left = self.send_at_once(head, body)
        if left:
            await self.send_rest(left, FRAME_TIMEOUT_S)

    async def send_rest(self, data: memoryview, timeout_s: float) -> None:
        """Write all of it, waiting for the gateway to read.

        Raises:
            OSError: it has gone, or has read nothing for so long.
        """
        while data:
            data = await self.send_some_async(data, timeout_s)

    async def send_some_async(self, data: memoryview, timeout_s: float) -> memoryview:
        """Write a part of it, waiting for the gateway to read; return what is left.

        Raises:
            OSError: as for `send_rest`.
        """
        sending = self._loop.sock_sendall(self._connection, data[:SEND_CHUNK])
        try:
            await asyncio.wait_for(sending, timeout_s)
        except asyncio.TimeoutError as error:
            raise TimeoutError("the gateway reads nothing") from error
        return data[SEND_CHUNK:]
