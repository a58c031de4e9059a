#!/usr/bin/env python3
"""What batching gives: throughput next to the ideal, a lone caller's latency, a real model.

python benchmarks/batching.py [--seconds 6] [--rounds 3] [--quick] [--only ideal,lone,quiz]
                              [--json out.json] [--markdown]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

import batching_quiz
import machine
import program
import tables
from load import find_wrk
from loaded import Run, measure, started
from systems.model_systems import LITSERVE, MOSEC, OURS, SLEEP, ModelSystem, Setup
from tables import Table, spread
from targets import Bound, Target, print_targets

HEADS = ("requests/s", "of the ideal", "p50 ms", "p99 ms", "CPU us/request", "client's core")
PARTS = ("ideal", "lone", "quiz")
CALLERS = 64
MANY_CALLERS = 128
BATCH_SIZE = 32
WORKERS = 2
BATCH_S = 0.02
IDEAL_PER_S = WORKERS * BATCH_SIZE / BATCH_S
MIN_OF_IDEAL = 0.95
MAX_LONE_MS = 1.0
OUR_WAITS_MS = (0.0, 2.0, 4.0, 8.0)
OUR_BEST_WAIT_MS = 4.0
PEER_WAIT_MS = 10.0
HOW = (
    "Median of the rounds with the smallest and the largest. Callers in a closed loop, two "
    f"workers, a model that sleeps for 20 ms a batch of at most {BATCH_SIZE}."
)


@dataclass(frozen=True)
class Case:
    """One system in one configuration."""

    system: ModelSystem
    wait_ms: float
    gateways: int = 1

    @property
    def name(self) -> str:
        """As a row of the table."""
        processes = f", {self.gateways} gateway processes" if self.gateways > 1 else ""
        return f"{self.system.title}, wait {self.wait_ms:g} ms{processes}"

    @property
    def setup(self) -> Setup:
        """What it is started with."""
        return Setup(SLEEP, BATCH_SIZE, self.wait_ms, self.gateways)


@dataclass
class Found:
    """All that was measured, by row; the n-th entry of a list is of round n."""

    ideal: dict[str, list[Run]] = field(default_factory=dict)
    many: dict[str, list[Run]] = field(default_factory=dict)
    lone: dict[str, list[Run]] = field(default_factory=dict)
    quiz: batching_quiz.QuizFound | None = None


CASES = [
    *(Case(OURS, wait_ms) for wait_ms in OUR_WAITS_MS),
    Case(OURS, OUR_BEST_WAIT_MS, gateways=2),
    Case(MOSEC, PEER_WAIT_MS),
    Case(LITSERVE, PEER_WAIT_MS),
]
LONE = {"BATCH_SIZE 1": Setup(SLEEP), "BATCH_SIZE 32, wait 0": Setup(SLEEP, BATCH_SIZE)}


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=6, help="length of one load run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s each")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    tables.add_markdown_option(parser, "batching")
    return program.parsed(parser, PARTS, quick_s=2)


def _parts(text: str) -> list[str]:
    unknown = set(text.split(",")) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return [part for part in PARTS if part in text.split(",")]


def _run(options: argparse.Namespace) -> bool:
    find_wrk()
    machine.print_head()
    found = Found()
    for system in dict.fromkeys(case.system for case in CASES):
        system.prepare()
    for round_index in range(options.rounds):
        print(f"round {round_index + 1} of {options.rounds}", file=sys.stderr)
        if "ideal" in options.only:
            _measure_ideal(found, options.seconds, round_index)
        if "lone" in options.only:
            _measure_lone(found, options.seconds)
    if "quiz" in options.only:
        found.quiz = batching_quiz.measure_quiz(options.seconds, options.rounds)
    targets = judge(found)
    tables.report("batching", options.markdown, _tables(found), targets, HOW)
    program.write_json(options.json, targets, {"samples": _record(found)})
    return print_targets(targets)


def _measure_ideal(found: Found, seconds: int, round_index: int) -> None:
    """One configuration after the other, another one first in each round."""
    shift = round_index % len(CASES)
    for case in [*CASES[shift:], *CASES[:shift]]:
        request = case.system.request(SLEEP)
        with started(case.system, case.setup, CALLERS) as server:
            for callers, rows in ((CALLERS, found.ideal), (MANY_CALLERS, found.many)):
                run = measure(server, request, callers, seconds)
                rows.setdefault(case.name, []).append(run)


def _measure_lone(found: Found, seconds: int) -> None:
    """One right after the other, because their difference is a hundredth of each."""
    for name, setup in LONE.items():
        with started(OURS, setup, 1) as server:
            run = measure(server, OURS.request(SLEEP), 1, seconds)
        found.lone.setdefault(name, []).append(run)


def judge(found: Found) -> list[Target]:
    """The targets that what was measured allows to be judged."""
    targets = []
    if found.ideal:
        ours = {name: _of_ideal(runs) for name, runs in found.ideal.items() if _is_ours(name)}
        best = max(ours, key=lambda name: statistics.median(ours[name]))
        targets.append(_at_least(f"of the ideal, {best}", ours[best], MIN_OF_IDEAL))
        for name, runs in found.ideal.items():
            if not _is_ours(name):
                ratios = [
                    mine / theirs for mine, theirs in zip(ours[best], _of_ideal(runs), strict=True)
                ]
                targets.append(_at_least(f"throughput, ratio to {name}", ratios, 1.0))
    if found.lone:
        alone, batched = (found.lone[name] for name in LONE)
        more = [
            with_.load.p50_ms - without.load.p50_ms
            for with_, without in zip(batched, alone, strict=True)
        ]
        targets.append(
            Target(
                "a lone caller's p50, with batching minus without",
                statistics.median(more),
                Bound.AT_MOST,
                MAX_LONE_MS,
                "ms",
                (min(more), max(more)),
            )
        )
    if found.quiz is not None:
        targets += found.quiz.targets()
    return targets


def _at_least(name: str, values: list[float], limit: float) -> Target:
    spread_ = (min(values), max(values))
    return Target(name, statistics.median(values), Bound.AT_LEAST, limit, "", spread_)


def _is_ours(name: str) -> bool:
    return name.startswith(OURS.title)


def _of_ideal(runs: list[Run]) -> list[float]:
    return [run.requests_per_s / IDEAL_PER_S for run in runs]


def _tables(found: Found) -> list[Table]:
    result = []
    for callers, measured in ((CALLERS, found.ideal), (MANY_CALLERS, found.many)):
        if measured:
            rows = {name: _cells(runs) for name, runs in measured.items()}
            title = f"{callers} callers, 20 ms a batch, the ideal is {IDEAL_PER_S:.0f}/s"
            result.append(Table(title, HEADS, rows))
    if found.lone:
        lone = {
            name: [
                spread([run.load.p50_ms for run in runs], 3),
                spread([run.load.p99_ms for run in runs], 2),
            ]
            for name, runs in found.lone.items()
        }
        result.append(Table("A lone caller, 20 ms a batch", ("p50 ms", "p99 ms"), lone))
    if found.quiz is not None:
        result += found.quiz.tables()
    return result


def _cells(runs: list[Run]) -> list[str]:
    return [
        spread([run.requests_per_s for run in runs], 0),
        spread(_of_ideal(runs), 3),
        spread([run.load.p50_ms for run in runs], 1),
        spread([run.load.p99_ms for run in runs], 1),
        spread([run.cpu_us for run in runs], 0),
        spread([run.client_share for run in runs], 2),
    ]


def _record(found: Found) -> dict[str, object]:
    parts = {"ideal": found.ideal, "many": found.many, "lone": found.lone}
    record: dict[str, object] = {
        part: {name: [run.record() for run in runs] for name, runs in rows.items()}
        for part, rows in parts.items()
    }
    if found.quiz is not None:
        record["quiz"] = found.quiz.record()
    return record


if __name__ == "__main__":
    sys.exit(main())
