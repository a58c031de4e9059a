"""Every request that was sent, with exactly one outcome. Arithmetic only: no sockets, no clock."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OK = 200


class LedgerError(Exception):
    """A request has no outcome, or two."""


class Outcome(enum.Enum):
    """How a request ended for its caller."""

    ANSWERED = "answered"  # a whole HTTP answer, whatever its status
    REFUSED = "refused"  # nobody listened
    CUT = "cut"  # the connection ended without a whole answer
    HUNG = "hung"  # the caller's patience ended first


@dataclass
class Row:
    """One request; times are seconds since the load began."""

    number: int
    planned_s: float
    outcome: Outcome | None = None
    ended_s: float = math.nan
    status: int = 0
    worker_pid: int = 0
    retry_after: str = ""
    detail: str = ""

    @property
    def latency_s(self) -> float:
        """From when it was due, not from when the client came round to sending it."""
        return self.ended_s - self.planned_s

    @property
    def is_ok(self) -> bool:
        """Whether the caller got what it asked for."""
        return self.outcome is Outcome.ANSWERED and self.status == OK

    @property
    def label(self) -> str:
        """The status of an answer, or the word for what came instead."""
        if self.outcome is None:
            return "open"
        return str(self.status) if self.outcome is Outcome.ANSWERED else self.outcome.value


class Ledger:
    """The rows of one load."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def open(self, planned_s: float) -> Row:
        """Enter a request that is about to be sent."""
        row = Row(len(self._rows), planned_s)
        self._rows.append(row)
        return row

    def close(
        self,
        row: Row,
        outcome: Outcome,
        ended_s: float,
        status: int = 0,
        worker_pid: int = 0,
        retry_after: str = "",
        detail: str = "",
    ) -> None:
        """Enter the one outcome of a request."""
        if row.outcome is not None:
            raise LedgerError(
                f"request {row.number} ended as {outcome.value}, "
                f"but had already ended as {row.outcome.value}"
            )
        row.outcome, row.ended_s, row.status = outcome, ended_s, status
        row.worker_pid, row.retry_after, row.detail = worker_pid, retry_after, detail

    @property
    def so_far(self) -> Sequence[Row]:
        """The rows while the load goes on, those without an outcome included."""
        return self._rows

    def balanced(self) -> list[Row]:
        """All rows, after the load; an error if one has no outcome."""
        open_rows = [row.number for row in self._rows if row.outcome is None]
        if open_rows:
            raise LedgerError(f"requests without an outcome: {open_rows[:10]}")
        return list(self._rows)


def count(rows: Iterable[Row], outcome: Outcome) -> int:
    """How many rows ended that way."""
    return sum(row.outcome is outcome for row in rows)


def failures(rows: Iterable[Row]) -> list[Row]:
    """The rows whose caller did not get a 200."""
    return [row for row in rows if not row.is_ok]


def labels(rows: Iterable[Row]) -> str:
    """Statuses and words with their counts, the most frequent first: `240 x 200, 3 x cut`."""
    counts = Counter(row.label for row in rows)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} x {label}" for label, number in ordered) or "none"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def p99_ms(rows: Iterable[Row]) -> float:
    """99th percentile of what callers waited, unanswered ones included, in milliseconds."""
    return percentile([row.latency_s * 1000 for row in rows], 99)


def full_capacity_s(
    rows: Iterable[Row], since_s: float, gone: frozenset[int], workers: int
) -> float:
    """Seconds after `since_s` until so many workers, none of them `gone`, had answered; or NaN."""
    seen: set[int] = set()
    for row in sorted((row for row in rows if row.is_ok), key=lambda row: row.ended_s):
        if row.ended_s > since_s and row.worker_pid and row.worker_pid not in gone:
            seen.add(row.worker_pid)
            if len(seen) >= workers:
                return row.ended_s - since_s
    return math.nan
