"""Integration tests of a gateway process that closes its ports while clients connect."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
import uvloop

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.http_worker import stop_listening
from basic_inference_server.gateway.unsent_answers import UnsentAnswers

BACKLOG = 100


@pytest.mark.parametrize("count", [1, 2, BACKLOG])
def test_whoever_has_connected_before_the_port_closes_is_served(count: int) -> None:
    """The kernel has taken their connections; the loop had no turn to see them."""

    async def scenario() -> int:
        unsent = UnsentAnswers(EventLog(lambda _event: None))
        limits = HttpLimits(lambda _exchange, _bound: None, 1000, "2.3.2", unsent)
        # As the supervisor does: the port outlives the process that closes its copy.
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
            server = await asyncio.get_running_loop().create_server(
                lambda: HttpConnection(limits), sock=port.dup(), backlog=BACKLOG
            )
            for _ in range(count):
                stack.enter_context(socket.create_connection(port.getsockname()))
            await stop_listening([server])
            known = len(limits.connections)
            for connection in list(limits.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
            return known

    assert count == uvloop.run(scenario())
