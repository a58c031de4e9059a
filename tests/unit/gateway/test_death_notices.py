"""Unit tests of joining a broken connection with the supervisor's word on why, on a real loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from basic_inference_server.gateway.death_notices import DeathNotices
from tests.support.manual_clock import ManualClock

Told = list[str | None]


def on_a_loop(scenario: Callable[[DeathNotices, Told], None], wait_s: float = 0.0) -> Told:
    """Run a scenario and return what was told within the time."""

    async def run() -> Told:
        told: Told = []
        scenario(DeathNotices(), told)
        await asyncio.sleep(wait_s)
        return told

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basic_inference_server.gateway.death_notices.PATIENCE_S", 0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.gateway.death_notices.monotonic_s", clock)
    return clock


def test_cause_that_comes_first_is_told_at_once() -> None:
    """The supervisor may be quicker than the broken connection."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.announce("demo", "signal 9")
        deaths.when_known("demo", told.append)
        assert ["signal 9"] == told

    assert ["signal 9"] == on_a_loop(scenario, 0.03)


def test_cause_that_comes_later_is_waited_for() -> None:
    """The connection may break first; the cause is told once and only once."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.when_known("demo", told.append)
        assert [] == told
        deaths.announce("demo", "signal 9")
        assert ["signal 9"] == told

    assert ["signal 9"] == on_a_loop(scenario, 0.03)


def test_cause_that_never_comes_is_unknown_after_a_moment() -> None:
    """A client is not kept waiting for an explanation."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.when_known("demo", told.append)

    assert [] == on_a_loop(scenario)
    assert [None] == on_a_loop(scenario, 0.03)


def test_each_death_explains_one_request() -> None:
    """Two deaths, two requests: in the order in which they came."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.announce("demo", "first")
        deaths.when_known("demo", told.append)
        deaths.when_known("demo", told.append)
        deaths.announce("demo", "second")
        deaths.when_known("demo", told.append)

    assert ["first", "second", None] == on_a_loop(scenario, 0.03)


def test_death_of_another_endpoint_explains_nothing() -> None:
    """Each endpoint has its own dead."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.announce("other", "signal 9")
        deaths.when_known("demo", told.append)

    assert [None] == on_a_loop(scenario, 0.03)


def test_old_cause_is_not_told(clock: ManualClock) -> None:
    """A death that nobody asked about does not explain one an hour later."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.announce("demo", "long ago")
        clock.advance(0.5)
        deaths.announce("demo", "just now")
        clock.advance(0.9)
        deaths.when_known("demo", told.append)

    assert ["just now"] == on_a_loop(scenario)


def test_number_of_kept_causes_is_bounded() -> None:
    """An endpoint that dies all the time takes a bounded amount of memory."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        for number in range(1000):
            deaths.announce("demo", str(number))
        for _ in range(1000):
            deaths.when_known("demo", told.append)

    # The others are told `None`, sooner or later.
    assert 64 == len([cause for cause in on_a_loop(scenario) if cause is not None])
