"""Keeps a run from leaving processes behind: strays while we live, the janitor when we do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import EventLog
from basic_inference_server.supervision.child_process import UNCOLLECTED
from basic_inference_server.supervision.janitor import Janitor
from basic_inference_server.supervision.spawning import Spawner
from basic_inference_server.supervision.strays import Strays, become_subreaper

LAST_SWEEP_S = 1.0
LOOK_AFTER_JANITOR_S = 1.0


class CleanUpCrew:
    """Strays and janitor of one run."""

    def __init__(
        self, spawner: Spawner, generations: Callable[[], set[tuple[str, int]]], log: EventLog
    ) -> None:
        self._spawner = spawner
        self._generations = generations
        self._log = log
        self._living: set[str] = set()
        self._strays = Strays(self._is_ours, lambda mark: mark in self._living, log)
        self._janitor: Janitor | None = None
        self._look_at_s = 0.0

    def start(self) -> None:
        """Begin; called once, by the process that starts the children."""
        if not become_subreaper():
            self._log.warning("no_subreaper", message="orphans cannot be adopted here")
        self._start_janitor()

    def _start_janitor(self) -> None:
        try:
            self._janitor = Janitor(self._spawner.run_id)
        except OSError as error:
            self._log.warning("no_janitor", error=str(error))

    def _is_ours(self, pid: int) -> bool:
        return pid in UNCOLLECTED or (self._janitor is not None and pid == self._janitor.pid)

    def worker_died(self, signature: str, generation: int) -> None:
        """End what a dead worker has left behind."""
        self._strays.worker_died(self._spawner.mark(signature, generation), monotonic_s())

    def tick(self, now_s: float) -> None:
        """End what belongs to nobody any more."""
        self._living = {self._spawner.mark(*one) for one in self._generations()}
        self._strays.tick(now_s)
        if self._janitor is not None and now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_AFTER_JANITOR_S
            if not self._janitor.is_alive:
                self._janitor.close()
                self._start_janitor()

    async def close(self) -> None:
        """End every stray; then let the janitor go."""
        deadline_s = monotonic_s() + LAST_SWEEP_S
        while not self._strays.end_all() and monotonic_s() < deadline_s:
            await asyncio.sleep(0.02)
        if self._janitor is not None:
            self._janitor.close()
