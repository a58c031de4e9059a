"""Cancels the tasks of requests for which nobody waits any more."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.serving.async_connection import AsyncConnection
from basic_inference_server.worker.current_request import CurrentRequest

EVENTS = select.EPOLLRDHUP | select.EPOLLONESHOT
PER_TURN = 64


class HangUps:
    """Tells of connections that their callers have closed: one epoll for all of them.

    It is registered with the loop once; a request costs no more than a system call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[AsyncConnection, Callable[[], None]]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def watch(self, connection: AsyncConnection, on_left: Callable[[], None]) -> None:
        """Call `on_left` once when the caller has left."""
        fd = connection.fileno()
        self._watched[fd] = connection, on_left
        try:
            self._epoll.register(fd, EVENTS)
        except FileExistsError:  # it was watched before
            self._epoll.modify(fd, EVENTS)

    def forget(self, connection: AsyncConnection) -> None:
        """Call nobody any more; closing the connection is all that has to follow."""
        self._watched.pop(connection.fileno(), None)

    def _on_events(self) -> None:
        for fd, _ in self._epoll.poll(0, PER_TURN):
            connection, on_left = self._watched.get(fd, (None, None))
            if connection is None or on_left is None:
                continue
            if connection.caller_has_left():
                del self._watched[fd]
                on_left()
            else:  # the event was an earlier socket's of the same number
                self._epoll.modify(fd, EVENTS)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class Cancellation:
    """Has the current task cancelled in a `with` block, at the deadline or when the caller leaves.

    Attributes:
        request: whose `deadline_ns` counts; it may be moved.
        is_late: whether the deadline was the reason.
        has_come: whether the task was cancelled.
    """

    __slots__ = ("_connection", "_hang_ups", "_loop", "_task", "_timer", "has_come", "is_late",
                 "request")  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hang_ups: HangUps,
        connection: AsyncConnection,
        request: CurrentRequest,
    ) -> None:
        self._loop = loop
        self._hang_ups = hang_ups
        self._connection = connection
        self.request = request
        self.is_late = self.has_come = False

    def __enter__(self) -> Cancellation:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._hang_ups.watch(self._connection, self._cancel)
        self._set_timer()
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()

    def disarm(self) -> None:
        """Cancel nothing any more."""
        self._timer.cancel()
        self._hang_ups.forget(self._connection)

    def _set_timer(self) -> None:
        left_s = (self.request.deadline_ns - monotonic_ns()) / NS_PER_S
        self._timer = self._loop.call_later(max(left_s, 0.001), self._on_time)

    def _on_time(self) -> None:
        """The deadline has come, unless the request has been given more time since."""
        if monotonic_ns() < self.request.deadline_ns:
            self._set_timer()
        else:
            self.is_late = True
            self._cancel()

    def _cancel(self) -> None:
        if not self.has_come:
            self.has_come = True
            self._task.cancel()
