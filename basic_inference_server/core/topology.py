"""What runs where: server states, routes and the routing table.

Knows names and states; knows no processes and no sockets. The supervisor makes a routing
table, the gateway reads it; a table is a snapshot and never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

SIGNATURE_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,128}")
SYSTEM_STATUS_SIGNATURE = "SYSTEM_STATUS"
SHUTDOWN_SIGNATURE = "SAFE_KILL_SERVER_CMD"
NO_HOST = "NO_HOST"


class ServerState(str, Enum):
    """The nine states of a server; shown everywhere under these names."""

    DISABLED = "DISABLED"
    STARTING = "STARTING"
    LOADING = "LOADING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


SERVING_STATES = frozenset({ServerState.READY, ServerState.DEGRADED})
WAITING_STATES = frozenset({ServerState.STARTING, ServerState.LOADING})


def is_signature(text: str) -> bool:
    """Say whether `text` may name an endpoint: 1 to 128 letters, digits, `_`, `-`, `.`."""
    return SIGNATURE_PATTERN.fullmatch(text) is not None


@dataclass(frozen=True)
class Route:
    """How to reach one endpoint, as the supervisor last knew it."""

    signature: str
    state: ServerState
    socket_path: str
    cell: int
    timeout_s: float
    idempotent: bool = False
    port: int | None = None
    ready_workers: int = 0
    last_error: str | None = None
    last_error_brief: str | None = None  # what everyone may be told of it, if not all
    restart_at_s: float | None = None
    quarantine_keeps_body: bool = False
    has_processes: bool = True  # false: what still waits in its queue will not be executed
    is_public: bool = True
    socket_link: str = ""  # leads to the socket when its path was removed

    @property
    def is_ready(self) -> bool:
        """Whether at least one worker takes requests now."""
        return self.state in SERVING_STATES and self.ready_workers > 0


@dataclass(frozen=True)
class RoutingTable:
    """All routes at one moment; `is_open` is false until clients may be let in.

    `quarantined` says which bodies are refused: signature -> fingerprint -> length.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    is_open: bool = False
    is_shutting_down: bool = False
    quarantined: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_message(self) -> dict[str, Any]:
        """Return the table as plain JSON values."""
        return {
            "routes": [asdict(route) for route in self.routes.values()],
            "disabled": list(self.disabled),
            "quarantined": {name: dict(bodies) for name, bodies in self.quarantined.items()},
            "is_open": self.is_open,
            "is_shutting_down": self.is_shutting_down,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> RoutingTable:
        """Rebuild a table from `to_message`."""
        routes = {
            raw["signature"]: Route(**{**raw, "state": ServerState(raw["state"])})
            for raw in message["routes"]
        }
        return cls(
            routes=routes,
            disabled=tuple(message["disabled"]),
            quarantined=message["quarantined"],
            is_open=message["is_open"],
            is_shutting_down=message["is_shutting_down"],
        )

    def available(self) -> list[str]:
        """Return the names that take requests, in configuration order."""
        return [name for name in self.routes if name not in self.disabled]
