"""Looking at a gateway's processes from outside."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import PATIENCE_S, eventually


def tree(gateway: RunningGateway) -> list[psutil.Process]:
    """Return all processes below the supervisor."""
    return psutil.Process(gateway.process.pid).children(recursive=True)


def role(gateway: RunningGateway, name: str) -> list[psutil.Process]:
    """Return the processes of a role: `gateway`, `serving`; the master comes first."""
    module = f"basic_inference_server.{name}"
    found = []
    for process in tree(gateway):
        try:
            if module in process.cmdline():
                found.append((process.ppid() != gateway.process.pid, process.pid, process))
        except psutil.Error:
            continue
    return [process for _, _, process in sorted(found, key=lambda row: row[:2])]


def masters(gateway: RunningGateway, name: str) -> list[psutil.Process]:
    """Return the masters of a role: what a dead one leaves is adopted, and has no children."""
    return [process for process in role(gateway, name) if is_running(process) and forks(process)]


def forks(process: psutil.Process) -> bool:
    """Say whether a process has children."""
    try:
        return bool(process.children())
    except psutil.Error:
        return False


def is_running(process: psutil.Process) -> bool:
    """Say whether a process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def expect_gone(processes: list[psutil.Process], timeout_s: float = PATIENCE_S) -> None:
    """Fail unless all of them end within the time."""
    eventually(
        lambda: not [process for process in processes if is_running(process)],
        timeout_s,
        "every process has ended",
    )


def is_refused(port: int) -> bool:
    """Say whether nobody listens on that port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def open_descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return sum(1 for _ in (Path("/proc") / str(pid) / "fd").iterdir())
