"""Runs wrk, the load generator, and reads its figures. Knows no server."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from server_process import Request

LUA_SCRIPT = Path(__file__).resolve().with_name("load.lua")
ERROR_KINDS = ("connect", "read", "write", "timeout", "status", "wrong")
EXTRA_TIME_S = 30.0


class LoadError(Exception):
    """wrk is missing or did not give a result."""


@dataclass(frozen=True)
class LoadResult:
    """What wrk saw; `errors` holds only the kinds that occurred, `complaint` one wrong answer."""

    connections: int
    requests: int
    duration_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    complaint: str = ""

    @property
    def requests_per_s(self) -> float:
        """Completed requests per second."""
        return self.requests / self.duration_s


def find_wrk() -> str:
    """The path of wrk, or an error that says how to get it."""
    path = shutil.which("wrk")
    if path is None:
        raise LoadError("wrk is not installed: apt-get install -y --no-install-recommends wrk")
    return path


def run_wrk(
    url: str, request: Request, connections: int, seconds: int, expected: str | None = None
) -> LoadResult:
    """Load `url` over kept-alive connections, each sending its next request on an answer.

    With `expected`, a Lua pattern, every answer's status and body are checked as well.
    """
    command = [
        *(find_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"),
        *("-s", str(LUA_SCRIPT), url + request.path, "--", request.body.decode()),
    ]
    if expected is not None:
        command.append(expected)
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + EXTRA_TIME_S, check=False
    )
    for line in finished.stdout.splitlines():
        if line.startswith("RESULT "):
            return _parse(connections, json.loads(line.removeprefix("RESULT ")), finished.stderr)
    raise LoadError(f"wrk gave no result: {finished.stdout}{finished.stderr}")


def _parse(connections: int, figures: dict[str, int], complaint: str) -> LoadResult:
    return LoadResult(
        connections=connections,
        requests=figures["requests"],
        duration_s=figures["duration_us"] / 1e6,
        p50_ms=figures["p50_us"] / 1e3,
        p90_ms=figures["p90_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        max_ms=figures["max_us"] / 1e3,
        errors={kind: figures[kind] for kind in ERROR_KINDS if figures[kind]},
        complaint=complaint.strip(),
    )
