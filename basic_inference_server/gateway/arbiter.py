"""The gateway's master: each of its processes has a number of its own for its counters."""

from __future__ import annotations

import os
import socket

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.gateway.http_worker import HttpWorker
from basic_inference_server.prefork.arbiter import PreforkApplication, PreforkArbiter
from basic_inference_server.prefork.respawn import SENT_FROM_OUTSIDE, End

STUCK_LOOP_TIMEOUT_S = 15
STARTED_WITHIN_S = 1.0


class GatewayApplication(PreforkApplication):
    """What the gateway's processes find in `self.app`."""

    def __init__(self, spec: GatewaySpec, announcer: Announcer) -> None:
        self.spec = spec
        self.announcer = announcer
        self.next_process_index = 0
        super().__init__(
            {
                "workers": spec.workers,
                "worker_class": HttpWorker,
                "timeout": STUCK_LOOP_TIMEOUT_S,
                "graceful_timeout": max(1, int(spec.graceful_timeout_s)),
                "proc_name": spec.server_name,
            }
        )


class GatewayArbiter(PreforkArbiter):
    """Keeps the gateway's processes alive."""

    def __init__(self, application: GatewayApplication, listener: socket.socket) -> None:
        super().__init__(application, listener)
        self._application = application
        self._index_of: dict[int, int] = {}
        self._born_at_s: dict[int, float] = {}

    def spawn_worker(self) -> int:
        """Fork one gateway process with the lowest number that is free."""
        taken = set(self._index_of.values())
        index = next(number for number in range(len(taken) + 1) if number not in taken)
        # Two generations may overlap while the older one drains: each has numbers of its own.
        half = self._application.spec.generation % 2
        first = half * GatewayScoreboard.PROCESSES_PER_GENERATION
        self._application.next_process_index = first + index
        pid: int = super().spawn_worker()
        self._index_of[pid] = index
        self._born_at_s[pid] = monotonic_s()
        return pid

    def handle_ttin(self) -> None:
        """SIGTTIN: nothing; GATEWAY_WORKERS says how many processes there are."""

    handle_ttou = handle_winch = handle_ttin

    def stop(self, graceful: bool = True) -> None:
        """Close the servers' own ports too, so that the last worker to drain is the last owner."""
        for fd in self._application.spec.direct_fds.values():
            os.close(fd)
        self._application.spec.direct_fds.clear()
        super().stop(graceful)

    def on_fork_trouble(self, error: str | None) -> None:
        """Announce it, and how many processes there are all the same."""
        self._application.announcer.announce("fork_trouble", error=error, running=len(self.WORKERS))

    def on_worker_exit(self, pid: int, status: int, *, was_asked: bool) -> None:
        """Free the number and say that the process has ended."""
        self._index_of.pop(pid, None)
        now_s = monotonic_s()
        lived_s = now_s - self._born_at_s.pop(pid, now_s)
        self.places.clear(pid, _end_of(status, lived_s, was_asked=was_asked), lived_s, now_s)
        exit_code = 0 if was_asked else os.waitstatus_to_exitcode(status)
        self._application.announcer.announce("worker_exit", pid=pid, exit_code=exit_code)


def _end_of(status: int, lived_s: float, *, was_asked: bool) -> End:
    """Return how a gateway process has ended; one that serves may always have had a request."""
    if was_asked:
        return End.LEFT
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in SENT_FROM_OUTSIDE:
        return End.KILLED
    return End.UNLOADED if lived_s < STARTED_WITHIN_S else End.USED
