"""Unit tests of finding workers that are hung, silent or loading for too long."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import cast

import pytest

from basic_inference_server.core.clock import NS_PER_S
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import (
    SLOTS_PER_GENERATION,
    ServerScoreboard,
    Slot,
    WorkerState,
)
from basic_inference_server.supervision.autopsy import Verdict
from basic_inference_server.supervision.generation import Generation
from basic_inference_server.supervision.worker_watch import WorkerWatch
from tests.support.manual_clock import ManualClock

ABRT, KILL, TERM = signal.SIGABRT, signal.SIGKILL, signal.SIGTERM


class FakeGeneration:
    """Keeps the signals that a generation would have sent."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.sent: list[tuple[int, signal.Signals]] = []

    def signal_worker(self, pid: int, number: signal.Signals) -> None:
        self.sent.append((pid, number))


class Watched:
    """A watch over a scoreboard, in time that a test moves."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.board = ServerScoreboard.create("test")
        self.said: list[Event] = []
        self.stopped: set[int] = set()
        self.watch = WorkerWatch(
            self.board, 120.0, EventLog(self.said.append), self.stopped.__contains__
        )
        self.generation = FakeGeneration()

    def add(self, pid: int, state: WorkerState = WorkerState.IDLE, generation: int = 1) -> Slot:
        slot = self.board.slot(self.board.free_slot(generation))
        slot.occupy(pid, generation, self.now_ns, slot.index % SLOTS_PER_GENERATION)
        slot.set_state(state, self.now_ns)
        return slot

    @property
    def now_ns(self) -> int:
        return int(self.clock.now_s * NS_PER_S)

    def begin(self, slot: Slot, timeout_s: float = 30.0) -> None:
        slot.begin(self.now_ns, self.now_ns + int(timeout_s * NS_PER_S))

    def signals_after(self, seconds: float) -> list[tuple[int, signal.Signals]]:
        self.clock.advance(seconds)
        self.generation.sent.clear()
        self.watch.check(cast("Generation", self.generation), self.clock.now_s)
        return self.generation.sent


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    clock = ManualClock()
    monkeypatch.setattr(
        "basic_inference_server.supervision.worker_watch.monotonic_ns",
        lambda: int(clock.now_s * NS_PER_S),
    )
    made = Watched(clock)
    yield made
    os.close(made.board.fd)


def test_busy_worker_within_its_deadline_is_left_alone(watched: Watched) -> None:
    """A slow request is no hang until its time is up."""
    watched.begin(watched.add(42))
    assert [] == watched.signals_after(29.9)
    assert [] == watched.signals_after(0.15)
    assert [] == watched.said


def test_hung_worker_shows_its_stacks_and_is_then_killed(watched: Watched) -> None:
    """First SIGABRT, once; a second later SIGKILL, until it is gone."""
    watched.begin(watched.add(42))
    assert [(42, ABRT)] == watched.signals_after(30.2)
    assert [] == watched.signals_after(0.5)
    assert [(42, KILL)] == watched.signals_after(0.5)
    assert [(42, KILL)] == watched.signals_after(0.1)
    (event,) = watched.said
    assert ("worker_hung", "error", 42, 0) == (
        event["event"], event["level"], event["pid"], event["worker_id"],
    )  # fmt: skip
    assert "hang: one request took 30.2 s, longer than TIMEOUT" == event["why"]


def test_cause_of_a_death_is_given_once(watched: Watched) -> None:
    """Who was killed for a hang is not reported as an unexplained SIGKILL."""
    watched.begin(watched.add(42), timeout_s=5)
    watched.signals_after(6)
    expected = Verdict("hang: one request took 6.0 s, longer than TIMEOUT", blames_request=True)
    assert expected == watched.watch.verdict_on(42)
    assert None is watched.watch.verdict_on(42)
    assert None is watched.watch.verdict_on(43)


def test_request_of_a_stopped_worker_is_not_to_blame(watched: Watched) -> None:
    """Whoever sent SIGSTOP is."""
    watched.stopped.add(42)
    watched.begin(watched.add(42), timeout_s=5)
    assert [(42, ABRT)] == watched.signals_after(6)
    verdict = watched.watch.verdict_on(42)
    assert verdict is not None
    assert ("stopped from outside" in verdict.cause, False) == (True, verdict.blames_request)


def test_worker_that_is_ended_for_its_memory_dies_at_once(watched: Watched) -> None:
    """SIGABRT first would let it allocate for another second."""
    slot = watched.add(42)
    watched.begin(slot)
    generation = cast("Generation", watched.generation)
    for _ in range(2):
        watched.watch.end(generation, watched.board.read(slot.index), "memory: 9 GB", 0.0)
    assert [(42, KILL)] == watched.generation.sent
    assert Verdict("memory: 9 GB", blames_request=True) == watched.watch.verdict_on(42)


def test_worker_that_loads_too_long_is_ended(watched: Watched) -> None:
    """`LOAD_TIMEOUT` counts from the beginning of the load."""
    watched.add(42, WorkerState.LOADING)
    assert [] == watched.signals_after(119.9)
    assert [(42, ABRT)] == watched.signals_after(0.2)
    assert "it did not load within LOAD_TIMEOUT (120 s)" == watched.said[0]["why"]


def test_silent_idle_worker_is_ended(watched: Watched) -> None:
    """A stopped process beats no more, while one that beats is fine for ever."""
    slot = watched.add(42)
    watched.add(43)
    for _ in range(10):
        slot.beat(watched.now_ns)
        assert [] == watched.signals_after(1)
    slot.beat(watched.now_ns)
    assert [(43, ABRT)] == watched.signals_after(0.1)
    assert (43, 1) == (watched.said[0]["pid"], watched.said[0]["worker_id"])


def test_parked_worker_may_try_again(watched: Watched) -> None:
    """A worker that could not load beside others that serve is ended after a moment, quietly."""
    watched.add(42, WorkerState.PARKED)
    assert [] == watched.signals_after(0.9)
    assert [(42, TERM)] == watched.signals_after(0.2)
    assert [] == watched.said


def test_parked_worker_that_does_not_go_is_killed(watched: Watched) -> None:
    """What it has loaded before it failed may have taken SIGTERM's handler."""
    watched.add(42, WorkerState.PARKED)
    assert [(42, TERM)] == watched.signals_after(1.1)
    assert [(42, KILL)] == watched.signals_after(1.0)


