"""Shared memory in which every worker says what it is doing.

One file per server (`ServerScoreboard`) and one for the gateway (`GatewayScoreboard`). A writer
touches only its own slot, every value is one aligned 64-bit word, and a reader calls nobody:
liveness, hang detection and counters work while a worker is busy, hung or dead. Counters stay
in their slot when a worker is replaced.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

WORD = 8
SLOT_WORDS: Final = 32
SLOTS_PER_GENERATION: Final = 256
SLOTS: Final = 2 * SLOTS_PER_GENERATION
SLOTS_END: Final = SLOT_WORDS * (SLOTS + 1)

# Upper bounds of the latency buckets in microseconds; the last bucket is everything above.
LATENCY_BOUNDS_US: Final = (
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
    250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
)  # fmt: skip
BUCKETS: Final = len(LATENCY_BOUNDS_US) + 1

STATE, PID, GENERATION, HEARTBEAT, STARTED, DEADLINE = range(6)
REQUESTS, ERRORS, BUSY_NS, SINCE, CALL = 6, 7, 8, 9, 10
FIRST_BUCKET: Final = 11
BATCH: Final = FIRST_BUCKET + BUCKETS  # how many calls are executed together; 0 for one alone
LANES: Final = BATCH + 1  # how many calls may be executed side by side; 0 for one alone
ASKED: Final = LANES + 1  # since when the worker is asked to leave; written by its master
LEAVING: Final = LANES + 2  # since when it takes no requests any more
WORKER_ID: Final = LANES + 3
MAX_BATCH: Final = 256
TARGET_WORKERS_WORD: Final = 0
HIGH_WATER_WORD: Final = 1  # and the next one: how many slots of each half were ever used


class WorkerState(IntEnum):
    """What a worker slot says."""

    FREE = 0
    STARTING = 1
    LOADING = 2
    IDLE = 3
    BUSY = 4
    PARKED = 5  # failed to load; waits for the supervisor's decision
    LEAVING = 6  # has given its last answer and ends


def create_memory(name: str, byte_count: int) -> int:
    """Return the descriptor of an anonymous shared-memory file: no path, nothing to clean up.

    Its length is sealed: endpoint code has the descriptor too, and a mapped file that is cut short
    ends all who look at it with SIGBUS.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, byte_count)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


def _words(fd: int) -> memoryview:
    size = os.fstat(fd).st_size
    return memoryview(mmap.mmap(fd, size)).cast("Q")


@dataclass(frozen=True)
class SlotReading:
    """One worker's slot at one moment; times are monotonic nanoseconds, 0 is 'none'.

    The fields from `state` to `call` stand in the order of the slot's words.
    """

    index: int
    state: WorkerState
    pid: int
    generation: int
    heartbeat_ns: int
    started_ns: int
    deadline_ns: int
    requests: int
    errors: int
    busy_ns: int
    since_ns: int
    call: int = 0
    asked_ns: int = 0
    leaving_ns: int = 0
    worker_id: int = 0  # the worker's number within its server; two have it while one leaves

    @property
    def is_leaving(self) -> bool:
        """Whether the worker takes no requests any more; it may still execute some."""
        return self.leaving_ns > 0


def _first_call(index: int) -> int:
    return SLOTS_END + index * MAX_BATCH


