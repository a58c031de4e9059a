"""Makes the supervisor's parts: servers, the gateway, support processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.core.settings import EndpointSettings, GatewaySettings
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.child_process import (
    ChildEvents,
    ChildProcess,
    announcement_sockets,
)
from basic_inference_server.supervision.endpoint_files import EndpointFiles
from basic_inference_server.supervision.lifecycle import Lifecycle
from basic_inference_server.supervision.log_sink import ThreadedSink
from basic_inference_server.supervision.memory_watch import OutOfMemoryWatch
from basic_inference_server.supervision.output_relay import OutputRelay
from basic_inference_server.supervision.places import Places
from basic_inference_server.supervision.program import Program
from basic_inference_server.supervision.server import Server
from basic_inference_server.supervision.server_parts import ServerHooks, ServerOptions
from basic_inference_server.supervision.spawning import GATEWAY, Spawner
from basic_inference_server.supervision.support_watch import support_configuration

OnChange = Callable[[str, Lifecycle, str], None]


@dataclass(frozen=True)
class Launch:
    """How a gateway was started; `read_settings` reads its configuration again.

    `config_file` is where from; `None` when it does not come from a file.
    """

    base_folder: Path
    app_folder: Path
    workers_location: str
    workers_suffix: str
    server_execution_path: str
    app_version: str
    read_settings: Callable[[], tuple[GatewaySettings, Mapping[str, str]]]
    config_file: Path | None = None


class Workshop:
    """Knows what every part needs of the gateway's folders, ports and settings."""

    def __init__(
        self,
        launch: Launch,
        places: Places,
        sink: ThreadedSink,
        log: EventLog,
        files: EndpointFiles,
    ) -> None:
        self.gateway_scoreboard = GatewayScoreboard.create()
        self.out_of_memory = OutOfMemoryWatch()
        self._launch = launch
        self._places = places
        self._sink = sink
        self._log = log
        self._files = files
        self.spawner = Spawner(str(launch.base_folder))

    def _relay(self, name: str) -> OutputRelay:
        return OutputRelay(name, self._log.bind(server=name), self._sink, self.spawner.record_mark)

    def server(
        self, signature: str, section: EndpointSettings, settings: GatewaySettings,
        hooks: ServerHooks,
    ) -> Server:  # fmt: skip
        """Make an endpoint's server, on the place that is ready for it."""
        launch = self._launch
        options = ServerOptions(
            base_folder=str(launch.base_folder),
            workers_location=launch.workers_location,
            workers_suffix=launch.workers_suffix,
            graceful_timeout_s=settings.GRACEFUL_TIMEOUT,
            log_level=settings.LOG_LEVEL,
            app_version=launch.app_version,
            out_of_memory=self.out_of_memory,
            stamp_of=self._files.stamp_of,
            control_path=self._places.control_path,
        )
        place = self._places.servers[signature]
        relay = self._relay(signature)
        return Server(signature, section, place, options, self.spawner, self._log, relay, hooks)

    def gateway(
        self,
        current_settings: Callable[[], GatewaySettings],
        on_change: OnChange,
        on_refused: Callable[[str], None],
    ) -> Program:
        """Make the gateway; each generation of it gets the settings of its time."""
        settings = current_settings()

        def spawn(number: int, events: ChildEvents) -> ChildProcess:
            return self._spawn_gateway(number, events, current_settings())

        return Program(
            GATEWAY, spawn, self._log, self._relay(GATEWAY), on_change,
            ready_when=lambda: current_settings().GATEWAY_WORKERS,
            on_refused=on_refused,
            graceful_timeout_s=settings.GRACEFUL_TIMEOUT,
        )  # fmt: skip

    def _spawn_gateway(
        self, number: int, events: ChildEvents, settings: GatewaySettings
    ) -> ChildProcess:
        places = self._places
        ours, theirs = announcement_sockets()
        direct_fds = {name: s.fileno() for name, s in places.direct_listeners.items()}
        spec = GatewaySpec(
            generation=number,
            workers=settings.GATEWAY_WORKERS,
            listen_fd=places.gateway_listener.fileno(),
            announce_fd=theirs.fileno(),
            scoreboard_fd=self.gateway_scoreboard.fd,
            control_path=places.control_path,
            log_level=settings.LOG_LEVEL,
            app_version=self._launch.app_version,
            server_name=settings.SERVER_NAME,
            default_server=settings.DEFAULT_SERVER,
            max_body_bytes=settings.MAX_BODY_BYTES,
            graceful_timeout_s=settings.GRACEFUL_TIMEOUT,
            cors_origins=settings.CORS_ORIGINS,
            admin_open=settings.ADMIN_OPEN,
            admin_trust_loopback=settings.ADMIN_TRUST_LOOPBACK,
            status_open=settings.STATUS_OPEN,
            admin_token_path=str(places.admin_token_path),
            max_connections=settings.MAX_CONNECTIONS,
            head_timeout_s=settings.HEAD_TIMEOUT,
            body_timeout_s=settings.BODY_TIMEOUT,
            idle_timeout_s=settings.IDLE_TIMEOUT,
            max_buffered_bytes=settings.MAX_BUFFERED_MB * 1024 * 1024,
            support_key=self.spawner.support_key,
            error_detail=settings.ERROR_DETAIL,
            direct_fds=direct_fds,
        )
        fds = [spec.listen_fd, spec.scoreboard_fd, *direct_fds.values()]
        module = "basic_inference_server.gateway"
        name = settings.SERVER_NAME
        return self.spawner.role(module, name, spec, fds, (ours, theirs), {}, events)

    def support(self, signature: str, section: EndpointSettings, on_change: OnChange) -> Program:
        """Make a support process."""
        configuration: dict[str, Any] = support_configuration(
            signature, section, self._places, self._launch.server_execution_path
        )
        environment = {**section.ENV, "BIS_ADMIN_TOKEN_FILE": str(self._places.admin_token_path)}

        def spawn(number: int, events: ChildEvents) -> ChildProcess:
            path = self._files.path_of(section.SERVER_CLASS or signature)
            return self.spawner.program(path, signature, number, configuration, environment, events)

        initial = ServerState.DISABLED if section.DISABLED else ServerState.STOPPED
        return Program(
            signature, spawn, self._log, self._relay(signature), on_change, initial=initial
        )
