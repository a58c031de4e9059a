"""Unit tests of the cross-origin headers of the data path."""

from __future__ import annotations

import pytest

from basic_inference_server.gateway.cors import CorsPolicy
from tests.support.exchanges import make_exchange

ORIGIN = "https://app.example"
EXPOSED = "access-control-expose-headers: X-Request-Id, Server-Timing, Retry-After"


def headers(origins: list[str], origin: str | None) -> list[str]:
    given = {} if origin is None else {"Origin": origin}
    raw = CorsPolicy(origins).headers(make_exchange(headers=given))
    assert raw == b"" or raw.endswith(b"\r\n")
    return raw.decode().splitlines()


def test_any_origin_may_read_by_default() -> None:
    """A star allows all, and answers are the same for all."""
    assert ["access-control-allow-origin: *", EXPOSED] == headers(["*"], ORIGIN)
    assert ["access-control-allow-origin: *"] == headers(["*"], None)


def test_listed_origin_may_read() -> None:
    """It is named back, and caches are told that the answer depends on it."""
    expected = [f"access-control-allow-origin: {ORIGIN}", "vary: Origin", EXPOSED]
    assert expected == headers(["https://other.example", ORIGIN], ORIGIN)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example", ""],
)
def test_other_origin_may_not_read(origin: str) -> None:
    """Nothing is allowed to an origin that is not exactly in the list."""
    assert ["vary: Origin"] == headers([ORIGIN], origin)


def test_caller_that_is_no_browser_gets_nothing() -> None:
    """A program needs no permission."""
    assert [] == headers([ORIGIN], None)
    assert [] == headers([], None)


def test_empty_list_allows_nobody() -> None:
    """Cross-origin reading can be switched off."""
    assert ["vary: Origin"] == headers([], ORIGIN)


def test_preflight_says_what_may_be_sent() -> None:
    """A browser asks before it sends JSON or a token."""
    raw = CorsPolicy(["*"]).preflight_headers(make_exchange("OPTIONS", headers={"Origin": ORIGIN}))
    lines = raw.decode().splitlines()
    assert "access-control-allow-origin: *" in lines
    assert "access-control-allow-methods: GET, POST, OPTIONS" in lines
    (allowed,) = [line for line in lines if line.startswith("access-control-allow-headers: ")]
    assert {"Content-Type", "Authorization", "X-Request-Id", "X-Request-Timeout"} == set(
        allowed.partition(": ")[2].split(", ")
    )
