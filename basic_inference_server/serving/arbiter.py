"""The server's master: one scoreboard slot per worker, announced deaths, throttled respawns.

The number of workers is what the supervisor wrote on the scoreboard. A worker that dies before it
has loaded is not replaced in a tight loop.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import monotonic_ns, monotonic_s
from basic_inference_server.core.scoreboard import ServerScoreboard, SlotReading, WorkerState
from basic_inference_server.prefork.arbiter import (
    PreforkApplication,
    PreforkArbiter,
    describe_exit,
)
from basic_inference_server.serving.pull_worker import PullWorker
from basic_inference_server.serving.shared_model import load_before_fork
from basic_inference_server.worker.discovery import keep_code

MAX_RESPAWN_DELAY_S = 60.0
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
        self._failed_boots = 0
        self._has_loaded = False
        self._respawn_at_s = 0.0

    def spawn_worker(self) -> int:
        """Fork one worker that owns a free slot; return its pid."""
        application = self._application
        index = application.scoreboard.free_slot(application.spec.generation)
        slot = application.scoreboard.slot(index)
        slot.occupy(0, application.spec.generation, monotonic_ns())
        application.next_slot = index
        pid: int = super().spawn_worker()
        slot.set_pid(pid)
        self._slots[pid] = index
        return pid

    def manage_workers(self) -> None:
        """Bring the number of workers to the target, unless replacements keep dying."""
        target = self._application.scoreboard.target_workers
        self.num_workers: int = target
        if len(self.WORKERS) < target and monotonic_s() < self._respawn_at_s:
            return
        super().manage_workers()

    def handle_ttin(self) -> None:
        """SIGTTIN: the supervisor has changed the target."""
        self.manage_workers()

    handle_ttou = handle_ttin

    def _others_have_loaded(self) -> bool:
        scoreboard = self._application.scoreboard
        readings = [scoreboard.read(index) for index in self._slots.values()]
        return any(reading.state not in UNLOADED_STATES for reading in readings)

    def _respawn_delay_s(self) -> float:
        """Return the wait after a failed load: none before the first retry of one that can load.

        Whether to go on with an endpoint that has never loaded is for the supervisor to say.
        """
        if self._failed_boots == 1 and self._has_loaded:
            return 0.0
        return min(2.0 ** max(0, self._failed_boots - 2), MAX_RESPAWN_DELAY_S)

    def on_worker_exit(self, pid: int, status: int, *, was_asked: bool) -> None:
        """Free the slot, announce the death with its cause, slow down a crash loop."""
        application = self._application
        index = self._slots.pop(pid)
        scoreboard = application.scoreboard
        reading, calls = scoreboard.read(index), scoreboard.calls(index)
        scoreboard.slot(index).release()
        had_loaded = reading.state not in UNLOADED_STATES
        self._has_loaded = self._has_loaded or had_loaded or self._others_have_loaded()
        if had_loaded or was_asked:
            self._failed_boots = 0
        else:
            self._failed_boots += 1
            self._respawn_at_s = monotonic_s() + self._respawn_delay_s()
        application.announcer.announce(
            "worker_exit",
            pid=pid,
            worker_id=reading.worker_id,
            cause=describe_exit(status),
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            calls=calls,
            had_loaded=had_loaded,
            was_busy=reading.state is WorkerState.BUSY,
            is_clean=was_asked or _has_left(reading, status),
        )


def _has_left(reading: SlotReading, status: int) -> bool:
    """Say whether a worker has served to its end; `os._exit(0)` in an endpoint is none."""
    return status == 0 and reading.state is WorkerState.LEAVING
