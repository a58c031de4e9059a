"""A worker that is told to leave at the moment when a connection has woken it."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.serving.pull_worker import PullWorker
from basic_inference_server.serving.serial import SerialServer


class NoNotifications:
    def send(self) -> None:
        """Nothing is to be sent."""


class NobodyAsks:
    is_asked_to_leave = False


def leaving_when_woken() -> Any:
    """Return a worker without an endpoint that has been told to leave when its wait returns."""

    class Waiting(PullWorker):
        def __init__(self) -> None:
            self.PIPE = os.pipe2(os.O_NONBLOCK)
            self.alive = True
            self.slot = NobodyAsks()
            self.notifications = NoNotifications()  # type: ignore[assignment]
            self.served: list[socket.socket] = []

        def serve_one(self, accepted: socket.socket) -> int:
            """Keep the connection."""
            self.served.append(accepted)
            return 1

        def count_requests(self, count: int) -> None:
            """Count nothing."""

    return Waiting()


def test_connection_that_woke_a_leaving_worker_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has woken no other worker for it, so it would wait for the next one to come."""
    worker = leaving_when_woken()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "w.sock"))
        listener.listen()
        listener.setblocking(False)
        real_epoll = select.epoll

        class LeavesOnReturn:
            """An epoll object; when it says that there is a connection, the worker is to leave."""

            def __init__(self) -> None:
                self._epoll = real_epoll()
                self.register = self._epoll.register

            def poll(self, timeout_s: float) -> list[tuple[int, int]]:
                client.connect(str(tmp_path / "w.sock"))
                events = self._epoll.poll(timeout_s)
                worker.alive = False
                return events

        monkeypatch.setattr(select, "epoll", LeavesOnReturn)
        SerialServer(worker, listener, worker.serve_one).serve()
        assert 1 == len(worker.served)
        for one in worker.served:
            one.close()
    for end in worker.PIPE:
        os.close(end)
