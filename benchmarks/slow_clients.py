#!/usr/bin/env python3
"""What a healthy client notices of a thousand slow or idle ones.

python benchmarks/slow_clients.py [--connections 1000] [--seconds 12] [--rounds 3] [--json out.json]

One client asks the echo endpoint at a steady pace, alone and with the crowd there, in turn. The
crowd is `slow_connections.py`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import machine
import program
from server_process import Request, ServerError, ServerProcess
from systems import gateway
from targets import Bound, Target, print_targets

MAX_RATIO = 2.0
FLOOR_MS = 1.0
MIN_HELD = 0.95
PACE_S = 0.005
HEALTHY_TIMEOUT_S = 5.0
CROWD_TIMEOUT_S = 30.0
ECHO = Request("/run", b'{"SIGNATURE":"echo","INPUT_VALUE":"5"}')
HEADERS = {"Content-Type": "application/json"}
LARGE_ENDPOINT = '''"""Answers as much as it is asked for."""

from basic_inference_server import FlaskWorker


class LargeWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"text": "y" * int(inputs["SIZE"])}
'''


@dataclass
class Healthy:
    """What the healthy client saw for some seconds."""

    latencies_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return statistics.quantiles(self.latencies_ms, n=100)[98]

    @property
    def p50_ms(self) -> float:
        """The median."""
        return statistics.median(self.latencies_ms)


@dataclass(frozen=True)
class Round:
    """One pair: alone, then with the crowd."""

    alone_p50_ms: float
    alone_p99_ms: float
    crowd_p50_ms: float
    crowd_p99_ms: float
    requests: int
    failures: list[str]
    held: int
    closed_by_server: int

    @property
    def ratio(self) -> float:
        """How much slower it was; below the floor a baseline is noise of the machine."""
        return self.crowd_p99_ms / max(self.alone_p99_ms, FLOOR_MS)


class CrowdProcess:
    """A running `slow_connections.py`, and what it says."""

    def __init__(self, process: subprocess.Popen[str], count: int) -> None:
        self.opened: list[int] = []
        self.closed_by_server = 0
        self._process = process
        self._count = count
        self._error: str | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            if "error" in report:
                self._error = report["error"]
                return
            self.closed_by_server = report["closed_by_server"]
            self.opened.append(report["open"])

    def wait_until_all_are_open(self) -> None:
        """Wait, then forget the beginning."""
        deadline = time.monotonic() + CROWD_TIMEOUT_S
        while not self.opened or self.opened[-1] < self._count:
            if self._error or self._process.poll() is not None or time.monotonic() > deadline:
                shown = self._error or f"open: {self.opened[-1:]}"
                raise ServerError(f"{self._count} connections were not opened; {shown}")
            time.sleep(0.05)
        self.opened.clear()


@contextmanager
def crowd(server: ServerProcess, count: int) -> Iterator[CrowdProcess]:
    """Hold the slow connections for the length of a `with` block."""
    host, port = server.address
    program_path = Path(__file__).with_name("slow_connections.py")
    process = subprocess.Popen(
        [sys.executable, str(program_path), host, str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        held = CrowdProcess(process, count)
        held.wait_until_all_are_open()
        yield held
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def ask(server: ServerProcess, seconds: float) -> Healthy:
    """Ask at a steady pace on one connection; a late answer delays nothing but itself."""
    seen = Healthy()
    host, port = server.address
    connection = http.client.HTTPConnection(host, port, timeout=HEALTHY_TIMEOUT_S)
    began = due = time.monotonic()
    try:
        while due < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            try:
                connection.request("POST", ECHO.path, ECHO.body, HEADERS)
                response = connection.getresponse()
                body = response.read()
                if response.status != http.client.OK:
                    seen.failures.append(f"{response.status} {body[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                seen.failures.append(repr(error))
                connection.close()
            now = time.monotonic()
            seen.latencies_ms.append((now - sent) * 1000)
            due = max(due + PACE_S, now)
    finally:
        connection.close()
    return seen


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _report(options))


def _report(options: argparse.Namespace) -> bool:
    machine.print_head()
    rounds = _measure(options.connections, options.seconds, options.rounds)
    print("      alone p50, p99      with the crowd p50, p99   ratio  held  closed by the server")
    for one in rounds:
        print(
            f"  {one.alone_p50_ms:8.2f} {one.alone_p99_ms:8.2f} ms  "
            f"{one.crowd_p50_ms:13.2f} {one.crowd_p99_ms:8.2f} ms  "
            f"{one.ratio:8.2f}  {one.held:4d}  {one.closed_by_server:6d}"
        )
    for failure in [text for one in rounds for text in one.failures][:5]:
        print(f"  FAILED {failure}")
    targets = _judge(rounds, options.connections)
    program.write_json(options.json, targets, {"rounds": [asdict(one) for one in rounds]})
    return print_targets(targets)


def _measure(connections: int, seconds: float, rounds: int) -> list[Round]:
    with tempfile.TemporaryDirectory(prefix="slow-clients-") as name:
        folder = Path(name)
        shutil.copytree(gateway.ECHO_FOLDER, folder, dirs_exist_ok=True)
        (folder / "endpoints" / "large.py").write_text(LARGE_ENDPOINT)
        gateway.write_config(folder, {"echo": {"NR_WORKERS": 2}, "large": {}})
        with gateway.start(folder) as server:
            server.wait_for_200(ECHO)
            server.wait_for_200(Request("/run", b'{"SIGNATURE":"large","SIZE":1}'))
            ask(server, 1.0)
            return [_round(server, connections, seconds) for _ in range(rounds)]


def _round(server: ServerProcess, connections: int, seconds: float) -> Round:
    alone = ask(server, seconds)
    with crowd(server, connections) as held:
        beside = ask(server, seconds)
        return Round(
            alone_p50_ms=alone.p50_ms,
            alone_p99_ms=alone.p99_ms,
            crowd_p50_ms=beside.p50_ms,
            crowd_p99_ms=beside.p99_ms,
            requests=len(alone.latencies_ms) + len(beside.latencies_ms),
            failures=alone.failures + beside.failures,
            held=round(statistics.median(held.opened or [0])),
            closed_by_server=held.closed_by_server,
        )


def _judge(rounds: list[Round], connections: int) -> list[Target]:
    ratios = [one.ratio for one in rounds]
    return [
        Target(
            "p99 of a healthy client, ratio to its p99 alone",
            statistics.median(ratios),
            Bound.AT_MOST,
            MAX_RATIO,
            spread=(min(ratios), max(ratios)),
        ),
        Target(
            "failed requests of the healthy client",
            sum(len(one.failures) for one in rounds),
            Bound.AT_MOST,
            0,
        ),
        Target(
            "slow connections held, share of those wanted",
            min(one.held for one in rounds) / connections,
            Bound.AT_LEAST,
            MIN_HELD,
        ),
    ]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=1000, help="slow ones at a time")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each half of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
