"""What the supervisor tells a child at its start, handed over in an anonymous file.

Neither the command line nor the environment carries it, so `ps` shows no configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

SPEC_VARIABLE: Final = "BIS_CHILD_SPEC"
OPERATORS_VARIABLE: Final = "BIS_OPERATORS_ENVIRONMENT"


@dataclass(frozen=True)
class ServerSpec:
    """One generation of one endpoint's server. Descriptors are inherited."""

    signature: str
    server_class: str
    generation: int
    nr_workers: int
    base_folder: str
    workers_location: str
    workers_suffix: str
    section: dict[str, Any]
    timeout_s: float
    graceful_timeout_s: float
    max_requests: int | None
    max_memory_mb: int | None
    log_level: str
    app_version: str
    listen_fd: int
    announce_fd: int
    scoreboard_fd: int
    warmup: list[dict[str, Any]] = field(default_factory=list)
    batch_size: int = 1
    batch_wait_ms: float = 0
    threads: int = 1
    control_path: str = ""
    load_timeout_s: float = 120


@dataclass(frozen=True)
class GatewaySpec:
    """One generation of the gateway. `direct_fds` maps a signature to its own HTTP port's fd."""

    generation: int
    workers: int
    listen_fd: int
    announce_fd: int
    scoreboard_fd: int
    control_path: str
    log_level: str
    app_version: str
    server_name: str
    default_server: str | None
    max_body_bytes: int
    graceful_timeout_s: float
    cors_origins: list[str]
    admin_open: bool
    admin_trust_loopback: bool
    status_open: bool
    admin_token_path: str
    max_connections: int = 8192
    max_buffered_bytes: int = 512 * 1024 * 1024
    head_timeout_s: float = 10
    body_timeout_s: float = 30
    idle_timeout_s: float = 75
    support_key: str = ""
    error_detail: str = "class"
    direct_fds: dict[str, int] = field(default_factory=dict)


def write_spec(spec: ServerSpec | GatewaySpec) -> int:
    """Return the descriptor of an anonymous file that holds `spec`; the caller closes it."""
    fd = os.memfd_create("spec", os.MFD_CLOEXEC)
    os.write(fd, json.dumps(asdict(spec)).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def for_our_start(ours: Mapping[str, str], operators: Mapping[str, str]) -> dict[str, str]:
    """Return variables that only our own start needs, and how to take them back after it."""
    before = {name: operators.get(name) for name in ours}
    return {**ours, OPERATORS_VARIABLE: json.dumps(before)}


def _take_back() -> None:
    """Give our own children the environment that the operator has set."""
    for name, value in json.loads(os.environ.pop(OPERATORS_VARIABLE, "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def read_spec() -> dict[str, Any]:
    """Return this process's specification as plain values and close its descriptor.

    What was in the environment for our start only goes.
    """
    _take_back()
    with os.fdopen(int(os.environ.pop(SPEC_VARIABLE)), "rb") as file:
        spec: dict[str, Any] = json.load(file)
    return spec
