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
    ChunkReader,
    FrameError,
    ReplyHeader,
    decode_reply_header,
)

READ_CHUNK = 65536
SWEEP_S = 0.02
NEVER_NS = 2**63 - 1
MAX_REPLY_BYTES = 2**33
ENDS_PER_TURN = 64
READABLE = select.EPOLLIN | select.EPOLLONESHOT
WRITABLE = select.EPOLLOUT | select.EPOLLIN | select.EPOLLONESHOT
# SocketType is the C part of socket.socket: 0.5 us less for each request.
UNIX = int(socket.AF_UNIX)
STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


class QueueFull(Exception):
    """The server's accept queue is full."""


class Unreachable(Exception):
    """Nobody listens on the server's socket."""


class _Dropped(Unreachable):
    """A worker took the connection and died before a byte was sent."""


class StreamListener(Protocol):
    """Who is told of a streamed answer; exactly one of the last three is called, once."""

    def on_content(self, content: bytes) -> None:
        """Take what has come, be it whole items or not."""

    def on_end(self, content: bytes, status: int, error: bytes) -> None:
        """Take the last of it, and the status that the stream has ended with."""

    def on_lost(self) -> None:
        """Take note that the worker closed the connection in mid-stream."""

    def on_deadline(self) -> None:
        """Take note that the time for the next item is up."""


class Listener(Protocol):
    """Who is told how a call ended; exactly one of these is called, once."""

    def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
        """Take the complete reply."""

    def on_stream(self, header: ReplyHeader, head: bytes) -> StreamListener:
        """Take the head of a streamed answer; return who listens from now on."""

    def on_lost(self) -> None:
        """Take note that the worker closed the connection before it had answered."""

    def on_deadline(self) -> None:
        """Take note that the time is up."""


