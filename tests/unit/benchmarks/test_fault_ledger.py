"""The scoreboard's ledger: one row and one outcome for each request, and what is counted."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest

ledger: Any = import_module("faults.ledger")
Outcome = ledger.Outcome


def rows_of(*ends: tuple[str, int, float, int]) -> list[Any]:
    """Return rows of a ledger: outcome, status, end in seconds, worker; all are due at 0."""
    book = ledger.Ledger()
    for outcome, status, ended_s, pid in ends:
        book.close(book.open(0.0), Outcome(outcome), ended_s, status=status, worker_pid=pid)
    return list(book.balanced())


def test_second_outcome_is_refused() -> None:
    """A request that has ended cannot end again."""
    book = ledger.Ledger()
    row = book.open(0.0)
    book.close(row, Outcome.ANSWERED, 0.1, status=200)
    with pytest.raises(ledger.LedgerError, match="request 0 ended as cut, but had already"):
        book.close(row, Outcome.CUT, 0.2)
    assert (Outcome.ANSWERED, 0.1) == (row.outcome, row.ended_s)


def test_missing_outcome_is_found() -> None:
    """The ledger does not balance while a request has no outcome."""
    book = ledger.Ledger()
    book.close(book.open(0.0), Outcome.HUNG, 5.0)
    book.open(0.1)
    with pytest.raises(ledger.LedgerError, match=r"without an outcome: \[1\]"):
        book.balanced()


def test_every_request_is_counted_once() -> None:
    """The labels add up to the number of requests, and only a 200 is no failure."""
    rows = rows_of(
        ("answered", 200, 0.1, 1),
        ("answered", 200, 0.2, 1),
        ("answered", 502, 0.3, 0),
        ("cut", 0, 0.4, 0),
        ("refused", 0, 0.5, 0),
        ("hung", 0, 5.0, 0),
    )
    assert "2 x 200, 1 x 502, 1 x cut, 1 x hung, 1 x refused" == ledger.labels(rows)
    assert [2, 3, 4, 5] == [row.number for row in ledger.failures(rows)]
    assert [1, 1, 1] == [ledger.count(rows, end) for end in list(Outcome)[1:]]


def test_nothing_sent_has_a_label() -> None:
    """An empty ledger reads as none."""
    assert "none" == ledger.labels([])


def test_wait_is_counted_from_when_the_request_was_due() -> None:
    """A client that is late itself does not make a server look fast."""
    book = ledger.Ledger()
    row = book.open(2.0)
    book.close(row, Outcome.ANSWERED, 2.5, status=200)
    assert 0.5 == row.latency_s
    assert 500.0 == ledger.p99_ms(book.balanced())


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([1.0], 99, 1.0), ([3.0, 1.0, 2.0], 50, 2.0), (list(range(1, 101)), 99, 99)],
)
def test_percentile_is_a_value_that_was_seen(
    values: list[float], percent: float, expected: float
) -> None:
    """No value between two observations is made up."""
    assert expected == ledger.percentile(values, percent)


def test_percentile_of_nothing_is_no_number() -> None:
    """Without a value there is no percentile, and it meets no limit."""
    assert math.isnan(ledger.percentile([], 99))


def test_full_capacity_needs_as_many_living_workers() -> None:
    """Killed workers, failures and answers from before do not count."""
    rows = rows_of(
        ("answered", 200, 0.9, 7),
        ("answered", 200, 1.1, 5),
        ("answered", 200, 1.2, 6),
        ("answered", 502, 1.3, 8),
        ("answered", 200, 1.5, 6),
        ("answered", 200, 3.0, 7),
    )
    recovered_s = ledger.full_capacity_s(rows, since_s=1.0, gone=frozenset({5}), workers=2)
    assert 2.0 == recovered_s
    assert math.isnan(ledger.full_capacity_s(rows, 1.0, frozenset({5, 7}), 2))
