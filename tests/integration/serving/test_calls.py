"""A call to another endpoint whose worker dies before it has the request."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.topology import Route, ServerState
from basic_inference_server.serving import async_calls
from basic_inference_server.serving.async_calls import AsyncEndpointCaller
from basic_inference_server.serving.calls import OutgoingCall
from basic_inference_server.wire.frames import decode_request, request_length
from basic_inference_server.worker.call_error import CallError
from tests.support.eventually import PATIENCE_S, eventually

MINUTE_NS = 60 * NS_PER_S


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "w.sock"))
        listener.listen()
        listener.setblocking(False)
        yield listener


class Call(OutgoingCall):
    """A call of which the first connections are accepted and closed at once."""

    def __init__(self, listener: socket.socket, deaths: int) -> None:
        super().__init__(Route("called", ServerState.READY, listener.getsockname(), 0, 30.0), 0)
        self._listener = listener
        self.left = deaths

    def _connect(self) -> None:
        super()._connect()
        if self.left:
            self.left -= 1
            self._listener.accept()[0].close()


def accepted_from(listener: socket.socket) -> list[socket.socket]:
    """Return the connection that waits, if one does."""
    try:
        return [listener.accept()[0]]
    except BlockingIOError:
        return []


def received(listener: socket.socket) -> bytes:
    """Return the body of the one request that comes."""
    (accepted,) = eventually(lambda: accepted_from(listener))
    with accepted:
        accepted.settimeout(PATIENCE_S)
        data = bytearray()
        while not data or request_length(data) != len(data):
            chunk = accepted.recv(65536)
            assert chunk, "the caller has closed the connection"
            data += chunk
    with pytest.raises(BlockingIOError):
        listener.accept()
    return bytes(decode_request(data).body)


def test_another_worker_gets_the_request(listener: socket.socket) -> None:
    """Once; what its first worker has not had whole was not executed."""
    call = Call(listener, deaths=1)
    call.send("id", {"X": 1}, monotonic_ns() + MINUTE_NS, 0)
    assert 1 == json.loads(received(listener))["X"]
    call.sock.close()


def test_second_death_is_told(listener: socket.socket) -> None:
    """It was not executed, so the caller may try again."""
    call = Call(listener, deaths=2)
    with pytest.raises(CallError) as caught:
        call.send("id", {"X": 1}, monotonic_ns() + MINUTE_NS, 0)
    assert (503, "not_ready") == (caught.value.status, caught.value.code)


@pytest.mark.parametrize("deaths", [1, 2])
def test_call_on_an_event_loop_does_the_same(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    """A coroutine's call goes on with the next worker."""
    call = Call(listener, deaths)
    monkeypatch.setattr(async_calls, "OutgoingCall", lambda route, place: call)

    class Caller(AsyncEndpointCaller):
        async def _route_async(self, signature: str) -> Any:
            return None

        def _particulars(self) -> Any:
            return monotonic_ns() + MINUTE_NS, 0, "id"

    async def scenario() -> Any:
        calls = asyncio.create_task(Caller("me", "", 30.0).call_async([("called", {"X": 1})]))
        while call.left:
            await asyncio.sleep(0.001)
        if deaths == 1:
            assert 1 == json.loads(await asyncio.to_thread(received, listener))["X"]
        return await calls

    (outcome,) = asyncio.run(scenario())
    assert ("worker_died" if deaths == 1 else "not_ready") == outcome.code
