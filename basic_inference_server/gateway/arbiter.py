"""The gateway's master: gunicorn's arbiter on sockets that the supervisor owns."""

from __future__ import annotations

import os
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.gunicorn_log import GunicornLog
from basic_inference_server.core.inherited_sockets import adopt_listeners
from basic_inference_server.gateway.http_worker import HttpWorker

STUCK_LOOP_TIMEOUT_S = 15


class GatewayApplication(BaseApplication):
    """gunicorn's view of the gateway."""

    def __init__(self, spec: GatewaySpec, announcer: Announcer) -> None:
        self.spec = spec
        self.announcer = announcer
        self.next_process_index = 0
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        options: dict[str, Any] = {
            "workers": self.spec.workers,
            "worker_class": HttpWorker,
            "timeout": STUCK_LOOP_TIMEOUT_S,
            "graceful_timeout": max(1, int(self.spec.graceful_timeout_s)),
            "control_socket_disable": True,
            "logger_class": GunicornLog,
            "proc_name": "gateway",
        }
        if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108 - gunicorn's heartbeat file in memory
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return nothing callable: the worker brings its own protocol."""
        return None


class GatewayArbiter(Arbiter):
    """Keeps the gateway's processes alive; each has a number of its own for its counters."""

    def __init__(self, application: GatewayApplication, listener: socket.socket) -> None:
        super().__init__(application)
        adopt_listeners(self, [listener])
        self._application = application
        self._index_of: dict[int, int] = {}

    def spawn_worker(self) -> int:
        """Fork one gateway process with the lowest number that is free."""
        taken = {index for pid, index in self._index_of.items() if pid in self.WORKERS}
        index = next(number for number in range(len(taken) + 1) if number not in taken)
        self._application.next_process_index = index
        pid: int = super().spawn_worker()
        self._index_of[pid] = index
        return pid

    def spawn_workers(self) -> None:
        """Fork what is missing, at once."""
        for _ in range(self.num_workers - len(self.WORKERS)):
            self.spawn_worker()

    def reap_workers(self) -> None:
        """Collect ended processes and say so; no exit status ends the gateway."""
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
                cause = os.waitstatus_to_exitcode(status)
                self._application.announcer.announce("worker_exit", pid=pid, exit_code=cause)

    def handle_hup(self) -> None:
        """SIGHUP: nothing; the supervisor replaces the gateway instead."""

    handle_usr2 = handle_hup
