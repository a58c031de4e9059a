"""Joins two pieces of news: a connection that broke, and the supervisor's word on why."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

from basic_inference_server.core.clock import monotonic_s

PATIENCE_S = 0.25
FRESH_S = 1.0

OnCause = Callable[[str | None], None]


class DeathNotices:
    """Holds causes for a moment, for whoever asks just before or after they arrive."""

    def __init__(self) -> None:
        self._causes: dict[str, deque[tuple[float, str]]] = defaultdict(lambda: deque(maxlen=64))
        self._waiting: dict[str, deque[tuple[OnCause, asyncio.TimerHandle]]] = defaultdict(deque)

    def announce(self, signature: str, cause: str) -> None:
        """Take the supervisor's word that a busy worker has died."""
        waiting = self._waiting[signature]
        if waiting:
            on_cause, timer = waiting.popleft()
            timer.cancel()
            on_cause(cause)
        else:
            self._causes[signature].append((monotonic_s(), cause))

    def when_known(self, signature: str, on_cause: OnCause) -> None:
        """Call `on_cause` with the cause of the next death, or with `None` after a moment."""
        causes = self._causes[signature]
        while causes:
            at_s, cause = causes.popleft()
            if monotonic_s() - at_s <= FRESH_S:
                on_cause(cause)
                return
        waiting = self._waiting[signature]

        def give_up() -> None:
            waiting.remove(entry)
            on_cause(None)

        entry = (on_cause, asyncio.get_running_loop().call_later(PATIENCE_S, give_up))
        waiting.append(entry)
