"""How much memory processes and the container have; bytes, read from /proc and cgroups."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 2**60
PAGE_BYTES = resource.getpagesize()


def proportional_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return a process's proportional set size: shared pages count once in all, not per process.

    A process that has ended counts 0; where PSS cannot be read the resident size is returned.
    """
    try:
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return resident_bytes(pid, proc)
    except OSError:
        return 0
    return resident_bytes(pid, proc)


def resident_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return a process's resident set size; 0 once it has ended."""
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def sum_proportional_bytes(pids: Iterable[int]) -> int:
    """Return the memory of several processes together."""
    return sum(proportional_bytes(pid) for pid in pids)


def _limit_files(proc: Path, root: Path) -> Iterator[Path]:
    """Yield the limit files of this process's control groups, up the tree (cgroup v2, then v1)."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        relative = Path(path.lstrip("/"))
        if not controllers:
            for folder in (relative, *relative.parents):
                yield root / folder / "memory.max"
        elif "memory" in controllers.split(","):
            for folder in (relative, *relative.parents):
                yield root / "memory" / folder / "memory.limit_in_bytes"


def container_limit_bytes(
    proc: Path = Path("/proc"), root: Path = CGROUP_ROOT
) -> tuple[int, int] | None:
    """Return limit and use of the tightest control group, or `None` without a limit."""
    tightest: tuple[int, int] | None = None
    for file in _limit_files(proc, root):
        try:
            text = file.read_text().strip()
            used_name = "memory.current" if file.name == "memory.max" else "memory.usage_in_bytes"
            used = int((file.parent / used_name).read_text())
        except (OSError, ValueError):
            continue
        if text == "max" or int(text) >= UNLIMITED:
            continue
        if tightest is None or int(text) < tightest[0]:
            tightest = (int(text), used)
    return tightest


def machine_bytes(proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return how much memory the machine has, and how much of it other processes can have."""
    total, available = (
        _count_in(proc / "meminfo", name) for name in ("MemTotal:", "MemAvailable:")
    )
    if total is None or available is None:  # a /proc with processes only: systemd's ProcSubset=pid
        return os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES, os.sysconf("SC_AVPHYS_PAGES") * PAGE_BYTES
    return total * 1024, available * 1024


def available_bytes(proc: Path = Path("/proc"), root: Path = CGROUP_ROOT) -> int:
    """Return how much memory another process can have; 0 where that cannot be read."""
    free = _count_in(proc / "meminfo", "MemAvailable:")
    if free is None:
        return 0
    limited = container_limit_bytes(proc, root)
    left = free * 1024
    return left if limited is None else max(0, min(left, limited[0] - limited[1]))


def out_of_memory_kills(
    proc: Path = Path("/proc"), root: Path = CGROUP_ROOT
) -> tuple[int | None, int | None]:
    """Return how many processes the kernel has killed for want of memory.

    The first figure is for this process's own control group, whatever ran out (`oom_kill` in
    cgroup v2's `memory.events.local` or `memory.events`, or v1's `memory.oom_control`): the groups
    above it count other services' kills too. The second is for the whole machine (`/proc/vmstat`).
    `None` where it cannot be read.
    """
    own = next(
        (
            kills
            for file in _limit_files(proc, root)
            for name in ("memory.events.local", "memory.events", "memory.oom_control")
            if (kills := _count_in(file.parent / name, "oom_kill")) is not None
        ),
        None,
    )
    return own, _count_in(proc / "vmstat", "oom_kill")


def _count_in(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(name + " ")]
    return int(found[0][1]) if found else None
