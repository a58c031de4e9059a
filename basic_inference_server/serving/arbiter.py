"""The server's master: one scoreboard slot per worker, announced deaths, throttled respawns.

The number of workers is what the supervisor wrote on the scoreboard. A worker that dies before it
has loaded, or soon after, is not replaced in a tight loop.
"""

from __future__ import annotations

import os
import signal
import socket
from itertools import count
from pathlib import Path

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns, monotonic_s
from basic_inference_server.core.memory import available_bytes, resident_bytes
from basic_inference_server.core.scoreboard import (
    SLOTS_PER_GENERATION,
    ServerScoreboard,
    SlotReading,
    WorkerState,
)
from basic_inference_server.prefork.arbiter import (
    PreforkApplication,
    PreforkArbiter,
    describe_exit,
)
from basic_inference_server.prefork.bell import Bell
from basic_inference_server.prefork.respawn import SENT_FROM_OUTSIDE, YOUNG_S, End
from basic_inference_server.serving.pull_worker import PullWorker
from basic_inference_server.serving.shared_model import load_before_fork
from basic_inference_server.worker.discovery import keep_code

SUPERVISORS_TURN_S = 1.0
UNLOADED_STATES = frozenset({WorkerState.STARTING, WorkerState.LOADING, WorkerState.PARKED})


class ServerApplication(PreforkApplication):
    """What the workers of one endpoint's server find in `self.app`."""

    def __init__(
        self, spec: ServerSpec, scoreboard: ServerScoreboard, announcer: Announcer
    ) -> None:
        self.spec = spec
        self.scoreboard = scoreboard
        self.announcer = announcer
        self.next_slot = 0
        self.next_worker_id = 0
        self.bells: dict[int, Bell] = {}  # by slot
        folder = Path(spec.base_folder) / spec.workers_location
        self.kept_code = keep_code(folder, spec.server_class)
        self.shared_model = load_before_fork(spec, self.kept_code, announcer)
        super().__init__(
            {
                "workers": scoreboard.target_workers,
                "worker_class": PullWorker,
                "timeout": 0,  # the supervisor finds hung workers on the scoreboard
                "graceful_timeout": max(1, int(spec.graceful_timeout_s)),
                "proc_name": spec.signature,
            }
        )