def test_worker_that_does_not_end_after_its_last_answer_is_killed(watched: Watched) -> None:
    """It ends itself after a second, unless C code holds the interpreter."""
    slot = watched.add(42)
    slot.leave(watched.now_ns)
    slot.set_state(WorkerState.LEAVING, watched.now_ns)
    assert [] == watched.signals_after(1.4)
    assert [(42, KILL)] == watched.signals_after(0.2)
    verdict = watched.watch.verdict_on(42)
    assert verdict is not None
    assert ("it did not end when it had to leave", False) == (
        verdict.cause, verdict.blames_request,
    )  # fmt: skip


@pytest.mark.parametrize("state", [WorkerState.IDLE, WorkerState.LOADING])
def test_worker_that_does_not_hear_is_killed(watched: Watched, state: WorkerState) -> None:
    """It was asked, has nothing to finish, and stays; the time begins with its last request."""
    slot = watched.add(42, state)
    slot.ask_to_leave(watched.now_ns)
    assert [] == watched.signals_after(0.1)
    if state is WorkerState.IDLE:
        watched.begin(slot, timeout_s=60)
        assert [] == watched.signals_after(30)
        slot.finish(0, watched.now_ns, failed=0)
        assert [] == watched.signals_after(0.1)
    assert [] == watched.signals_after(2.9)
    assert [(42, KILL)] == watched.signals_after(0.2)


def test_other_generation_is_none_of_its_business(watched: Watched) -> None:
    """While one generation replaces another, each is watched as itself."""
    watched.begin(watched.add(42, generation=2), timeout_s=1)
    assert [] == watched.signals_after(60)
    watched.generation.number = 2
    assert [(42, ABRT)] == watched.signals_after(0)


def test_slot_without_a_process_yet_is_left_alone(watched: Watched) -> None:
    """Between the choice of a slot and the fork there is nobody to signal."""
    watched.begin(watched.add(0), timeout_s=1)
    assert [] == watched.signals_after(60)


def test_each_broken_worker_is_ended_by_itself(watched: Watched) -> None:
    """One hung worker does not cost its neighbours."""
    hung, fine = watched.add(42), watched.add(43)
    watched.begin(hung, timeout_s=1)
    watched.begin(fine, timeout_s=60)
    assert [(42, ABRT)] == watched.signals_after(2)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (WorkerState.IDLE, True),
        (WorkerState.STARTING, False),
        (WorkerState.LOADING, False),
        (WorkerState.PARKED, False),
        (WorkerState.LEAVING, False),
    ],
)
def test_health_is_one_worker_that_can_answer(
    watched: Watched,
    state: WorkerState,
    expected: bool,
) -> None:
    """Idle and alive is healthy; on its way up is not yet."""
    watched.add(42, state)
    assert expected is watched.watch.is_healthy(watched.board.occupied())


def test_busy_server_is_healthy_until_all_its_workers_hang(watched: Watched) -> None:
    """A ping never queues behind inference, so a busy worker is a healthy one."""
    first, second = watched.add(42), watched.add(43)
    watched.begin(first, timeout_s=1)
    watched.begin(second, timeout_s=10)
    healths = []
    for seconds in (0.5, 5, 10):
        watched.clock.advance(seconds)
        healths.append(watched.watch.is_healthy(watched.board.occupied()))
    assert [True, True, False] == healths


def test_worker_that_takes_no_more_is_not_healthy(watched: Watched) -> None:
    """However well it does what it still has to do."""
    slot = watched.add(42)
    watched.begin(slot)
    slot.leave(watched.now_ns)
    assert not watched.watch.is_healthy(watched.board.occupied())


def test_time_in_which_we_stood_still_counts_against_nobody(watched: Watched) -> None:
    """Who is busy, idle, loading or leaving has the rest of its time after it."""
    watched.begin(watched.add(42), timeout_s=30)
    watched.add(43)
    watched.add(44, WorkerState.LOADING)
    watched.add(45, WorkerState.LEAVING)
    watched.clock.advance(1)
    watched.clock.advance(600)
    watched.watch.excuse(600)
    assert [] == watched.signals_after(0)
    assert [(45, KILL)] == watched.signals_after(0.6)
    assert [(43, ABRT)] == watched.signals_after(8.9)[:1]
    assert (42, ABRT) in watched.signals_after(20)
    assert (44, ABRT) in watched.signals_after(90)


def test_server_without_workers_is_not_healthy(watched: Watched) -> None:
    """Nobody is there to answer."""
    assert not watched.watch.is_healthy([])
