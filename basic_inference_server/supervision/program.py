"""One supervised program that is not a server: the gateway, or a support process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.child_process import ChildEvents, ChildProcess
from basic_inference_server.supervision.generation import Generation
from basic_inference_server.supervision.lifecycle import (
    Effect,
    Exited,
    Lifecycle,
    StartRequested,
    StopRequested,
    WorkersChanged,
)
from basic_inference_server.supervision.lifecycle_keeper import LifecycleKeeper
from basic_inference_server.supervision.output_relay import OutputRelay

Spawn = Callable[[int, ChildEvents], ChildProcess]


class Program:
    """Keeps one program running; it counts as ready when its `ready_when` workers say so."""

    def __init__(
        self,
        name: str,
        spawn: Spawn,
        log: EventLog,
        relay: OutputRelay,
        on_change: Callable[[str, Lifecycle, str], None],
        *,
        ready_when: Callable[[], int] = lambda: 0,
        graceful_timeout_s: float = 5.0,
        initial: ServerState = ServerState.STOPPED,
    ) -> None:
        self.name = name
        self.log = log.bind(server=name)
        self.restarts = 0
        self.reported_at_s: float | None = None
        self.report: dict[str, Any] = {}
        self.relay = relay
        self._spawn = spawn
        self.replacement: Generation | None = None
        self.replace_error: str | None = None
        self._ready_when = ready_when
        self._graceful_timeout_s = graceful_timeout_s
        self._number = 0
        self.current: Generation | None = None
        self._retired: list[Generation] = []
        self.keeper = LifecycleKeeper(
            initial, self.log, self._carry_out, lambda life, why: on_change(name, life, why)
        )

    @property
    def state(self) -> ServerState:
        """The program's state."""
        return self.keeper.state

    @property
    def pid(self) -> int | None:
        """Its pid, while it runs."""
        return self.current.pid if self.current else None

    @property
    def is_gone(self) -> bool:
        """Whether no process of it is left."""
        return not self.generations

    @property
    def is_settled(self) -> bool:
        """Whether no generation but the current one is left."""
        return not (self.replacement or self._retired)

    @property
    def generations(self) -> list[Generation]:
        """All generations of which something may be left."""
        return [*filter(None, [self.current, self.replacement]), *self._retired]

    def start(self, why: str) -> None:
        """Start it, unless it already runs."""
        self.keeper.feed(StartRequested(), why)

    def stop(self, why: str) -> None:
        """Ask it to finish and leave."""
        self._drop_replacement("it was stopped")
        self.keeper.feed(StopRequested(), why)

    def restart(self, why: str) -> None:
        """End the running process; a new one follows at once."""
        if self.current is None:
            self.start(why)
            return
        self.keeper.feed(Exited(why), why)
        self.tick(monotonic_s())

    def replace(self, why: str) -> None:
        """Start a new generation beside the current one; it takes over when it is ready."""
        if self.replacement is None:
            self.log.info("replacing", why=why)
            self.replace_error = None
            try:
                self.replacement = self._spawn_generation()
            except OSError as error:
                self.replace_error = f"cannot start a process: {error}"

    def _promote(self, generation: Generation) -> None:
        old, self.current, self.replacement = self.current, generation, None
        self.restarts += 1
        self.log.info("replaced", generation=generation.number, pid=generation.pid)
        if old is not None:
            self._retire(old)
        self.keeper.wake_waiters()

    def _drop_replacement(self, error: str) -> None:
        if self.replacement is not None:
            self._retire(self.replacement)
            self.replacement = None
            self.replace_error = error
            self.log.error("replace_failed", error=error)
            self.keeper.wake_waiters()

    def _retire(self, generation: Generation) -> None:
        generation.retire(self._graceful_timeout_s)
        self._retired.append(generation)

    def kill(self) -> None:
        """End all its processes at once."""
        for generation in self.generations:
            generation.kill()

    def take_report(self, report: dict[str, Any]) -> None:
        """Keep the newest report of a support process."""
        self.report = report
        self.reported_at_s = monotonic_s()

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        for generation in list(self._retired):
            if generation.reap(now_s, self.keeper.wake_waiters):
                self._retired.remove(generation)
        if self.state is ServerState.STOPPING and self.is_gone:
            self.keeper.feed(Exited("stopped"), "all its processes have ended")
        self.keeper.tick()

    def _carry_out(self, effect: Effect) -> None:
        if effect is Effect.SPAWN:
            self._start_process()
        elif self.current is not None:
            self._retire(self.current)
            self.current = None

    def _start_process(self) -> None:
        self.restarts += self._number > 0
        self.reported_at_s = None
        try:
            self.current = self._spawn_generation()
        except OSError as error:
            self.keeper.feed(Exited(f"cannot start a process: {error}"), "spawn failed")
            return
        if not self._ready_when():
            self.keeper.feed(WorkersChanged(1, 1), "it runs")

    def _spawn_generation(self) -> Generation:
        self._number += 1
        generation = Generation(self._number)
        events = ChildEvents(
            on_line=self.relay,
            on_message=lambda message: self._on_message(generation, message),
            on_exit=lambda code: self._on_exit(generation, code),
        )
        generation.process = self._spawn(self._number, events)
        return generation

    def _on_message(self, generation: Generation, message: dict[str, Any]) -> None:
        if message.get("kind") == "worker_ready":
            generation.ready_pids.add(message["pid"])
        elif message.get("kind") == "worker_exit":
            generation.ready_pids.discard(message["pid"])
            if message["exit_code"]:
                self.log.error("worker_died", pid=message["pid"], exit_code=message["exit_code"])
        ready, wanted = len(generation.ready_pids), self._ready_when()
        if generation is self.replacement and ready >= wanted:
            self._promote(generation)
        if generation is self.current:
            self.keeper.feed(WorkersChanged(ready, wanted), str(message.get("kind")))

    def _on_exit(self, generation: Generation, code: int) -> None:
        generation.exit_code = code
        if generation is self.current:
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.keeper.feed(Exited(f"it ended: {cause}"), "it ended")
            self.tick(monotonic_s())  # the first restart is immediate
        elif generation is self.replacement:
            self._drop_replacement(f"the new generation ended with {code}")
