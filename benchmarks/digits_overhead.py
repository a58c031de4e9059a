#!/usr/bin/env python3
"""What the gateway adds to the bundled `digits` model: CPU on top of `session.run` in a loop.

python benchmarks/digits_overhead.py [--seconds 5] [--rounds 3] [--quick] [--json out.json]
                                     [--markdown]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import machine
import numpy as np
import program
import tables
from batching_quiz import start
from load import find_wrk, run_wrk
from loaded import WARM_SECONDS, Run, measure
from server_process import Request
from systems.bundled import load_bundled
from tables import Table, spread
from targets import Bound, Target, print_targets

CONNECTIONS = (1, 8, 32)
MAX_ON_TOP_US = 120
WARM_RUNS = 500
PIXELS = [number * 7 % 17 for number in range(64)]
REQUEST = Request("/run", json.dumps({"SIGNATURE": "digits", "PIXELS": PIXELS}).encode())
HOW = (
    "One worker. CPU is that of every process of the gateway's tree, by the kernel's accounts, and "
    "none of the client's; the loop's is its process's own."
)


@dataclass
class Found:
    """By round."""

    loop_us: list[float] = field(default_factory=list)
    runs: dict[int, list[Run]] = field(default_factory=dict)

    def on_top_us(self, connections: int) -> list[float]:
        """Per round, what a request costs beyond the model."""
        pairs = zip(self.runs[connections], self.loop_us, strict=True)
        return [run.cpu_us - loop_us for run, loop_us in pairs]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=5, help="length of one load run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s each")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    tables.add_markdown_option(parser, "digits_overhead")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 2, 1
    return options


def _run(options: argparse.Namespace) -> bool:
    find_wrk()
    machine.print_head()
    found = Found()
    with (
        tempfile.TemporaryDirectory(prefix="bench-digits-") as folder,
        start(Path(folder), "digits", {}) as server,
    ):
        server.wait_for_200(REQUEST)
        run_wrk(server.url, REQUEST, max(CONNECTIONS), WARM_SECONDS)
        for _ in range(options.rounds):
            found.loop_us.append(loop_us(options.seconds / 2))
            for connections in CONNECTIONS:
                run = measure(server, REQUEST, connections, options.seconds)
                found.runs.setdefault(connections, []).append(run)
    targets = judge(found)
    tables.report("digits_overhead", options.markdown, [_table(found)], targets, HOW)
    record = {str(count): [run.record() for run in runs] for count, runs in found.runs.items()}
    program.write_json(options.json, targets, {"loop_us": found.loop_us, "samples": record})
    return print_targets(targets)


def loop_us(seconds: float) -> float:
    """CPU microseconds of one `session.run`, in a loop that does nothing else."""
    session = load_bundled("digits", "DigitsWorker").session
    # The endpoint puts a blank image behind a single one, so the model sees two.
    inputs = {"X": np.array([PIXELS, [0] * len(PIXELS)], dtype=np.float32)}
    for _ in range(WARM_RUNS):
        session.run(None, inputs)
    count, until = 0, time.monotonic() + seconds
    began_ns = time.process_time_ns()
    while time.monotonic() < until:
        for _ in range(100):
            session.run(None, inputs)
        count += 100
    return (time.process_time_ns() - began_ns) / count / 1000


def judge(found: Found) -> list[Target]:
    """One target for each number of callers."""
    return [
        Target(
            f"CPU on top of the model at {connections} callers",
            statistics.median(on_top),
            Bound.AT_MOST,
            MAX_ON_TOP_US,
            "us",
            (min(on_top), max(on_top)),
        )
        for connections in found.runs
        for on_top in [found.on_top_us(connections)]
    ]


def _table(found: Found) -> Table:
    rows = {"session.run in a loop": ["", spread(found.loop_us, 1), "", "1", ""]}
    for connections, runs in found.runs.items():
        ratios = [run.cpu_us / alone for run, alone in zip(runs, found.loop_us, strict=True)]
        rows[f"through the gateway, {connections} callers"] = [
            spread([run.requests_per_s for run in runs], 0),
            spread([run.cpu_us for run in runs], 0),
            spread(found.on_top_us(connections), 0),
            spread(ratios, 1),
            spread([run.load.p50_ms for run in runs], 3),
        ]
    heads = ("requests/s", "CPU us/request", "on top", "ratio", "p50 ms")
    return Table("One image of 64 pixels", heads, rows)


if __name__ == "__main__":
    sys.exit(main())
