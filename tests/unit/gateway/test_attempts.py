"""Unit tests of counting wrong tokens."""

from __future__ import annotations

import threading

import pytest

from basic_inference_server.gateway.attempts import ALLOWED, MAX_SOURCES, Attempts, source_of
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def attempts(clock: ManualClock) -> Attempts:
    return Attempts(clock)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_addresses_of_one_client_are_one_source(address: str, expected: str) -> None:
    """Whoever has an IPv6 address usually has 2**64 of them."""
    assert expected == source_of(address)


def test_ten_failures_a_minute_are_allowed(attempts: Attempts, clock: ManualClock) -> None:
    """The next one is refused until the first one is a minute old; then one more is allowed."""
    for _ in range(ALLOWED):
        assert attempts.fail("192.0.2.7") is None
        clock.advance(2)
    refused = attempts.fail("192.0.2.7")
    assert refused is not None
    assert 40.0 == refused.retry_after_s
    clock.advance(39.9)
    assert attempts.fail("192.0.2.7") is not None
    clock.advance(0.1)
    assert attempts.fail("192.0.2.7") is None
    assert attempts.fail("192.0.2.7") is not None


def test_no_minute_has_more_than_ten(attempts: Attempts, clock: ManualClock) -> None:
    """Also not one that begins in the middle of another."""
    allowed_at_s = []
    for _ in range(1000):
        if attempts.fail("192.0.2.7") is None:
            allowed_at_s.append(clock.now_s)
        clock.advance(0.7)
    for begin_s in allowed_at_s:
        assert len([one for one in allowed_at_s if begin_s <= one < begin_s + 60]) <= ALLOWED
    assert len(allowed_at_s) >= 110


def test_sources_do_not_count_for_each_other(attempts: Attempts) -> None:
    """Another address starts from none."""
    for _ in range(ALLOWED + 5):
        attempts.fail("192.0.2.7")
    assert attempts.fail("192.0.2.8") is None
    assert attempts.fail("2001:db8::1") is None


def test_refusals_are_news_once_a_minute(attempts: Attempts, clock: ManualClock) -> None:
    """The log is not filled by somebody who goes on."""
    news = []
    for _ in range(600):
        refused = attempts.fail("192.0.2.7")
        if refused is not None and refused.is_news:
            news.append(clock.now_s)
        clock.advance(0.25)
    assert [1002.5, 1062.5, 1122.5] == news


def test_memory_is_bounded(attempts: Attempts) -> None:
    """The sources that failed last are remembered, however many there are."""
    for _ in range(ALLOWED):
        attempts.fail("192.0.2.7")
    for number in range(MAX_SOURCES - 1):
        attempts.fail(f"10.0.{number // 256}.{number % 256}")
    assert attempts.fail("192.0.2.7") is not None
    for number in range(MAX_SOURCES):
        attempts.fail(f"10.1.{number // 256}.{number % 256}")
    assert attempts.fail("192.0.2.7") is None
    assert MAX_SOURCES == len(attempts._records)


def test_source_that_goes_on_is_not_forgotten(attempts: Attempts) -> None:
    """Others that fail in the meantime push out those that have stopped."""
    for _ in range(ALLOWED):
        attempts.fail("192.0.2.7")
    for half in range(2):
        for number in range(MAX_SOURCES // 2 + 100):
            attempts.fail(f"10.{half}.{number // 256}.{number % 256}")
        assert attempts.fail("192.0.2.7") is not None


def test_threads_count_together(clock: ManualClock) -> None:
    """Administration is served by several threads."""
    attempts = Attempts(clock)
    allowed: list[int] = []

    def fail() -> None:
        allowed.extend(1 for _ in range(200) if attempts.fail("192.0.2.7") is None)

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ALLOWED == len(allowed)
