"""Carries requests to workers and replies back: one connection each, one epoll for all.

The request sockets are watched by an epoll object of our own, itself registered once with the
event loop, and are added one-shot: that spares the loop's bookkeeping for every request. A
connection carries one request, so a late answer can never reach another caller.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Protocol

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.wire.frames import (
    FrameError,
    ReplyHeader,
    decode_reply_header,
)

READ_CHUNK = 65536
SWEEP_S = 0.02
ENDS_PER_TURN = 64
READABLE = select.EPOLLIN | select.EPOLLONESHOT
WRITABLE = select.EPOLLOUT | select.EPOLLIN | select.EPOLLONESHOT
STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class QueueFull(Exception):
    """The server's accept queue is full."""


class Unreachable(Exception):
    """Nobody listens on the server's socket."""


class Listener(Protocol):
    """Who is told how a call ended; exactly one of these is called, once."""

    def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
        """Take the complete reply."""

    def on_lost(self) -> None:
        """Take note that the worker closed the connection before it had answered."""

    def on_deadline(self) -> None:
        """Take note that the time is up."""


class Call:
    """One request on its way."""

    __slots__ = ("deadline_ns", "expected", "fd", "listener", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, listener: Listener, deadline_ns: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.listener = listener
        self.deadline_ns = deadline_ns
        self.unsent: list[memoryview] = []
        self.received: bytearray | None = None
        self.expected = 0


class Hub:
    """All calls of one gateway process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._calls: dict[int, Call] = {}
        self._sweeping = False
        loop.add_reader(self._epoll.fileno(), self._on_events)

    @property
    def in_flight(self) -> int:
        """How many calls wait for their end."""
        return len(self._calls)

    def call(
        self, path: str, head: bytes, body: bytes | bytearray, deadline_ns: int, listener: Listener
    ) -> Call:
        """Send one request frame, without ever waiting.

        Raises:
            QueueFull: the server's queue is full; nothing was sent.
            Unreachable: nobody listens at `path`.
        """
        try:
            sock = socket.socket(socket.AF_UNIX, STREAM)
        except OSError as error:  # no descriptors left
            raise Unreachable(str(error)) from error
        try:
            sock.connect(path)
            if len(body) <= READ_CHUNK:
                data = head + body
                sent = sock.send(data)
                parts = [] if sent == len(data) else [memoryview(data)[sent:]]
            else:
                sent = sock.sendmsg([head, body])
                parts = _rest([memoryview(head), memoryview(body)], sent)
        except BlockingIOError as error:
            sock.close()
            raise QueueFull from error
        except OSError as error:
            sock.close()
            raise Unreachable(str(error)) from error
        call = Call(sock, listener, deadline_ns)
        call.unsent = parts
        self._calls[call.fd] = call
        self._epoll.register(call.fd, WRITABLE if parts else READABLE)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)
        return call

    def abandon(self, call: Call) -> None:
        """Close the connection: a request that has not started will not be executed."""
        if self._calls.get(call.fd) is call:
            del self._calls[call.fd]
            call.sock.close()

    def _on_events(self) -> None:
        calls = self._calls
        for fd, _ in self._epoll.poll(0, ENDS_PER_TURN):
            call = calls.get(fd)
            if call is not None:
                try:
                    self._advance(call)
                except (OSError, FrameError):
                    self._end(call)
                    call.listener.on_lost()

    def _advance(self, call: Call) -> None:
        if call.unsent:
            self._send_more(call)
            return
        if call.received is None:
            try:
                data = call.sock.recv(READ_CHUNK)
            except BlockingIOError:  # the event was an earlier socket's of the same number
                self._epoll.modify(call.fd, READABLE)
                return
            header = decode_reply_header(data)
            if header is not None and len(data) == header.body_at + header.body_length:
                self._end(call)
                call.listener.on_reply(header, data)
                return
            if not data:
                self._end(call)
                call.listener.on_lost()
                return
            call.received = bytearray(data)
        self._receive_more(call)

    def _receive_more(self, call: Call) -> None:
        received = call.received
        assert received is not None
        while True:
            try:
                chunk = call.sock.recv(4 * READ_CHUNK)
            except BlockingIOError:
                self._epoll.modify(call.fd, READABLE)
                return
            if not chunk:
                self._end(call)
                call.listener.on_lost()
                return
            received += chunk
            header = decode_reply_header(received)
            if header is not None and len(received) >= header.body_at + header.body_length:
                self._end(call)
                call.listener.on_reply(header, received)
                return

    def _send_more(self, call: Call) -> None:
        try:
            sent = call.sock.sendmsg(call.unsent)
        except BlockingIOError:
            sent = 0
        except BrokenPipeError:
            # The worker may have answered without reading everything: look for its reply.
            call.unsent = []
            self._epoll.modify(call.fd, READABLE)
            return
        call.unsent = _rest(call.unsent, sent)
        self._epoll.modify(call.fd, WRITABLE if call.unsent else READABLE)

    def _end(self, call: Call) -> None:
        del self._calls[call.fd]
        call.sock.close()
        call.unsent = []

    def _sweep(self) -> None:
        """End the calls whose time is up; runs only while there are calls."""
        now_ns = monotonic_ns()
        late = [call for call in self._calls.values() if call.deadline_ns <= now_ns]
        for call in late:
            if self._calls.get(call.fd) is call:
                self._end(call)
                call.listener.on_deadline()
        self._sweeping = bool(self._calls)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def listeners(self) -> list[Listener]:
        """Return who waits for a reply."""
        return [call.listener for call in self._calls.values()]

    def end_all(self) -> None:
        """Tell every caller that its time is up; used when the gateway has to stop now."""
        for call in list(self._calls.values()):
            if self._calls.get(call.fd) is call:
                self._end(call)
                call.listener.on_deadline()

    def close(self) -> None:
        """End everything at once."""
        self._loop.remove_reader(self._epoll.fileno())
        for call in list(self._calls.values()):
            self._end(call)
        self._epoll.close()


def _rest(parts: list[memoryview], sent: int) -> list[memoryview]:
    """Return what remains of `parts` after `sent` bytes."""
    rest = []
    for part in parts:
        if sent >= len(part):
            sent -= len(part)
        else:
            rest.append(part[sent:])
            sent = 0
    return rest


def deadline_after(seconds: float, now_ns: int) -> int:
    """Return the instant `seconds` after `now_ns`."""
    return now_ns + int(seconds * NS_PER_S)
