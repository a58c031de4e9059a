"""A connection of the gateway's, read and written on an event loop, in pieces of all sizes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from basic_inference_server.serving import async_connection
from basic_inference_server.serving.async_connection import AsyncConnection
from basic_inference_server.serving.cancellation import HangUps
from basic_inference_server.wire.frames import FrameError, encode_request
from tests.support.eventually import eventually

BODY = bytes(range(256)) * 8000  # 2 MB: more than a socket holds


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def frame(body: bytes) -> bytes:
    return encode_request(b"id-1", b"application/json", len(body), 5, 3) + body


def on_loop(theirs: socket.socket, use: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await use(AsyncConnection(theirs))

    return asyncio.run(run())


@pytest.mark.parametrize("first", [1, 30, 70, 100_000])
def test_request_comes_in_pieces(ends: tuple[socket.socket, socket.socket], first: int) -> None:
    """Wherever the first piece ends."""
    ours, theirs = ends
    data = frame(BODY)
    ours.sendall(data[:first])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ours.sendall, data[first:])
        received = on_loop(theirs, AsyncConnection.receive_async)
    assert ("id-1", BODY) == (received.request_id, bytes(received.body))


@pytest.mark.parametrize("sent", [0, 10, 70, 100])
def test_peer_that_leaves_early_is_nobody(
    ends: tuple[socket.socket, socket.socket], sent: int
) -> None:
    """Before the request was whole."""
    ours, theirs = ends
    ours.sendall(frame(b"x" * 1000)[:sent])
    ours.close()
    assert on_loop(theirs, AsyncConnection.receive_async) is None


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1" + b"x" * 100, frame(b"{}") * 2])
def test_what_is_no_request_is_refused(
    ends: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    """Another protocol, or two requests on one connection."""
    ours, theirs = ends
    ours.sendall(data)
    with pytest.raises(FrameError):
        on_loop(theirs, AsyncConnection.receive_async)


def test_peer_that_sends_nothing_is_given_up(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time."""
    monkeypatch.setattr(async_connection, "FRAME_TIMEOUT_S", 0.01)
    with pytest.raises(asyncio.TimeoutError):
        on_loop(ends[1], AsyncConnection.receive_async)


def test_large_reply_is_sent_while_the_loop_turns(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Nobody reads before the loop has done something else."""
    ours, theirs = ends
    turns = []

    async def send(connection: AsyncConnection) -> None:
        sending = asyncio.ensure_future(connection.send_async(b"head", BODY))
        await asyncio.sleep(0.01)
        turns.append(sending.done())
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, read_all, ours, len(BODY) + 4)
        await sending
        assert b"head" + BODY == await reading

    on_loop(theirs, send)
    assert [False] == turns


def read_all(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += sock.recv(1 << 20)
    return data


def test_peer_that_leaves_is_told_once(ends: tuple[socket.socket, socket.socket]) -> None:
    """And not when nobody wants to know any more; the same socket can be watched again."""
    ours, theirs = ends
    told = []

    async def watch(connection: AsyncConnection) -> None:
        hang_ups = HangUps(asyncio.get_running_loop())
        hang_ups.watch(connection, lambda: told.append("forgotten"))
        hang_ups.forget(connection)
        hang_ups.watch(connection, lambda: told.append("left"))
        ours.close()
        left = asyncio.get_running_loop().run_in_executor(None, eventually, lambda: told)
        await left
        await asyncio.sleep(0.01)
        hang_ups.close()

    on_loop(theirs, watch)
    assert ["left"] == told
