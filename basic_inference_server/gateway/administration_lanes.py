"""Threads for administration calls: those that wait for a server hold up no others."""

from __future__ import annotations

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.call_threads import CallThreads

PROMPT_THREADS = 8
MAX_WAITING = 64
STARTING_PATHS = ("/start_server", "/restart_server", "/update_workers", "/reload")
STOPPING_PATHS = ("/kill_server",)


class Lane:
    """Threads for calls of one kind, and how many of these calls there are."""

    def __init__(self, name: str, threads: int, log: EventLog) -> None:
        self.threads = CallThreads(threads, f"control-plane-{name}", log)
        self.waiting = 0


class Lanes:
    """A lane for what starts servers, one for what stops them, and one for all that is prompt."""

    def __init__(self, log: EventLog) -> None:
        self.prompt = Lane("prompt", PROMPT_THREADS, log)
        # As many threads as calls: those that wait for minutes hold up not even one another.
        starting = Lane("starting", MAX_WAITING, log)
        stopping = Lane("stopping", MAX_WAITING, log)
        self._by_path = {
            **dict.fromkeys(STARTING_PATHS, starting),
            **dict.fromkeys(STOPPING_PATHS, stopping),
        }

    def of(self, path: str) -> Lane:
        """Return the lane of a call."""
        return self._by_path.get(path, self.prompt)

    def close(self) -> None:
        """Let running calls end; take no new ones."""
        for lane in {self.prompt, *self._by_path.values()}:
            lane.threads.close()
