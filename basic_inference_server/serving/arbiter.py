"""The server's master: gunicorn's arbiter, with the engine's rules for deaths and scaling.

Differences from gunicorn: sockets come from outside; a worker gets a scoreboard slot; a death is
announced with its cause; a worker that dies before it has loaded is not replaced in a tight loop;
the number of workers is what the supervisor wrote on the scoreboard.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import monotonic_ns, monotonic_s
from basic_inference_server.core.gunicorn_log import GunicornLog
from basic_inference_server.core.inherited_sockets import adopt_listeners
from basic_inference_server.core.scoreboard import ServerScoreboard, WorkerState
from basic_inference_server.serving.pull_worker import PullWorker

MAX_RESPAWN_DELAY_S = 60.0
UNLOADED_STATES = frozenset({WorkerState.STARTING, WorkerState.LOADING, WorkerState.PARKED})


class ServerApplication(BaseApplication):
    """gunicorn's view of one endpoint's server."""

    def __init__(
        self, spec: ServerSpec, scoreboard: ServerScoreboard, announcer: Announcer
    ) -> None:
        self.spec = spec
        self.scoreboard = scoreboard
        self.announcer = announcer
        self.next_slot = 0
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options; timeouts are the supervisor's job, so gunicorn's is off."""
        options = {
            "workers": self.scoreboard.target_workers,
            "worker_class": PullWorker,
            "timeout": 0,
            "graceful_timeout": max(1, int(self.spec.graceful_timeout_s)),
            "control_socket_disable": True,
            "logger_class": GunicornLog,
            "proc_name": self.spec.signature,
        }
        if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108 - gunicorn's heartbeat file in memory
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return nothing callable: workers pull frames, not WSGI requests."""
        return None


class ServerArbiter(Arbiter):
    """Keeps the target number of workers of one generation alive."""

    def __init__(self, application: ServerApplication, listener: socket.socket) -> None:
        super().__init__(application)
        adopt_listeners(self, [listener])
        self._application = application
        self._slots: dict[int, int] = {}
        self._asked_to_leave: set[int] = set()
        self._failed_boots = 0
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

    def spawn_workers(self) -> None:
        """Fork what is missing, at once: gunicorn's pauses only delay the start."""
        for _ in range(self.num_workers - len(self.WORKERS)):
            self.spawn_worker()

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

    def handle_hup(self) -> None:
        """SIGHUP: nothing; a new generation replaces this one instead."""

    handle_usr2 = handle_hup

    def reap_workers(self) -> None:
        """Collect ended workers; unlike gunicorn, no exit status ends the server."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self.WORKERS.pop(pid, None)
            if worker is not None:
                worker.tmp.close()
                self._on_worker_exit(pid, status)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Signal a worker, and ask it only once to leave.

        gunicorn would repeat SIGTERM, which kills a Python process that is already leaving. A
        worker that is gone is left to `reap_workers`.
        """
        if sig == signal.SIGTERM:
            if pid in self._asked_to_leave:
                return
            self._asked_to_leave.add(pid)
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return

    def _on_worker_exit(self, pid: int, status: int) -> None:
        index = self._slots.pop(pid)
        self._asked_to_leave.discard(pid)
        scoreboard = self._application.scoreboard
        reading = scoreboard.read(index)
        scoreboard.slot(index).release()
        had_loaded = reading.state not in UNLOADED_STATES
        if had_loaded:
            self._failed_boots = 0
        else:
            self._failed_boots += 1
            delay_s = 0.0 if self._failed_boots == 1 else 2.0 ** (self._failed_boots - 2)
            self._respawn_at_s = monotonic_s() + min(delay_s, MAX_RESPAWN_DELAY_S)
        self._application.announcer.announce(
            "worker_exit",
            pid=pid,
            worker_id=reading.worker_id,
            cause=describe_exit(status),
            had_loaded=had_loaded,
            was_busy=reading.state is WorkerState.BUSY,
            is_clean=status == 0,
        )


def describe_exit(status: int) -> str:
    """Return in words how a process ended, from its `waitpid` status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "unknown"
        return f"signal {number} ({name})"
    return f"exit code {os.WEXITSTATUS(status)}"
