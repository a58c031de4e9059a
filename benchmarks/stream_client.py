"""Asks for streamed answers and times them: a blocking socket, a thread for each caller."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

from server_process import Address, Request
from stream_parts import StreamedAnswer, StreamError

RECEIVE_BYTES = 65536
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Streamed:
    """One answer as its caller saw it; seconds count from sending the request."""

    items: int
    first_s: float
    last_s: float


class StreamCaller:
    """One caller, on a connection that it keeps as long as the server lets it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, request: Request) -> Streamed:
        """Send one request and read its answer to the end.

        Raises:
            StreamError: it is not 200, not complete, or its items are not in order.
            OSError: the connection broke, or nothing came for 20 s.
        """
        connection = self._connected()
        answer = StreamedAnswer()
        began = time.perf_counter()
        first_s = 0.0
        connection.sendall(self._bytes_of(request))
        while not answer.is_complete:
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                answer.close()
                break
            answer.feed(data)
            if not first_s and answer.items.numbers:
                first_s = time.perf_counter() - began
        last_s = time.perf_counter() - began
        if not answer.keeps_alive:
            self.close()
        numbers = answer.items.numbers
        if answer.status != 200:
            raise StreamError(f"{answer.status}: {b' '.join(answer.items.extra)[:300]!r}")
        if not numbers or numbers != list(range(len(numbers))):
            raise StreamError(f"{len(numbers)} items, and not in order: {answer.items.extra[:2]}")
        return Streamed(len(numbers), first_s, last_s)

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _bytes_of(self, request: Request) -> bytes:
        host, port = self._address
        head = (
            f"POST {request.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(request.body)}\r\n\r\n"
        )
        return head.encode() + request.body


def ask_for(address: Address, request: Request, seconds: float) -> list[Streamed]:
    """One caller that asks again and again, for that long."""
    caller = StreamCaller(address)
    try:
        answers = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answers.append(caller.ask(request))
        return answers
    finally:
        caller.close()


def items_per_s(address: Address, request: Request, callers: int, seconds: float) -> float:
    """Items of complete answers per second, over all callers.

    Raises:
        StreamError: what one of them met.
    """
    counts = [0] * callers
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            counts[number] = sum(answer.items for answer in ask_for(address, request, seconds))
        except (OSError, StreamError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise StreamError(f"a caller of {callers}: {errors[0]}")
    return sum(counts) / (time.perf_counter() - began)
