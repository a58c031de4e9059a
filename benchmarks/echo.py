#!/usr/bin/env python3
"""The main comparison: this gateway, mosec and plain Flask doing the same two-worker echo work.

python benchmarks/echo.py [--seconds 4] [--rounds 3] [--connections 1,8,32,64]
                          [--only ours,mosec,flask] [--json out.json]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import echo_report
import machine
import process_tree
import program
from echo_samples import AllSamples, LevelSample, SystemSamples, judge
from load import LoadResult, find_wrk, run_wrk
from server_process import ServerProcess
from systems import ECHO_ANSWER, ECHO_REQUEST, SYSTEMS
from targets import print_targets

CHECK_SECONDS = 1
SETTLE_S = 0.2
MB = 1e6


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> bool:
    find_wrk()
    machine.print_head()
    samples = _measure(options.only, options.connections, options.seconds, options.rounds)
    echo_report.print_report(samples)
    targets = judge(samples)
    record = {name: dataclasses.asdict(system) for name, system in samples.items()}
    run = {"seconds": options.seconds, "rounds": options.rounds, "systems": record}
    program.write_json(options.json, targets, run)
    return print_targets(targets)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=4, help="length of one load run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=_counts, default=[1, 8, 32, 64])
    parser.add_argument(
        "--only", type=_names, default=list(SYSTEMS), help="of " + ",".join(SYSTEMS)
    )
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    return parser.parse_args()


def _counts(text: str) -> list[int]:
    return sorted({int(word) for word in text.split(",")})


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SYSTEMS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such system: {', '.join(sorted(unknown))}")
    return names


def _measure(
    names: Sequence[str], connections: Sequence[int], seconds: int, rounds: int
) -> AllSamples:
    samples = {name: SystemSamples(levels={count: [] for count in connections}) for name in names}
    for round_index in range(rounds):
        # A different one goes first each round, so that none always runs on a cooler processor.
        shift = round_index % len(names)
        order = [*names[shift:], *names[:shift]]
        print(f"round {round_index + 1} of {rounds}: {', '.join(order)}", file=sys.stderr)
        for name in order:
            _measure_alone(name, max(connections), samples[name])
        _measure_in_turn(order, connections, seconds, samples)
    return samples


def _measure_alone(name: str, connections: int, system: SystemSamples) -> None:
    """Start-up, correctness and memory, with no other system up.

    Alone, because two systems that map the same libraries share those pages, which would
    make the PSS of both look smaller than it is.
    """
    with _started(name) as server:
        system.start_s.append(server.wait_for_200(ECHO_REQUEST))
        checked = run_wrk(server.url, ECHO_REQUEST, connections, CHECK_SECONDS, ECHO_ANSWER)
        _note_errors(system, checked)
        system.pss_mb.append(process_tree.pss_bytes(server.pid) / MB)


def _measure_in_turn(
    order: Sequence[str], connections: Sequence[int], seconds: int, samples: AllSamples
) -> None:
    """All systems up; at each connection count each is loaded in turn, so noise hits all alike."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_started(name)) for name in order}
        for server in servers.values():
            server.wait_for_200(ECHO_REQUEST)
            run_wrk(server.url, ECHO_REQUEST, max(connections), CHECK_SECONDS)
        for count in connections:
            for name, server in servers.items():
                time.sleep(SETTLE_S)
                cpu_before_s = process_tree.cpu_seconds(server.pid)
                load = run_wrk(server.url, ECHO_REQUEST, count, seconds)
                cpu_s = process_tree.cpu_seconds(server.pid) - cpu_before_s
                samples[name].levels[count].append(LevelSample(load, cpu_s))
                _note_errors(samples[name], load)


def _note_errors(system: SystemSamples, load: LoadResult) -> None:
    if load.errors or load.requests == 0:
        seen = f"c={load.connections}: {load.requests} answers, {load.errors} {load.complaint}"
        system.errors.append(seen.strip())


@contextlib.contextmanager
def _started(name: str) -> Iterator[ServerProcess]:
    prefix = f"echo-{name}-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix) as folder,
        SYSTEMS[name](Path(folder)) as server,
    ):
        yield server


if __name__ == "__main__":
    sys.exit(main())
