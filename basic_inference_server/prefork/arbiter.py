"""The master of a group of forked workers: gunicorn's arbiter with three differences.

Its listening sockets belong to the supervisor: they are handed over, so that gunicorn neither opens
a port of its own accord nor unlinks a Unix socket's path when it stops. Workers are forked without
pauses, unless they end again and again. And neither a worker's exit status nor a fork that fails
ends the master; the owner is told instead.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from basic_inference_server.core.clock import Standstill, monotonic_s
from basic_inference_server.prefork.gunicorn_log import GunicornLog
from basic_inference_server.prefork.respawn import WorkerPlaces

HELD_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
MAX_FORK_PAUSE_S = 4.0
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - gunicorn's heartbeat files, unlinked at once


class PreforkApplication(BaseApplication):
    """gunicorn's view of what it runs: options, and nothing callable."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Keep gunicorn's options; those that all masters share are added."""
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        shared: dict[str, Any] = {"control_socket_disable": True, "logger_class": GunicornLog}
        if os.access(MEMORY_FOLDER, os.W_OK | os.X_OK):
            shared["worker_tmp_dir"] = MEMORY_FOLDER
        for name, value in {**shared, **self._options}.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return nothing callable: workers bring their own protocol."""
        return None


class PreforkArbiter(Arbiter):
    """A master on one listening socket that somebody else owns."""

    def __init__(self, application: PreforkApplication, listener: socket.socket) -> None:
        super().__init__(application)
        self.LISTENERS = [listener]
        # How gunicorn notes that the sockets are not its own: it never unlinks them then.
        self.systemd = True
        self.places = WorkerPlaces()
        self._asked_to_leave: set[int] = set()
        self._fork_error: str | None = None
        self._fork_pause_s = 0.0
        self._fork_at_s = 0.0
        self._standstill = Standstill()
        self._standstill.look(monotonic_s())
        self._murder_from_s = 0.0

    def on_worker_exit(self, pid: int, status: int, *, was_asked: bool) -> None:
        """Take note of an ended worker, its `waitpid` status, and whether it was asked to leave."""

    def on_fork_trouble(self, error: str | None) -> None:
        """Take note that workers cannot be forked, and why; `None`: they can be again."""

    def spawn_workers(self) -> None:
        """Fork what is missing, as far as its places may be filled now.

        What runs goes on when no more can be forked, and that is tried again.
        """
        if monotonic_s() < self._fork_at_s:
            return
        missing = self.num_workers - len(self.WORKERS)
        for record in self.places.to_fill(missing, monotonic_s()):
            try:
                pid = self.spawn_worker()
            except (OSError, RuntimeError, LookupError) as error:
                if os.getpid() != self.pid:
                    os._exit(1)  # a child that got here would be a second master
                self._put_off_forks(f"a worker process cannot be started: {error}")
                return
            self.places.fill(record, pid)
            self.forget_fork_trouble(has_ended=True)

    def _put_off_forks(self, error: str) -> None:
        self._fork_pause_s = min(max(1.0, 2 * self._fork_pause_s), MAX_FORK_PAUSE_S)
        self._fork_at_s = monotonic_s() + self._fork_pause_s
        if error != self._fork_error:
            self._fork_error = error
            self.on_fork_trouble(error)

    def forget_fork_trouble(self, *, has_ended: bool = False) -> None:
        """Fork at once when there is reason to, and say so when that fails."""
        if has_ended and self._fork_error is not None:
            self.on_fork_trouble(None)
        self._fork_error = None
        self._fork_pause_s = self._fork_at_s = 0.0

    def spawn_worker(self) -> int:
        """Fork one worker; a signal that comes before it has handlers waits for them.

        It would be taken by the master's handlers, which the child has inherited, and be lost.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        return pid

    def reap_workers(self) -> None:
        """Collect ended workers."""
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
                was_asked = pid in self._asked_to_leave
                self._asked_to_leave.discard(pid)
                self.on_worker_exit(pid, status, was_asked=was_asked)

    def murder_workers(self) -> None:
        """End workers that do not beat, unless the master has not run itself for a while."""
        now_s = monotonic_s()
        if self._standstill.look(now_s):
            self._murder_from_s = now_s + self.timeout
        if now_s >= self._murder_from_s:
            super().murder_workers()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Signal a worker, and ask it only once to leave.

        gunicorn would repeat SIGTERM, which kills a Python process that is already leaving. A
        worker that is gone is left to `reap_workers`.
        """
        if sig == signal.SIGTERM and pid in self._asked_to_leave:
            return
        if sig in {signal.SIGTERM, signal.SIGQUIT}:
            self._asked_to_leave.add(pid)
        try:
            self.signal_worker(pid, sig)
        except ProcessLookupError:
            return

    def signal_worker(self, pid: int, sig: int) -> None:
        """Send it; SIGTERM asks a worker to leave, and may be said in another way."""
        os.kill(pid, sig)

    def has_been_asked(self, pid: int) -> bool:
        """Say whether a worker has been asked to leave and still runs."""
        return pid in self._asked_to_leave

    def stop(self, graceful: bool = True) -> None:
        """Ask the workers to leave, wait for them, kill those that stay.

        gunicorn looks every 0.1 s; here each ended worker wakes the wait.
        """
        for listener in self.LISTENERS:
            listener.close()
        self.LISTENERS = []
        deadline_s = monotonic_s() + self.cfg.graceful_timeout
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        while self.WORKERS:
            now_s = monotonic_s()
            deadline_s += self._standstill.look(now_s)
            if now_s >= deadline_s:
                break
            if {signal.SIGINT, signal.SIGQUIT} & set(self.wait_for_signals(timeout=0.1)):
                self.kill_workers(signal.SIGQUIT)
            self.reap_workers()
        self.kill_workers(signal.SIGKILL)
        self.reap_workers()

    def handle_hup(self) -> None:
        """SIGHUP: nothing; the supervisor starts a new generation instead."""

    handle_usr1 = handle_usr2 = handle_hup


def take_held_signals() -> None:
    """Let what has come since the fork arrive; called by a worker that has its handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)


def ignore_stray_signals() -> None:
    """Survive what is meant for other programs, such as the SIGUSR1 of a log rotation.

    By a handler, because the children of an endpoint would inherit an ignored signal.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)


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
