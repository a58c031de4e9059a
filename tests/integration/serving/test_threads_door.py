"""Where the threads of a worker wait for connections, and how an overdue request shuts it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard
from basic_inference_server.core.shared_slot import SharedSlot
from basic_inference_server.serving.overdue import OverdueWatch
from basic_inference_server.serving.threads import Door
from tests.support.eventually import eventually


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "door.sock"))
        listener.listen(16)
        listener.setblocking(False)
        yield listener


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def connect(listener: socket.socket) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(listener.getsockname())
    return client


def waiting(door: Door, pool: ThreadPoolExecutor, count: int) -> list[Future[bool]]:
    """Return threads that wait at the door."""
    begun = threading.Barrier(count + 1)

    def wait() -> bool:
        waiter = door.waiter()
        begun.wait(5)
        return door.wait(waiter)

    futures = [pool.submit(wait) for _ in range(count)]
    begun.wait(5)
    return futures


def test_connection_is_told(listener: socket.socket, pool: ThreadPoolExecutor) -> None:
    """To a thread that waits."""
    door = Door(listener)
    (woken,) = waiting(door, pool, 1)
    with connect(listener):
        assert woken.result(5)


def test_leaving_wakes_everybody(listener: socket.socket, pool: ThreadPoolExecutor) -> None:
    """Who comes later does not even begin to wait."""
    door = Door(listener)
    woken = waiting(door, pool, 3)
    door.leave()
    assert [False] * 3 == [one.result(5) for one in woken]
    assert not door.wait(door.waiter())


def test_shut_door_leaves_connections_to_others(
    listener: socket.socket, pool: ThreadPoolExecutor
) -> None:
    """Another worker's door on the same socket is told; who waits here sleeps on."""
    ours, theirs = Door(listener), Door(listener)
    here = waiting(ours, pool, 2)
    ours.set_open(False)
    ours.set_open(False)
    there = waiting(theirs, pool, 1)
    with connect(listener):
        assert there[0].result(5)
        assert [False, False] == [one.done() for one in here]
        ours.set_open(True)
        eventually(lambda: any(one.done() for one in here))
        ours.leave()
        assert any(one.result(5) for one in here)


def test_overdue_request_shuts_the_door(listener: socket.socket) -> None:
    """Until it has ended; nothing in flight may take longer than once more the whole time then."""
    board = ServerScoreboard.create("test")
    slot = board.slot(board.free_slot(2))
    slot.occupy(os.getpid(), 2, monotonic_ns())
    shared = SharedSlot(slot, 2)
    door, said = Door(listener), list[Event]()
    watch = OverdueWatch(shared, 30, EventLog(said.append), door.set_open)
    late, endless = shared.lanes
    now_ns = monotonic_ns()
    assert 30 == watch.look()
    endless.begin(now_ns, now_ns + 3600 * NS_PER_S, 1)
    assert (30, True) == (watch.look(), door.is_open)
    late.begin(now_ns, now_ns + NS_PER_S, 2)
    assert (True, True) == (0 < watch.look() <= 1, door.is_open)
    late.extend(now_ns - 1)
    assert (30, False) == (watch.look(), door.is_open)
    limit_ns = board.read(0).deadline_ns
    assert 29 * NS_PER_S < limit_ns - now_ns < 31 * NS_PER_S
    watch.look()
    assert limit_ns == board.read(0).deadline_ns
    late.finish(now_ns, monotonic_ns(), failed=True)
    assert (30, True) == (watch.look(), door.is_open)
    assert now_ns + 3600 * NS_PER_S == board.read(0).deadline_ns
    assert [("request_overdue", 1)] == [(e["event"], e["others_in_flight"]) for e in said]
    os.close(board.fd)
