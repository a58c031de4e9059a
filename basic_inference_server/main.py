"""The composition root: the only module that knows all roles.

`FlaskGateway(...)` is the seeds' entry point: constructing it runs the gateway until it stops.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from basic_inference_server.core.config_file import EXIT_CONFIG, ConfigError
from basic_inference_server.core.descriptors import (
    descriptor_limit,
    descriptors_to_replace_all,
    most_connections,
    raise_descriptor_limit,
)
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.settings import (
    DEFAULT_HOST,
    GatewaySettings,
    application_version,
    masked,
    resolve,
    unused_settings,
)
from basic_inference_server.startup import prepare_process
from basic_inference_server.supervision.log_sink import ThreadedSink
from basic_inference_server.supervision.places import make_places
from basic_inference_server.supervision.prerequisites import (
    require_descriptors,
    require_folders,
    require_system,
)
from basic_inference_server.supervision.sockets import StartError
from basic_inference_server.supervision.supervisor import EXIT_CANNOT_START, Supervisor
from basic_inference_server.supervision.workshop import Launch

FIRST_SERVER_PORT = 5003


def report_config_error(error: ConfigError) -> NoReturn:
    """Print every problem and leave with the code for a wrong configuration."""
    print("The configuration is wrong:", file=sys.stderr)  # noqa: T201 - before any log exists
    for problem in error.problems:
        print(f"  {problem}", file=sys.stderr)  # noqa: T201
    raise SystemExit(EXIT_CONFIG) from None


class FlaskGateway:
    """Runs a gateway; the constructor returns when it has stopped.

    Args:
        log: the seeds' logger; its `config_data` is the configuration.
        workers_location: endpoints folder, relative to the base folder.
        workers_suffix: what the endpoint classes' names end in.
        host: address of the gateway's port; `None` leaves it to the configuration.
        port: the gateway's port; 0 takes a free one, `None` leaves it to the configuration.
        server_execution_path: accepted for compatibility; endpoints answer on `/run`.
        server_names: run only these endpoints of the configuration.
        first_server_port: where the servers' own ports begin; 0 takes free ones.
        settings: top-level settings laid over file and environment.
        default_host: where to listen when nothing says so.

    Raises:
        SystemExit: when the gateway has stopped: 0 drained, 1 forced; 4 cannot start, 78 wrong
            configuration.
    """

    def __init__(
        self,
        log: Logger,
        workers_location: str = "endpoints",
        workers_suffix: str = "Worker",
        host: str | None = None,
        port: int | None = None,
        server_execution_path: str = "/run",
        server_names: Sequence[str] | None = None,
        first_server_port: int | None = None,
        settings: Mapping[str, Any] | None = None,
        default_host: str = DEFAULT_HOST,
    ) -> None:
        prepare_process()
        # Not resolved: configuration and code go through the same link, whatever it leads to later.
        base_folder = Path(log.base_folder).absolute()
        given = with_address(settings, host, port)

        def read_settings(config: Mapping[str, Any]) -> tuple[GatewaySettings, dict[str, str]]:
            return settings_for(select_servers(config, server_names), given, default_host)

        try:
            checked, sources = read_settings(log.config_data)
        except ConfigError as error:
            report_config_error(error)
        launch = Launch(
            base_folder=base_folder,
            app_folder=(base_folder / log.app_folder).resolve(),
            workers_location=workers_location,
            workers_suffix=workers_suffix,
            server_execution_path=server_execution_path,
            app_version=application_version(base_folder),
            read_settings=lambda: read_settings(log.read_again()),
            config_file=log.config_path(log.config_file) if log.config_file else None,
        )
        first_port = first_server_port
        if first_port is None:  # who does not care about the one port does not about the others
            first_port = FIRST_SERVER_PORT if checked.PORT else 0
        raise SystemExit(run_gateway(checked, sources, launch, first_port))


class FlaskModelServer:
    """Runs one endpoint of the configuration as a service of its own on `port`.

    The same engine with a single route table entry: `POST /run` needs `SIGNATURE` all the same.
    Arguments as for `FlaskGateway`; `server_name` is the endpoint.
    """

    def __init__(self, log: Logger, server_name: str, **options: Any) -> None:
        FlaskGateway(log, server_names=[server_name], **options)


def settings_for(
    config: Mapping[str, Any],
    overrides: Mapping[str, Any] | None,
    default_host: str = DEFAULT_HOST,
) -> tuple[GatewaySettings, dict[str, str]]:
    """Return the checked settings of a gateway, and where each key came from.

    Raises:
        ConfigError: the configuration is wrong.
    """
    settings, sources = resolve(config, overrides, {"HOST": default_host})
    settings.check_port(settings.PORT)
    return settings, sources


def with_address(
    settings: Mapping[str, Any] | None, host: str | None, port: int | None
) -> dict[str, Any]:
    """Return what is laid over file and environment, the address that was given included."""
    given = {"HOST": host, "PORT": port}
    address = {key: value for key, value in given.items() if value is not None}
    return {**(settings or {}), **address}


def select_servers(config: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """Return the configuration with only the named endpoints; `None` keeps all.

    Raises:
        ConfigError: one of them is not in it.
    """
    if names is None:
        return dict(config)
    endpoints = config.get("CONFIG_ENDPOINTS", {})
    missing = [name for name in names if name not in endpoints]
    if missing:
        raise ConfigError(
            [f"server_names: {name!r} is not in CONFIG_ENDPOINTS" for name in missing]
        )
    chosen = {**config, "CONFIG_ENDPOINTS": {name: endpoints[name] for name in names}}
    if chosen.get("DEFAULT_SERVER") not in names:
        chosen.pop("DEFAULT_SERVER", None)
    return chosen


def run_gateway(
    settings: GatewaySettings,
    sources: Mapping[str, str],
    launch: Launch,
    first_server_port: int,
) -> int:
    """Run a gateway with checked settings until it stops; return the exit code."""
    raise_descriptor_limit()
    try:
        require_system()
        require_folders(launch.base_folder, launch.app_folder)
        require_descriptors(settings)
        places = make_places(
            settings, settings.HOST, settings.PORT, first_server_port, launch.app_folder
        )
    except (StartError, OSError) as error:  # nothing but the surroundings was tried so far
        print(f"Cannot start: {error}", file=sys.stderr)  # noqa: T201 - the operator's one line
        return EXIT_CANNOT_START
    sink = ThreadedSink(settings.LOG_FORMAT)
    log = EventLog(sink, settings.LOG_LEVEL)
    say_settings(log, settings, sources)
    if places.notice_of_secrets:
        log.warning("secrets_elsewhere", message=places.notice_of_secrets)
    try:
        return asyncio.run(_supervise(settings, launch, places, sink))
    finally:
        sink.close()


async def _supervise(
    settings: GatewaySettings, launch: Launch, places: Any, sink: ThreadedSink
) -> int:
    supervisor = Supervisor(settings, launch, places, sink)
    code = await supervisor.run()
    if supervisor.start_error is not None:
        print(f"Cannot start: {supervisor.start_error}", file=sys.stderr)  # noqa: T201
    return code


def longest_accept_queue() -> int:
    """Return how long the kernel lets an accept queue be."""
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return 4096


def say_settings(log: EventLog, settings: GatewaySettings, sources: Mapping[str, str]) -> None:
    """Log the effective settings once, each with its source, secrets masked."""
    values = settings.model_dump(exclude={"CONFIG_ENDPOINTS"})
    log.info(
        "settings",
        **{key: f"{masked(key, value)} ({sources[key]})" for key, value in values.items()},
    )
    longest = max((s.QUEUE_SIZE for s in settings.CONFIG_ENDPOINTS.values()), default=0)
    limit = longest_accept_queue()
    if longest > limit:
        log.warning(
            "queue_size_capped",
            message=f"QUEUE_SIZE {longest} is above this machine's net.core.somaxconn {limit}",
        )
    _say_scarce_descriptors(log, settings)
    for sentence in unused_settings(settings, sources):
        log.warning("setting_ignored", message=sentence)
    if settings.ERROR_DETAIL == "full":
        log.warning("errors_are_open", message="ERROR_DETAIL: everybody reads what exceptions say")
    if settings.ADMIN_OPEN:
        log.warning("administration_is_open", message="ADMIN_OPEN: anybody may stop this gateway")


def _say_scarce_descriptors(log: EventLog, settings: GatewaySettings) -> None:
    """Log what the limit of descriptors, though it is enough to start, does not allow."""
    allowed = descriptor_limit()
    sections = settings.CONFIG_ENDPOINTS.values()
    programs = sum(section.is_support_process for section in sections)
    servers = len(sections) - programs
    connections = most_connections(settings.MAX_CONNECTIONS, servers)
    if connections < settings.MAX_CONNECTIONS:
        log.warning(
            "connections_capped",
            message=f"MAX_CONNECTIONS {settings.MAX_CONNECTIONS} is above the {connections} that "
            f"the limit of {allowed} file descriptors allows; raise that limit",
        )
    wanted = descriptors_to_replace_all(servers, programs)
    if wanted > allowed:
        log.warning(
            "descriptors_scarce",
            message=f"replacing all endpoints at a time takes {wanted} file descriptors, and "
            f"{allowed} are allowed; replace them one by one, or raise that limit",
        )
