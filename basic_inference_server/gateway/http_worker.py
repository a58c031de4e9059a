"""One gateway process: gunicorn's worker around an event loop that serves HTTP."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import select
import signal
import socket
from pathlib import Path
from typing import Any

import uvloop
from gunicorn.workers.base import Worker

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.clock import Standstill, monotonic_s
from basic_inference_server.core.logs import EventLog, RecordWriter, route_library_logging
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.core.topology import RoutingTable
from basic_inference_server.gateway.casualties import Casualties
from basic_inference_server.gateway.control_plane.application import make_application_factory
from basic_inference_server.gateway.counters import Counters
from basic_inference_server.gateway.data_plane import DataPlane
from basic_inference_server.gateway.exchange import renew_id_prefix
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.gateway.supervisor_link import SupervisorLink
from basic_inference_server.gateway.token_gate import TokenGate
from basic_inference_server.gateway.turnstile import Turnstile
from basic_inference_server.gateway.wsgi_bridge import WsgiBridge
from basic_inference_server.prefork.arbiter import ignore_stray_signals, take_held_signals

BACKLOG = 2048
HEARTBEAT_S = 1.0
ACCEPT_WITHIN_S = 1.0
SETTLE_TURNS = 3
OWN_DESCRIPTORS = 64


class HttpWorker(Worker):
    """Serves the gateway's port and every server's own port."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec: GatewaySpec = self.app.spec
        self.process_index: int = self.app.next_process_index
        self.events = EventLog(RecordWriter(), self.spec.log_level)

    def load_wsgi(self) -> None:
        """Load nothing: the control plane is made on first use."""
        self.wsgi = None

    def init_signals(self) -> None:
        """Leave signals to the event loop, which the default handlers would interrupt."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        ignore_stray_signals()
        take_held_signals()

    def run(self) -> None:
        """Serve until told to stop."""
        route_library_logging(self.events)
        renew_id_prefix()
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        spec = self.spec
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, stopping.set)
        hub = Hub(loop)
        counters = Counters(GatewayScoreboard(spec.scoreboard_fd), self.process_index)
        gate = TokenGate(Path(spec.admin_token_path), self.events)
        gate.look()
        bridge = WsgiBridge(make_application_factory(spec, gate), self.events, spec.app_version)
        link = SupervisorLink(spec.control_path, self.events)
        casualties = Casualties(link.tell)
        plane = DataPlane(spec, hub, counters, bridge.handle, casualties, self.events, gate)
        limits = HttpLimits(
            Turnstile(loop, plane.handle).enter, spec.max_body_bytes, spec.app_version,
            most_connections(spec.max_connections),
        )  # fmt: skip
        opened = asyncio.Event()

        def on_table(table: RoutingTable) -> None:
            plane.take_table(table)
            if table.is_open:
                opened.set()

        following = loop.create_task(link.run(on_table, casualties.announce))
        beating = loop.create_task(self._beat(limits, stopping))
        if await _either(opened, stopping):
            servers = await self._listen(loop, limits)
            self.app.announcer.announce("worker_ready", pid=os.getpid())
            gc.collect()
            gc.freeze()
            loop.call_later(0.5, bridge.warm_up)
            await stopping.wait()
            await self._drain(limits, servers, hub)
        following.cancel()
        beating.cancel()
        bridge.close()
        hub.close()

    async def _listen(
        self, loop: asyncio.AbstractEventLoop, limits: HttpLimits
    ) -> list[asyncio.AbstractServer]:
        """Open the ports: the gateway's own, and one for each server."""
        servers: list[asyncio.AbstractServer] = []
        for listener, signature in self._listeners():
            servers.append(
                await loop.create_server(
                    lambda signature=signature: HttpConnection(limits, signature),  # type: ignore[misc]
                    sock=listener,
                    backlog=BACKLOG,
                )
            )
        return servers

    def _listeners(self) -> list[tuple[socket.socket, str | None]]:
        """Return this process's own copies of the ports; the kernel refuses when all are closed."""
        direct = self.spec.direct_fds
        return [
            (self.sockets[0], None),
            *((socket.socket(fileno=fd), signature) for signature, fd in direct.items()),
        ]

    async def _drain(
        self, limits: HttpLimits, servers: list[asyncio.AbstractServer], hub: Hub
    ) -> None:
        """Accept nothing new, let what is in flight finish, answer what does not, leave."""
        limits.is_draining = True
        await stop_listening(servers)
        # Early enough to answer before the master loses its patience.
        graceful_s = self.spec.graceful_timeout_s
        deadline_s = monotonic_s() + max(graceful_s - 1.0, graceful_s / 2)
        while limits.connections and (now_s := monotonic_s()) < deadline_s:
            for connection in list(limits.connections):
                connection.drain(now_s)
            await asyncio.sleep(0.02)
        if hub.in_flight:
            hub.end_all()
            await asyncio.sleep(0.05)  # for the answers to go out

    async def _beat(self, limits: HttpLimits, stopping: asyncio.Event) -> None:
        """Every second: tell gunicorn that the loop turns, enforce deadlines, miss the master."""
        standstill = Standstill()
        while True:
            self.notify()
            now_s = monotonic_s()
            stood_still_s = standstill.look(now_s)
            for connection in list(limits.connections):
                if stood_still_s:
                    connection.give_time(stood_still_s)
                connection.enforce_deadline(now_s)
            if os.getppid() != self.ppid:
                stopping.set()
            await asyncio.sleep(HEARTBEAT_S)


def most_connections(wanted: int) -> int:
    """Return how many connections the descriptors allow: a request takes one more to its worker."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(wanted, (descriptors - OWN_DESCRIPTORS) // 2))


async def stop_listening(servers: list[asyncio.AbstractServer]) -> None:
    """Close ports; what had connected before is among the connections then."""
    await _accept_what_has_connected(servers)
    for server in servers:
        server.close()
    # The loop tells a protocol of its connection one turn after it has accepted it.
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


async def _accept_what_has_connected(servers: list[asyncio.AbstractServer]) -> None:
    """Let the loop accept until no connection waits: closing a port would reset those."""
    waiting = select.poll()
    for server in servers:
        for listener in server.sockets:  # type: ignore[attr-defined]
            waiting.register(listener.fileno(), select.POLLIN)
    deadline_s = monotonic_s() + ACCEPT_WITHIN_S
    while waiting.poll(0) and monotonic_s() < deadline_s:
        await asyncio.sleep(0)


async def _either(wanted: asyncio.Event, instead: asyncio.Event) -> bool:
    """Wait for one of two events; say whether it was the first."""
    waits = [asyncio.ensure_future(event.wait()) for event in (wanted, instead)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return wanted.is_set()
