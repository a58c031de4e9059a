"""Starts one child process and holds everything of it that has to be closed again.

A child runs in its own session, dies with the supervisor (the kernel kills its process group when
the last write end of its life line closes), and its output is read line by line without ever
blocking it. What leaves the process group on purpose, with a session of its own, is not reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from typing import Any

from basic_inference_server.wire.messages import MAX_DATAGRAM, MessageError, decode_message

OUTPUT_PIPE_BYTES = 1024 * 1024
READ_CHUNK = 65536
MAX_LINE = 64 * 1024
UNCOLLECTED: set[int] = set()  # children that we have started and that `_collect` will reap


@dataclass(frozen=True)
class ChildEvents:
    """What a child's owner wants to be told."""

    on_line: Callable[[bytes], None]
    on_message: Callable[[dict[str, Any]], None]
    on_exit: Callable[[int], None]


class ChildProcess:
    """A running child; `on_exit` is called once, with its return code."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        inherited_fds: Sequence[int],
        folder: str,
        events: ChildEvents,
    ) -> None:
        """Start `command` in `folder`.

        Raises:
            OSError: the process cannot be started.
        """
        self._loop = asyncio.get_running_loop()
        self._events = events
        self._partial = b""
        self._life_line, child_life_line = os.pipe()[::-1]
        self._output, child_output = _output_pipe()
        self.announcements: socket.socket | None = None
        try:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                pass_fds=[*inherited_fds, child_life_line],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=child_output,
                stderr=child_output,
                start_new_session=True,
            )
        except OSError:
            for fd in (self._life_line, child_life_line, self._output):
                os.close(fd)
            raise
        finally:
            os.close(child_output)
        _kill_group_when_closed(child_life_line, self._process.pid)
        os.close(child_life_line)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        UNCOLLECTED.add(self.pid)
        self._loop.add_reader(self._output, self._read_output)
        self._loop.add_reader(self._pidfd, self._collect)

    def listen_to(self, announcements: socket.socket) -> None:
        """Read the child's announcements from our end of its socket, until it has ended."""
        announcements.setblocking(False)
        self.announcements = announcements
        self._loop.add_reader(announcements.fileno(), self._read_announcements)

    @property
    def is_alive(self) -> bool:
        """Whether the process has not been collected yet."""
        return self._process.returncode is None

    def send_signal(self, number: Signals) -> None:
        """Signal the process itself; one that has ended is left alone."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def signal_group(self, number: Signals) -> None:
        """Signal every process of the child's group, forked workers included."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _collect(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        UNCOLLECTED.discard(self.pid)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._read_announcements()
        self.drain_output()
        self._events.on_exit(code)

    def release(self) -> None:
        """Close what is left: the life line (which kills stragglers), output, announcements."""
        self._read_announcements()  # of workers that have outlived their master
        self._loop.remove_reader(self._output)
        os.close(self._output)
        os.close(self._life_line)
        if self.announcements is not None:
            self._loop.remove_reader(self.announcements.fileno())
            self.announcements.close()
            self.announcements = None

    def _read_announcements(self) -> None:
        if self.announcements is None:
            return
        while True:
            try:
                datagram = self.announcements.recv(MAX_DATAGRAM)
            except (BlockingIOError, ConnectionError):
                return
            if not datagram:
                self._loop.remove_reader(self.announcements.fileno())
                return
            with contextlib.suppress(MessageError):
                self._events.on_message(decode_message(datagram))

    def drain_output(self) -> None:
        """Read what the child has printed so far."""
        for _ in range(OUTPUT_PIPE_BYTES // READ_CHUNK + 1):
            if not self._read_output():
                return

    def _read_output(self) -> bool:
        try:
            chunk = os.read(self._output, READ_CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._output)
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > MAX_LINE or (not chunk and self._partial):
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            self._events.on_line(line)
        return bool(chunk)


def _output_pipe() -> tuple[int, int]:
    """Return the two ends of a large pipe; reading from our end never waits.

    The child's end is an ordinary one, for what the child starts; `RecordWriter` has its own way
    of writing to it without waiting.
    """
    ours, child = os.pipe()
    os.set_blocking(ours, False)
    with contextlib.suppress(OSError):  # the limit for unprivileged users may be lower
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, OUTPUT_PIPE_BYTES)
    return ours, child


def _kill_group_when_closed(read_end: int, group: int) -> None:
    """Have the kernel send SIGKILL to a process group when `read_end`'s writers are gone.

    The request is stored with the open pipe, which the child keeps, so it holds after our own
    death, needs no thread in the child, and works while the child is stuck in C code.
    """
    fcntl.fcntl(read_end, fcntl.F_SETOWN, -group)
    fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(read_end, fcntl.F_GETFL)
    fcntl.fcntl(read_end, fcntl.F_SETFL, flags | os.O_ASYNC)


def announcement_sockets() -> tuple[socket.socket, socket.socket]:
    """Return our end and the child's end of a message-preserving socket, both non-blocking."""
    ours, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    child.setblocking(False)
    return ours, child