class ServerScoreboard:
    """The slots of one server's workers; odd and even generations use separate halves."""

    # The calls of batches lie behind the slots, so that pages which no batch needs cost nothing.
    BYTES: Final = WORD * (SLOT_WORDS * (SLOTS + 1) + SLOTS * MAX_BATCH)

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._words = _words(fd)

    @classmethod
    def create(cls, name: str) -> ServerScoreboard:
        """Make the shared memory of a new server."""
        return cls(create_memory(name, cls.BYTES))

    @property
    def target_workers(self) -> int:
        """How many workers the server shall have; written by the supervisor only."""
        return self._words[TARGET_WORKERS_WORD]

    @target_workers.setter
    def target_workers(self, count: int) -> None:
        self._words[TARGET_WORKERS_WORD] = count

    def slot(self, index: int) -> Slot:
        """Return the writer's view of slot `index`."""
        return Slot(self._words, index)

    def free_slot(self, generation: int) -> int:
        """Return the first free slot of that generation's half; raise `LookupError` if none is."""
        first = (generation % 2) * SLOTS_PER_GENERATION
        for index in range(first, first + SLOTS_PER_GENERATION):
            if self._words[(index + 1) * SLOT_WORDS + STATE] == WorkerState.FREE:
                mark = HIGH_WATER_WORD + generation % 2
                self._words[mark] = max(self._words[mark], index - first + 1)
                return index
        raise LookupError("all worker slots are taken")

    def read(self, index: int) -> SlotReading:
        """Return one slot's values."""
        base = (index + 1) * SLOT_WORDS
        state, *values = self._words[base : base + FIRST_BUCKET].tolist()
        values += self._words[base + ASKED : base + WORKER_ID + 1].tolist()
        return SlotReading(index, WorkerState(state), *values)

    def calls(self, index: int) -> list[int]:
        """Return what is being executed in one slot, each call as its sender knows it."""
        words, base = self._words, (index + 1) * SLOT_WORDS
        if words[base + STATE] != WorkerState.BUSY:
            return []
        count = words[base + BATCH]
        first = _first_call(index)
        if words[base + LANES]:  # 0 is one where nothing is executed
            return [call for call in words[first : first + words[base + LANES]].tolist() if call]
        return words[first : first + count].tolist() if count else [words[base + CALL]]

    def occupied(self) -> list[SlotReading]:
        """Return the slots that belong to a process now."""
        words = self._words
        return [
            self.read(index)
            for half in (0, 1)
            for index in range(
                half * SLOTS_PER_GENERATION,
                half * SLOTS_PER_GENERATION + words[HIGH_WATER_WORD + half],
            )
            if words[(index + 1) * SLOT_WORDS + STATE]
        ]

    def totals(self) -> tuple[int, int, int]:
        """Return requests, errors and busy nanoseconds of all slots since the server began."""
        rows = [
            self._words[column + SLOT_WORDS : SLOTS_END : SLOT_WORDS].tolist()
            for column in (REQUESTS, ERRORS, BUSY_NS)
        ]
        return sum(rows[0]), sum(rows[1]), sum(rows[2])

    def latency_buckets(self) -> list[int]:
        """Return how many executions fell into each bucket of `LATENCY_BOUNDS_US`."""
        return [
            sum(self._words[FIRST_BUCKET + bucket + SLOT_WORDS : SLOTS_END : SLOT_WORDS].tolist())
            for bucket in range(BUCKETS)
        ]


