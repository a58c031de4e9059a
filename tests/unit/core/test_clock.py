"""Unit tests of the clocks: texts of the current second."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from basic_inference_server.core.clock import (
    SecondCache,
    Standstill,
    monotonic_ns,
    monotonic_s,
    utc_timestamp,
)
from tests.support.manual_clock import ManualClock

LEAP_DAY_S = 1709164799.75  # 2024-02-28T23:59:59.75Z


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    clock = ManualClock(LEAP_DAY_S)
    monkeypatch.setattr("basic_inference_server.core.clock.time.time", clock)
    monkeypatch.setenv("TZ", "Europe/Bucharest")
    time.tzset()
    yield clock
    monkeypatch.delenv("TZ")
    time.tzset()


def test_local_time_honours_the_time_zone(wall_clock: ManualClock) -> None:
    """Answers carry the time of the place where they are read."""
    assert "2024-02-29 01:59:59" == SecondCache().local_time()


def test_http_date_is_in_greenwich(wall_clock: ManualClock) -> None:
    """A `Date` header has one zone and English names."""
    assert b"Wed, 28 Feb 2024 23:59:59 GMT" == SecondCache().http_date()


def test_texts_change_with_the_second_and_only_then(wall_clock: ManualClock) -> None:
    """A text is rendered once per second."""
    cache = SecondCache()
    first = cache.http_date()
    wall_clock.advance(0.2)
    assert first is cache.http_date()
    wall_clock.advance(0.1)
    assert (b"Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29 02:00:00") == (
        cache.http_date(), cache.local_time(),
    )  # fmt: skip


def test_clock_that_is_set_back_is_followed(wall_clock: ManualClock) -> None:
    """A text never shows a second that is not now."""
    cache = SecondCache()
    cache.local_time()
    wall_clock.advance(-3600)
    assert "2024-02-29 00:59:59" == cache.local_time()


def test_timestamp_of_a_log_line_has_milliseconds(wall_clock: ManualClock) -> None:
    """Log lines of all zones sort together."""
    assert "2024-02-28T23:59:59.750Z" == utc_timestamp()


def test_real_clocks_agree() -> None:
    """Seconds and nanoseconds are of the same clock."""
    assert abs(monotonic_s() - monotonic_ns() / 1e9) < 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc_timestamp())


def test_standstill_is_a_look_that_comes_much_too_late() -> None:
    """A look a bit late is a busy machine; the first one has nothing to compare with."""
    standstill = Standstill(longest_s=3.0)
    assert [0, 0, 0, 17, 0] == [standstill.look(now_s) for now_s in (50, 51, 54, 71, 72)]
