"""How much memory the workers hold: ends one that is over its hard limit, keeps the evidence.

Looks from outside, because a worker that allocates in C code cannot look at itself.
"""

from __future__ import annotations

from collections.abc import Callable

from basic_inference_server.core.memory import out_of_memory_kills, resident_bytes

LOOK_EVERY_S = 0.5
COUNT_EVERY_S = 1.0
EVIDENCE_S = 3.0
MIB = 2**20
WHOSE_MEMORY = ("its control group's memory limit", "the machine's memory")
Kills = tuple[int | None, int | None]


class MemoryWatch:
    """Samples the resident memory of one server's workers.

    Args:
        hard_limit_mb: MiB above which a worker is ended; `None` for no limit.
    """

    def __init__(self, hard_limit_mb: int | None) -> None:
        self.hard_limit_mb = hard_limit_mb
        self._look_at_s = 0.0
        self._resident_mb: dict[int, float] = {}

    def is_due(self, now_s: float) -> bool:
        """Say, twice a second, that it is time to look."""
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_EVERY_S
        return True

    def sample(self, pids: list[int]) -> list[tuple[int, str]]:
        """Look at these workers; return those over the limit, each with the reason."""
        self._resident_mb = {pid: resident_bytes(pid) / MIB for pid in pids}
        limit_mb = self.hard_limit_mb
        if limit_mb is None:
            return []
        return [
            (pid, f"memory: it held {size:.0f} MiB, more than MAX_MEMORY_HARD_MB ({limit_mb})")
            for pid, size in self._resident_mb.items()
            if size > limit_mb
        ]

    def last_seen_mb(self, pid: int) -> float | None:
        """Return what a worker held when it was last looked at, in MiB."""
        return self._resident_mb.get(pid) or None


class OutOfMemoryWatch:
    """Notices that the kernel has killed something for want of memory.

    One for all servers: the kernel counts, it does not name. A worker that got SIGKILL in the
    moment in which the count of our own control group rose is taken for the victim, one for each
    kill. The machine's count holds others' kills too, so it is only asked where the group has none.
    """

    def __init__(self, read: Callable[[], Kills] = out_of_memory_kills) -> None:
        self._read = read
        self._known = read()
        self._unexplained = 0
        self._whose = ""
        self._risen_at_s = 0.0
        self._look_at_s = 0.0

    def tick(self, now_s: float) -> None:
        """Look about once a second, so that a later death is not laid to an earlier kill."""
        if now_s >= self._look_at_s:
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        self._look_at_s = now_s + COUNT_EVERY_S
        before, self._known = self._known, self._read()
        for was, now, whose in zip(before, self._known, WHOSE_MEMORY, strict=True):
            if was is not None and now is not None:
                if now > was:
                    is_fresh = now_s - self._risen_at_s <= EVIDENCE_S
                    self._unexplained = now - was + (self._unexplained if is_fresh else 0)
                    self._whose, self._risen_at_s = whose, now_s
                return

    def evidence(self, now_s: float) -> str | None:
        """Look again; return what the kernel has just killed for, `None` if it has not."""
        self._look(now_s)
        if not self._unexplained or now_s - self._risen_at_s > EVIDENCE_S:
            return None
        self._unexplained -= 1
        return self._whose