class Slot:
    """A worker's own slot: the only one it writes."""

    def __init__(self, words: memoryview, index: int) -> None:
        self.index = index
        self.words = words
        self.base = (index + 1) * SLOT_WORDS
        self.first_call = _first_call(index)

    def occupy(self, pid: int, generation: int, now_ns: int, worker_id: int = 0) -> None:
        """Take the slot for a new process; the counters of its predecessors stay."""
        words, base = self.words, self.base
        words[base + PID] = pid
        words[base + GENERATION] = generation
        words[base + HEARTBEAT] = now_ns
        words[base + STARTED] = words[base + DEADLINE] = 0
        words[base + BATCH] = words[base + LANES] = 0
        words[base + ASKED] = words[base + LEAVING] = 0
        words[base + WORKER_ID] = worker_id
        self.set_state(WorkerState.STARTING, now_ns)

    def set_pid(self, pid: int) -> None:
        """Say which process has the slot, once its parent knows."""
        self.words[self.base + PID] = pid

    def set_state(self, state: WorkerState, now_ns: int) -> None:
        """Say what the worker does from now on."""
        self.words[self.base + SINCE] = now_ns
        self.words[self.base + STATE] = state

    def ask_to_leave(self, now_ns: int) -> None:
        """Say, from outside, that the worker shall finish what it does and end."""
        self.words[self.base + ASKED] = now_ns

    @property
    def is_asked_to_leave(self) -> bool:
        """Whether somebody wants the worker to end."""
        return self.words[self.base + ASKED] > 0

    def leave(self, now_ns: int) -> None:
        """Say that the worker takes no requests from now on."""
        self.words[self.base + LEAVING] = now_ns

    def beat(self, now_ns: int) -> None:
        """Say that the process still runs."""
        self.words[self.base + HEARTBEAT] = now_ns

    def begin(self, now_ns: int, deadline_ns: int, call: int = 0) -> None:
        """Say that a request is being executed; `call` is what its sender knows it by."""
        words, base = self.words, self.base
        words[base + CALL] = call
        words[base + BATCH] = 0
        words[base + DEADLINE] = deadline_ns
        words[base + STARTED] = now_ns
        words[base + STATE] = WorkerState.BUSY

    def extend(self, deadline_ns: int) -> None:
        """Say that the request has come on, and has until then for the next step."""
        self.words[self.base + DEADLINE] = deadline_ns

    def join(self, call: int) -> None:
        """Say that another request is executed together with those that have begun."""
        words, base = self.words, self.base
        count = words[base + BATCH] or 1
        first = self.first_call
        if count == 1:
            words[first] = words[base + CALL]
        words[first + count] = call
        words[base + BATCH] = count + 1

    def finish(self, started_ns: int, now_ns: int, *, failed: int, count: int = 1) -> None:
        """Say that the request is done, or all `count` of a batch, and count them."""
        words, base = self.words, self.base
        words[base + STATE] = WorkerState.IDLE
        words[base + STARTED] = words[base + DEADLINE] = 0
        words[base + HEARTBEAT] = now_ns
        words[base + REQUESTS] += count
        if failed:
            words[base + ERRORS] += failed
        elapsed_ns = now_ns - started_ns
        words[base + BUSY_NS] += elapsed_ns
        words[base + FIRST_BUCKET + bisect_left(LATENCY_BOUNDS_US, elapsed_ns // 1000)] += count

    def release(self) -> None:
        """Give the slot back after its process has ended."""
        words, base = self.words, self.base
        words[base + STATE] = WorkerState.FREE
        words[base + PID] = words[base + STARTED] = words[base + DEADLINE] = 0


IN_FLIGHT, ACCEPTED, ANSWERED_OK, ANSWERED_4XX, ANSWERED_5XX, REFUSED, LOST, EXPIRED = range(8)
GATEWAY_CELL_WORDS: Final = 8 + BUCKETS


class GatewayScoreboard:
    """Counters of each gateway process for each endpoint: one cell per pair."""

    PROCESSES_PER_GENERATION: Final = 16
    PROCESSES: Final = 2 * PROCESSES_PER_GENERATION
    CELLS: Final = 512

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._words = _words(fd)

    @classmethod
    def create(cls) -> GatewayScoreboard:
        """Make the shared memory of a new gateway."""
        byte_count = WORD * cls.PROCESSES * cls.CELLS * GATEWAY_CELL_WORDS
        return cls(create_memory("gateway", byte_count))

    def _base(self, process: int, cell: int) -> int:
        return (process * self.CELLS + cell) * GATEWAY_CELL_WORDS

    def cell(self, process: int, cell: int) -> memoryview:
        """Return the words that gateway process `process` writes for endpoint `cell`."""
        base = self._base(process, cell)
        return self._words[base : base + GATEWAY_CELL_WORDS]

    def totals(self, cell: int) -> list[int]:
        """Return one endpoint's counters, summed over the gateway's processes."""
        rows = [self.cell(process, cell).tolist() for process in range(self.PROCESSES)]
        return [sum(column) for column in zip(*rows, strict=True)]

    def forget_in_flight(self, process: int) -> None:
        """Clear the gauges of a gateway process that has died."""
        for cell in range(self.CELLS):
            base = self._base(process, cell)
            if self._words[base + IN_FLIGHT]:
                self._words[base + IN_FLIGHT] = 0
