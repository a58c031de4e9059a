"""When the place of a worker that has ended is filled again.

A worker that has ended by itself soon after it had loaded, before any request, will do so again, so
each such life in a row makes the next one wait longer. `after` decides, and is pure; `WorkerPlaces`
knows the pids.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from enum import Enum

# What people and service managers send. A crash of the worker's own does not end this way.
SENT_FROM_OUTSIDE = frozenset(
    {
        signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP,
        signal.SIGUSR1, signal.SIGUSR2,
    }
)  # fmt: skip
YOUNG_S = 10.0
MAX_PAUSE_S = 60.0
CALLERS_DEATHS = 30
CALLERS_PAUSE_S = 1.0


class End(Enum):
    """How a worker has ended."""

    LEFT = "it was asked to, or had served for as long as it was to"
    UNLOADED = "it had not loaded yet"
    UNUSED = "it had loaded, and had no request yet"
    USED = "it executed a request, or had done so"
    KILLED = "somebody killed it while it executed nothing"


@dataclass(frozen=True)
class Record:
    """What is known of one worker's place.

    Attributes:
        failures: lives in a row that have ended by themselves, before or soon after the load.
        used: lives in a row that have ended soon after the load, but had requests.
        free_at_s: when the place may be filled, while it is empty; monotonic.
    """

    failures: int = 0
    used: int = 0
    free_at_s: float = 0.0


def pause_s(failures: int) -> float:
    """Return the wait after so many failures in a row: 0, then 1, 2, 4 ... 60 s."""
    return 0.0 if failures <= 1 else float(min(2.0 ** min(failures - 2, 30), MAX_PAUSE_S))


def after(record: Record, end: End, lived_s: float, now_s: float) -> Record:
    """Return a place's record after a worker has ended there.

    A request may have ended a worker, then or later, and somebody outside too: that says nothing
    about the next one, and whoever does it sets the pace. Only a great many such lives in a row
    make it slower.

    Args:
        record: the place's record.
        end: how the worker has ended.
        lived_s: how long it had been loaded.
        now_s: the time.
    """
    if end is End.LEFT or (end is not End.UNLOADED and lived_s >= YOUNG_S):
        return Record(free_at_s=now_s)
    if end is End.KILLED:
        return replace(record, free_at_s=now_s)
    if end is End.USED:
        used = record.used + 1
        wait_s = CALLERS_PAUSE_S if used > CALLERS_DEATHS else 0.0
        return replace(record, used=used, free_at_s=now_s + wait_s)
    failures = record.failures + 1
    return replace(record, failures=failures, free_at_s=now_s + pause_s(failures))


class WorkerPlaces:
    """The records of all workers' places: of those that run by pid, and of empty ones.

    An empty place without anything to remember has no record; it may be filled at once.
    """

    def __init__(self) -> None:
        self._taken: dict[int, Record] = {}
        self._empty: list[Record] = []

    def to_fill(self, missing: int, now_s: float) -> list[Record]:
        """Return the places that may be filled now, `missing` at most; nobody has had new ones."""
        self._empty.sort(key=lambda record: record.free_at_s)
        del self._empty[missing:]
        new = [Record()] * (missing - len(self._empty))
        return [*new, *(record for record in self._empty if record.free_at_s <= now_s)]

    def fill(self, record: Record, pid: int) -> None:
        """Take note that a worker has been started at this place."""
        if record in self._empty:
            self._empty.remove(record)
        self._taken[pid] = record

    def clear(
        self, pid: int, end: End, lived_s: float, now_s: float, least_pause_s: float = 0.0
    ) -> float:
        """Take note that a worker has ended; return the seconds for which its place stays empty."""
        record = after(self._taken.pop(pid, Record()), end, lived_s, now_s)
        free_at_s = max(record.free_at_s, now_s + least_pause_s)
        if record.failures or record.used:
            self._empty.append(replace(record, free_at_s=free_at_s))
        return free_at_s - now_s
