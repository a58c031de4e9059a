"""Unit tests of the shell around the lifecycle: effects, news, log lines, waiting."""

from __future__ import annotations

import asyncio

import pytest

from basic_inference_server.core.logs import Event as LogEvent
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.lifecycle import (
    Effect,
    Exited,
    LoadFailed,
    RestartPolicy,
    StartRequested,
    StopRequested,
    WorkersChanged,
)
from basic_inference_server.supervision.lifecycle_keeper import LifecycleKeeper
from tests.support.manual_clock import ManualClock


class Kept:
    """A keeper whose effects and news are written down."""

    def __init__(self, initial: ServerState = ServerState.STOPPED) -> None:
        self.effects: list[Effect] = []
        self.news: list[tuple[str, str]] = []
        self.said: list[LogEvent] = []
        self.keeper = LifecycleKeeper(
            initial,
            EventLog(self.said.append, server="demo"),
            self.effects.append,
            lambda life, why: self.news.append((life.state.value, why)),
            RestartPolicy(jitter=0.0),
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.lifecycle_keeper.monotonic_s", clock)
    return clock


@pytest.fixture
def kept(clock: ManualClock) -> Kept:
    return Kept()


def test_change_is_carried_out_told_and_said(kept: Kept) -> None:
    """One event, one effect, one piece of news, one line with who, what and why."""
    kept.keeper.feed(StartRequested(), "a start was asked for")
    assert ServerState.STARTING is kept.keeper.state
    assert [Effect.SPAWN] == kept.effects
    assert [("STARTING", "a start was asked for")] == kept.news
    (line,) = kept.said
    assert {
        "event": "state_changed", "server": "demo", "state": "STARTING", "before": "STOPPED",
        "why": "a start was asked for", "level": "info",
    }.items() <= line.items()  # fmt: skip


def test_event_that_changes_nothing_is_silent(kept: Kept) -> None:
    """Late news makes no line."""
    kept.keeper.feed(Exited("signal 9"), "late")
    kept.keeper.feed(StopRequested(), "again")
    kept.keeper.tick()
    assert ([], [], []) == (kept.effects, kept.news, kept.said)


def test_crash_is_an_error_with_its_reason_and_when_it_goes_on(
    kept: Kept, clock: ManualClock
) -> None:
    """An operator learns which server, why and what next from one line."""
    kept.keeper.feed(StartRequested(), "")
    for _ in range(3):
        kept.keeper.feed(Exited("signal 9"), "it ended")
        clock.advance(10)
        kept.keeper.tick()
    line = next(line for line in kept.said if line.get("failures") == 3 and "retry_in_s" in line)
    assert ("error", "BACKOFF", "signal 9", 2.0) == (
        line["level"], line["state"], line["error"], line["retry_in_s"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "state", "level"),
    [
        (WorkersChanged(1, 2), "DEGRADED", "warning"),
        (LoadFailed("no file", is_permanent=True), "FAILED", "error"),
        (StopRequested(), "STOPPING", "info"),
    ],
)
def test_level_of_a_change_is_how_bad_it_is(
    kept: Kept, event: WorkersChanged | LoadFailed | StopRequested, state: str, level: str
) -> None:
    """Degraded is a warning, failed an error, all else information."""
    kept.keeper.feed(StartRequested(), "")
    kept.keeper.feed(WorkersChanged(2, 2), "")
    kept.keeper.feed(event, "")
    assert (state, level) == (kept.said[-1]["state"], kept.said[-1]["level"])


def test_tick_restarts_when_it_is_time(kept: Kept, clock: ManualClock) -> None:
    """The first restart is immediate, the second waits a second."""
    kept.keeper.feed(StartRequested(), "")
    kept.keeper.feed(Exited("x"), "")
    kept.keeper.tick()
    kept.keeper.feed(Exited("x"), "")
    kept.keeper.tick()
    assert "BACKOFF" == kept.news[-1][0]
    clock.advance(1)
    kept.keeper.tick()
    assert "STARTING" == kept.news[-1][0]
    assert 3 == kept.effects.count(Effect.SPAWN)


def test_wait_ends_when_its_condition_holds() -> None:
    """Somebody who waits for a state is told at once, not at the next look."""

    async def scenario() -> bool:
        kept = Kept()
        waiting = asyncio.create_task(
            kept.keeper.wait_until(lambda: kept.keeper.state is ServerState.READY, 5)
        )
        await asyncio.sleep(0)
        kept.keeper.feed(StartRequested(), "")
        await asyncio.sleep(0)
        kept.keeper.feed(WorkersChanged(1, 1), "")
        return await waiting

    assert asyncio.run(scenario())


def test_wait_ends_with_its_time() -> None:
    """A state that never comes is not waited for without an end."""

    async def scenario() -> tuple[bool, bool]:
        keeper = Kept().keeper
        return await keeper.wait_until(lambda: False, 0.01), await keeper.wait_until(
            lambda: False, 0
        )

    assert (False, False) == asyncio.run(scenario())


def test_wait_for_what_already_holds_is_over_at_once() -> None:
    """No event is needed."""
    assert asyncio.run(Kept().keeper.wait_until(lambda: True, 0))


def test_several_can_wait() -> None:
    """Each of those who asked is woken, and those whose condition does not hold wait on."""

    async def scenario() -> list[bool]:
        kept = Kept()
        wanted = [ServerState.STARTING, ServerState.STARTING, ServerState.READY]
        waits = [
            asyncio.create_task(
                kept.keeper.wait_until(lambda state=state: kept.keeper.state is state, 0.05)  # type: ignore[misc]
            )
            for state in wanted
        ]
        await asyncio.sleep(0)
        kept.keeper.feed(StartRequested(), "")
        return await asyncio.gather(*waits)

    assert [True, True, False] == asyncio.run(scenario())
