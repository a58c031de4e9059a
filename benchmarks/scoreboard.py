#!/usr/bin/env python3
"""The same faults against this gateway and its peers, as one table.

python benchmarks/scoreboard.py [--only ours,mosec,…] [--faults killed,hung,…]
                                [--json out.json] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
import program
from faults import report
from faults.catalogue import FAULTS, SYSTEMS, Fault
from faults.ledger import LedgerError
from faults.system import System
from faults.verdict import Finding, Verdict, not_run
from server_process import ServerError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "scoreboard.md"
CELL_LIMIT_S = 120.0
OURS = "ours"


def main() -> int:
    """Run, print, and say by the exit code whether this gateway holds in every row."""
    options = _parse_arguments()
    return program.run(lambda: _run(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", type=_keys(SYSTEMS), default=list(SYSTEMS), help=_names(SYSTEMS))
    parser.add_argument("--faults", type=_keys(FAULTS), default=list(FAULTS), help=_names(FAULTS))
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"replace the table in {PAGE.name}"
    )
    options = parser.parse_args()
    is_whole = options.only == list(SYSTEMS) and options.faults == list(FAULTS)
    if options.write_docs and not is_whole:
        parser.error("--write-docs writes the whole table; leave out --only and --faults")
    return options


def _names(known: dict[str, Any]) -> str:
    return "of " + ",".join(known)


def _keys(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        return [key for key in known if key in text.split(",")]

    return parse


def _run(options: argparse.Namespace) -> bool:
    machine.print_head()
    began = time.monotonic()
    systems = [SYSTEMS[key] for key in options.only]
    faults = [FAULTS[key] for key in options.faults]
    absent = _prepare(systems)
    findings = asyncio.run(_measure(faults, systems, absent))
    print(f"\n{time.monotonic() - began:.0f} s")
    _print_table(faults, systems, findings)
    if options.json is not None:
        _write_json(options.json, findings)
    if options.write_docs:
        report.write_block(PAGE, report.markdown(faults, systems, findings, _head()))
        print(f"wrote {PAGE.name}")
    return all(row[OURS].verdict is Verdict.HOLDS for row in findings.values() if OURS in row)


def _prepare(systems: Sequence[System]) -> dict[str, Finding]:
    """Make the environments first; a system whose environment cannot be made is not run."""
    absent = {}
    for system in systems:
        try:
            system.prepare()
        except ServerError as error:
            absent[system.key] = not_run(str(error).splitlines()[-1])
    return absent


async def _measure(
    faults: Sequence[Fault], systems: Sequence[System], absent: dict[str, Finding]
) -> dict[str, dict[str, Finding]]:
    """Every system under each fault in turn, so that a noisy moment hits neighbours alike."""
    findings: dict[str, dict[str, Finding]] = {fault.key: {} for fault in faults}
    for fault in faults:
        print(f"\n{fault.title}", flush=True)
        for system in systems:
            began = time.monotonic()
            finding = absent.get(system.key) or await _cell(fault, system)
            findings[fault.key][system.key] = finding
            seconds = time.monotonic() - began
            print(
                f"  {system.key:<9}{finding.verdict.value:<8}{seconds:5.1f} s  {finding.observed}",
                flush=True,
            )
    return findings


async def _cell(fault: Fault, system: System) -> Finding:
    try:
        return await asyncio.wait_for(fault.run(system), CELL_LIMIT_S)
    except asyncio.TimeoutError:
        return not_run(f"it took more than {CELL_LIMIT_S:.0f} s")
    except (ServerError, LedgerError) as error:
        return not_run(f"it could not be run: {' '.join(str(error).split())[:400]}")


def _print_table(
    faults: Sequence[Fault], systems: Sequence[System], findings: report.Findings
) -> None:
    print("\n" + " " * 20 + "".join(f"{system.key:<10}" for system in systems))
    for fault in faults:
        row = findings[fault.key]
        words = "".join(f"{row[system.key].verdict.value:<10}" for system in systems)
        print(f"{fault.title:<20}{words}")
    for fault in faults:
        if OURS in findings[fault.key]:
            for missed in findings[fault.key][OURS].missed:
                print(f"MISSED by this gateway, {fault.title}: {missed}")


def _write_json(path: Path, findings: report.Findings) -> None:
    record = {
        "machine": machine.describe(),
        "findings": {
            fault: {system: finding.as_record() for system, finding in row.items()}
            for fault, row in findings.items()
        },
    }
    path.write_text(json.dumps(record, indent=2) + "\n")


def _head() -> str:
    """Date and machine, one sentence a line."""
    described = machine.describe()
    return (
        f"Taken on {str(described['taken_at'])[:10]} on {described['cpus']} shared cores "
        f"({described['cpu_model']}), which the clients use too; "
        f"Linux {described['kernel']}, Python {described['python']}.\n"
        f"Load average at the end: {described['load_average_1min']}."
    )


if __name__ == "__main__":
    sys.exit(main())
