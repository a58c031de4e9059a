#!/usr/bin/env python3
"""Streamed answers: items per second from one worker, and how soon the first one is there.

python benchmarks/streaming.py [--seconds 5] [--rounds 3] [--quick] [--only ours,mosec,…]
                               [--json out.json] [--markdown]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import machine
import program
import tables
from server_process import ServerError
from stream_client import StreamCaller, items_per_s
from stream_parts import StreamError
from systems.stream_systems import OURS, SYSTEMS, request
from tables import Table, spread
from targets import Bound, Target, print_targets

ITEMS = 1000
CALLERS = (1, 4)
MIN_ITEMS_PER_S = 20_000
MAX_FIRST_MS = 5.0
FIRST_ASKED = 3
START_S = 20.0
PAUSE_S = 1.0
HOW = (
    f"One worker, {ITEMS} items of a line each in an answer, read to the end and checked. "
    f"The first item is timed where the next one comes {PAUSE_S:g} s later, so nothing can be "
    "gathered before it is sent."
)


@dataclass
class Streams:
    """Everything measured of one system, by round."""

    rates: dict[int, list[float]] = field(default_factory=dict)
    first_ms: list[float] = field(default_factory=list)


Found = dict[str, Streams]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3)
    program.add_common_options(parser, SYSTEMS)
    tables.add_markdown_option(parser, "streaming")
    return program.parsed(parser, SYSTEMS)


def _run(options: argparse.Namespace) -> bool:
    machine.print_head()
    found: Found = {}
    failed: dict[str, str] = {}
    for round_index in range(options.rounds):
        print(f"round {round_index + 1} of {options.rounds}", file=sys.stderr)
        for name in (name for name in options.only if name not in failed):
            try:
                _measure(name, found.setdefault(name, Streams()), options.seconds)
            except (ServerError, StreamError, OSError) as error:
                failed[name] = " ".join(str(error).split())[:300]
                found.pop(name)
    for name, reason in failed.items():
        print(f"NOT RUN {name}: {reason}")
    targets = judge(found, is_ours_wanted=OURS in options.only)
    tables.report("streaming", options.markdown, [_table(found)], targets, HOW)
    record = {name: asdict(streams) for name, streams in found.items()}
    program.write_json(options.json, targets, {"systems": record, "not_run": failed})
    return print_targets(targets)


def _measure(name: str, streams: Streams, seconds: float) -> None:
    system = SYSTEMS[name]
    system.python()
    with (
        tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder,
        system.start(Path(folder)) as server,
    ):
        server.wait_for_200(request(1), START_S)
        for callers in CALLERS:
            rate = items_per_s(server.address, request(ITEMS), callers, seconds)
            streams.rates.setdefault(callers, []).append(rate)
        caller = StreamCaller(server.address)
        try:
            times = [caller.ask(request(2, PAUSE_S)).first_s for _ in range(FIRST_ASKED)]
        finally:
            caller.close()
        streams.first_ms.append(statistics.median(times) * 1000)


def judge(found: Found, *, is_ours_wanted: bool = True) -> list[Target]:
    """What this gateway promises, and its place among the others."""
    if OURS not in found:
        name = "answers that this gateway has streamed"
        return [Target(name, 0, Bound.AT_LEAST, 1)] if is_ours_wanted else []
    ours = found[OURS]
    targets = [
        _target(f"items per second, {callers} callers", rates, Bound.AT_LEAST, MIN_ITEMS_PER_S)
        for callers, rates in ours.rates.items()
    ]
    name = "launch of a request to its first item"
    targets.append(_target(name, ours.first_ms, Bound.AT_MOST, MAX_FIRST_MS, "ms"))
    return targets


def _target(name: str, values: list[float], bound: Bound, limit: float, unit: str = "") -> Target:
    bounds = (min(values), max(values))
    return Target(name, statistics.median(values), bound, limit, unit, bounds)


def _table(found: Found) -> Table:
    heads = [*(f"items/s, c={callers}" for callers in CALLERS), "first item ms", "ratio, c=4"]
    rows = {}
    ours = found.get(OURS)
    for name, streams in found.items():
        ratio = ""
        if ours is not None:
            pairs = zip(ours.rates[CALLERS[-1]], streams.rates[CALLERS[-1]], strict=True)
            ratio = spread([mine / theirs for mine, theirs in pairs], 2)
        rates = [spread(streams.rates[callers], 0) for callers in CALLERS]
        rows[SYSTEMS[name].title] = [*rates, spread(streams.first_ms, 2), ratio]
    return Table(f"Answers of {ITEMS} items; ratio: this gateway to it", heads, rows)


if __name__ == "__main__":
    sys.exit(main())
