"""How a gateway process leaves: nothing new, what is in flight finishes, what does not is counted.

A fault in one step is logged and does not keep the others from being done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.showing import trace_of
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.gateway.ports import ACCEPT_WITHIN_S, OpenPort, close_ports

ACCEPT_AT_LEAST_S = 0.5
LOOK_EVERY_S = 0.02
FOR_THE_LAST_ANSWERS_S = 0.05


class Drain:
    """The drain of one process.

    Attributes:
        cut: how many requests did not get their own answer.
        waiting: on how many ports clients waited who could not be accepted in time.
        has_failed: whether a fault of ours kept it from being complete.
    """

    def __init__(
        self, limits: HttpLimits, ports: Iterable[OpenPort], hub: Hub, events: EventLog
    ) -> None:
        self.cut = 0
        self.waiting = 0
        self.has_failed = False
        self._limits = limits
        self._ports = ports
        self._hub = hub
        self._events = events

    async def run(self, within_s: float) -> None:
        """Close the ports, wait until every request is answered, answer the rest with 504."""
        deadline_s = monotonic_s() + within_s
        self._limits.is_draining = True
        try:
            accept_s = min(ACCEPT_WITHIN_S, max(within_s, ACCEPT_AT_LEAST_S))
            self.waiting = await close_ports(self._ports, accept_s)
        except Exception as error:  # noqa: BLE001 - the requests in flight have to finish
            self._failed(error)
        while self._limits.connections and (now_s := monotonic_s()) < deadline_s:
            for connection in list(self._limits.connections):
                self._drain_one(connection, now_s)
            await asyncio.sleep(LOOK_EVERY_S)
        self.cut += sum(connection.unanswered for connection in self._limits.connections)
        if self._hub.in_flight:
            self._hub.end_all()
            await asyncio.sleep(FOR_THE_LAST_ANSWERS_S)
        for connection in list(self._limits.connections):
            connection.transport.abort()  # a loop with open connections does not end
        await asyncio.sleep(0)
        if self.cut:
            self._events.error("drain_cut", requests=self.cut)

    def _drain_one(self, connection: HttpConnection, now_s: float) -> None:
        try:
            connection.drain(now_s)
        except Exception as error:  # noqa: BLE001 - the other connections go on
            self._limits.connections.discard(connection)
            self.cut += max(1, connection.unanswered)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.has_failed = True
        self._events.critical("drain_failed", error=repr(error), traceback=trace_of(error))
