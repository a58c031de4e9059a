"""One run of wrk against one server, with the CPU that both have used."""

from __future__ import annotations

import contextlib
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import process_tree
from load import LoadError, LoadResult, run_wrk
from server_process import Request, ServerError, ServerProcess
from systems.model_systems import ModelSystem, Setup

SETTLE_S = 0.2
WARM_SECONDS = 1
MAX_SECONDS = 120


@dataclass(frozen=True)
class Run:
    """What one run has found."""

    load: LoadResult
    server_cpu_s: float
    client_cpu_s: float

    @property
    def requests_per_s(self) -> float:
        """Throughput."""
        return self.load.requests_per_s

    @property
    def cpu_us(self) -> float:
        """CPU of the server's whole tree for each completed request, in microseconds."""
        return self.server_cpu_s / max(1, self.load.requests) * 1e6

    @property
    def client_share(self) -> float:
        """How much of a core the load generator needed; near 1 it was the limit."""
        return self.client_cpu_s / self.load.duration_s

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        return {
            "connections": self.load.connections,
            "requests_per_s": self.requests_per_s,
            "cpu_us": self.cpu_us,
            "p50_ms": self.load.p50_ms,
            "p99_ms": self.load.p99_ms,
            "client_share": self.client_share,
            "errors": self.load.errors,
        }


def measure(server: ServerProcess, request: Request, connections: int, seconds: int) -> Run:
    """Load a warm server; an error or no answer at all is no result.

    Raises:
        LoadError: there were errors, or no answers.
    """
    time.sleep(SETTLE_S)
    server_before_s = process_tree.cpu_seconds(server.pid)
    client_before_s = _children_cpu_s()
    load = run_wrk(server.url, request, connections, min(seconds, MAX_SECONDS))
    client_cpu_s = _children_cpu_s() - client_before_s
    run = Run(load, process_tree.cpu_seconds(server.pid) - server_before_s, client_cpu_s)
    if load.errors or not load.requests:
        raise LoadError(
            f"{server.name} at {connections} connections: {load.requests} answers, {load.errors}"
        )
    return run


@contextlib.contextmanager
def started(system: ModelSystem, setup: Setup, connections: int) -> Iterator[ServerProcess]:
    """A server of its own folder that has been asked, checked and warmed."""
    with (
        tempfile.TemporaryDirectory(prefix=f"bench-{system.key}-") as folder,
        system.start(setup, Path(folder)) as server,
    ):
        request = system.request(setup.work)
        server.wait_for_200(request)
        _, body = server.send(request)
        if not isinstance(json.loads(body), (dict, list)):
            raise ServerError(f"{system.title} answers {body[:200]!r}")
        run_wrk(server.url, request, connections, WARM_SECONDS)
        yield server


def _children_cpu_s() -> float:
    """Of the children that have ended and were waited for: wrk, between two readings."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
