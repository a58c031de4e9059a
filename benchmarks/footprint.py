#!/usr/bin/env python3
"""What the gateway costs while it does nothing: start-up, idle CPU, memory.

python benchmarks/footprint.py [--launches 3] [--idle-seconds 30] [--json out.json]

With the example configuration: two demo endpoints of two workers, two disabled ones, a
support process that pings every 10 seconds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
import process_tree
import program
from server_process import Request, ServerError, ServerProcess
from systems import gateway
from targets import Bound, Target, print_targets

MAX_START_S = 1.5
MAX_IDLE_PERCENT = 1.0
MAX_PSS_MB = 180
SETTLE_S = 5.0
MB = 1e6

DEMO_FILES = ("dummy_model_demo1.py", "dummy_model_demo2.py", "support_process.py")
DEMO1 = Request("/run", b'{"SIGNATURE":"dummy_model_demo1","INPUT_VALUE":"5"}')
DEMO2 = Request("/run", b'{"SIGNATURE":"dummy_model_demo2","INPUT_VALUE":"5"}')
DEMO: dict[str, Any] = {"NR_WORKERS": 2, "HOST": "127.0.0.1"}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "dummy_model_demo1": DEMO,
    "dummy_model_demo1-bis": {**DEMO, "SERVER_CLASS": "dummy_model_demo1", "DISABLED": True},
    "dummy_model_demo2": DEMO,
    "dummy_model_demo2-bis": {**DEMO, "SERVER_CLASS": "dummy_model_demo2", "DISABLED": True},
    "support_process": {"HOST": "NO_HOST", "PING_INTERVAL": 10},
}


@dataclass(frozen=True)
class Footprint:
    """What one run found."""

    launches_s: list[float]
    idle_percent: float
    pss_mb: list[tuple[str, float]]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _report(options))


def _report(options: argparse.Namespace) -> bool:
    machine.print_head()
    found = _measure(options.launches, options.idle_seconds)
    launches = ", ".join(f"{seconds:.2f}" for seconds in found.launches_s)
    print(f"launch to first 200, s: {launches}")
    print("PSS of each process, MB:")
    for label, megabytes in found.pss_mb:
        print(f"  {megabytes:7.1f}  {label}")
    targets = _judge(found)
    program.write_json(options.json, targets, asdict(found))
    return print_targets(targets)


def _measure(launches: int, idle_seconds: float) -> Footprint:
    with tempfile.TemporaryDirectory(prefix="footprint-") as name:
        folder = _write_folder(Path(name))
        launches_s = [_launch_once(folder) for _ in range(launches - 1)]
        with gateway.start(folder) as server:
            launches_s.append(server.wait_for_200(DEMO1))
            server.wait_for_200(DEMO2)
            idle_percent = _idle_percent(server, idle_seconds)
            return Footprint(launches_s, idle_percent, _pss_mb_by_process(server))


def _judge(found: Footprint) -> list[Target]:
    spread = (min(found.launches_s), max(found.launches_s))
    return [
        Target(
            "launch to the first 200 of dummy_model_demo1",
            statistics.median(found.launches_s),
            Bound.AT_MOST,
            MAX_START_S,
            "s",
            spread,
        ),
        Target(
            "idle CPU of the tree, % of a core", found.idle_percent, Bound.BELOW, MAX_IDLE_PERCENT
        ),
        Target(
            "PSS of the tree",
            sum(megabytes for _, megabytes in found.pss_mb),
            Bound.AT_MOST,
            MAX_PSS_MB,
            "MB",
        ),
    ]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--launches", type=int, default=3, help="launches; the last is idled")
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def _write_folder(folder: Path) -> Path:
    """A base folder with the shipped demo endpoints and the example configuration."""
    source = gateway.PROJECT_ROOT / "endpoints"
    (folder / "endpoints").mkdir()
    for name in DEMO_FILES:
        if not (source / name).exists():
            raise ServerError(f"there is no {name} in {source}")
        shutil.copy2(source / name, folder / "endpoints")
    gateway.write_config(
        folder, ENDPOINTS, DEFAULT_SERVER="dummy_model_demo1", NO_STARTUP_WAIT=True
    )
    return folder


def _launch_once(folder: Path) -> float:
    with gateway.start(folder) as server:
        seconds = server.wait_for_200(DEMO1)
        report = server.stop()
    if report.killed_count:
        print(f"WARNING: {report.killed_count} processes outlived SIGTERM and were killed")
    return seconds


def _idle_percent(server: ServerProcess, seconds: float) -> float:
    """CPU of the whole tree in percent of one core, nobody asking for anything."""
    time.sleep(SETTLE_S)
    cpu_before_s, began = process_tree.cpu_seconds(server.pid), time.monotonic()
    time.sleep(seconds)
    cpu_s = process_tree.cpu_seconds(server.pid) - cpu_before_s
    return cpu_s / (time.monotonic() - began) * 100


def _pss_mb_by_process(server: ServerProcess) -> list[tuple[str, float]]:
    return [
        (process_tree.command_name(process), process_tree.process_pss_bytes(process.pid) / MB)
        for process in process_tree.members(server.pid)
    ]


if __name__ == "__main__":
    sys.exit(main())