class ServerArbiter(PreforkArbiter):
    """Keeps the target number of workers of one generation alive."""

    def __init__(self, application: ServerApplication, listener: socket.socket) -> None:
        super().__init__(application, listener)
        self._application = application
        self._slots: dict[int, int] = {}
        self._requests_before: dict[int, int] = {}
        self._has_loaded = False

    def spawn_worker(self) -> int:
        """Fork one worker that owns a free slot; return its pid."""
        application = self._application
        index = application.scoreboard.free_slot(application.spec.generation)
        slot = application.scoreboard.slot(index)
        worker_id = self._free_worker_id()
        slot.occupy(0, application.spec.generation, monotonic_ns(), worker_id)
        application.next_slot, application.next_worker_id = index, worker_id
        try:
            bell = application.bells[index] = Bell()
            pid: int = super().spawn_worker()
        except (OSError, RuntimeError):
            if index in application.bells:
                application.bells.pop(index).close()
            slot.release()
            raise
        bell.keep_only_the_button()
        slot.set_pid(pid)
        self._slots[pid] = index
        self._requests_before[pid] = application.scoreboard.read(index).requests
        return pid

    def _free_worker_id(self) -> int:
        """Return the lowest number that no worker has; whoever leaves has given up its own."""
        taken = {reading.worker_id for pid, reading in self._readings() if not self._leaves(pid)}
        return next(number for number in count() if number not in taken)

    def _readings(self) -> list[tuple[int, SlotReading]]:
        scoreboard = self._application.scoreboard
        return [(pid, scoreboard.read(index)) for pid, index in self._slots.items()]

    def _leaves(self, pid: int) -> bool:
        reading = self._application.scoreboard.read(self._slots[pid])
        return reading.is_leaving or self.has_been_asked(pid)

    def manage_workers(self) -> None:
        """Bring the number of workers to the target.

        Those that leave do not count: each is replaced while it still runs, where there is room.
        """
        target = self._application.scoreboard.target_workers
        staying = sorted((pid for pid in self.WORKERS if not self._leaves(pid)), key=self._worth)
        for pid in staying[: max(0, len(staying) - target)]:
            self.kill_worker(pid, signal.SIGTERM)
        in_the_way = sum(
            not self._has_room_beside(pid) for pid in self.WORKERS if pid not in staying
        )
        missing = target - len(staying) - in_the_way
        if missing > 0:
            self.num_workers: int = min(len(self.WORKERS) + missing, SLOTS_PER_GENERATION)
            self.spawn_workers()

    def _worth(self, pid: int) -> tuple[bool, int]:
        """Order workers: first who has not loaded, then the oldest."""
        state = self._application.scoreboard.read(self._slots[pid]).state
        return state not in UNLOADED_STATES, self.WORKERS[pid].age

    def _has_room_beside(self, pid: int) -> bool:
        """Say whether a worker as large as that one fits into the memory that is free."""
        return available_bytes() > resident_bytes(pid)

    def signal_worker(self, pid: int, sig: int) -> None:
        """Ask a worker that serves on its slot: endpoint code may have taken SIGTERM's handler.

        While it loads, SIGTERM ends it at once, in the middle of whatever it does.
        """
        scoreboard, index = self._application.scoreboard, self._slots[pid]
        if sig != signal.SIGTERM:
            super().signal_worker(pid, sig)
            return
        scoreboard.slot(index).ask_to_leave(monotonic_ns())
        self._application.bells[index].ring()
        if scoreboard.read(index).state in UNLOADED_STATES:
            super().signal_worker(pid, sig)

    def handle_ttin(self) -> None:
        """SIGTTIN: the supervisor has changed the target."""
        self.forget_fork_trouble()
        self.manage_workers()

    handle_ttou = handle_ttin

    def on_fork_trouble(self, error: str | None) -> None:
        """Announce it, and how many workers there are all the same."""
        self._application.announcer.announce("fork_trouble", error=error, running=len(self.WORKERS))

    def _others_have_loaded(self) -> bool:
        scoreboard = self._application.scoreboard
        readings = [scoreboard.read(index) for index in self._slots.values()]
        return any(reading.state not in UNLOADED_STATES for reading in readings)

    def on_worker_exit(self, pid: int, status: int, *, was_asked: bool) -> None:
        """Free the slot, announce the death with its cause, slow down a crash loop."""
        application = self._application
        index = self._slots.pop(pid)
        scoreboard = application.scoreboard
        reading, calls = scoreboard.read(index), scoreboard.calls(index)
        application.bells.pop(index).close()
        scoreboard.slot(index).release()
        had_loaded = reading.state not in UNLOADED_STATES
        self._has_loaded = self._has_loaded or had_loaded or self._others_have_loaded()
        has_answered = reading.requests > self._requests_before.pop(pid)
        was_used = has_answered or reading.state is WorkerState.BUSY
        end = _end_of(reading, status, was_asked=was_asked, was_used=was_used)
        lived_s = (monotonic_ns() - reading.since_ns) / NS_PER_S if had_loaded else 0.0
        # Whether to go on with an endpoint that has never loaded is for the supervisor to say.
        turn_s = SUPERVISORS_TURN_S if end is End.UNLOADED and not self._has_loaded else 0.0
        pause_s = self.places.clear(pid, end, lived_s, monotonic_s(), turn_s)
        application.announcer.announce(
            "worker_exit",
            pid=pid,
            worker_id=reading.worker_id,
            cause=describe_exit(status),
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            calls=calls,
            had_loaded=had_loaded,
            was_parked=reading.state is WorkerState.PARKED,
            was_busy=reading.state is WorkerState.BUSY,
            is_clean=end is End.LEFT,
            was_unused=had_loaded and not was_used and lived_s < YOUNG_S,
            has_crashed=end is End.UNUSED and lived_s < YOUNG_S,
            retry_in_s=round(pause_s, 1),
        )


def _end_of(reading: SlotReading, status: int, *, was_asked: bool, was_used: bool) -> End:
    """Return how a worker has ended; `os._exit(0)` in an endpoint is not how one leaves."""
    has_failed = os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
    if was_asked or (reading.state is WorkerState.LEAVING and not has_failed):
        return End.LEFT
    if reading.state in UNLOADED_STATES:
        return End.UNLOADED
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in SENT_FROM_OUTSIDE:
        return End.KILLED
    return End.USED if was_used else End.UNUSED
