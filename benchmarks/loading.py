#!/usr/bin/env python3
"""How long the bundled configuration takes until every endpoint serves, and what it holds then.

python benchmarks/loading.py [--launches 3] [--quick] [--json out.json] [--markdown]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
import process_tree
import program
import psutil
import tables
from load_log import load_seconds
from server_process import ServerError, ServerProcess, announced_address
from systems.gateway import PROJECT_ROOT
from tables import Table, spread
from targets import Bound, Target, print_targets

MAX_READY_S = 5.0
GIVE_UP_S = 90.0
POLL_S = 0.02
MB = 1e6
LINKED = ("run_gateway.py", "app_ver.py", "config_gateway.txt", "endpoints")
NO_SERVER = ("FAILED", "BACKOFF")
HOW = (
    "`run_gateway.py` with the bundled configuration, from launch until `/list_servers` shows "
    "every enabled endpoint `READY`. All of them load at once, so an endpoint's seconds hold its "
    "wait for a processor; its CPU is its own. Every start but the first finds the files in memory."
)


@dataclass(frozen=True)
class Launch:
    """One start."""

    ready_s: float
    load_s: dict[str, float]
    cpu_s: dict[str, float]
    pss_mb: dict[str, float]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one launch")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    tables.add_markdown_option(parser, "loading")
    options = parser.parse_args()
    if options.quick:
        options.launches = 1
    return options


def _run(options: argparse.Namespace) -> bool:
    machine.print_head()
    launches = [_launch() for _ in range(options.launches)]
    targets = judge(launches)
    tables.report("loading", options.markdown, _tables(launches), targets, HOW)
    program.write_json(options.json, targets, {"launches": [asdict(one) for one in launches]})
    return print_targets(targets)


def _launch() -> Launch:
    with tempfile.TemporaryDirectory(prefix="bench-loading-") as name:
        folder = Path(name)
        for linked in LINKED:
            (folder / linked).symlink_to(PROJECT_ROOT / linked)
        with _start(folder) as server:
            servers = _wait_until_ready(server)
            ready_s = server.age_s
            own = {
                signature: one
                for signature, one in servers.items()
                if one.get("pid") and one["state"] == "READY"
            }
            return Launch(
                ready_s,
                load_seconds(server.log_path.read_text(errors="replace").splitlines()),
                {signature: process_tree.cpu_seconds(one["pid"]) for signature, one in own.items()},
                _pss_mb(server.pid, own),
            )


def _start(folder: Path) -> ServerProcess:
    run_file = folder / "_cache" / "run" / "gateway.json"
    search_path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    command += ["--first-server-port", "0"]
    variables = {"PYTHONPATH": search_path, "BIS_LOG_FORMAT": "json"}
    return ServerProcess("gateway", command, folder, lambda: announced_address(run_file), variables)


def _wait_until_ready(server: ServerProcess) -> dict[str, Any]:
    """Every enabled endpoint's entry, once all serve.

    Raises:
        ServerError: one cannot load, or not in time.
    """
    waiting: list[str] = ["the port"]
    while server.age_s < GIVE_UP_S:
        try:
            with urllib.request.urlopen(f"{server.url}/list_servers", timeout=5) as answer:
                servers = json.load(answer)["SERVERS"]
        except (OSError, ServerError):
            time.sleep(POLL_S)
            continue
        enabled = {key: one for key, one in servers.items() if one["state"] != "DISABLED"}
        broken = [key for key, one in enabled.items() if one["state"] in NO_SERVER]
        if broken:
            raise ServerError(f"cannot load: {', '.join(broken)}")
        waiting = [key for key, one in enabled.items() if one["state"] != "READY"]
        if not waiting:
            return enabled
        time.sleep(POLL_S)
    raise ServerError(f"not ready within {GIVE_UP_S:.0f} s: {', '.join(waiting)}")


def _pss_mb(root_pid: int, servers: dict[str, Any]) -> dict[str, float]:
    """Of every process, under a name a person knows it by."""
    owners: dict[int, str] = {}
    for signature, one in servers.items():
        owners[one["pid"]] = f"{signature}: master"
        for number, pid in enumerate(one.get("worker_pids", [])):
            owners[pid] = f"{signature}: worker {number}"
    held: dict[str, float] = {}
    for process in process_tree.members(root_pid):
        name = owners.get(process.pid) or _role(process, root_pid)
        held[name] = held.get(name, 0) + process_tree.process_pss_bytes(process.pid) / MB
    return held


def _role(process: psutil.Process, root_pid: int) -> str:
    if process.pid == root_pid:
        return "supervisor"
    name = process_tree.command_name(process)
    if "basic_inference_server.gateway" in name:
        return "gateway"
    return "janitor" if "BIS_RUN" in name or "sh " in name[:8] else name


def judge(launches: list[Launch]) -> list[Target]:
    """The one target."""
    seconds = [one.ready_s for one in launches]
    return [
        Target(
            "launch until every enabled endpoint is ready",
            statistics.median(seconds),
            Bound.AT_MOST,
            MAX_READY_S,
            "s",
            (min(seconds), max(seconds)),
        )
    ]


def _tables(launches: list[Launch]) -> list[Table]:
    last = launches[-1]
    rows = {}
    for signature in sorted(last.cpu_s, key=lambda one: -last.cpu_s[one]):
        pss_mb = sum(
            held for name, held in last.pss_mb.items() if name.startswith(f"{signature}: ")
        )
        rows[signature] = [
            spread(
                [one.load_s[signature] for one in launches if signature in one.load_s] or [0], 2
            ),
            spread([one.cpu_s[signature] for one in launches], 2),
            f"{pss_mb:.1f}",
        ]
    others = [name for name in last.pss_mb if ": " not in name]
    for name in others:
        rows[name] = ["", "", f"{last.pss_mb[name]:.1f}"]
    cpu = [sum(one.cpu_s.values()) for one in launches]
    rows["all"] = [
        spread([one.ready_s for one in launches], 2),
        spread(cpu, 2),
        f"{sum(last.pss_mb.values()):.1f}",
    ]
    by_process = {name: [f"{held:.1f}"] for name, held in last.pss_mb.items()}
    return [
        Table("Bundled configuration", ("load s", "CPU s", "PSS MB"), rows),
        Table("PSS by process, MB", ("MB",), by_process),
    ]


if __name__ == "__main__":
    sys.exit(main())
