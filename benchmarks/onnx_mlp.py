#!/usr/bin/env python3
"""The same small ONNX model behind this gateway, mosec, LitServe and BentoML.

python benchmarks/onnx_mlp.py [--seconds 4] [--rounds 3] [--connections 8,32,64] [--quick]
                              [--only ours,mosec,…] [--json out.json] [--markdown]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import machine
import program
import tables
from load import find_wrk
from loaded import Run, measure, started
from server_process import ServerError
from systems.model_systems import MLP, OURS, SYSTEMS, Setup, mlp_model
from tables import Table, spread
from targets import Bound, Target, print_targets

BATCH_SIZE = 32
OUR_WAIT_MS = 0.0
PEER_WAIT_MS = 1.0
CONNECTIONS = (8, 32, 64)
HOW = (
    "The model is 128-512-512-10 with relu, one thread of onnxruntime for each of two workers, "
    "128 numbers of JSON in and 10 out. "
    f"Batching takes up to {BATCH_SIZE}; this gateway waits for none, mosec and LitServe at most "
    f"{PEER_WAIT_MS:g} ms (mosec's least), BentoML tunes that itself."
)


@dataclass(frozen=True)
class Case:
    """One system, with batching or without."""

    system: str
    is_batched: bool

    @property
    def name(self) -> str:
        """As a row of the tables."""
        return f"{SYSTEMS[self.system].title}, {'batches' if self.is_batched else 'one by one'}"

    @property
    def setup(self) -> Setup:
        """What it is started with."""
        if not self.is_batched:
            return Setup(MLP)
        return Setup(MLP, BATCH_SIZE, OUR_WAIT_MS if self.system == OURS.key else PEER_WAIT_MS)


# By case, then by connection count: a run for each round.
Found = dict[Case, dict[int, list[Run]]]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=4, help="length of one load run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=_counts, default=list(CONNECTIONS))
    program.add_common_options(parser, SYSTEMS)
    tables.add_markdown_option(parser, "onnx_mlp")
    return program.parsed(parser, SYSTEMS)


def _counts(text: str) -> list[int]:
    return sorted({int(word) for word in text.split(",")})


def _run(options: argparse.Namespace) -> bool:
    find_wrk()
    machine.print_head()
    mlp_model()
    cases = [
        Case(name, is_batched) for name in _prepared(options.only) for is_batched in (False, True)
    ]
    found: Found = {case: {count: [] for count in options.connections} for case in cases}
    for round_index in range(options.rounds):
        print(f"round {round_index + 1} of {options.rounds}", file=sys.stderr)
        shift = round_index % len(cases)
        for case in [*cases[shift:], *cases[:shift]]:
            _measure_case(case, found[case], options.seconds)
    targets = judge(found)
    tables.report("onnx_mlp", options.markdown, _tables(found), targets, HOW)
    record = {
        case.name: [run.record() for runs in levels.values() for run in runs]
        for case, levels in found.items()
    }
    program.write_json(options.json, targets, {"samples": record})
    return print_targets(targets)


def _prepared(names: Sequence[str]) -> list[str]:
    """The systems whose environment is there or can be made; the others are named."""
    ready = []
    for name in names:
        try:
            SYSTEMS[name].prepare()
            ready.append(name)
        except ServerError as error:
            print(f"NOT RUN {name}: {str(error).splitlines()[-1]}", file=sys.stderr)
    return ready


def _measure_case(case: Case, levels: dict[int, list[Run]], seconds: int) -> None:
    system = SYSTEMS[case.system]
    with started(system, case.setup, max(levels)) as server:
        for connections, runs in levels.items():
            runs.append(measure(server, system.request(MLP), connections, seconds))


def judge(found: Found) -> list[Target]:
    """Ahead of each in both, each as it is fastest at that number of connections."""
    if not any(case.system == OURS.key for case in found):
        return []
    targets = []
    for peer in dict.fromkeys(case.system for case in found if case.system != OURS.key):
        for connections in next(iter(found.values())):
            mine = fastest(found, OURS.key, connections)
            theirs = fastest(found, peer, connections)
            pairs = list(zip(mine, theirs, strict=True))
            where = f"at {connections} callers, ratio to {peer}"
            speed = [one.requests_per_s / other.requests_per_s for one, other in pairs]
            cpu = [one.cpu_us / other.cpu_us for one, other in pairs]
            targets.append(_target(f"throughput {where}", speed, Bound.AT_LEAST))
            targets.append(_target(f"CPU per request {where}", cpu, Bound.AT_MOST))
    return targets


def fastest(found: Found, system: str, connections: int) -> list[Run]:
    """The runs of a system's faster configuration."""
    own = [levels[connections] for case, levels in found.items() if case.system == system]
    return max(own, key=lambda runs: statistics.median(run.requests_per_s for run in runs))


def _target(name: str, values: list[float], bound: Bound) -> Target:
    return Target(name, statistics.median(values), bound, 1.0, "", (min(values), max(values)))


def _tables(found: Found) -> list[Table]:
    counts = list(next(iter(found.values())))
    heads = [f"c={count}" for count in counts]
    return [
        Table(
            "Throughput, requests/s",
            heads,
            {
                case.name: [spread([run.requests_per_s for run in levels[c]], 0) for c in counts]
                for case, levels in found.items()
            },
        ),
        Table(
            "CPU of the whole server tree, us per request",
            heads,
            {
                case.name: [spread([run.cpu_us for run in levels[c]], 0) for c in counts]
                for case, levels in found.items()
            },
        ),
        Table(
            "Latency p99, ms",
            heads,
            {
                case.name: [spread([run.load.p99_ms for run in levels[c]], 1) for c in counts]
                for case, levels in found.items()
            },
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
