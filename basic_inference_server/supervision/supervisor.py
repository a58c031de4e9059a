"""The supervisor: owns every socket and process of one gateway, and nothing else.

Single-threaded on an event loop; runs no endpoint code and serves no HTTP. Everything it decides
is in `lifecycle`; everything it is asked comes through the control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from typing import Any

from basic_inference_server.core.clock import Standstill, monotonic_s
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.core.settings import EndpointSettings, GatewaySettings
from basic_inference_server.core.topology import SERVING_STATES, RoutingTable, ServerState
from basic_inference_server.supervision.call_graph import CallGraph
from basic_inference_server.supervision.clean_up_crew import CleanUpCrew
from basic_inference_server.supervision.code_watch import ConfigWatch
from basic_inference_server.supervision.commands import Commands
from basic_inference_server.supervision.control_socket import ControlSocket
from basic_inference_server.supervision.endpoint_files import EndpointFiles
from basic_inference_server.supervision.event_store import EventStore
from basic_inference_server.supervision.folder_watch import FolderWatch
from basic_inference_server.supervision.lifecycle import RESTING_STATES, Lifecycle
from basic_inference_server.supervision.log_sink import ThreadedSink
from basic_inference_server.supervision.places import Places
from basic_inference_server.supervision.program import Program
from basic_inference_server.supervision.quarantine import Quarantine
from basic_inference_server.supervision.reach import open_endpoints, urls, warning
from basic_inference_server.supervision.reloading import Reloading
from basic_inference_server.supervision.server import Server
from basic_inference_server.supervision.server_parts import ServerHooks
from basic_inference_server.supervision.support_watch import SupportWatch
from basic_inference_server.supervision.workshop import Launch, Workshop

TICK_S = 0.1
TOUCH_EVERY_S = 10.0
LOOK_FOR_CODE_S = 1.0
FAST_STOP_S = 1.0
STOP_REST_S = 10.0  # what a stop takes beyond GRACEFUL_TIMEOUT at the most
EXIT_DRAINED, EXIT_FORCED, EXIT_CANNOT_START = 0, 1, 4
BROKEN_STATES = frozenset({ServerState.FAILED, ServerState.BACKOFF})


class Supervisor:
    """Runs one gateway until it is told to stop."""

    def __init__(
        self, settings: GatewaySettings, launch: Launch, places: Places, sink: ThreadedSink
    ) -> None:
        self.settings = settings
        self.servers: dict[str, Server] = {}
        self.support: dict[str, Program] = {}
        self.quarantine = Quarantine()
        self.calls = CallGraph()
        self.log = EventLog(sink, settings.LOG_LEVEL)
        self.store = EventStore(launch.app_folder / "events.sqlite", self.log)
        self._launch = launch
        self._places = places
        self._files = EndpointFiles(launch.base_folder / launch.workers_location)
        self._workshop = Workshop(launch, places, sink, self.log, self._files)
        self._clean_up_crew = CleanUpCrew(self._workshop.spawner, self.generations, self.log)
        self._out_of_memory = self._workshop.out_of_memory
        self._support_watch = SupportWatch(self.log)
        self._folder_watch = FolderWatch(places, self.log)
        self._config_watch = ConfigWatch(launch.config_file)
        self.reloading = Reloading(self, places)
        self._control = ControlSocket(Commands(self).handlers(), self._greeting, self.log)
        self.start_error: str | None = None
        self._standstill = Standstill()
        self._is_open = False
        self._stop_reason: str | None = None
        self._is_stop_fast = False
        self._stopping = asyncio.Event()
        self._push_scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_for_code_at_s = 0.0
        self._touch_at_s = monotonic_s() + TOUCH_EVERY_S
        self._server_hooks = ServerHooks(
            self._on_change,
            self.store.record_notifications,
            self._on_worker_exit,
            self._on_new_code,
            self._push_table_soon,
        )
        self.gateway = self._workshop.gateway(
            lambda: self.settings, self._on_program_change, self._cannot_start
        )
        for signature, section in settings.CONFIG_ENDPOINTS.items():
            self.add(signature, section)

    def add(self, signature: str, section: EndpointSettings) -> None:
        """Make the server or support process of an endpoint; it is not started yet."""
        if section.is_support_process:
            self.support[signature] = self._workshop.support(
                signature, section, self._on_program_change
            )
        else:
            self.servers[signature] = self._workshop.server(
                signature, section, self.settings, self._server_hooks
            )

    @property
    def app_folder(self) -> str:
        """The folder for what outlives a restart."""
        return str(self._launch.app_folder)

    @property
    def gateway_scoreboard(self) -> GatewayScoreboard:
        """The gateway's counters."""
        return self._workshop.gateway_scoreboard

    # --- running

    async def run(self) -> int:
        """Start everything, serve until a stop is asked for, stop everything.

        Returns:
            The exit code: 0 when everything was drained, 1 when something had to be killed or a
            request was lost, 4 when a port could not be opened; `start_error` has the reason then.
        """
        self._install_signal_handlers()
        self._clean_up_crew.start()
        self.store.begin_run(self._launch.app_version)
        await self._control.open(self._places.control_listener)
        for server in self.servers.values():
            if server.state is not ServerState.DISABLED:
                server.start("the gateway starts")
        self.gateway.start("the gateway starts")
        self._open_if_due()
        self._keep_ticking()
        await self._stopping.wait()
        return await self._shut_down()

    def _keep_ticking(self) -> None:
        if self._stopping.is_set():
            return
        asyncio.get_running_loop().call_later(TICK_S, self._keep_ticking)
        now_s = monotonic_s()
        try:
            self._tick(now_s)
        except Exception as error:  # noqa: BLE001 - one faulty tick must not end supervision
            self.log.critical("tick_failed", error=repr(error), traceback=traceback.format_exc())
        if now_s >= self._touch_at_s:
            self._touch_at_s = now_s + TOUCH_EVERY_S
            self.store.touch_run()

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.request_stop, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self._stop_fast, "SIGINT")
        loop.add_signal_handler(signal.SIGQUIT, self._stop_fast, "SIGQUIT")
        # A closed terminal sends it too, and then nothing has changed: `nohup ./run.sh &`
        # survives logout.
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon, "SIGHUP")
        for number in (signal.SIGUSR1, signal.SIGUSR2):  # which would end us
            loop.add_signal_handler(number, self._say_ignored, number.name)

    def _say_ignored(self, name: str) -> None:
        self.log.warning("signal_ignored", signal=name, message="SIGHUP reloads, SIGTERM stops")

    def _reload_soon(self, why: str) -> None:
        async def reload() -> None:
            with contextlib.suppress(ServiceError):  # what went wrong is in the log
                await self.reloading.reload(why)

        task = asyncio.get_running_loop().create_task(reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def read_settings(self) -> GatewaySettings:
        """Return what the configuration says now.

        Raises:
            ConfigError: it is wrong; the error lists every problem.
        """
        self._config_watch.note_reading()
        return self._launch.read_settings()[0]

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stop_reason is not None

    def request_stop(self, reason: str, delay_s: float = 0.0) -> None:
        """Begin to drain and stop; a second request changes nothing."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self.log.info("stopping", why=reason)
            self._places.folder.announce_stop(self.settings.GRACEFUL_TIMEOUT + STOP_REST_S)
            asyncio.get_running_loop().call_later(delay_s, self._stopping.set)

    def _cannot_start(self, error: str) -> None:
        """Give up: a gateway that clients cannot reach must not look like one."""
        if self.start_error is None:
            self.start_error = error
            self.log.critical("cannot_start", error=error)
            self.request_stop(error)

    def _stop_fast(self, reason: str) -> None:
        self._is_stop_fast = True
        self.request_stop(reason)

    def _give_time(self, now_s: float) -> float:
        """Give everybody as much time as we have stood still; return how much."""
        seconds = self._standstill.look(now_s)
        if seconds:
            self.log.warning("stood_still", seconds=round(seconds, 1))
            for one in (*self.servers.values(), self.gateway, *self.support.values()):
                one.give_time(seconds)
        return seconds

    def _tick(self, now_s: float) -> None:
        self._give_time(now_s)
        for server in self.servers.values():
            server.tick(now_s)
            if server.state in BROKEN_STATES and self._files.changed(server.signature):
                server.start("a file in the endpoints folder has changed")
        if self.settings.RELOAD_ON_CHANGE and now_s >= self._look_for_code_at_s:
            self._look_for_code_at_s = now_s + LOOK_FOR_CODE_S
            self._take_changed_files()
        self.gateway.tick(now_s)
        self._out_of_memory.tick(now_s)
        self._folder_watch.tick(now_s)
        self._clean_up_crew.tick(now_s)
        for program in self.support.values():
            program.tick(now_s)
            section = self.settings.CONFIG_ENDPOINTS.get(program.name)
            if section is not None:
                self._support_watch.check(program, section, now_s)

    def _take_changed_files(self) -> None:
        if self._config_watch.is_unread() and not self.reloading.is_busy:
            self._reload_soon("the configuration file has changed")
            return
        for server in self.servers.values():
            if server.state in SERVING_STATES and server.code.is_untried(server.loaded_file):
                server.replace("its file has changed")

    # --- what is told to others

    def routing_table(self) -> RoutingTable:
        """Return the routes as they are now."""
        return RoutingTable(
            routes={name: server.route() for name, server in self.servers.items()},
            disabled=tuple(
                name
                for name, server in self.servers.items()
                if server.state is ServerState.DISABLED
            ),
            quarantined=self.quarantine.by_signature(),
            is_open=self._is_open,
            is_shutting_down=self._stop_reason is not None,
        )

    def _greeting(self) -> dict[str, Any]:
        return {"push": "table", "table": self.routing_table().to_message()}

    def push_table(self) -> None:
        """Tell every gateway process the routes as they are now."""
        self._push_scheduled = False
        self._control.push(self._greeting())

    def _push_table_soon(self) -> None:
        """Push once for all that changes in this turn of the loop."""
        if not self._push_scheduled:
            self._push_scheduled = True
            asyncio.get_running_loop().call_soon(self.push_table)

    def _on_change(self, name: str, life: Lifecycle, why: str) -> None:
        self.store.record_state(name, life.state.value, why, life.last_error)
        if life.state in BROKEN_STATES:
            self._files.remember(name)
        self._open_if_due()
        self._push_table_soon()

    def _on_program_change(self, name: str, life: Lifecycle, why: str) -> None:
        self.store.record_state(name, life.state.value, why, life.last_error)
        if name == "gateway" and life.state is ServerState.READY:
            asyncio.get_running_loop().call_soon(self._places.announce_open)
            self.log.info("gateway_open", **self._where())
            for program in self.support.values():
                if program.state is not ServerState.DISABLED:
                    program.start("the gateway is open")

    def _where(self) -> dict[str, Any]:
        places, sections = self._places, self.settings.CONFIG_ENDPOINTS
        names = open_endpoints(sections, places.gateway_listener, places.direct_listeners)
        return {
            "message": warning(names),
            "host": places.host,
            "port": places.port,
            "url": places.url,
            "addresses": ", ".join(urls(places.gateway_listener)),
        }

    def _open_if_due(self) -> None:
        """Let clients in: at once, or when every enabled endpoint is ready or has failed."""
        if self._is_open:
            return
        settled = RESTING_STATES | {ServerState.READY, ServerState.DEGRADED}
        if self.settings.NO_STARTUP_WAIT or all(
            server.state in settled for server in self.servers.values()
        ):
            self._is_open = True
            asyncio.get_running_loop().call_soon(self.push_table)

    def _on_worker_exit(self, signature: str, message: dict[str, Any]) -> None:
        self._clean_up_crew.worker_died(signature, message["generation"])
        if message["was_busy"]:
            fields = {name: message[name] for name in ("calls", "cause", "blames_request")}
            self._control.push({"push": "worker_exit", "signature": signature, **fields})

    def _on_new_code(self, signature: str) -> None:
        """A replaced server may have learned to live with what used to kill it."""
        self.calls.forget(signature)
        if self.quarantine.forget(signature):
            self.log.info("quarantine_released", server=signature, why="the server was replaced")
            self.push_table()

    def generations(self) -> set[tuple[str, int]]:
        """Return name and number of every generation of which a process may be left."""
        parts: dict[str, Server | Program] = {
            **self.servers,
            **self.support,
            "gateway": self.gateway,
        }
        return {(name, one.number) for name, part in parts.items() for one in part.generations}

    def process_ids(self) -> dict[str, Any]:
        """Return the pids of all our processes by role."""
        return {
            "gateway": [os.getpid(), *self._places.group_members(self.gateway.pid)],
            "servers": {
                **{name: server.process_ids() for name, server in self.servers.items()},
                **{name: [p.pid] for name, p in self.support.items() if p.pid},
            },
        }

    # --- stopping

    async def _shut_down(self) -> int:
        """Stop in reverse order: gateway, then servers and support processes."""
        reason = self._stop_reason or "unknown"
        self.push_table()
        for server in self.servers.values():
            server.keeper.wake_waiters()  # administration calls that wait give up now
        gateways = self.gateway.generations
        waiting = 0 if self.gateway.is_serving else self._places.waiting_connections()
        self._places.close_ports()
        deadline_s = monotonic_s() + self.settings.GRACEFUL_TIMEOUT
        children: list[Server | Program] = [*self.servers.values(), *self.support.values()]
        everything: list[Server | Program] = [self.gateway, *children]
        self.gateway.stop(reason)
        drained = await self._until_gone([self.gateway], deadline_s)
        for child in reversed(children):
            child.stop(reason)
        drained &= await self._until_gone(children, max(deadline_s, monotonic_s() + FAST_STOP_S))
        if not drained:
            for child in everything:
                child.kill()
            await self._until_gone(everything, monotonic_s() + FAST_STOP_S)
        await self._clean_up_crew.close()
        self._control.close()
        self._places.clean_up()
        cut = waiting + sum(gateway.cut + gateway.waiting for gateway in gateways)
        drained &= not cut and not any(gateway.undrained for gateway in gateways)
        self.log.info("stopped", why=reason, drained=drained, cut=cut or None)
        self.store.end_run(reason)
        if self.start_error is not None:
            return EXIT_CANNOT_START
        return EXIT_DRAINED if drained or self._is_stop_fast else EXIT_FORCED

    async def _until_gone(self, children: list[Any], deadline_s: float) -> bool:
        """Wait until no process of `children` is left; a fast stop cuts the wait short."""
        fast_at_s = monotonic_s() + FAST_STOP_S / 2
        while not all(child.is_gone for child in children):
            now_s = monotonic_s()
            deadline_s += self._give_time(now_s)
            if now_s >= deadline_s or (self._is_stop_fast and now_s >= fast_at_s):
                return False
            for server in self.servers.values():
                server.tick(now_s)
            for program in (self.gateway, *self.support.values()):
                program.tick(now_s)
            self._clean_up_crew.tick(now_s)
            await asyncio.sleep(0.02)
        return True
