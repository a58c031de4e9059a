"""Holds one child's lifecycle: feeds it events, says every change, carries out its effects."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.lifecycle import (
    RESTING_STATES,
    Effect,
    Event,
    Lifecycle,
    RestartPolicy,
    Ticked,
    advance,
)

LEVEL_OF_STATE = {
    ServerState.BACKOFF: "error",
    ServerState.FAILED: "error",
    ServerState.DEGRADED: "warning",
}


class LifecycleKeeper:
    """The impure shell around `lifecycle.advance`."""

    def __init__(
        self,
        initial: ServerState,
        log: EventLog,
        carry_out: Callable[[Effect], None],
        on_change: Callable[[Lifecycle, str], None],
        policy: RestartPolicy | None = None,
    ) -> None:
        self.life = Lifecycle(state=initial, since_s=monotonic_s())
        self._log = log
        self._carry_out = carry_out
        self._on_change = on_change
        self._policy = policy or RestartPolicy()
        self._changed = asyncio.Event()
        self.rests = 0  # how often it has come to rest: who waits may wake after it went on

    @property
    def state(self) -> ServerState:
        """The current state."""
        return self.life.state

    def feed(self, event: Event, why: str) -> None:
        """Advance by one event; `why` says for the log who or what caused it."""
        before = self.life
        now_s = monotonic_s()
        self.life, effects = advance(before, event, now_s, self._policy, random.random())  # noqa: S311
        if self.life.state is not before.state:
            self._say_change(before, why, now_s)
            self.rests += self.life.state in RESTING_STATES
        for effect in effects:
            self._carry_out(effect)
        if self.life is not before:
            self.wake_waiters()
            self._on_change(self.life, why)

    def _say_change(self, before: Lifecycle, why: str, now_s: float) -> None:
        life = self.life
        retry_in_s = None if life.restart_at_s is None else round(life.restart_at_s - now_s, 1)
        self._log.say(
            LEVEL_OF_STATE.get(life.state, "info"),
            "state_changed",
            state=life.state.value,
            before=before.state.value,
            why=why,
            error=life.last_error,
            failures=life.failures or None,
            retry_in_s=retry_in_s,
        )

    def tick(self) -> None:
        """Let time pass; costs nothing in the states where time changes nothing."""
        if self.life.state is ServerState.BACKOFF or self.life.failures:
            self.feed(Ticked(), "the wait is over")

    def wake_waiters(self) -> None:
        """Have `wait_until` look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds; say whether it did within the time."""
        deadline_s = monotonic_s() + timeout_s
        while not condition():
            remaining_s = deadline_s - monotonic_s()
            if remaining_s <= 0:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), remaining_s)
            except asyncio.TimeoutError:
                return condition()
        return True
