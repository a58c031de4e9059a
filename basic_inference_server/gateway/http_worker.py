"""One gateway process: gunicorn's worker around an event loop that serves HTTP."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from pathlib import Path
from typing import Any

import uvloop
from gunicorn.workers.base import Worker

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.clock import Standstill, monotonic_s
from basic_inference_server.core.descriptors import most_connections
from basic_inference_server.core.library_logging import route_library_logging
from basic_inference_server.core.logs import EventLog, RecordWriter
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.core.topology import RoutingTable
from basic_inference_server.gateway.casualties import Casualties
from basic_inference_server.gateway.control_plane.access import AccessRules
from basic_inference_server.gateway.control_plane.application import make_application_factory
from basic_inference_server.gateway.counters import Counters
from basic_inference_server.gateway.data_plane import DataPlane
from basic_inference_server.gateway.drain import Drain
from basic_inference_server.gateway.error_teller import ErrorTeller
from basic_inference_server.gateway.exchange import renew_id_prefix
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.gateway.ports import OpenPort, listen, serve_port
from basic_inference_server.gateway.supervisor_link import SupervisorLink
from basic_inference_server.gateway.token_gate import TokenGate
from basic_inference_server.gateway.turnstile import Turnstile
from basic_inference_server.gateway.unsent_answers import UnsentAnswers
from basic_inference_server.gateway.wsgi_bridge import WsgiBridge, caller_environ
from basic_inference_server.prefork.arbiter import ignore_stray_signals, take_held_signals

HEARTBEAT_S = 1.0


class HttpWorker(Worker):
    """Serves the gateway's port and every server's own port."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec: GatewaySpec = self.app.spec
        self.process_index: int = self.app.next_process_index
        self._write_record = RecordWriter()
        self.events = EventLog(self._write_record, self.spec.log_level)
        self._ports: list[OpenPort] = []

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
        self._write_record.open()
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
        rules = AccessRules(
            gate,
            admin_open=spec.admin_open,
            trust_loopback=spec.admin_trust_loopback,
            status_open=spec.status_open,
            support_key=spec.support_key,
        )
        bridge = WsgiBridge(
            make_application_factory(spec, gate, rules), self.events, spec.app_version
        )
        teller = ErrorTeller(
            spec.error_detail, lambda exchange: rules.is_administrator(caller_environ(exchange))
        )
        link = SupervisorLink(spec.control_path, self.events)
        casualties = Casualties(link.tell)
        plane = DataPlane(spec, hub, counters, bridge.handle, casualties, self.events, gate, teller)
        limits = HttpLimits(
            Turnstile(loop, plane.handle).enter, spec.max_body_bytes, spec.app_version,
            UnsentAnswers(self.events, spec.max_buffered_bytes),
            most_connections(spec.max_connections, len(spec.direct_fds)),
        )  # fmt: skip
        limits.head_timeout_s = spec.head_timeout_s
        limits.body_timeout_s = spec.body_timeout_s
        limits.idle_timeout_s = spec.idle_timeout_s
        opened = asyncio.Event()

        def on_table(table: RoutingTable) -> None:
            plane.take_table(table)
            if table.is_open:
                opened.set()

        following = loop.create_task(link.run(on_table, casualties.announce))
        beating = loop.create_task(self._beat(limits, stopping))
        if await _either(opened, stopping):
            if await self._open_ports(limits):
                self.app.announcer.announce("worker_ready", pid=os.getpid())
                gc.collect()
                gc.freeze()
                loop.call_later(0.5, bridge.warm_up)
            await stopping.wait()
            await self._drain(limits, hub)
        following.cancel()
        beating.cancel()
        bridge.close()
        hub.close()

    async def _open_ports(self, limits: HttpLimits) -> bool:
        """Open the gateway's own port and one for each server: all of them, or none.

        Returns:
            Whether they are open; if not, the supervisor has been told why.
        """
        listeners = self._listeners()
        if not all(self._listens(listener) for listener, _ in listeners):
            return False
        for listener, signature in listeners:
            self._ports.append(
                await serve_port(
                    listener,
                    lambda signature=signature: HttpConnection(limits, signature),  # type: ignore[misc]
                )
            )
        return True

    def _listens(self, listener: socket.socket) -> bool:
        host, port = listener.getsockname()[:2]
        try:
            listen(listener)
        except OSError as error:
            number = error.errno
            self.app.announcer.announce("cannot_listen", host=host, port=port, errno=number)
            return False
        return True

    def _listeners(self) -> list[tuple[socket.socket, str | None]]:
        """Return this process's own copies of the ports; the kernel refuses when all are closed."""
        direct = self.spec.direct_fds
        return [
            (self.sockets[0], None),
            *((socket.socket(fileno=fd), signature) for signature, fd in direct.items()),
        ]

    async def _drain(self, limits: HttpLimits, hub: Hub) -> None:
        """Let what is in flight finish, and tell the supervisor whether all of it did."""
        # Early enough to answer before the master loses its patience.
        graceful_s = self.spec.graceful_timeout_s
        drain = Drain(limits, self._ports, hub, self.events)
        await drain.run(max(graceful_s - 1.0, graceful_s / 2))
        self.app.announcer.announce(
            "drained",
            pid=os.getpid(),
            cut=drain.cut,
            waiting=drain.waiting,
            has_failed=drain.has_failed,
        )

    async def _beat(self, limits: HttpLimits, stopping: asyncio.Event) -> None:
        """Every second: tell gunicorn that the loop turns, enforce deadlines, miss the master."""
        standstill = Standstill()
        while True:
            self.notify()
            now_s = monotonic_s()
            limits.give_time(standstill.look(now_s))
            limits.enforce(now_s)
            if os.getppid() != self.ppid:
                stopping.set()
            await asyncio.sleep(HEARTBEAT_S)


async def _either(wanted: asyncio.Event, instead: asyncio.Event) -> bool:
    """Wait for one of two events; say whether it was the first."""
    waits = [asyncio.ensure_future(event.wait()) for event in (wanted, instead)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return wanted.is_set()
