"""A master that has not run itself for a while does not blame its workers for it."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from basic_inference_server.prefork.arbiter import PreforkApplication, PreforkArbiter
from tests.support.manual_clock import ManualClock

TIMEOUT_S = 15


class Silent:
    """A worker that has not beaten for long."""

    aborted = False

    def __init__(self) -> None:
        self.tmp = self

    def last_update(self) -> float:
        return time.monotonic() - 100


class Watching(PreforkArbiter):
    """A master that only notes what it would have sent."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(PreforkApplication({"timeout": TIMEOUT_S}), listener)
        self.WORKERS = cast("dict[int, Any]", {42: Silent()})
        self.sent: list[tuple[int, int]] = []

    def signal_worker(self, pid: int, sig: int) -> None:
        self.sent.append((pid, sig))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    made = ManualClock()
    monkeypatch.setattr("basic_inference_server.prefork.arbiter.monotonic_s", made)
    return made


@pytest.fixture
def master(clock: ManualClock) -> Iterator[Watching]:
    with socket.socket() as listener:
        yield Watching(listener)


def test_silent_worker_is_ended(clock: ManualClock, master: Watching) -> None:
    """Its loop does not turn, while the master looks every second."""
    clock.advance(1)
    master.murder_workers()
    assert [(42, signal.SIGABRT)] == master.sent


def test_after_a_standstill_everybody_has_a_new_period(
    clock: ManualClock, master: Watching
) -> None:
    """And who is still silent at its end is ended."""
    clock.advance(17)
    for _ in range(TIMEOUT_S):
        master.murder_workers()
        assert [] == master.sent
        clock.advance(1)
    master.murder_workers()
    assert [(42, signal.SIGABRT)] == master.sent
