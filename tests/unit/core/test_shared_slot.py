"""Unit tests of the slot of a worker with several requests at a time."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from basic_inference_server.core.scoreboard import MAX_BATCH, ServerScoreboard, Slot, WorkerState
from basic_inference_server.core.shared_slot import SharedSlot


@pytest.fixture
def board() -> Iterator[ServerScoreboard]:
    made = ServerScoreboard.create("test")
    yield made
    os.close(made.fd)


@pytest.fixture
def slot(board: ServerScoreboard) -> Slot:
    made = board.slot(board.free_slot(2))
    made.occupy(42, 2, 0)
    made.set_state(WorkerState.IDLE, 0)
    return made


def test_slot_says_all_lanes(board: ServerScoreboard, slot: Slot) -> None:
    """Since when the first of them, until when the last, and each call."""
    shared = SharedSlot(slot, 3)
    first, second, _ = shared.lanes
    assert (WorkerState.IDLE, []) == (board.read(0).state, board.calls(0))
    first.begin(10, 110, 7)
    second.begin(20, 120, 8)
    now = board.read(0)
    assert (WorkerState.BUSY, 10, 120) == (now.state, now.started_ns, now.deadline_ns)
    assert ([7, 8], 2, 110) == (board.calls(0), shared.in_flight, shared.earliest_deadline_ns())
    first.finish(10, 50, failed=True)
    now = board.read(0)
    assert (WorkerState.BUSY, 20, 120) == (now.state, now.started_ns, now.deadline_ns)
    assert ([8], 1, 120) == (board.calls(0), shared.in_flight, shared.earliest_deadline_ns())
    second.finish(20, 60, failed=False)
    now = board.read(0)
    assert (WorkerState.IDLE, 0, 0) == (now.state, now.started_ns, now.deadline_ns)
    assert ([], 0, 0) == (board.calls(0), shared.in_flight, shared.earliest_deadline_ns())
    assert (2, 1, 80) == board.totals()
    assert 2 == sum(board.latency_buckets())


def test_lane_can_be_given_more_time(board: ServerScoreboard, slot: Slot) -> None:
    """As a stream is with each item; a limit for all of them is stronger, until it is lifted."""
    shared = SharedSlot(slot, 2)
    shared.lanes[0].begin(0, 100, 1)
    shared.lanes[1].begin(0, 100, 2)
    shared.lanes[1].extend(500)
    assert (500, 100) == (board.read(0).deadline_ns, shared.earliest_deadline_ns())
    shared.limit(200)
    assert 200 == board.read(0).deadline_ns
    shared.lanes[1].extend(900)
    assert 200 == board.read(0).deadline_ns
    shared.limit(None)
    assert 900 == board.read(0).deadline_ns


def test_calls_of_a_dead_predecessor_are_forgotten(board: ServerScoreboard, slot: Slot) -> None:
    """Whoever comes after it in the slot dies for its own requests only."""
    dead = SharedSlot(slot, 8)
    for number, lane in enumerate(dead.lanes):
        lane.begin(0, 100, number + 1)
    slot.release()
    slot.occupy(43, 2, 0)
    assert [] == board.calls(0)
    SharedSlot(slot, 8).lanes[5].begin(0, 100, 77)
    assert [77] == board.calls(0)


def test_worker_with_one_at_a_time_may_follow(board: ServerScoreboard, slot: Slot) -> None:
    """The lanes of its predecessor are none of its own."""
    SharedSlot(slot, 4).lanes[2].begin(0, 100, 9)
    slot.occupy(43, 2, 0)
    slot.begin(0, 100, 5)
    assert [5] == board.calls(0)


def test_every_lane_has_a_place_of_its_own(board: ServerScoreboard) -> None:
    """The last lane of one slot is not the first of the next."""
    slots = []
    for number in range(2):
        one = board.slot(board.free_slot(2))
        one.occupy(40 + number, 2, 0)
        slots.append(SharedSlot(one, MAX_BATCH))
    slots[0].lanes[-1].begin(0, 100, 5)
    slots[1].lanes[0].begin(0, 100, 6)
    assert ([5], [6]) == (board.calls(0), board.calls(1))


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_beginnings_and_ends_is_told(
    board: ServerScoreboard, slot: Slot, seed: int
) -> None:
    """After each step the slot says what a plain list of those in flight says."""
    chance = random.Random(seed)
    shared = SharedSlot(slot, 8)
    running: dict[int, tuple[int, int, int]] = {}
    for now_ns in range(1, 400):
        lane = chance.randrange(8)
        if lane in running:
            began_ns, _, _ = running.pop(lane)
            shared.lanes[lane].finish(began_ns, now_ns, failed=False)
        else:
            running[lane] = (now_ns, now_ns + chance.randrange(1, 50), now_ns * 10)
            shared.lanes[lane].begin(*running[lane])
        reading = board.read(0)
        assert sorted(call for _, _, call in running.values()) == sorted(board.calls(0))
        assert min((began for began, _, _ in running.values()), default=0) == reading.started_ns
        assert max((until for _, until, _ in running.values()), default=0) == reading.deadline_ns
