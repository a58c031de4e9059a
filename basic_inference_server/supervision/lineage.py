"""The generations of one supervised program: the current one, its replacement, those that end.

What servers and other programs have in common: starting, stopping, replacing without a gap. When
they do so is the lifecycle's decision, what a generation consists of is the program's.
"""

from __future__ import annotations

from collections.abc import Callable

from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.generation import Generation
from basic_inference_server.supervision.lifecycle import (
    Effect,
    Exited,
    Lifecycle,
    StartRequested,
    StopRequested,
)
from basic_inference_server.supervision.lifecycle_keeper import LifecycleKeeper


class Lineage:
    """Keeps the generations of one program; `_spawn` makes the next one."""

    def __init__(
        self,
        log: EventLog,
        initial: ServerState,
        on_change: Callable[[Lifecycle, str], None],
        graceful_timeout_s: float,
    ) -> None:
        self.log = log
        self.restarts = 0
        self.current: Generation | None = None
        self.replacement: Generation | None = None
        self.replace_error: str | None = None
        self.fork_error: str | None = None
        self._said_fork_error: str | None = None
        self._retired: list[Generation] = []
        self._number = 0
        self._graceful_timeout_s = graceful_timeout_s
        self.keeper = LifecycleKeeper(initial, log, self._carry_out, on_change)

    @property
    def state(self) -> ServerState:
        """The program's state."""
        return self.keeper.state

    @property
    def generations(self) -> list[Generation]:
        """All generations of which something may be left."""
        return [*filter(None, [self.current, self.replacement]), *self._retired]

    @property
    def is_gone(self) -> bool:
        """Whether no process of it is left."""
        return not self.generations

    @property
    def is_settled(self) -> bool:
        """Whether no generation but the current one is left."""
        return not (self.replacement or self._retired)

    def start(self, why: str) -> None:
        """Start it, unless it already runs."""
        self.keeper.feed(StartRequested(), why)

    def stop(self, why: str) -> None:
        """Let it finish what it does, then stop it."""
        self._drop_replacement("it was stopped")
        self.keeper.feed(StopRequested(), why)

    def give_time(self, seconds: float) -> None:
        """Count for nobody the time for which we have stood still."""
        for generation in self.generations:
            generation.give_time(seconds)

    def kill(self) -> None:
        """End all its processes at once."""
        for generation in self.generations:
            generation.kill()

    def replace(self, why: str) -> None:
        """Start a new generation beside the current one; it takes over when it is ready."""
        if self.replacement is not None:
            return
        self.log.info("replacing", why=why)
        self.replace_error = None
        try:
            self.replacement = self._spawn()
        except OSError as error:
            self._replacement_failed(f"cannot start a process: {error}")

    def _spawn(self) -> Generation:
        """Start the processes of the next generation.

        Raises:
            OSError: they cannot be started.
        """
        raise NotImplementedError

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _carry_out(self, effect: Effect) -> None:
        if effect is Effect.SPAWN:
            self.restarts += self._number > 0
            self._start_current()
        elif self.current is not None:
            self._retire(self.current)
            self.current = None

    def _start_current(self) -> None:
        self.fork_error = self.current = None
        try:
            self.current = self._spawn()
        except OSError as error:
            self.keeper.feed(Exited(f"cannot start a process: {error}"), "spawn failed")

    def _take_over(self, generation: Generation) -> None:
        """Let the replacement be the current generation."""
        old, self.current, self.replacement = self.current, generation, None
        self.fork_error = None
        self.restarts += 1
        self.log.info("replaced", generation=generation.number, pid=generation.pid)
        if old is not None:
            self._retire(old)
        self.keeper.wake_waiters()

    def _take_fork_news(self, generation: Generation, error: str | None) -> None:
        """Say once that a master cannot start processes, or can again; give a replacement up."""
        if error is None:
            self.log.info("fork_succeeded", generation=generation.number)
        elif error != self._said_fork_error:
            self.log.error("fork_failed", error=error, generation=generation.number)
        self._said_fork_error = error
        if generation is self.current:
            self.fork_error = error
            self.keeper.wake_waiters()
        elif generation is self.replacement and error is not None:
            self._drop_replacement(error)

    def _drop_replacement(self, error: str) -> None:
        """End the replacement, if there is one; the current generation goes on."""
        if self.replacement is not None:
            self._retire(self.replacement)
            self.replacement = None
            self._replacement_failed(error)

    def _replacement_failed(self, error: str) -> None:
        self.replace_error = error
        self.log.error("replace_failed", error=error)
        self.keeper.wake_waiters()

    def _retire(self, generation: Generation) -> None:
        generation.retire(self._graceful_timeout_s)
        self._retired.append(generation)

    def _reap(self, now_s: float) -> list[Generation]:
        """Collect the retired generations of which nothing is left."""
        gone = [one for one in self._retired if one.reap(now_s, self.keeper.wake_waiters)]
        for generation in gone:
            self._retired.remove(generation)
        return gone
