"""HTTP connections on a real loop and a real port, with a handler that hides nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.unsent_answers import UnsentAnswers

T = TypeVar("T")
PATIENCE_S = 10.0
TICK_S = 0.01


class HttpHarness:
    """Serves until it is closed, in a thread of its own.

    `/hold` keeps the exchange until `release`, `/big/<n>` answers n bytes, everything else is
    answered at once with what the handler saw.
    """

    def __init__(self, max_body_bytes: int = 100_000) -> None:
        self.held: list[Exchange] = []
        self.seen: list[bytes] = []
        self.abandoned: list[bytes] = []
        self.faults: list[dict[str, Any]] = []
        self.said: list[Event] = []
        self.limits = HttpLimits(
            self._handle, max_body_bytes, "2.3.2", UnsentAnswers(EventLog(self.said.append))
        )
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        self._thread = threading.Thread(target=self._run, name="http-harness")
        self._server: asyncio.AbstractServer | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._thread.start()
        self.port = self.run(self._open())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _open(self) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self._server = await self._loop.create_server(
            lambda: HttpConnection(self.limits), sock=listener
        )
        self._ticker = self._loop.create_task(self._tick())
        return int(listener.getsockname()[1])

    async def _tick(self) -> None:
        while True:
            self.limits.enforce(monotonic_s())
            if self.limits.is_draining:
                for connection in list(self.limits.connections):
                    connection.drain(monotonic_s())
            await asyncio.sleep(TICK_S)

    def _handle(self, exchange: Exchange, bound_signature: str | None) -> None:
        self.seen.append(exchange.path)
        if exchange.path.startswith(b"/hold"):
            exchange.on_abandoned = lambda: self.abandoned.append(exchange.path)
            self.held.append(exchange)
        elif exchange.path.startswith(b"/big/"):
            exchange.answer(200, bytes(int(exchange.path[5:])), b"application/octet-stream")
        else:
            exchange.answer(200, _description(exchange))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(PATIENCE_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the loop and return its result."""

        async def called() -> T:
            return function()

        return self.run(called())

    def release(self, place: int = 0) -> None:
        """Answer one of the exchanges that are held."""
        exchange = self.held.pop(place)
        self.call(lambda: exchange.answer(200, _description(exchange)))

    def connection_count(self) -> int:
        """Return how many connections are open."""
        return self.call(lambda: len(self.limits.connections))

    def close(self) -> None:
        """End every connection and the loop."""

        def stop() -> None:
            if self._ticker is not None:
                self._ticker.cancel()
            if self._server is not None:
                self._server.close()
            for connection in list(self.limits.connections):
                connection.transport.abort()
            self._loop.call_later(0.01, self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(PATIENCE_S)


def _description(exchange: Exchange) -> bytes:
    return json.dumps(
        {
            "method": exchange.method.decode("latin-1"),
            "path": exchange.path.decode("utf-8", "replace"),
            "query": exchange.query.decode("latin-1"),
            "headers": {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in exchange.headers.items()
            },
            "body": bytes(exchange.body).decode("latin-1"),
        }
    ).encode()


@dataclass
class Response:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    lines: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status and code of an error, and what it says about the connection."""
        return self.status, self.json["code"], self.headers.get("connection", "keep-alive")


class RawHttp:
    """A client that sends bytes as they are and reads answers strictly."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def end_sending(self) -> None:
        """Close this side for writing; the answer can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> bool:
        chunk = self.socket.recv(1 << 20)
        self._received += chunk
        return bool(chunk)

    def read(self, method: str = "GET") -> Response:
        """Return the next answer; `method` is that of its request."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                raise ConnectionError(f"closed after {self._received!r}")
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        response = Response(int(lines[0].split()[1]), headers, lines=lines)
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        response.body = self.take(length)
        return response

    def take(self, length: int) -> bytes:
        """Return the next bytes, that many."""
        while len(self._received) < length:
            if not self._receive():
                raise ConnectionError(f"closed within a body of {length}")
        data, self._received = self._received[:length], self._received[length:]
        return data

    def read_rest(self) -> bytes:
        """Return what comes until the other side closes."""
        while self._receive():
            pass
        rest, self._received = self._received, b""
        return rest

    def ask(self, data: bytes, method: str = "GET") -> Response:
        """Send and return the answer."""
        self.send(data)
        return self.read(method)

    def close(self) -> None:
        """Leave."""
        self.socket.close()


def request(
    target: str = "/x", *headers: str, method: str = "GET", body: bytes = b"", host: str = "test"
) -> bytes:
    """Return a request with a `Host` and, when there is a body, its length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
