"""Reads what a whole tree of processes has used: CPU time, memory. Starts and stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

KIB = 1024
NAME_CHARS = 70


def members(root_pid: int) -> list[psutil.Process]:
    """The process, all its descendants, and whoever else is in its session.

    The session finds a process whose parent has gone and that therefore hangs off init.
    """
    found: dict[int, psutil.Process] = {}
    try:
        root = psutil.Process(root_pid)
        found = {process.pid: process for process in (root, *root.children(recursive=True))}
    except psutil.NoSuchProcess:
        pass  # only the session is left to look through
    for pid in psutil.pids():
        try:
            if pid not in found and os.getsid(pid) == root_pid:
                found[pid] = psutil.Process(pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return list(found.values())


def cpu_seconds(root_pid: int) -> float:
    """User and system time of the tree so far, children that died and were waited for included.

    A child that dies between two calls moves from its own figure to its parent's "children"
    figure, so the difference between the calls stays right.
    """
    total = 0.0
    for process in members(root_pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def pss_bytes(root_pid: int) -> int:
    """Proportional set size of the tree: each shared page counted once, split among its users."""
    return sum(process_pss_bytes(process.pid) for process in members(root_pid))


def process_pss_bytes(pid: int) -> int:
    """Proportional set size of one process; 0 when it has just gone."""
    return _kib_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") * KIB


def peak_rss_bytes(pid: int) -> int:
    """Highest resident set of a process since `reset_peak_rss` (VmHWM)."""
    return _kib_field(Path(f"/proc/{pid}/status"), "VmHWM:") * KIB


def reset_peak_rss(pid: int) -> None:
    """Set VmHWM back to the present resident set (see proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def command_name(process: psutil.Process) -> str:
    """A short name a person recognises the process by."""
    try:
        words = process.cmdline() or [process.name()]
    except psutil.NoSuchProcess:
        return "gone"
    words[0] = Path(words[0]).name or words[0]
    return " ".join(" ".join(words).split())[:NAME_CHARS]


def _kib_field(path: Path, field: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in lines:
        if line.startswith(field):
            return int(line.split()[1])
    return 0
