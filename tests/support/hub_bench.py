"""A hub on a real loop, and the worker's socket that a test plays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.gateway.hub import Call, Hub, deadline_after
from basic_inference_server.wire.frames import (
    ReplyHeader,
    decode_request,
    encode_reply,
    encode_request,
    request_length,
)

PATIENCE_S = 10.0
LARGE = 8 * 1024 * 1024
KIND = b"application/json"


class Ending:
    """Takes note of how a call ended; fails when it ends twice."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self.items: Items | None = None
        self.call: Call | None = None
        self.patience_ns = deadline_after(PATIENCE_S, 0)

    def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
        """End with an answer."""
        self.done.set_result(("reply", bytes(frame[header.body_at :])))

    def on_stream(self, header: ReplyHeader, head: bytes) -> Items:
        """Go on with its items."""
        del header, head
        self.items = Items(self.done)
        if self.call is not None:
            self.call.patience_ns = self.patience_ns
        return self.items

    def on_lost(self) -> None:
        """End without one."""
        self.done.set_result(("lost", b""))

    def on_deadline(self) -> None:
        """End because the time is up."""
        self.done.set_result(("deadline", b""))

    async def wait(self) -> tuple[str, bytes]:
        """Return how the call ended, and the answer's body."""
        return await asyncio.wait_for(asyncio.shield(self.done), PATIENCE_S)


class Items:
    """Keeps what comes of a streamed answer."""

    def __init__(self, done: asyncio.Future[tuple[str, bytes]]) -> None:
        self.parts: list[bytes] = []
        self.came = asyncio.Event()
        self._done = done

    def on_content(self, content: bytes) -> None:
        """Keep a part."""
        self.parts.append(content)
        self.came.set()

    def on_end(self, content: bytes, status: int, error: bytes) -> None:
        """Keep the last one."""
        self._done.set_result((f"end {status}", b"".join([*self.parts, content, error])))

    def on_lost(self) -> None:
        """End without the last one."""
        self._done.set_result(("lost in mid-stream", b"".join(self.parts)))

    def on_deadline(self) -> None:
        """End because the next one is late."""
        self._done.set_result(("deadline in mid-stream", b"".join(self.parts)))


class Bench:
    """A hub, and the listening socket of a worker that the test plays."""

    def __init__(self, folder: Path, backlog: int = 100) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub(self.loop)
        self.path = str(folder / "w.sock")
        self.link = ""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(backlog)
        self.listener.setblocking(False)
        self.accepted: list[socket.socket] = []

    def call(self, body: bytes = b"{}", timeout_s: float = PATIENCE_S) -> tuple[Ending, Call]:
        """Send a request."""
        ending = Ending()
        now_ns = monotonic_ns()
        deadline_ns = deadline_after(timeout_s, now_ns)
        head = encode_request(b"id-1", KIND, len(body), deadline_ns, now_ns)
        ending.call = self.hub.call(self.path, head, body, deadline_ns, ending, self.link)
        return ending, ending.call

    async def accept(self) -> socket.socket:
        """Take the next request, as a worker does."""
        connection, _ = await self.loop.sock_accept(self.listener)
        connection.setblocking(False)
        self.accepted.append(connection)
        return connection

    async def receive(self, connection: socket.socket) -> bytes:
        """Return the body of the request on a connection."""
        data = bytearray()
        while not data or request_length(data) != len(data):
            chunk = await self.loop.sock_recv(connection, 1 << 20)
            assert chunk, "the gateway closed the connection"
            data += chunk
        return bytes(decode_request(data).body)

    async def answer(self, connection: socket.socket, body: bytes = b"[]") -> None:
        """Send a whole reply."""
        await self.loop.sock_sendall(connection, encode_reply(200, KIND, body, (1, 2, 3, 4)))

    async def is_left(self, connection: socket.socket) -> bool:
        """Say whether the gateway has closed the connection, after what it had sent."""
        try:
            while await asyncio.wait_for(self.loop.sock_recv(connection, 1 << 20), PATIENCE_S):
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        """End everything."""
        self.hub.close()
        for one in (self.listener, *self.accepted):
            one.close()


Scenario = Callable[[Bench], Awaitable[None]]


def on_a_bench(folder: Path, scenario: Scenario, backlog: int = 100) -> None:
    """Run a scenario on a loop of its own."""

    async def run() -> None:
        bench = Bench(folder, backlog)
        try:
            await scenario(bench)
        finally:
            bench.close()

    uvloop.run(run())
