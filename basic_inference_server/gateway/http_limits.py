"""The limits of all connections of a gateway process, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basic_inference_server.core.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from basic_inference_server.gateway.exchange import Exchange
    from basic_inference_server.gateway.http_connection import HttpConnection
    from basic_inference_server.gateway.unsent_answers import UnsentAnswers

MAX_REFUSED_AT_ONCE = 256
MAX_HEAD_BYTES = 65536
MAX_TARGET_BYTES = 8190
MAX_CHUNK_OVERHEAD = 16
MIN_BODY_BYTES_PER_S = 64 * 1024
WRITE_TIMEOUT_S = 30.0
LINGER_S = 2.0
DRAIN_IDLE_S = 0.5


class HttpLimits:
    """The handler of requests, the limits, the open connections, and what they have not sent.

    Attributes:
        head_timeout_s: how long a request's head may take, and a connection's first byte.
        body_timeout_s: how long a body may take beside the time that its length gives it.
        idle_timeout_s: how long a connection is kept for its next request.
    """

    def __init__(
        self,
        handle: Callable[[Exchange, str | None], None],
        max_body_bytes: int,
        version: str,
        unsent: UnsentAnswers,
        max_connections: int = 8192,
    ) -> None:
        self.handle = handle
        self.unsent = unsent
        self.max_body_bytes = max_body_bytes
        self.max_connections = max_connections
        self.version = version
        self.head_timeout_s = 10.0
        self.body_timeout_s = 30.0
        self.idle_timeout_s = 75.0
        self.connections: set[HttpConnection] = set()
        self.is_draining = False

    def admit(self, connection: HttpConnection) -> int:
        """Count a connection; return how many there are above the limit.

        One above it is told so. Beyond `MAX_REFUSED_AT_ONCE` even that would cost too much.
        """
        self.connections.add(connection)
        return len(self.connections) - self.max_connections

    def forget(self, connection: HttpConnection) -> None:
        """Count a connection no more: it has ended."""
        self.connections.discard(connection)
        self.unsent.forget(connection)

    def give_time(self, seconds: float) -> None:
        """Count against nobody the time for which this process has stood still."""
        if seconds:
            for connection in self.connections:
                connection.give_time(seconds)
            self.unsent.give_time(seconds)

    def enforce(self, now_s: float) -> None:
        """End the connections that are too slow; called about once a second."""
        for connection in list(self.connections):
            connection.enforce_deadline(now_s)
        self.unsent.check(self.connections, now_s)


def too_many_connections() -> Overloaded:
    """Return the error for a connection above the limit."""
    return Overloaded(
        "The gateway has as many connections as it takes; try again later.", retry_after_s=1
    )
