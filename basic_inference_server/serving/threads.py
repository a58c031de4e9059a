"""Several requests at once in one worker: threads, each of which accepts, executes and answers.

There is no queue between them: the kernel's accept queue stays the only one.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import TYPE_CHECKING

from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.connection import FrameConnection, accept
from basic_inference_server.serving.responder import Responder
from basic_inference_server.worker.execution import describe

if TYPE_CHECKING:
    from basic_inference_server.serving.pull_worker import PullWorker

LOOK_S = 1.0  # one thread looks that often: who was woken for a connection may have been killed


class Door:
    """Where the threads of one worker wait for connections; nobody is let in while it is shut."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._fd = listener.fileno()
        self._lock = threading.Lock()
        self._waiters: list[select.epoll] = []
        self._leaving = os.eventfd(0, os.EFD_CLOEXEC)
        self.is_open = True

    def waiter(self) -> select.epoll:
        """Return what one thread waits with."""
        waiter = select.epoll()
        waiter.register(self._leaving, select.EPOLLIN)
        with self._lock:
            self._waiters.append(waiter)
            if self.is_open:
                self._listen(waiter)
        return waiter

    def _listen(self, waiter: select.epoll) -> None:
        # Exclusive: one connection wakes one idle thread of one worker, not all of them.
        waiter.register(self._fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def wait(self, waiter: select.epoll, timeout_s: float | None = None) -> bool:
        """Wait for a connection, or for the end; say whether there is a connection."""
        with self._lock:
            if self.is_open:
                # The kernel wakes the first in line: go to its end, so that workers take turns.
                waiter.unregister(self._fd)
                self._listen(waiter)
        return any(fd == self._fd for fd, _ in waiter.poll(timeout_s))

    def set_open(self, is_open: bool) -> None:
        """Open or shut it; who waits goes on waiting."""
        with self._lock:
            if is_open == self.is_open:
                return
            self.is_open = is_open
            for waiter in self._waiters:
                if is_open:
                    self._listen(waiter)
                else:
                    waiter.unregister(self._fd)

    def leave(self) -> None:
        """Wake everybody who waits, for good."""
        os.eventfd_write(self._leaving, 1)


class ThreadedServer:
    """Serves with as many threads as the worker's slot has lanes, until the worker leaves."""

    def __init__(self, worker: PullWorker, listener: socket.socket, responder: Responder) -> None:
        self._worker = worker
        self._listener = listener
        self._responder = responder
        self._slot = worker.share_slot()
        self._trouble = threading.Lock()
        self._door = Door(listener)

    def serve(self) -> None:
        """Serve; the main thread takes the signals."""
        self._worker.look_after(self._slot, self._door.set_open)
        threads = [
            threading.Thread(
                target=self._serve_until_the_end, args=(lane, None if number else LOOK_S),
                name=f"request-{number}", daemon=True,
            )
            for number, lane in enumerate(self._slot.lanes)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        self._worker.wait_for_the_end()
        self._door.leave()
        for thread in threads:
            thread.join()

    def _serve_until_the_end(self, lane: Slot, look_s: float | None) -> None:
        try:
            self._serve(self._responder.beside(lane), look_s)
        except BaseException as error:  # noqa: BLE001 - a thread less must not go unnoticed
            self._worker.retire("thread_failed", error=describe(error))

    def _serve(self, responder: Responder, look_s: float | None) -> None:
        worker, door = self._worker, self._door
        waiter = door.waiter()
        is_woken = False
        # What has woken this thread wakes no other, so it is looked after whatever has happened.
        while worker.alive or is_woken:
            accepted = self._accept() if is_woken or door.is_open else None
            is_woken = False
            if accepted is None:
                worker.notifications.send()
                is_woken = worker.alive and door.wait(waiter, look_s)
                continue
            with accepted:
                responder.serve(FrameConnection(accepted))
            worker.count_requests(1)

    def _accept(self) -> socket.socket | None:
        try:
            accepted = accept(self._listener)
        except BlockingIOError:
            return None
        except OSError as error:
            with self._trouble:
                self._worker.survive_failed_accept(error)
            return None
        self._worker.failed_accepts = 0
        return accepted
