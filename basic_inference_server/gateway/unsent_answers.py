"""Bounds the memory of answers that clients have not read yet, in one gateway process.

No worker waits for a slow client of a whole answer, so the gateway keeps the answer. Above the
limit, the connection with the least progress is cut: the one that has taken nothing for the longest
time, or among those that do read, the one that has taken the least. One answer that is larger than
the limit by itself does not count as long as its client reads.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog

if TYPE_CHECKING:
    import asyncio

    from basic_inference_server.gateway.http_connection import HttpConnection

MB = 1024 * 1024
DEFAULT_MAX_BYTES = 512 * MB
STALLED_AFTER_S = 2.0


@dataclass
class Unsent:
    """What waits on one connection.

    Attributes:
        held_bytes: memory of the answers of which some is unsent; the sent part is not free before.
        untaken_bytes: what the client's machine had not confirmed when this was last looked at.
        taken_bytes: what it has confirmed since the connection was first looked at.
        progress_s: when it last did.
    """

    held_bytes: int
    untaken_bytes: int
    taken_bytes: int
    progress_s: float

    def stalled_s(self, now_s: float) -> float:
        """Return the seconds without progress; 0 as long as the client counts as reading."""
        seconds = now_s - self.progress_s
        return seconds if seconds >= STALLED_AFTER_S else 0.0


class UnsentAnswers:
    """The connections of a gateway process that have not sent everything.

    Attributes:
        waiting: what waits on each, when it was last looked at.
        max_bytes: what they may hold together.
    """

    def __init__(self, log: EventLog, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._log = log
        self.waiting: dict[HttpConnection, Unsent] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How much memory unsent answers took when this was last looked at."""
        return self._held_bytes

    def add(self, connection: HttpConnection, length: int) -> None:
        """Count an answer of which a part could not be sent at once."""
        now_s = monotonic_s()
        # Of the answer before there is little left at most: it would have held this one up.
        self.forget(connection)
        self._begin(connection, max(length, connection.transport.get_write_buffer_size()), now_s)
        if self._held_bytes > self.max_bytes:
            self._look(now_s)
            self._bound(now_s)

    def give_time(self, seconds: float) -> None:
        """Count the time for which this process has stood still as nobody's stall."""
        for unsent in self.waiting.values():
            unsent.progress_s += seconds

    def forget(self, connection: HttpConnection) -> None:
        """Count a connection no more: it has ended."""
        unsent = self.waiting.pop(connection, None)
        if unsent is not None:
            self._held_bytes -= unsent.held_bytes

    def check(self, connections: Iterable[HttpConnection], now_s: float) -> None:
        """Look at all connections, those with small answers too; called about once a second."""
        self._look(now_s)
        for connection in connections:
            length = connection.transport.get_write_buffer_size()
            if length and connection not in self.waiting:
                self._begin(connection, length, now_s)
        if self._held_bytes > self.max_bytes:
            self._bound(now_s)

    def _begin(self, connection: HttpConnection, length: int, now_s: float) -> None:
        untaken = untaken_bytes(connection.transport)
        self.waiting[connection] = Unsent(length, untaken, 0, now_s)
        self._held_bytes += length

    def _look(self, now_s: float) -> None:
        """Note who has made progress, and forget those that have sent everything."""
        for connection, unsent in list(self.waiting.items()):
            if not connection.transport.get_write_buffer_size():
                self.forget(connection)
                continue
            untaken = untaken_bytes(connection.transport)
            if untaken < unsent.untaken_bytes:
                unsent.taken_bytes += unsent.untaken_bytes - untaken
                unsent.progress_s = now_s
            unsent.untaken_bytes = untaken

    def _bound(self, now_s: float) -> None:
        """Cut connections until what is held is within the limit."""
        while self._held_bytes > self.max_bytes:
            spared = self._spared(now_s)
            if spared and self._held_bytes - self.waiting[spared].held_bytes <= self.max_bytes:
                return
            self._cut(
                max(
                    (connection for connection in self.waiting if connection is not spared),
                    key=lambda one: (
                        self.waiting[one].stalled_s(now_s), -self.waiting[one].taken_bytes,
                    ),
                ),
                now_s,
            )  # fmt: skip

    def _spared(self, now_s: float) -> HttpConnection | None:
        """Return the connection whose answer is larger than the limit and is being read."""
        large = [
            connection
            for connection, unsent in self.waiting.items()
            if unsent.held_bytes > self.max_bytes and not unsent.stalled_s(now_s)
        ]
        return max(large, key=lambda one: self.waiting[one].taken_bytes, default=None)

    def _cut(self, connection: HttpConnection, now_s: float) -> None:
        unsent = self.waiting[connection]
        self.forget(connection)
        self._log.warning(
            "slow_client_cut", client=connection.client, bytes=unsent.untaken_bytes,
            without_progress_s=round(now_s - unsent.progress_s, 1),
        )  # fmt: skip
        connection.transport.abort()


def untaken_bytes(transport: asyncio.Transport) -> int:
    """Return how much of what was written the client's machine has not confirmed yet.

    The kernel's part counts too: it takes megabytes, and frees room in large steps only, so that a
    client which reads slowly would seem to stand still.
    """
    unsent = transport.get_write_buffer_size()
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError, AttributeError):  # it has just been closed
        return unsent
    return unsent + int(struct.unpack("i", answer)[0])
