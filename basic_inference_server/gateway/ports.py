"""A process's ports: opened for certain, and closed without losing who has connected."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from basic_inference_server.core.clock import monotonic_s

BACKLOG = 2048
ACCEPT_WITHIN_S = 5.0
SETTLE_TURNS = 3

MakeProtocol = Callable[[], asyncio.BaseProtocol]


@dataclass(frozen=True)
class OpenPort:
    """A port that this process accepts on; `listener` belongs to the event loop."""

    listener: socket.socket
    server: asyncio.AbstractServer

    @property
    def is_open(self) -> bool:
        """Whether the loop accepts: it closes, without a word, a socket that cannot listen."""
        return self.listener.fileno() >= 0

    def close(self) -> None:
        """Accept nothing more."""
        self.server.close()


def listen(listener: socket.socket) -> None:
    """Let clients connect.

    Raises:
        OSError: the port is not ours after all. The event loop would not say so.
    """
    # What is accepted inherits this. Without it, a connection that lingers after a stop would keep
    # the next gateway from the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.listen(BACKLOG)


async def serve_port(listener: socket.socket, make_protocol: MakeProtocol) -> OpenPort:
    """Accept on a socket that listens.

    Raises:
        OSError: the event loop could not.
    """
    server = await asyncio.get_running_loop().create_server(
        make_protocol, sock=listener, backlog=BACKLOG
    )
    port = OpenPort(listener, server)
    if not port.is_open:
        raise OSError("the event loop has closed the socket")
    return port


async def close_ports(ports: Iterable[OpenPort], within_s: float = ACCEPT_WITHIN_S) -> int:
    """Close ports; what had connected before is among the connections then.

    Returns:
        On how many of them clients still waited when the time was up: the kernel resets those,
        unless another process has the port too.

    Raises:
        Exception: what the first one raised that could not be closed; the others are closed.
    """
    still_open = [port for port in ports if port.is_open]
    left = await _accept_what_has_connected(still_open, monotonic_s() + within_s)
    with contextlib.ExitStack() as stack:
        for port in still_open:
            stack.callback(port.close)
    # The loop tells a protocol of its connection one turn after it has accepted it.
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
    return left


async def _accept_what_has_connected(ports: list[OpenPort], deadline_s: float) -> int:
    """Let the loop accept until no connection waits: closing a port would reset those."""
    waiting = select.poll()
    for port in ports:
        waiting.register(port.listener.fileno(), select.POLLIN)
    while (left := len(waiting.poll(0))) and monotonic_s() < deadline_s:
        await asyncio.sleep(0)
    return left
