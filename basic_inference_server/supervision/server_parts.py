"""What a server is made of and with: its place, its hooks, what all servers share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.error_detail import Reason
from basic_inference_server.core.settings import EndpointSettings
from basic_inference_server.core.topology import Route
from basic_inference_server.supervision.endpoint_files import FileStamp
from basic_inference_server.supervision.lifecycle import Lifecycle
from basic_inference_server.supervision.memory_watch import OutOfMemoryWatch


@dataclass(frozen=True)
class ServerPlace:
    """Where a server listens: its Unix socket, its own HTTP port, its cell on the scoreboard.

    `socket_link` leads to the socket when its path is gone.
    """

    listener: socket.socket
    socket_path: str
    host: str
    port: int
    cell: int
    socket_link: str = ""


@dataclass(frozen=True)
class ServerHooks:
    """What a server tells its owner."""

    on_change: Callable[[str, Lifecycle, str], None]
    on_notifications: Callable[[str, list[dict[str, Any]]], None]
    on_worker_exit: Callable[[str, dict[str, Any]], None]
    on_new_code: Callable[[str], None]
    on_gone: Callable[[], None]


@dataclass(frozen=True)
class ServerOptions:
    """What all servers of one gateway share."""

    base_folder: str
    workers_location: str
    workers_suffix: str
    graceful_timeout_s: float
    log_level: str
    app_version: str
    out_of_memory: OutOfMemoryWatch
    stamp_of: Callable[[str], FileStamp]
    control_path: str = ""


def make_route(
    signature: str,
    section: EndpointSettings,
    place: ServerPlace,
    life: Lifecycle,
    ready_workers: int,
    *,
    idempotent: bool,
    has_processes: bool,
) -> Route:
    """Return how the gateway reaches a server; `idempotent` is what the endpoint itself says."""
    return Route(
        signature=signature,
        state=life.state,
        socket_path=place.socket_path,
        socket_link=place.socket_link,
        cell=place.cell,
        timeout_s=section.TIMEOUT,
        idempotent=idempotent if section.IDEMPOTENT is None else section.IDEMPOTENT,
        port=place.port,
        ready_workers=ready_workers,
        last_error=None if life.last_error is None else str(life.last_error),
        last_error_brief=life.last_error.brief if isinstance(life.last_error, Reason) else None,
        restart_at_s=life.restart_at_s,
        quarantine_keeps_body=section.QUARANTINE_KEEP_BODY,
        has_processes=has_processes,
        is_public=section.OPEN_TO_PUBLIC,
    )


def server_spec(
    signature: str,
    section: EndpointSettings,
    options: ServerOptions,
    *,
    generation: int,
    workers: int,
    listen_fd: int,
    announce_fd: int,
    scoreboard_fd: int,
) -> ServerSpec:
    """Return what a generation of that endpoint's server is told at its start."""
    return ServerSpec(
        signature=signature,
        server_class=section.SERVER_CLASS or signature,
        generation=generation,
        nr_workers=workers,
        base_folder=options.base_folder,
        workers_location=options.workers_location,
        workers_suffix=options.workers_suffix,
        section=section.own_config(),
        timeout_s=section.TIMEOUT,
        graceful_timeout_s=options.graceful_timeout_s,
        max_requests=section.MAX_REQUESTS,
        max_memory_mb=section.MAX_MEMORY_MB,
        warmup=section.WARMUP,
        batch_size=section.BATCH_SIZE,
        batch_wait_ms=section.BATCH_WAIT_MS,
        threads=section.THREADS,
        control_path=options.control_path,
        load_timeout_s=section.LOAD_TIMEOUT,
        log_level=options.log_level,
        app_version=options.app_version,
        listen_fd=listen_fd,
        announce_fd=announce_fd,
        scoreboard_fd=scoreboard_fd,
    )
