"""Processes that endpoint code has started and left behind.

The supervisor is their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent
becomes the supervisor's child, were it in a session of its own. Each process carries the mark of
the generation that it comes from in its environment, so it is known whose it was.

What a dead worker has left is ended with it. What has made itself a daemon is left alone until its
server's generation ends. Should the supervisor itself be killed, `janitor` does the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from basic_inference_server.core.logs import EventLog

PR_SET_CHILD_SUBREAPER = 36
RUN_VARIABLE = "BIS_RUN"
JUST_BEFORE_S = 0.2  # an orphan may be seen before the death of its worker is announced
JUST_AFTER_S = 0.5


def become_subreaper() -> bool:
    """Adopt every orphan among our descendants; say whether the kernel agrees."""
    result: int = ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return result == 0


def own_children() -> list[int]:
    """Return the pids of this thread's children, adopted ones included."""
    thread = threading.get_native_id()
    try:
        text = Path(f"/proc/self/task/{thread}/children").read_text()
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN: strays are left to the janitor
        return []
    return [int(pid) for pid in text.split()]


def mark_of(pid: int) -> str | None:
    """Return the mark of the generation that a process comes from; `None` when it has none."""
    prefix = RUN_VARIABLE.encode() + b"="
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("utf-8", "replace")
    return None


class Strays:
    """Reaps adopted processes, and ends those whose worker or generation has ended.

    Args:
        is_ours: says of a pid whether it is a child that we have started and collect ourselves.
        is_living: says of a mark whether its generation still runs.
    """

    def __init__(
        self, is_ours: Callable[[int], bool], is_living: Callable[[str], bool], log: EventLog
    ) -> None:
        self._is_ours = is_ours
        self._is_living = is_living
        self._log = log
        self._seen: dict[int, tuple[str | None, float]] = {}
        self._condemned: dict[str, float] = {}

    def worker_died(self, mark: str, now_s: float) -> None:
        """End what a worker of that generation leaves behind: what is adopted at this moment."""
        self._condemned[mark] = now_s + JUST_AFTER_S
        self.tick(now_s)
        for pid, (seen_mark, since_s) in self._seen.items():
            if seen_mark == mark and now_s - since_s < JUST_BEFORE_S:
                self._end(pid, "its worker has died")

    def tick(self, now_s: float) -> None:
        """Look at every adopted process."""
        adopted = {pid for pid in own_children() if not self._is_ours(pid)}
        for pid in adopted:
            if _reap(pid):
                self._seen.pop(pid, None)
            elif pid not in self._seen:
                mark = mark_of(pid)
                self._seen[pid] = (mark, now_s)
                if mark is not None and self._condemned.get(mark, 0.0) > now_s:
                    self._end(pid, "its worker has died")
        for pid, (mark, _) in list(self._seen.items()):
            if pid not in adopted:
                del self._seen[pid]
            elif mark is not None and not self._is_living(mark):
                self._end(pid, "its server has ended")
        self._condemned = {m: until for m, until in self._condemned.items() if until > now_s}

    def end_all(self) -> bool:
        """End every adopted process; say whether none is left."""
        adopted = [pid for pid in own_children() if not self._is_ours(pid) and not _reap(pid)]
        for pid in adopted:
            self._end(pid, "the gateway stops")
        return not adopted

    def _end(self, pid: int, why: str) -> None:
        self._log.warning("stray_ended", pid=pid, why=why)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _reap(pid: int) -> bool:
    """Collect an adopted child if it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
