"""One supervised program that is not a server: the gateway, or a support process."""

from __future__ import annotations

import os
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
    WorkersChanged,
)
from basic_inference_server.supervision.lineage import Lineage
from basic_inference_server.supervision.output_relay import OutputRelay
from basic_inference_server.supervision.sockets import explain_taken

Spawn = Callable[[int, ChildEvents], ChildProcess]


class Program(Lineage):
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
        on_refused: Callable[[str], None] = lambda _error: None,
        graceful_timeout_s: float = 5.0,
        initial: ServerState = ServerState.STOPPED,
    ) -> None:
        self.name = name
        self.reported_at_s: float | None = None
        self.report: dict[str, Any] = {}
        self.relay = relay
        self._start_process = spawn
        self._ready_when = ready_when
        self._on_refused = on_refused
        super().__init__(
            log.bind(server=name),
            initial,
            lambda life, why: on_change(name, life, why),
            graceful_timeout_s,
        )

    @property
    def pid(self) -> int | None:
        """Its pid, while it runs."""
        return self.current.pid if self.current else None

    @property
    def is_serving(self) -> bool:
        """Whether a process of it takes requests."""
        return any(one.ready_pids for one in (self.current, self.replacement) if one)

    def restart(self, why: str) -> None:
        """End the running process; a new one follows at once."""
        if self.current is None:
            self.start(why)
            return
        self.keeper.feed(Exited(why), why)
        self.tick(monotonic_s())

    def take_report(self, report: dict[str, Any]) -> None:
        """Keep the newest report of a support process."""
        self.report = report
        self.reported_at_s = monotonic_s()

    def give_time(self, seconds: float) -> None:
        """Count for nobody the time for which we have stood still."""
        super().give_time(seconds)
        if self.reported_at_s is not None:
            self.reported_at_s += seconds

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        self._reap(now_s)
        if self.state is ServerState.STOPPING and self.is_gone:
            self.keeper.feed(Exited("stopped"), "all its processes have ended")
        self.keeper.tick()

    def _carry_out(self, effect: Effect) -> None:
        super()._carry_out(effect)
        if effect is Effect.SPAWN and self.current is not None and not self._ready_when():
            self.keeper.feed(WorkersChanged(1, 1), "it runs")

    def _spawn(self) -> Generation:
        number = self._next_number()
        generation = Generation(number)
        events = ChildEvents(
            on_line=self.relay,
            on_message=lambda message: self._on_message(generation, message),
            on_exit=lambda code: self._on_exit(generation, code),
        )
        generation.process = self._start_process(number, events)
        self.reported_at_s = None
        return generation

    def _on_message(self, generation: Generation, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "worker_ready":
            generation.ready_pids.add(message["pid"])
            generation.undrained.add(message["pid"])
        elif kind == "drained":
            generation.cut += message["cut"]
            generation.waiting += message["waiting"]
            if not message["cut"] and not message["has_failed"]:
                generation.undrained.discard(message["pid"])
        elif kind == "cannot_listen":
            self._refused(generation, message)
        elif kind == "worker_exit":
            self._on_worker_exit(generation, message)
        elif kind == "fork_trouble":
            self._take_fork_news(generation, message["error"])
        ready, wanted = len(generation.ready_pids), self._ready_when()
        if generation is self.replacement and ready >= wanted:
            self._take_over(generation)
        if generation is self.current:
            news = WorkersChanged(ready, wanted, self.fork_error)
            self.keeper.feed(news, str(message.get("kind")))

    def _on_worker_exit(self, generation: Generation, message: dict[str, Any]) -> None:
        generation.ready_pids.discard(message["pid"])
        if not generation.is_leaving:  # another one takes its place
            generation.undrained.discard(message["pid"])
        if message["exit_code"]:
            self.log.error("worker_died", pid=message["pid"], exit_code=message["exit_code"])

    def _refused(self, generation: Generation, message: dict[str, Any]) -> None:
        """Give up a generation that has found one of its ports taken."""
        cause = OSError(message["errno"], os.strerror(message["errno"]))
        error = explain_taken(message["host"], message["port"], cause)
        if generation is self.replacement:
            self._drop_replacement(error)
        elif generation is self.current:
            self._on_refused(error)

    def _on_exit(self, generation: Generation, code: int) -> None:
        generation.exit_code = code
        if generation is self.current:
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.keeper.feed(Exited(f"it ended: {cause}"), "it ended")
            self.tick(monotonic_s())  # the first restart is immediate
        elif generation is self.replacement:
            self._drop_replacement(f"the new generation ended with {code}")
