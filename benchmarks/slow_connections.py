#!/usr/bin/env python3
"""Holds many slow or idle connections to a server; a process of its own, so that it delays nobody.

python benchmarks/slow_connections.py HOST PORT COUNT

A quarter each: silent, a head of one byte a second, a body of one byte a second, a client that
reads its large answer a few bytes a second. One that the server closes is opened again. Prints one
JSON line a second until its standard input ends.
"""

from __future__ import annotations

import enum
import errno
import json
import resource
import selectors
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

TICK_S = 1.0
SPARE_DESCRIPTORS = 64
OPENED_PER_STEP = 50
READ_BYTES = 64
RECEIVE_BUFFER_BYTES = 2048
ANSWER_BYTES = 300_000

HEAD = b"POST /run HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
LARGE = json.dumps({"SIGNATURE": "large", "SIZE": ANSWER_BYTES}).encode()


class Kind(enum.Enum):
    """In which way a client is slow."""

    SILENT = "silent"
    SLOW_HEAD = "slow head"
    SLOW_BODY = "slow body"
    SLOW_READER = "slow reader"


_BEGINNINGS = {
    Kind.SILENT: b"",
    Kind.SLOW_HEAD: b"GET /v1/live HTTP/1.1\r\nHost: slow\r\nX-Slow: ",
    Kind.SLOW_BODY: HEAD + b"Content-Length: 4096\r\n\r\n{",
    Kind.SLOW_READER: HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(LARGE), LARGE),
}


@dataclass
class Slow:
    """One connection, and how many of its kind the server has ended."""

    kind: Kind
    connection: socket.socket | None = None


@dataclass
class Crowd:
    """All of them; `step` is called again and again."""

    address: tuple[str, int]
    count: int
    closed_by_server: int = 0
    _members: list[Slow] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __post_init__(self) -> None:
        kinds = list(Kind)
        self._members = [Slow(kinds[place % len(kinds)]) for place in range(self.count)]

    @property
    def open_count(self) -> int:
        """How many are connected now."""
        return sum(member.connection is not None for member in self._members)

    def open_missing(self) -> None:
        """Connect some of those that are not, a few at a time so that no accept queue overflows."""
        missing = (member for member in self._members if member.connection is None)
        for _, member in zip(range(OPENED_PER_STEP), missing, strict=False):
            self._open(member)

    def _open(self, member: Slow) -> None:
        connection = socket.socket()
        connection.settimeout(5)
        if member.kind is Kind.SLOW_READER:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        connection.connect(self.address)
        connection.sendall(_BEGINNINGS[member.kind])
        connection.setblocking(False)
        member.connection = connection
        if member.kind is not Kind.SLOW_READER:  # its answer waits, which is no news
            self._selector.register(connection, selectors.EVENT_READ, member)

    def notice_closed(self, timeout_s: float) -> None:
        """Let go of connections that the server has answered or closed."""
        for key, _ in self._selector.select(timeout_s):
            self._let_go(key.data)

    def _let_go(self, member: Slow) -> None:
        self.closed_by_server += 1
        if member.connection is not None:
            if member.kind is not Kind.SLOW_READER:
                self._selector.unregister(member.connection)
            member.connection.close()
            member.connection = None

    def trickle(self) -> None:
        """Send one byte more, or read a few, on each connection."""
        for member in self._members:
            if member.connection is None or member.kind is Kind.SILENT:
                continue
            try:
                if member.kind is Kind.SLOW_READER:
                    if not member.connection.recv(READ_BYTES):
                        self._let_go(member)
                else:
                    member.connection.send(b"x")
            except BlockingIOError:
                continue
            except OSError:
                self._let_go(member)


def raise_descriptor_limit(wanted: int) -> None:
    """Allow this process `wanted` files, as far as the hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def main() -> int:
    """Hold the connections until standard input ends."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    raise_descriptor_limit(count + SPARE_DESCRIPTORS)
    crowd = Crowd((host, port), count)
    stdin = selectors.DefaultSelector()
    stdin.register(sys.stdin, selectors.EVENT_READ)
    next_tick = time.monotonic()
    while not stdin.select(0):
        try:
            crowd.open_missing()
        except OSError as error:
            if error.errno == errno.EMFILE:
                print(json.dumps({"error": f"too few files allowed for {count} connections"}))
                return 1
        crowd.notice_closed(0.01)
        if time.monotonic() >= next_tick:
            next_tick += TICK_S
            crowd.trickle()
            report = {"open": crowd.open_count, "closed_by_server": crowd.closed_by_server}
            print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
