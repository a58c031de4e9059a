"""Unit tests of the shared memory in which workers say what they are doing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    BUCKETS,
    GATEWAY_CELL_WORDS,
    IN_FLIGHT,
    LATENCY_BOUNDS_US,
    SLOTS_PER_GENERATION,
    GatewayScoreboard,
    ServerScoreboard,
    Slot,
    SlotReading,
    WorkerState,
)

MS = 1_000_000


@pytest.fixture
def board() -> Iterator[ServerScoreboard]:
    made = ServerScoreboard.create("test")
    yield made
    os.close(made.fd)


@pytest.fixture
def gateway_board() -> Iterator[GatewayScoreboard]:
    made = GatewayScoreboard.create()
    yield made
    os.close(made.fd)


def take_slot(board: ServerScoreboard, generation: int, pid: int) -> Slot:
    slot = board.slot(board.free_slot(generation))
    slot.occupy(pid, generation, now_ns=0)
    return slot


def test_new_board_is_empty(board: ServerScoreboard) -> None:
    """Nobody has a slot and nothing has been counted."""
    assert [] == board.occupied()
    assert (0, 0, 0) == board.totals()
    assert [0] * BUCKETS == board.latency_buckets()
    assert 0 == board.target_workers


def test_second_view_of_the_same_memory_sees_every_write(board: ServerScoreboard) -> None:
    """What one process writes another one reads, through the descriptor alone."""
    other = ServerScoreboard(board.fd)
    board.target_workers = 7
    board.slot(3).occupy(pid=42, generation=1, now_ns=5)
    assert (7, 42) == (other.target_workers, other.read(3).pid)


def test_memory_cannot_be_cut_short(board: ServerScoreboard) -> None:
    """A worker's code has the descriptor, and the supervisor would die of a missing page."""
    for length in (0, os.fstat(board.fd).st_size * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(board.fd, length)


def test_life_of_a_slot_is_readable_at_each_step(board: ServerScoreboard) -> None:
    """Starting, loading, idle, busy, done: each with its times."""
    slot = board.slot(2)
    slot.occupy(pid=0, generation=4, now_ns=10)
    slot.set_pid(42)
    expected = SlotReading(2, WorkerState.STARTING, 42, 4, 10, 0, 0, 0, 0, 0, 10)
    assert expected == board.read(2)
    slot.set_state(WorkerState.LOADING, 20)
    slot.beat(25)
    slot.set_state(WorkerState.IDLE, 30)
    expected = SlotReading(2, WorkerState.IDLE, 42, 4, 25, 0, 0, 0, 0, 0, 30)
    assert expected == board.read(2)
    slot.begin(now_ns=40, deadline_ns=90)
    expected = SlotReading(2, WorkerState.BUSY, 42, 4, 25, 40, 90, 0, 0, 0, 30)
    assert expected == board.read(2)
    slot.finish(started_ns=40, now_ns=60, failed=True)
    expected = SlotReading(2, WorkerState.IDLE, 42, 4, 60, 0, 0, 1, 1, 20, 30)
    assert expected == board.read(2)


def test_generations_use_separate_halves(board: ServerScoreboard) -> None:
    """While one generation replaces another, neither takes the other's slots."""
    assert 0 == board.free_slot(generation=2)
    assert SLOTS_PER_GENERATION == board.free_slot(generation=1)
    assert 0 == take_slot(board, generation=2, pid=10).index
    assert SLOTS_PER_GENERATION == take_slot(board, generation=1, pid=11).index
    assert (1, SLOTS_PER_GENERATION + 1) == (board.free_slot(2), board.free_slot(1))
    assert [(2, 10), (1, 11)] == [(one.generation, one.pid) for one in board.occupied()]


def test_worker_that_leaves_is_told_from_one_that_serves(board: ServerScoreboard) -> None:
    """Its master asks it, it says that it takes no more, and its successor has its number."""
    slot = take_slot(board, generation=2, pid=10)
    assert (False, False) == (slot.is_asked_to_leave, board.read(0).is_leaving)
    slot.ask_to_leave(now_ns=20)
    slot.leave(now_ns=30)
    assert (True, True) == (slot.is_asked_to_leave, board.read(0).is_leaving)
    slot.occupy(11, 2, now_ns=40, worker_id=3)
    after = board.read(0)
    assert (False, 0, False, 3) == (
        slot.is_asked_to_leave, after.asked_ns, after.is_leaving, after.worker_id,
    )  # fmt: skip


def test_freed_slot_is_the_next_to_be_taken(board: ServerScoreboard) -> None:
    """A replacement needs no more room than the worker that it replaces."""
    slots = [take_slot(board, generation=2, pid=10 + number) for number in range(3)]
    slots[1].release()
    assert 1 == board.free_slot(2)
    assert [10, 12] == [reading.pid for reading in board.occupied()]


def test_full_half_is_an_error_and_never_a_stolen_slot(board: ServerScoreboard) -> None:
    """With every slot taken there is no place for one more."""
    for _ in range(SLOTS_PER_GENERATION):
        take_slot(board, generation=2, pid=1)
    with pytest.raises(LookupError, match="all worker slots are taken"):
        board.free_slot(2)
    assert SLOTS_PER_GENERATION == board.free_slot(1)


def test_counters_survive_the_worker(board: ServerScoreboard) -> None:
    """A replacement goes on counting where its predecessor was killed."""
    slot = board.slot(0)
    slot.occupy(1, 1, 0)
    slot.begin(0, 100)
    slot.finish(0, 2 * MS, failed=False)
    slot.begin(3 * MS, 100)
    slot.release()
    assert (1, 0, 2 * MS) == board.totals()
    slot.occupy(2, 3, 0)
    slot.finish(0, 1 * MS, failed=True)
    assert (2, 1, 3 * MS) == board.totals()


def test_replacement_does_not_inherit_the_request_of_the_dead(board: ServerScoreboard) -> None:
    """A new process in an old slot is not busy with the request that killed the last one."""
    slot = board.slot(0)
    slot.occupy(1, 1, 0)
    slot.begin(5, 10)
    slot.release()
    released = board.read(0)
    assert (WorkerState.FREE, 0, 0, 0) == (
        released.state, released.pid, released.started_ns, released.deadline_ns,
    )  # fmt: skip
    slot.begin(5, 10)  # killed between two words
    slot.occupy(2, 1, 20)
    assert (0, 0) == (board.read(0).started_ns, board.read(0).deadline_ns)


@pytest.mark.parametrize(
    ("elapsed_us", "bucket"),
    [
        pytest.param(0, 0, id="nothing"),
        pytest.param(500, 0, id="exactly the first bound"),
        pytest.param(501, 1, id="just above it"),
        pytest.param(30_000_000, len(LATENCY_BOUNDS_US) - 1, id="exactly the last bound"),
        pytest.param(30_000_001, len(LATENCY_BOUNDS_US), id="above all bounds"),
    ],
)
def test_duration_falls_into_its_bucket(
    board: ServerScoreboard, elapsed_us: int, bucket: int
) -> None:
    """A bound belongs to the bucket below it, as Prometheus counts."""
    board.slot(0).finish(0, elapsed_us * 1000, failed=False)
    expected = [0] * BUCKETS
    expected[bucket] = 1
    assert expected == board.latency_buckets()


def test_full_board_is_counted_from_the_first_slot_to_the_last(board: ServerScoreboard) -> None:
    """No slot is forgotten at either end of either half."""
    for number in range(2 * SLOTS_PER_GENERATION):
        take_slot(board, generation=number % 2, pid=1).finish(0, 1000, failed=False)
    count = 2 * SLOTS_PER_GENERATION
    assert (count, 0, count * 1000) == board.totals()
    assert count == sum(board.latency_buckets())
    assert count == len(board.occupied())


def test_gateway_counters_are_summed_over_processes(gateway_board: GatewayScoreboard) -> None:
    """An endpoint's figures are those of all gateway processes, and of no other endpoint."""
    for process, count in ((0, 3), (GatewayScoreboard.PROCESSES - 1, 4)):
        gateway_board.cell(process, 5)[ACCEPTED] += count
    gateway_board.cell(0, 6)[ACCEPTED] += 100
    expected = [0] * GATEWAY_CELL_WORDS
    expected[ACCEPTED] = 7
    assert expected == gateway_board.totals(5)


def test_gateway_cells_do_not_overlap(gateway_board: GatewayScoreboard) -> None:
    """The last word of one cell is not the first of the next."""
    gateway_board.cell(0, 0)[GATEWAY_CELL_WORDS - 1] = 1
    gateway_board.cell(GatewayScoreboard.PROCESSES - 1, GatewayScoreboard.CELLS - 1)[0] = 1
    assert 0 == gateway_board.cell(0, 1)[0]
    assert 1 == sum(gateway_board.totals(0))


def test_dead_gateway_process_leaves_no_gauge_behind(gateway_board: GatewayScoreboard) -> None:
    """Requests in flight die with their process; what was counted stays."""
    for process in (0, 1):
        gateway_board.cell(process, 2)[IN_FLIGHT] = 9
        gateway_board.cell(process, 2)[ACCEPTED] = 20
    gateway_board.forget_in_flight(0)
    totals = gateway_board.totals(2)
    assert (9, 40) == (totals[IN_FLIGHT], totals[ACCEPTED])
