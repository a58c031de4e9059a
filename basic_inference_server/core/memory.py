"""How much memory processes and the container have; bytes, read from /proc and cgroups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 2**60


def proportional_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return a process's proportional set size: shared pages count once in all, not per process.

    A process that has ended counts 0; where PSS cannot be read the resident size is returned.
    """
    try:
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return _resident_bytes(pid, proc)
    except OSError:
        return 0
    return _resident_bytes(pid, proc)


def _resident_bytes(pid: int, proc: Path) -> int:
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * 4096
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
