"""The deaths of one server's workers: what is known about each, and the newest one."""

from __future__ import annotations

import signal
from typing import Any

from basic_inference_server.core.clock import local_time_text, monotonic_s
from basic_inference_server.supervision.autopsy import Death, Verdict, examine
from basic_inference_server.supervision.memory_watch import MemoryWatch, OutOfMemoryWatch
from basic_inference_server.supervision.output_relay import OutputRelay
from basic_inference_server.supervision.worker_watch import WorkerWatch

UNASKED = "(os._exit or sys.exit in the endpoint?)"


def fault_of(message: dict[str, Any], verdict: Verdict) -> str | None:
    """Return what is wrong with the server when a worker has ended like that; `None`: nothing.

    A worker that a request or somebody outside may have ended says nothing about the next one, and
    neither does one that had served for a while.
    """
    if message["is_clean"]:
        return None
    cause = verdict.cause
    if not message["had_loaded"]:
        if cause == "exit code 0":
            return f"a worker ended with exit code 0 while it loaded {UNASKED}"
        return f"a worker died while loading: {cause}"
    was_ended_for_a_reason = cause != message["cause"]
    if message["has_crashed"] or (message["was_unused"] and was_ended_for_a_reason):
        return f"a worker ended soon after it had loaded: {cause}"
    return None


def describe_exit(code: int) -> str:
    """Return in words how a master has ended whom nobody had asked to."""
    if code == 0:
        return f"exit code 0 {UNASKED}"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class Deaths:
    """Joins a worker's end with what was seen of it before: limits, memory, output."""

    def __init__(
        self,
        watch: WorkerWatch,
        memory: MemoryWatch,
        out_of_memory: OutOfMemoryWatch,
        relay: OutputRelay,
    ) -> None:
        self.last: Death | None = None
        self._watch = watch
        self._memory = memory
        self._out_of_memory = out_of_memory
        self._relay = relay

    def examine(self, message: dict[str, Any]) -> Verdict:
        """Return why the worker of a `worker_exit` announcement has ended."""
        pid, ended_by = message["pid"], message["signal"]
        was_killed = ended_by == signal.SIGKILL
        return examine(
            exit_text=message["cause"],
            ended_by=ended_by,
            doom=self._watch.verdict_on(pid),
            out_of_memory=self._out_of_memory.evidence(monotonic_s()) if was_killed else None,
            resident_mb=self._memory.last_seen_mb(pid),
        )

    def remember(self, message: dict[str, Any], verdict: Verdict) -> Death:
        """Keep an unexpected death as the newest one, with the last lines of its output."""
        self.last = Death(
            time=local_time_text(),
            worker_id=message["worker_id"],
            pid=message["pid"],
            cause=verdict.cause,
            last_output=tuple(self._relay.last_lines(message["worker_id"])),
        )
        return self.last
