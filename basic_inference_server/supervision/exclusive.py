"""One gateway per base folder: a lock that the kernel drops when its owner dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from basic_inference_server.supervision.sockets import StartError


def lock_folder(folder: Path) -> int:
    """Take the folder's lock and return its descriptor; it is held while that stays open.

    Raises:
        StartError: another gateway holds it; the message has its pid.
    """
    path = folder / "gateway.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise StartError(
            f"another gateway (pid {owner or 'unknown'}) already runs with {folder}"
        ) from error
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd
