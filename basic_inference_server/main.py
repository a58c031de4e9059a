"""The composition root: the only module that knows all roles.

`FlaskGateway(...)` is the seeds' entry point: constructing it runs the gateway until it stops.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from basic_inference_server.core.config_file import EXIT_CONFIG, ConfigError
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.settings import (
    GatewaySettings,
    application_version,
    masked,
    resolve,
)
from basic_inference_server.supervision.log_sink import ThreadedSink
from basic_inference_server.supervision.places import make_places
from basic_inference_server.supervision.sockets import StartError
from basic_inference_server.supervision.supervisor import Supervisor
from basic_inference_server.supervision.workshop import Launch

DEFAULT_PORT = 5002
FIRST_SERVER_PORT = 5003
EXIT_CANNOT_START = 4
MAX_DESCRIPTORS = 65536


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
        host: address of the gateway's port.
        port: the gateway's port; 0 takes a free one.
        server_execution_path: accepted for compatibility; endpoints answer on `/run`.
        server_names: run only these endpoints of the configuration.
        first_server_port: where the servers' own ports begin; 0 takes free ones.
        settings: top-level settings laid over file and environment.

    Raises:
        SystemExit: when the gateway has stopped: 0 drained, 1 forced; 4 cannot start, 78 wrong
            configuration.
    """

    def __init__(
        self,
        log: Logger,
        workers_location: str = "endpoints",
        workers_suffix: str = "Worker",
        host: str = "0.0.0.0",  # noqa: S104 - the seeds' default
        port: int = DEFAULT_PORT,
        server_execution_path: str = "/run",
        server_names: Sequence[str] | None = None,
        first_server_port: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        base_folder = Path(log.base_folder).resolve()
        try:
            checked, sources = resolve(select_servers(log.config_data, server_names), settings)
        except ConfigError as error:
            report_config_error(error)
        launch = Launch(
            base_folder=base_folder,
            app_folder=(base_folder / log.app_folder).resolve(),
            workers_location=workers_location,
            workers_suffix=workers_suffix,
            server_execution_path=server_execution_path,
            app_version=application_version(base_folder),
            read_settings=lambda: resolve(select_servers(log.read_again(), server_names), settings),
        )
        first_port = first_server_port
        if first_port is None:  # who does not care about the one port does not about the others
            first_port = FIRST_SERVER_PORT if port else 0
        raise SystemExit(run_gateway(checked, sources, launch, host, port, first_port))


class FlaskModelServer:
    """Runs one endpoint of the configuration as a service of its own on `port`.

    The same engine with a single route table entry: `POST /run` needs `SIGNATURE` all the same.
    Arguments as for `FlaskGateway`; `server_name` is the endpoint.
    """

    def __init__(self, log: Logger, server_name: str, **options: Any) -> None:
        FlaskGateway(log, server_names=[server_name], **options)


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
    host: str,
    port: int,
    first_server_port: int,
) -> int:
    """Run a gateway with checked settings until it stops; return the exit code."""
    try:
        places = make_places(settings, host, port, first_server_port, launch.app_folder)
    except StartError as error:
        print(f"Cannot start: {error}", file=sys.stderr)  # noqa: T201 - the operator's one line
        return EXIT_CANNOT_START
    raise_descriptor_limit()
    sink = ThreadedSink(settings.LOG_FORMAT)
    log = EventLog(sink, settings.LOG_LEVEL)
    say_settings(log, settings, sources)
    if places.notice_of_secrets:
        log.warning("secrets_elsewhere", message=places.notice_of_secrets)
    try:
        return asyncio.run(_supervise(settings, launch, places, sink))
    finally:
        sink.close()


def raise_descriptor_limit() -> None:
    """Take as many descriptors as we may; our children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _supervise(
    settings: GatewaySettings, launch: Launch, places: Any, sink: ThreadedSink
) -> int:
    return await Supervisor(settings, launch, places, sink).run()


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
    if settings.ERROR_DETAIL == "full":
        log.warning("errors_are_open", message="ERROR_DETAIL: everybody reads what exceptions say")
    if settings.ADMIN_OPEN:
        log.warning("administration_is_open", message="ADMIN_OPEN: anybody may stop this gateway")
