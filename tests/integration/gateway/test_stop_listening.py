"""Integration tests of a gateway process that opens its ports, and leaves while clients connect."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.drain import Drain
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.gateway.ports import OpenPort, close_ports, listen, serve_port
from basic_inference_server.gateway.unsent_answers import UnsentAnswers

BACKLOG = 100
REQUEST = b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
HALF_A_REQUEST = REQUEST[:-1]
PATIENCE_S = 20.0


@pytest.mark.parametrize("count", [1, 2, BACKLOG])
def test_whoever_has_connected_before_the_port_closes_is_served(count: int) -> None:
    """The kernel has taken their connections; the loop had no turn to see them."""

    async def scenario() -> int:
        unsent = UnsentAnswers(EventLog(lambda _event: None))
        limits = HttpLimits(lambda _exchange, _bound: None, 1000, "2.3.2", unsent)
        # As the supervisor does: the port outlives the process that closes its copy.
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
            opened = await serve_port(port.dup(), lambda: HttpConnection(limits))
            for _ in range(count):
                stack.enter_context(socket.create_connection(port.getsockname()))
            await close_ports([opened])
            known = len(limits.connections)
            for connection in list(limits.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
            return known

    assert count == uvloop.run(scenario())


def test_clients_that_could_not_be_accepted_in_time_are_counted() -> None:
    """The kernel resets them when the port closes, and the stop must not look like a clean one."""

    async def scenario() -> int:
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as port:
            opened = await serve_port(port.dup(), asyncio.Protocol)
            with socket.create_connection(port.getsockname()):
                return await close_ports([opened], within_s=0)

    assert 1 == uvloop.run(scenario())


def two_of_one_port() -> tuple[socket.socket, socket.socket]:
    """Return two sockets of one port: one that listens, and one that cannot any more."""
    first, second = socket.socket(), socket.socket()
    for one in (first, second):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    first.bind(("127.0.0.1", 0))
    second.bind(first.getsockname())
    first.listen(1)
    return first, second


def test_port_that_another_program_has_is_an_error() -> None:
    """The event loop closes such a socket without a word; we must not call the port open."""
    first, second = two_of_one_port()
    with first, second:
        with pytest.raises(OSError, match="Address already in use"):
            listen(second)
        with pytest.raises(OSError, match="the event loop has closed the socket"):
            uvloop.run(serve_port(second, asyncio.Protocol))


class Scene:
    """A process that serves one port, with a handler that keeps every request."""

    def __init__(self) -> None:
        self.kept: list[Exchange] = []
        self.events: list[dict[str, Any]] = []
        unsent = UnsentAnswers(EventLog(lambda _event: None))
        self.limits = HttpLimits(
            lambda exchange, _bound: self.kept.append(exchange), 1000, "2.3.2", unsent
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients: list[socket.socket] = []
        self.ports: list[OpenPort] = []

    async def open(self) -> None:
        """Open the port."""
        self.ports = [await serve_port(self.listener, lambda: HttpConnection(self.limits))]

    async def client(self, data: bytes) -> None:
        """Connect, send, and wait until all of it has been seen."""
        client = socket.create_connection(self.listener.getsockname(), PATIENCE_S)
        client.sendall(data)
        self.clients.append(client)
        whole = data.count(REQUEST)
        while not self.limits.connections or self.unanswered < max(whole, bool(data)):
            await asyncio.sleep(0)

    @property
    def unanswered(self) -> int:
        """How many requests there are, on all connections."""
        return sum(connection.unanswered for connection in self.limits.connections)

    async def drain(self, within_s: float) -> Drain:
        """Drain the process."""
        loop = asyncio.get_running_loop()
        hub = Hub(loop)
        drain = Drain(self.limits, self.ports, hub, EventLog(self.events.append))
        await drain.run(within_s)
        hub.close()
        return drain

    def answer_all(self) -> None:
        """Answer what is kept."""
        for exchange in self.kept:
            exchange.answer(200, b"{}")

    def close(self) -> None:
        """Close the clients' ends."""
        for client in self.clients:
            client.close()


def in_a_scene(act: Callable[[Scene], Coroutine[Any, Any, Drain]]) -> tuple[Drain, Scene]:
    """Run `act` in a loop; return the drain that it has done."""
    scene = Scene()

    async def run() -> Drain:
        await scene.open()
        return await act(scene)

    try:
        return uvloop.run(run()), scene
    finally:
        scene.close()


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        pytest.param(b"", 0, id="nothing sent"),
        pytest.param(REQUEST, 1, id="executed for too long"),
        pytest.param(HALF_A_REQUEST, 1, id="not whole"),
        pytest.param(REQUEST * 3, 3, id="pipelined"),
    ],
)
def test_requests_that_are_cut_are_counted(data: bytes, cut: int) -> None:
    """A stop that loses something does not say that all was drained."""

    async def act(scene: Scene) -> Drain:
        await scene.client(data)
        return await scene.drain(0.0)

    drain, scene = in_a_scene(act)
    assert (cut, False) == (drain.cut, drain.has_failed)
    assert [cut] * bool(cut) == [event["requests"] for event in scene.events]


class Faulty:
    """A connection with a fault in its code."""

    unanswered = 0

    def drain(self, _now_s: float) -> None:
        """Fail."""
        raise AttributeError("a fault of ours")


def test_fault_of_one_connection_does_not_keep_the_others_from_their_answers() -> None:
    """It is logged and counted."""

    async def act(scene: Scene) -> Drain:
        await scene.client(REQUEST)
        scene.limits.connections.add(Faulty())  # type: ignore[arg-type]
        asyncio.get_running_loop().call_later(0.1, scene.answer_all)
        drain = await scene.drain(PATIENCE_S)
        assert scene.clients[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        return drain

    drain, scene = in_a_scene(act)
    assert (1, True) == (drain.cut, drain.has_failed)
    assert ["drain_failed", "drain_cut"] == [event["event"] for event in scene.events]
    assert "AttributeError: a fault of ours" in scene.events[0]["traceback"]


def test_port_that_cannot_be_closed_does_not_keep_the_others_from_closing() -> None:
    """It is logged, and what is in flight is answered."""

    async def act(scene: Scene) -> Drain:
        await scene.client(REQUEST)
        for place in (0, 2):
            with socket.create_server(("127.0.0.1", 0)) as other:
                scene.ports.insert(place, OpenPort(other.dup(), cast("asyncio.Server", None)))
        asyncio.get_running_loop().call_later(0.1, scene.answer_all)
        drain = await scene.drain(PATIENCE_S)
        assert scene.clients[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        for port in (scene.ports[0], scene.ports[2]):
            port.listener.close()
        return drain

    drain, scene = in_a_scene(act)
    assert (0, True) == (drain.cut, drain.has_failed)
    assert ["drain_failed"] == [event["event"] for event in scene.events]
    assert -1 == scene.listener.fileno()


def test_port_that_is_none_does_not_keep_the_others_from_closing() -> None:
    """What the others have taken is served."""

    async def act(scene: Scene) -> Drain:
        await scene.client(REQUEST)
        closed = socket.socket()
        closed.close()
        scene.ports.insert(0, OpenPort(closed, scene.ports[0].server))
        asyncio.get_running_loop().call_later(0.1, scene.answer_all)
        drain = await scene.drain(PATIENCE_S)
        assert scene.clients[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        return drain

    drain, scene = in_a_scene(act)
    assert (0, False) == (drain.cut, drain.has_failed)
    assert -1 == scene.listener.fileno()
