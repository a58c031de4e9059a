"""One generation of a server: its master process and the workers that it says are ready."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.supervision.child_process import ChildProcess
from basic_inference_server.supervision.endpoint_files import FileStamp

KILL_MARGIN_S = 1.0


class Generation:
    """A running or ending set of processes of one server."""

    def __init__(self, number: int, file_stamp: FileStamp = None) -> None:
        self.number = number
        self.file_stamp = file_stamp
        self.process: ChildProcess | None = None
        self.ready_pids: set[int] = set()
        self.endpoint: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.undrained: set[int] = set()  # processes that served and have not said how they left
        self.cut = 0  # requests that its processes could not finish
        self.waiting = 0  # ports on which clients waited: lost, unless the next generation has them
        self._kill_at_s: float | None = None

    @property
    def pid(self) -> int | None:
        """The master's pid."""
        return self.process.pid if self.process else None

    @property
    def is_leaving(self) -> bool:
        """Whether its processes have been asked to leave."""
        return self._kill_at_s is not None

    def owns(self, pid: int) -> bool:
        """Whether `pid` is now a process of this generation; guards against reused pids."""
        try:
            return os.getpgid(pid) == self.pid
        except ProcessLookupError:
            return False

    def signal_worker(self, pid: int, number: signal.Signals) -> None:
        """Signal one worker, if it still is one."""
        if self.owns(pid):
            os.kill(pid, number)

    def retire(self, graceful_timeout_s: float) -> None:
        """Ask all processes to finish what they do and leave; `reap` kills those that do not."""
        if self.process is None or self._kill_at_s is not None:
            return
        self._kill_at_s = monotonic_s() + graceful_timeout_s + KILL_MARGIN_S
        if self.process.is_alive:
            self.process.send_signal(signal.SIGTERM)
            # A stopped master cannot drain its workers; let it run again to be told.
            self.process.send_signal(signal.SIGCONT)
        else:
            self.process.signal_group(signal.SIGTERM)

    def give_time(self, seconds: float) -> None:
        """Put off the moment at which those are killed that do not leave."""
        if self._kill_at_s is not None:
            self._kill_at_s += seconds

    def kill(self) -> None:
        """End all processes now."""
        if self.process is not None:
            self._kill_at_s = monotonic_s()
            self.process.signal_group(signal.SIGKILL)

    def reap(self, now_s: float, on_gone: Callable[[], None]) -> bool:
        """Kill what has overstayed; release everything and say so once nothing is left."""
        if self.process is None:
            return True
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self.process.signal_group(signal.SIGKILL)
        if self.process.is_alive or _group_exists(self.process.pid):
            return False
        self.process.release()
        self.process = None
        on_gone()
        return True


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
