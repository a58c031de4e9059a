"""One supervised server: its lifecycle, its generations, its workers.

The listening socket and the scoreboard belong to the server and outlive every generation, so a
generation can die or be replaced and no connection is refused.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.error_detail import Reason
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard, SlotReading, WorkerState
from basic_inference_server.core.settings import EndpointSettings
from basic_inference_server.core.topology import (
    SERVING_STATES,
    WAITING_STATES,
    Route,
    ServerState,
)
from basic_inference_server.supervision.autopsy import Verdict
from basic_inference_server.supervision.child_process import ChildEvents, announcement_sockets
from basic_inference_server.supervision.code_watch import CodeWatch
from basic_inference_server.supervision.deaths import Deaths, describe_exit, fault_of
from basic_inference_server.supervision.endpoint_files import FileStamp
from basic_inference_server.supervision.generation import Generation
from basic_inference_server.supervision.lifecycle import (
    RESTING_STATES,
    Crashed,
    Exited,
    LoadBegan,
    LoadFailed,
    WorkersChanged,
)
from basic_inference_server.supervision.lineage import Lineage
from basic_inference_server.supervision.memory_watch import MemoryWatch
from basic_inference_server.supervision.output_relay import OutputRelay
from basic_inference_server.supervision.server_parts import (
    ServerHooks,
    ServerOptions,
    ServerPlace,
    make_route,
    server_spec,
)
from basic_inference_server.supervision.spawning import Spawner
from basic_inference_server.supervision.worker_watch import WorkerWatch

HAND_OVER_S = 2.0
HAND_OVER_LOOK_S = 0.01


class Server(Lineage):
    """Starts, watches, replaces, scales and stops the generations of one endpoint's server."""

    def __init__(
        self,
        signature: str,
        section: EndpointSettings,
        place: ServerPlace,
        options: ServerOptions,
        spawner: Spawner,
        log: EventLog,
        relay: OutputRelay,
        hooks: ServerHooks,
    ) -> None:
        self.signature = signature
        self.section = section
        self.place = place
        self.scoreboard = ServerScoreboard.create(f"server-{place.cell}")
        self.scoreboard.target_workers = section.NR_WORKERS
        self.relay = relay
        self._section_before: EndpointSettings | None = None
        self.code = CodeWatch(lambda: options.stamp_of(self.section.SERVER_CLASS or signature))
        self._options = options
        self._spawner = spawner
        self._hooks = hooks
        super().__init__(
            log.bind(server=signature),
            ServerState.DISABLED if section.DISABLED else ServerState.STOPPED,
            lambda life, why: hooks.on_change(signature, life, why),
            options.graceful_timeout_s,
        )
        self._watch = WorkerWatch(self.scoreboard, section.LOAD_TIMEOUT, self.log)
        self._memory = MemoryWatch(section.MAX_MEMORY_HARD_MB)
        self.deaths = Deaths(self._watch, self._memory, options.out_of_memory, relay)
        self.endpoint: dict[str, Any] = {}

    @property
    def target_workers(self) -> int:
        """How many workers it shall have."""
        return self.scoreboard.target_workers

    @property
    def ready_workers(self) -> int:
        """How many workers take requests now."""
        return len(self.current.ready_pids) if self.current else 0

    def start(self, why: str) -> None:
        """Start it, unless it already runs."""
        if self.state in RESTING_STATES:
            self._hooks.on_new_code(self.signature)
        super().start(why)

    def scale(self, count: int) -> None:
        """Set the number of workers; those that are too many finish their request first."""
        self.scoreboard.target_workers = count
        self.fork_error = None
        if self.current and self.current.process:
            self.current.process.send_signal(signal.SIGTTIN)
            self._count_workers(f"NR_WORKERS is now {count}")

    def adopt(self, section: EndpointSettings, why: str, *, replaces_workers: bool) -> None:
        """Work with a new section from now on.

        With `replaces_workers` it counts once a new generation has loaded with it; if that fails,
        the old section stays in force with the old generation.
        """
        if replaces_workers:
            self._drop_replacement("a newer configuration has come")
        before, self.section = self.section, section
        self._apply_limits()
        if section.NR_WORKERS != before.NR_WORKERS:
            self.scale(section.NR_WORKERS)
        if not replaces_workers:
            return
        if self.state in WAITING_STATES and self.current is not None:
            self._retire(self.current)
            self._start_current()
        elif self.state in SERVING_STATES:
            self._section_before = before
            self.replace(why)
        elif self.state in {ServerState.FAILED, ServerState.BACKOFF}:
            self.start(why)

    def _apply_limits(self) -> None:
        self.place.listener.listen(self.section.QUEUE_SIZE - 1)
        self._memory.hard_limit_mb = self.section.MAX_MEMORY_HARD_MB
        self._watch.load_timeout_s = self.section.LOAD_TIMEOUT

    @property
    def loaded_file(self) -> FileStamp:
        """The version of the endpoint's file that the newest generation has loaded."""
        newest = self.replacement or self.current
        return newest.file_stamp if newest else None

    def replace(self, why: str) -> None:
        """Start a new generation beside the current one; it takes over when it is ready."""
        if self.state in SERVING_STATES:
            super().replace(why)
        else:
            self.replace_error = None
            self.start(why)

    def give_time(self, seconds: float) -> None:
        """Count for nobody the time for which we have stood still."""
        super().give_time(seconds)
        self._watch.excuse(seconds)

    def tick(self, now_s: float) -> None:
        """Do what is due: restart, kill the hung, collect the retired."""
        for generation in self.generations:
            self._watch.check(generation, now_s)
        self._count_out_those_that_leave()
        if self._memory.is_due(now_s):
            self._check_memory(now_s)
        for generation in self._reap(now_s):
            self._conclude_stop(generation)
            if self.is_gone:
                self._hooks.on_gone()
        self.keeper.tick()

    def _count_out_those_that_leave(self) -> None:
        """A worker that takes no requests any more is not ready, however long it takes to end."""
        leaving = {slot.pid for slot in self.own_slots() if slot.is_leaving}
        if self.current is not None and leaving & self.current.ready_pids:
            self.current.ready_pids -= leaving
            self._count_workers("a worker is leaving")

    def _check_memory(self, now_s: float) -> None:
        slots = {slot.pid: slot for slot in self.scoreboard.occupied() if slot.pid}
        for pid, reason in self._memory.sample(list(slots)):
            for generation in self.generations:
                if generation.number == slots[pid].generation:
                    self._watch.end(generation, slots[pid], reason, now_s)

    def _conclude_stop(self, generation: Generation) -> None:
        if self.state is ServerState.STOPPING and self.is_gone:
            error = f"ended with {generation.exit_code}"
            self.keeper.feed(Exited(error), "all its processes have ended")

    def own_slots(self) -> list[SlotReading]:
        """Return the scoreboard slots of the current generation's workers."""
        if self.current is None:
            return []
        number = self.current.number
        return [slot for slot in self.scoreboard.occupied() if slot.generation == number]

    async def handed_over(self) -> None:
        """Wait, for a moment at most, until no idle worker of an older generation is left.

        A worker that was told to leave may still take one request, if it comes at that moment.
        """
        until_s = monotonic_s() + HAND_OVER_S
        while self._has_old_idle_workers() and monotonic_s() < until_s:
            await asyncio.sleep(HAND_OVER_LOOK_S)

    def _has_old_idle_workers(self) -> bool:
        retired = {generation.number for generation in self._retired}
        slots = self.scoreboard.occupied()
        return any(s.state is WorkerState.IDLE and s.generation in retired for s in slots)

    def is_healthy(self) -> bool:
        """Whether at least one worker is idle and alive, or busy within its deadline."""
        return self._watch.is_healthy(self.own_slots())

    def process_ids(self) -> list[int]:
        """Return the pids of its processes, those of ending generations left out."""
        masters = [g.pid for g in (self.current, self.replacement) if g and g.pid]
        return [*masters, *(slot.pid for slot in self.scoreboard.occupied() if slot.pid)]

    def route(self) -> Route:
        """Return how the gateway reaches it now."""
        idempotent = bool(self.endpoint.get("idempotent", False))
        life = self.keeper.life
        return make_route(
            self.signature, self.section, self.place, life, self.ready_workers,
            idempotent=idempotent, has_processes=not self.is_gone,
        )  # fmt: skip

    def _spawn(self) -> Generation:
        generation = Generation(self._next_number(), self.code.stamp())
        ours, theirs = announcement_sockets()
        spec = server_spec(
            self.signature,
            self.section,
            self._options,
            generation=generation.number,
            workers=self.target_workers,
            listen_fd=self.place.listener.fileno(),
            announce_fd=theirs.fileno(),
            scoreboard_fd=self.scoreboard.fd,
        )
        events = ChildEvents(
            on_line=self.relay,
            on_message=lambda message: self._on_message(generation, message),
            on_exit=lambda code: self._on_master_exit(generation, code),
        )
        generation.process = self._spawner.role(
            "basic_inference_server.serving",
            self.signature,
            spec,
            [spec.listen_fd, spec.scoreboard_fd],
            (ours, theirs),
            self.section.ENV,
            events,
        )
        self.log.debug("spawned", pid=generation.pid, generation=generation.number)
        return generation

    def _on_message(self, generation: Generation, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "notifications":
            self._on_notifications(message)
        elif kind == "worker_ready":
            self._on_worker_ready(generation, message)
        elif kind == "load_failed":
            self._on_load_failed(generation, message)
        elif kind == "worker_exit":
            self._on_worker_exit(generation, message)
        elif kind == "fork_trouble":
            self._on_fork_trouble(generation, message)
        elif kind == "loading" and generation is self.current:
            self.keeper.feed(LoadBegan(), "a worker has started")

    def _on_fork_trouble(self, generation: Generation, message: dict[str, Any]) -> None:
        error = message["error"]
        self._take_fork_news(generation, error)
        if generation is not self.current or error is None:
            return
        if message["running"]:
            self._count_workers("a worker is missing", error)
        else:
            self.keeper.feed(LoadFailed(error, is_permanent=False), error)

    def _on_notifications(self, message: dict[str, Any]) -> None:
        self._hooks.on_notifications(self.signature, message["items"])
        if message.get("dropped"):
            self.log.warning("notifications_dropped", count=message["dropped"])

    def _on_worker_ready(self, generation: Generation, message: dict[str, Any]) -> None:
        generation.ready_pids.add(message["pid"])
        generation.endpoint = message["endpoint"]
        if generation is self.replacement:
            if len(generation.ready_pids) >= self.target_workers:
                self._promote(generation)
        elif generation is self.current:
            self.endpoint = generation.endpoint
            self._count_workers("a worker is ready")

    def _promote(self, generation: Generation) -> None:
        self._section_before = None
        self.endpoint = generation.endpoint
        self._take_over(generation)
        self._hooks.on_new_code(self.signature)
        self._count_workers("a new generation has taken over")

    def _drop_replacement(self, error: str) -> None:
        if self.replacement is not None:
            self.code.refuse(self.replacement.file_stamp)
        super()._drop_replacement(error)

    def _replacement_failed(self, error: str) -> None:
        before, self._section_before = self._section_before, None
        if before is not None:
            self.adopt(before, error, replaces_workers=False)
        super()._replacement_failed(error)

    def _count_workers(self, why: str, error: str | None = None) -> None:
        self.keeper.feed(WorkersChanged(self.ready_workers, self.target_workers, error), why)

    def _on_load_failed(self, generation: Generation, message: dict[str, Any]) -> None:
        error = Reason(message["error"], message["brief"])
        self.log.error(
            "load_failed",
            error=error,
            traceback=message["traceback"],
            worker_id=message["worker_id"],
            generation=generation.number,
        )
        self._notify("load_failed", error)
        if generation is self.replacement:
            self._drop_replacement(error)
        elif generation is self.current and not generation.ready_pids:
            failure = LoadFailed(error, message["is_permanent"])
            self.keeper.feed(failure, "the endpoint could not be loaded")
        elif generation is self.current:
            self._count_workers("a worker could not load", error)

    def _on_worker_exit(self, generation: Generation, message: dict[str, Any]) -> None:
        generation.ready_pids.discard(message["pid"])
        verdict = self.deaths.examine(message)
        error = fault_of(message, verdict)
        message["generation"] = generation.number
        message["cause"] = verdict.cause
        # Of a batch nobody can say which request it was.
        message["blames_request"] = verdict.blames_request and len(message["calls"]) == 1
        left_freely = message["is_clean"] and not message["was_busy"]
        is_expected = left_freely or generation in self._retired
        if not is_expected:
            self._say_death(generation, message, verdict)
        self._hooks.on_worker_exit(self.signature, message)
        if generation is self.replacement and error is not None:
            self._drop_replacement(error)
        elif generation is self.current:
            self._go_on(message, error)

    def _go_on(self, message: dict[str, Any], error: str | None) -> None:
        """Go on with the workers that are left; without any, what goes wrong is backed off."""
        if error is None or self.ready_workers:
            # One that was parked has told itself why it could not load.
            news = None if message["was_parked"] else error
            self._count_workers(f"a worker has ended: {message['cause']}", news)
        elif message["had_loaded"]:
            self.keeper.feed(Crashed(error, is_replaced=not message["retry_in_s"]), error)
        else:
            self.keeper.feed(LoadFailed(error, is_permanent=False), error)

    def _say_death(self, generation: Generation, message: dict[str, Any], verdict: Verdict) -> None:
        if generation.process is not None:
            generation.process.drain_output()
        death = self.deaths.remember(message, verdict)
        shown = ("pid", "worker_id", "cause", "had_loaded", "was_busy", "is_clean")
        self.log.error("worker_died", **{name: message[name] for name in shown})
        self._notify(
            "worker_died", f"worker {death.worker_id}: {death.cause}",
            last_output=list(death.last_output),
        )  # fmt: skip

    def _on_master_exit(self, generation: Generation, code: int) -> None:
        generation.exit_code = code
        generation.ready_pids.clear()
        cause = describe_exit(code)
        if generation is self.current:
            self._notify("server_died", f"the server's master ended: {cause}")
            self.keeper.feed(Exited(f"the server's master ended: {cause}"), "its master ended")
            self.tick(monotonic_s())  # the first restart is immediate
        elif generation is self.replacement:
            self._drop_replacement(f"the new generation ended: {cause}")

    def _notify(self, kind: str, text: str, **fields: Any) -> None:
        self._hooks.on_notifications(self.signature, [{"notif": kind, "msg": text, **fields}])
