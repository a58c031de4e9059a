"""Unit tests of a gateway process's counters, and of when a full queue is worth another try."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from basic_inference_server.core.clock import NS_PER_S
from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    ANSWERED_4XX,
    ANSWERED_5XX,
    ANSWERED_OK,
    BUCKETS,
    EXPIRED,
    IN_FLIGHT,
    LOST,
    REFUSED,
    GatewayScoreboard,
)
from basic_inference_server.gateway.counters import FIRST_BUCKET, Counters

CELL = 3


@pytest.fixture
def board() -> Iterator[GatewayScoreboard]:
    made = GatewayScoreboard.create()
    yield made
    os.close(made.fd)


@pytest.fixture
def counters(board: GatewayScoreboard) -> Counters:
    return Counters(board, process=1)


def counted(board: GatewayScoreboard, *places: int) -> list[int]:
    totals = board.totals(CELL)
    return [totals[place] for place in places]


def test_request_is_in_flight_until_it_ends(board: GatewayScoreboard, counters: Counters) -> None:
    """However a request ends, the gauge goes back and the end is counted."""
    for _ in range(4):
        counters.begin(CELL)
    assert [4, 4] == counted(board, IN_FLIGHT, ACCEPTED)
    counters.refuse(CELL)
    counters.abandon(CELL)
    counters.finish(CELL, 200, 1000)
    assert [1, 4, 1, 1, 1] == counted(board, IN_FLIGHT, ACCEPTED, REFUSED, LOST, ANSWERED_OK)


@pytest.mark.parametrize(
    ("status", "place"),
    [
        (200, ANSWERED_OK), (204, ANSWERED_OK), (399, ANSWERED_OK), (400, ANSWERED_4XX),
        (422, ANSWERED_4XX), (499, ANSWERED_4XX), (500, ANSWERED_5XX), (502, ANSWERED_5XX),
        (504, ANSWERED_5XX),
    ],
)  # fmt: skip
def test_answer_is_counted_by_its_status(
    board: GatewayScoreboard, counters: Counters, status: int, place: int
) -> None:
    """Whose fault it was is visible in the figures."""
    counters.begin(CELL)
    counters.finish(CELL, status, 1000)
    kinds = (ANSWERED_OK, ANSWERED_4XX, ANSWERED_5XX)
    assert [int(kind == place) for kind in kinds] == counted(board, *kinds)
    assert [int(status == 504)] == counted(board, EXPIRED)


def test_duration_falls_into_a_bucket(board: GatewayScoreboard, counters: Counters) -> None:
    """Shortest and longest have their places."""
    for elapsed_s in (0, 3600):
        counters.begin(CELL)
        counters.finish(CELL, 200, elapsed_s * NS_PER_S)
    buckets = counted(board, *range(FIRST_BUCKET, FIRST_BUCKET + BUCKETS))
    assert [1, *[0] * (BUCKETS - 2), 1] == buckets


def test_new_process_starts_without_the_gauge_of_the_dead(board: GatewayScoreboard) -> None:
    """What its predecessor had in flight is gone; what was counted stays."""
    dead = Counters(board, process=1)
    alive = Counters(board, process=2)
    for counters in (dead, dead, alive):
        counters.begin(CELL)
    Counters(board, process=1)
    assert [1, 3] == counted(board, IN_FLIGHT, ACCEPTED)


@pytest.mark.parametrize("count", [0, 1], ids=["empty", "one in it"])
def test_wait_is_at_least_a_second(counters: Counters, count: int) -> None:
    """`Retry-After: 0` would make clients hammer."""
    for _ in range(count):
        counters.begin(CELL)
    assert 1 == counters.expected_wait_s(CELL, workers=4)


def test_wait_is_bounded(counters: Counters) -> None:
    """A long queue of slow requests does not send clients away for an hour."""
    for _ in range(100):
        counters.begin(CELL)
        counters.finish(CELL, 200, 3600 * NS_PER_S)
    counters.begin(CELL)
    assert 60 == counters.expected_wait_s(CELL, workers=1)


@pytest.mark.parametrize(
    "answered",
    [pytest.param(count) for count in (1, 3)] + [pytest.param(50)],
)
def test_wait_follows_what_was_measured(counters: Counters, answered: int) -> None:
    """A request that took 8 s was 8 s in the queue, half of which goes by in 4 s.

    That holds after the first answer as it does after fifty.
    """
    for _ in range(answered):
        counters.begin(CELL)
        counters.finish(CELL, 200, 8 * NS_PER_S)
    for _ in range(4):
        counters.begin(CELL)
    assert 4 == counters.expected_wait_s(CELL, workers=1)
