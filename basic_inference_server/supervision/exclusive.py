"""One gateway per base folder: a lock that the kernel drops when its owner dies."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.supervision.sockets import StartError

LOOK_EVERY_S = 0.05
STOPPING = "stopping"


def lock_folder(folder: Path) -> int:
    """Take the folder's lock and return its descriptor; it is held while that stays open.

    A gateway that is stopping is waited for: a process manager may start the next one early.

    Raises:
        StartError: another gateway holds it; the message has its pid.
    """
    path = folder / "gateway.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from error
    is_waiting = False
    while not _is_locked(fd):
        pid, ends_at_s = _owner(fd)
        if monotonic_s() >= ends_at_s:
            os.close(fd)
            raise StartError(f"another gateway (pid {pid}) already runs with {folder}")
        if not is_waiting:
            is_waiting = True
            print(  # noqa: T201 - before any log exists
                f"Waiting for the gateway of {folder} (pid {pid}), which is stopping.",
                file=sys.stderr,
            )
        threading.Event().wait(LOOK_EVERY_S)
    _write(fd, str(os.getpid()))
    return fd


def announce_stop(lock_fd: int, within_s: float) -> None:
    """Tell the next gateway of the folder that waiting that long is worth its while."""
    _write(lock_fd, f"{os.getpid()} {STOPPING} {monotonic_s() + within_s}")


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(fd: int) -> tuple[str, float]:
    """Return the pid of the gateway that has the lock, and until when it may be stopping."""
    pid, *more = os.pread(fd, 100, 0).decode("ascii", "replace").split() or ["unknown"]
    try:
        return pid, float(more[1]) if more[:1] == [STOPPING] else 0.0
    except (IndexError, ValueError):  # it is just being written
        return pid, 0.0


def _write(fd: int, text: str) -> None:
    os.pwrite(fd, text.encode(), 0)
    os.ftruncate(fd, len(text))