class Call:
    """One request on its way; the last three are set once its answer is a stream.

    Attributes:
        patience_ns: the time that each part of the stream has.
        is_paused: whether the client does not keep up, so that nothing more is read.
        chunks: takes the parts out of what is received.
    """

    __slots__ = (
        "chunks", "deadline_ns", "fd", "filled", "is_paused", "listener", "patience_ns",
        "received", "sock", "stream", "unsent",
    )  # fmt: skip
    patience_ns: int
    is_paused: bool
    chunks: ChunkReader

    def __init__(self, sock: socket.SocketType, listener: Listener, deadline_ns: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.listener = listener
        self.deadline_ns = deadline_ns
        self.unsent: list[memoryview] = []
        self.received: bytearray | None = None
        self.filled = 0
        self.stream: StreamListener | None = None


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
        self,
        path: str,
        head: bytes,
        body: bytes | bytearray,
        deadline_ns: int,
        listener: Listener,
        link: str = "",
    ) -> Call:
        """Send one request frame, without ever waiting.

        Raises:
            QueueFull: the server's queue is full; nothing was sent.
            Unreachable: nobody listens at `path`, nor at `link`, which is tried then.
        """
        try:
            sock, parts = _send(path, link, head, body)
        except _Dropped:  # nothing was sent: another worker can take it
            sock, parts = _send(path, link, head, body)
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
            self._end(call)

    def _on_events(self) -> None:
        calls = self._calls
        for fd, _ in self._epoll.poll(0, ENDS_PER_TURN):
            call = calls.get(fd)
            if call is not None:
                try:
                    self._advance(call)
                except (OSError, FrameError):
                    self._lose(call)

    def _advance(self, call: Call) -> None:
        if call.unsent:
            self._send_more(call)
            return
        if call.stream is not None:
            self._receive_chunks(call, call.stream)
            return
        if call.received is None:
            try:
                data = call.sock.recv(READ_CHUNK)
            except BlockingIOError:  # the event was an earlier socket's of the same number
                self._epoll.modify(call.fd, READABLE)
                return
            header = decode_reply_header(data)
            if header is None:
                if not data:
                    self._lose(call)
                    return
            elif header.is_stream:
                pass
            elif len(data) == header.body_at + header.body_length:
                self._end(call)
                call.listener.on_reply(header, data)
                return
            call.received = bytearray(data)
        self._receive_more(call, call.received)

    def _receive_more(self, call: Call, received: bytearray) -> None:
        """Read on, without a second copy of what is large."""
        while True:
            header = decode_reply_header(received)
            if header is not None and header.is_stream and len(received) >= header.body_at:
                self._begin_stream(call, header, bytes(received))
                return
            if header is not None and not header.is_stream:
                self._receive_rest(call, header, received)
                return
            try:
                chunk = call.sock.recv(READ_CHUNK)
            except BlockingIOError:
                self._epoll.modify(call.fd, READABLE)
                return
            if not chunk:
                self._lose(call)
                return
            received += chunk

    def _receive_rest(self, call: Call, header: ReplyHeader, received: bytearray) -> None:
        length = header.body_at + header.body_length
        if length > MAX_REPLY_BYTES:
            raise FrameError("a reply longer than any")
        if not call.filled:
            call.filled = len(received)
            if call.filled < length:
                received = bytearray(length)  # zeroed page by page, as it is written to
                received[: call.filled] = call.received or b""
                call.received = received
        with memoryview(received) as view:
            while call.filled < length:
                try:
                    count = call.sock.recv_into(view[call.filled :])
                except BlockingIOError:
                    self._epoll.modify(call.fd, READABLE)
                    return
                if not count:
                    self._lose(call)
                    return
                call.filled += count
        if len(received) > length:
            raise FrameError("more than one frame on a connection")
        self._end(call)
        call.listener.on_reply(header, received)

    def _begin_stream(self, call: Call, header: ReplyHeader, received: bytes) -> None:
        call.received = None
        call.chunks = ChunkReader()
        call.is_paused = False
        call.stream = call.listener.on_stream(header, received[: header.body_at])
        self._take_chunks(call, call.stream, received[header.body_at :])

    def _receive_chunks(self, call: Call, stream: StreamListener) -> None:
        if call.is_paused:
            return  # `resume` watches it again
        try:
            data = call.sock.recv(4 * READ_CHUNK)
        except BlockingIOError:
            self._epoll.modify(call.fd, READABLE)
            return
        if data:
            self._take_chunks(call, stream, data)
        else:
            self._lose(call)

    def _take_chunks(self, call: Call, stream: StreamListener, data: bytes) -> None:
        content = call.chunks.read(data)
        if not call.is_paused:  # its listener may have paused it when it took the head
            call.deadline_ns = monotonic_ns() + call.patience_ns
        if call.chunks.status:
            self._end(call)
            stream.on_end(content, call.chunks.status, call.chunks.error)
            return
        if content:
            stream.on_content(content)
        if not call.is_paused and self._calls.get(call.fd) is call:
            self._epoll.modify(call.fd, READABLE)

    def pause(self, call: Call) -> None:
        """Read no more of a stream for now; its worker waits, and its time does not run."""
        call.is_paused = True
        call.deadline_ns = NEVER_NS

    def resume(self, call: Call) -> None:
        """Go on reading a stream."""
        if call.is_paused and self._calls.get(call.fd) is call:
            call.is_paused = False
            call.deadline_ns = monotonic_ns() + call.patience_ns
            self._epoll.modify(call.fd, READABLE)

    def _lose(self, call: Call) -> None:
        self._end(call).on_lost()

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

    def _end(self, call: Call) -> Listener | StreamListener:
        """Close a call; return who is to be told."""
        del self._calls[call.fd]
        call.sock.close()
        call.unsent = []
        told = call.stream or call.listener
        call.stream = None  # it refers back to the call: no cycle, no garbage
        return told

    def _sweep(self) -> None:
        """End the calls whose time is up; runs only while there are calls."""
        now_ns = monotonic_ns()
        late = [call for call in self._calls.values() if call.deadline_ns <= now_ns]
        for call in late:
            if self._calls.get(call.fd) is call:
                self._end(call).on_deadline()
        self._sweeping = bool(self._calls)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def listeners(self) -> list[Listener]:
        """Return who waits for a reply that has not begun."""
        return [call.listener for call in self._calls.values() if call.stream is None]

    def end_all(self) -> None:
        """Tell every caller that its time is up; used when the gateway has to stop now."""
        for call in list(self._calls.values()):
            if self._calls.get(call.fd) is call:
                self._end(call).on_deadline()

    def close(self) -> None:
        """End everything at once."""
        self._loop.remove_reader(self._epoll.fileno())
        for call in list(self._calls.values()):
            self._end(call)
        self._epoll.close()


def _send(
    path: str, link: str, head: bytes, body: bytes | bytearray
) -> tuple[socket.SocketType, list[memoryview]]:
    """Connect and send what the socket takes at once; return the rest."""
    try:
        sock = socket.SocketType(UNIX, STREAM)
    except OSError as error:  # no descriptors left
        raise Unreachable(str(error)) from error
    try:
        _connect(sock, path, link)
        if len(body) <= READ_CHUNK:
            data = head + body
            sent = sock.send(data)
            return sock, ([] if sent == len(data) else [memoryview(data)[sent:]])
        sent = sock.sendmsg([head, body])
        return sock, _rest([memoryview(head), memoryview(body)], sent)
    except BlockingIOError as error:
        sock.close()
        raise QueueFull from error
    except (BrokenPipeError, ConnectionResetError) as error:
        sock.close()
        raise _Dropped(str(error)) from error
    except OSError as error:
        sock.close()
        raise Unreachable(str(error)) from error


def _connect(sock: socket.SocketType, path: str, link: str) -> None:
    try:
        sock.connect(path)
    except BlockingIOError:  # the queue is full
        raise
    except OSError:
        if not link:
            raise
        sock.connect(link)


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
