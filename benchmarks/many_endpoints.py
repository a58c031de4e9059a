#!/usr/bin/env python3
"""Fifty endpoints of one worker each: how soon all answer, and what one more costs in memory.

python benchmarks/many_endpoints.py [--endpoints 50] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import process_tree
import program
from server_process import Request
from systems import gateway
from targets import Bound, Target, print_targets

MAX_READY_S = 15.0
MAX_PSS_MB_PER_ENDPOINT = 25.0
BASE_COUNT = 1
START_TIMEOUT_S = 120.0
MB = 1e6

ENDPOINT_SOURCE = '''\
"""One of many endpoints that differ only in their name."""

from basic_inference_server import FlaskWorker


class {class_name}(FlaskWorker):
    """Answers twice the value plus one."""

    def _load_model(self):
        """There is nothing to load."""

    def _pre_process(self, inputs):
        return int(inputs["INPUT_VALUE"])

    def _predict(self, prep_inputs):
        return prep_inputs * 2 + 1

    def _post_process(self, pred):
        return {{"result": pred}}
'''


@dataclass(frozen=True)
class Sample:
    """One start of the gateway with so many endpoints."""

    endpoints: int
    first_answer_s: float
    all_answered_s: float
    pss_mb: float
    processes: int
    stop_s: float
    killed_at_stop: int


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> bool:
    machine.print_head()
    base, full = _measure(BASE_COUNT), _measure(options.endpoints)
    for sample in (base, full):
        print(
            f"{sample.endpoints:3d} endpoints: first answered after {sample.first_answer_s:.2f} s, "
            f"all after {sample.all_answered_s:.2f} s; {sample.processes} processes, "
            f"PSS {sample.pss_mb:.1f} MB; stopped in {sample.stop_s:.2f} s, "
            f"{sample.killed_at_stop} killed"
        )
    added_mb = (full.pss_mb - base.pss_mb) / (full.endpoints - base.endpoints)
    targets = [
        Target(
            f"all {full.endpoints} endpoints answer after",
            full.all_answered_s,
            Bound.AT_MOST,
            MAX_READY_S,
            "s",
        ),
        Target("PSS per added endpoint", added_mb, Bound.AT_MOST, MAX_PSS_MB_PER_ENDPOINT, "MB"),
    ]
    program.write_json(options.json, targets, {"samples": [asdict(base), asdict(full)]})
    return print_targets(targets)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.endpoints <= BASE_COUNT:
        parser.error(f"--endpoints must be more than {BASE_COUNT}")
    return options


def _measure(count: int) -> Sample:
    """Start with `count` endpoints and ask each until it has answered 200.

    Asked one after the other: the last answer cannot come before the last endpoint is ready,
    and the questions themselves cost next to nothing.
    """
    with tempfile.TemporaryDirectory(prefix="many-") as name:
        folder = Path(name)
        signatures = _write_folder(folder, count)
        with gateway.start(folder) as server:
            answered_s = [
                server.wait_for_200(_request(signature), START_TIMEOUT_S)
                for signature in signatures
            ]
            pss_mb = process_tree.pss_bytes(server.pid) / MB
            processes = len(process_tree.members(server.pid))
            stopped = server.stop()
    return Sample(
        endpoints=count,
        first_answer_s=answered_s[0],
        all_answered_s=answered_s[-1],
        pss_mb=pss_mb,
        processes=processes,
        stop_s=stopped.seconds,
        killed_at_stop=stopped.killed_count,
    )


def _write_folder(folder: Path, count: int) -> list[str]:
    (folder / "endpoints").mkdir()
    signatures = [f"many_{index:03d}" for index in range(count)]
    for signature in signatures:
        class_name = signature.title().replace("_", "") + "Worker"
        source = ENDPOINT_SOURCE.format(class_name=class_name)
        (folder / "endpoints" / f"{signature}.py").write_text(source)
    sections = {name: {"NR_WORKERS": 1, "HOST": "127.0.0.1"} for name in signatures}
    gateway.write_config(folder, sections, NO_STARTUP_WAIT=True)
    return signatures


def _request(signature: str) -> Request:
    return Request("/run", json.dumps({"SIGNATURE": signature, "INPUT_VALUE": "5"}).encode())


if __name__ == "__main__":
    sys.exit(main())
