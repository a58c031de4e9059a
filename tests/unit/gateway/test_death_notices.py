"""Unit tests of joining a broken connection with the supervisor's word on why, on a real loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from basic_inference_server.gateway.death_notices import DeathNotice, DeathNotices, notice_of

Told = list[DeathNotice | None]
SEGFAULT = DeathNotice("signal 11 (SIGSEGV)", blames_request=True)
KILLED = DeathNotice("signal 9 (SIGKILL)")


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


def test_notice_that_comes_first_is_told_at_once() -> None:
    """The supervisor may be quicker than the broken connection."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.announce(7, SEGFAULT)
        deaths.when_known(7, told.append)
        assert [SEGFAULT] == told

    assert [SEGFAULT] == on_a_loop(scenario, 0.03)


def test_notice_that_comes_later_is_waited_for() -> None:
    """The connection may break first; the cause is told once and only once."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.when_known(7, told.append)
        assert [] == told
        deaths.announce(7, SEGFAULT)
        assert [SEGFAULT] == told

    assert [SEGFAULT] == on_a_loop(scenario, 0.03)


def test_notice_that_never_comes_is_unknown_after_a_moment() -> None:
    """A client is not kept waiting for an explanation."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        deaths.when_known(7, told.append)

    assert [] == on_a_loop(scenario)
    assert [None] == on_a_loop(scenario, 0.03)


@pytest.mark.parametrize("asks_first", [True, False])
def test_each_death_explains_its_own_call(asks_first: bool) -> None:
    """Two workers die at once: neither caller is told the other's cause."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        if asks_first:
            deaths.when_known(7, told.append)
            deaths.when_known(8, told.append)
        deaths.announce(8, KILLED)
        deaths.announce(7, SEGFAULT)
        if not asks_first:
            deaths.when_known(8, told.append)
            deaths.when_known(7, told.append)

    assert [KILLED, SEGFAULT] == on_a_loop(scenario, 0.03)


def test_number_of_kept_notices_is_bounded() -> None:
    """The deaths under other gateway processes' calls are never asked about."""

    def scenario(deaths: DeathNotices, told: Told) -> None:
        for call in range(2000):
            deaths.announce(call, KILLED)
        for call in range(2000):
            deaths.when_known(call, told.append)

    # The others are told `None`, sooner or later.
    assert 1024 == len([notice for notice in on_a_loop(scenario) if notice is not None])


def test_push_without_a_field_is_no_notice() -> None:
    """The link takes a push that makes no sense for a broken line."""
    push = {"calls": [7, 8], "cause": "signal 11 (SIGSEGV)", "blames_request": True}
    assert ([7, 8], SEGFAULT) == notice_of(push)
    for name in push:
        with pytest.raises(KeyError, match=name):
            notice_of({key: value for key, value in push.items() if key != name})
