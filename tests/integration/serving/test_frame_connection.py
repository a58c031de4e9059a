"""The worker's end of a connection on real sockets: partial frames, early ends, slow peers."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.wire.frames import FrameError, RequestFrame, encode_request
from tests.support.eventually import AT_ONCE_S

LARGE = 8 * 1024 * 1024
PATIENCE_S = 10.0


class Pair:
    """The gateway's socket, and the connection that the worker works with."""

    def __init__(self) -> None:
        self.gateway, self._accepted = socket.socketpair()
        self.gateway.settimeout(PATIENCE_S)
        self.connection = FrameConnection(self._accepted)
        self._threads: list[threading.Thread] = []

    def meanwhile(self, function: Callable[[], object]) -> None:
        """Do something in another thread."""
        self._threads.append(threading.Thread(target=function))
        self._threads[-1].start()

    def close(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self.gateway.close()
        self._accepted.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "basic_inference_server.serving.connection"
    monkeypatch.setattr(f"{module}.FRAME_TIMEOUT_S", 0.05)
    monkeypatch.setattr(f"{module}._TIMEVAL", struct.pack("ll", 0, 50_000))


def frame(body: bytes = b'{"a":1}') -> bytes:
    return encode_request(b"id-1", b"application/json", len(body), 2000, 1000) + body


def received(connection: FrameConnection) -> RequestFrame:
    request = connection.receive()
    assert request is not None
    return request


def test_whole_frame_is_received(pair: Pair) -> None:
    """Id, type, times and body are those that were sent."""
    pair.gateway.sendall(frame())
    request = received(pair.connection)
    assert ("id-1", "application/json", 2000, 1000, b'{"a":1}') == (
        request.request_id, request.content_type, request.deadline_ns, request.sent_ns,
        bytes(request.body),
    )  # fmt: skip


def test_frame_that_comes_later_is_waited_for(pair: Pair) -> None:
    """A worker may accept before the gateway has sent."""
    pair.meanwhile(lambda: pair.gateway.sendall(frame()))
    assert b'{"a":1}' == bytes(received(pair.connection).body)


def test_frame_may_be_cut_anywhere() -> None:
    """At every byte: two pieces give the same request as one."""
    whole = frame()
    for cut in range(1, len(whole)):
        pair = Pair()
        pair.gateway.sendall(whole[:cut])
        pair.meanwhile(lambda pair=pair, cut=cut: pair.gateway.sendall(whole[cut:]))  # type: ignore[misc]
        assert b'{"a":1}' == bytes(received(pair.connection).body), cut
        pair.close()


def test_frame_that_ends_early_is_no_request() -> None:
    """At every byte: what is not complete is not executed, and nobody is blamed."""
    whole = frame()
    for cut in range(len(whole)):
        pair = Pair()
        pair.gateway.sendall(whole[:cut])
        pair.gateway.shutdown(socket.SHUT_WR)
        assert None is pair.connection.receive(), cut
        pair.close()


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000, LARGE])
def test_body_of_any_size_is_received(pair: Pair, size: int) -> None:
    """What is larger than a socket takes is put together."""
    body = os.urandom(size)
    pair.meanwhile(lambda: pair.gateway.sendall(frame(body)))
    assert body == bytes(received(pair.connection).body)


@pytest.mark.parametrize(
    "data", [frame() + b"x", frame() + frame(), frame(b"") + b"x" * 100_000],
    ids=["a byte", "another frame", "much"],
)  # fmt: skip
def test_more_than_one_frame_is_refused(pair: Pair, data: bytes) -> None:
    """A connection carries one request, so nothing can hide behind it."""
    pair.meanwhile(lambda: pair.gateway.sendall(data))
    with pytest.raises(FrameError, match="more than one frame"):
        pair.connection.receive()
    pair.gateway.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("length", [40, 41, 1000])
def test_other_protocol_is_refused(pair: Pair, length: int) -> None:
    """As soon as there are enough bytes to tell."""
    pair.gateway.sendall((b"POST /run HTTP/1.1\r\n" * 60)[:length])
    with pytest.raises(FrameError, match="not a request frame"):
        pair.connection.receive()


@pytest.mark.parametrize("sent", [0, 1, 39, 45, 60])
def test_silent_peer_costs_a_bounded_time(pair: Pair, short_patience: None, sent: int) -> None:
    """A gateway that hangs does not hold a worker."""
    pair.gateway.sendall(frame()[:sent])
    started_s = monotonic_s()
    with pytest.raises(OSError, match=r"timed out|temporarily unavailable"):
        pair.connection.receive()
    assert 0.04 <= monotonic_s() - started_s < AT_ONCE_S


def test_caller_who_waits_is_there(pair: Pair) -> None:
    """An open connection means that somebody wants the answer."""
    assert not pair.connection.caller_has_left()
    pair.gateway.sendall(frame())
    assert not pair.connection.caller_has_left()


def test_caller_who_closed_has_left(pair: Pair) -> None:
    """The gateway closes the connection at the deadline or when its client is gone."""
    pair.gateway.sendall(frame())
    pair.gateway.close()
    assert pair.connection.caller_has_left()
    assert b'{"a":1}' == bytes(received(pair.connection).body)


@pytest.mark.parametrize("size", [1, 100_000, LARGE])
def test_reply_of_any_size_is_sent(pair: Pair, size: int) -> None:
    """What does not fit the socket goes on as the gateway reads."""
    reply = os.urandom(size)
    got = bytearray()

    def read() -> None:
        while len(got) < 4 + size:
            got.extend(pair.gateway.recv(100_000))

    pair.meanwhile(read)
    pair.connection.send(b"head", reply)
    pair.close()
    assert b"head" + reply == got


def test_reply_to_nobody_is_an_os_error_and_no_signal(pair: Pair) -> None:
    """SIGPIPE does not end the worker."""
    pair.gateway.close()
    with pytest.raises(BrokenPipeError):
        pair.connection.send(b"x", b"")


def test_peer_that_does_not_read_costs_a_bounded_time(pair: Pair, short_patience: None) -> None:
    """A reply that nobody takes is given up."""
    started_s = monotonic_s()
    with pytest.raises(TimeoutError):
        pair.connection.send(b"", bytes(LARGE))
    assert 0.04 <= monotonic_s() - started_s < AT_ONCE_S
