"""A process that can start neither processes nor threads: by a real limit of the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

PIDS_GROUPS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # of version 1, of version 2


@contextmanager
def cannot_fork(process: psutil.Process) -> Iterator[None]:
    """Let a process start nothing for the length of a `with` block.

    By its own RLIMIT_NPROC, which does not bind root; for root by a control group. Where none can
    be made the test is skipped.
    """
    if os.geteuid() != 0:
        limits = process.rlimit(psutil.RLIMIT_NPROC)
        process.rlimit(psutil.RLIMIT_NPROC, (1, limits[1]))
        try:
            yield
        finally:
            process.rlimit(psutil.RLIMIT_NPROC, limits)
        return
    root, group = _limited_group(process.pid)
    try:
        _move(process.pid, group)
        yield
    finally:
        _move(process.pid, root)
        group.rmdir()


def _limited_group(pid: int) -> tuple[Path, Path]:
    """Return a control group whose member may start nothing, and the one above it."""
    reason = "there is no control group for pids"
    for root in PIDS_GROUPS:
        group = root / f"bis-test-{os.getpid()}-{pid}"
        try:
            group.mkdir()
        except OSError as error:
            reason = str(error)
            continue
        if (group / "pids.max").exists():
            (group / "pids.max").write_text("1")
            return root, group
        group.rmdir()
    pytest.skip(f"root cannot be kept from starting processes here: {reason}")


def _move(pid: int, group: Path) -> None:
    """Move a process, if it still is there, into a control group."""
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        return
