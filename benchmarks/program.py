"""What the programs here have in common: how they end, and what they leave behind as JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType

import machine
from load import LoadError
from server_process import ServerError
from targets import Target, as_records

EXIT_MET = 0
EXIT_MISSED = 1
EXIT_BROKEN = 2
EXIT_INTERRUPTED = 130


def run(measure: Callable[[], bool]) -> int:
    """Run a program's body; its exit code says whether every target was met.

    SIGTERM ends it as Ctrl-C does, through its `with` blocks, so that no server stays.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        return EXIT_MET if measure() else EXIT_MISSED
    except (LoadError, ServerError) as error:
        print(f"ERROR {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        print("interrupted; every server was stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def write_json(path: Path | None, targets: Sequence[Target], samples: dict[str, object]) -> None:
    """Leave the samples, the verdicts and the machine they belong to in a file, if one is named."""
    if path is None:
        return
    record = {"machine": machine.describe(), **samples, "targets": as_records(targets)}
    path.write_text(json.dumps(record, indent=2) + "\n")


def add_common_options(parser: argparse.ArgumentParser, systems: Iterable[str]) -> None:
    """What every program that compares systems takes: `--quick`, `--only`, `--json`."""
    names = list(systems)

    def chosen(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(names)
        if unknown:
            raise argparse.ArgumentTypeError(f"no such system: {', '.join(sorted(unknown))}")
        return [name for name in names if name in text.split(",")]

    parser.add_argument("--quick", action="store_true", help="one round of 1 s each")
    parser.add_argument("--only", type=chosen, default=names, help="of " + ",".join(names))
    parser.add_argument("--json", type=Path, help="write every figure to this file")


def parsed(
    parser: argparse.ArgumentParser, choices: Iterable[str], quick_s: int = 1
) -> argparse.Namespace:
    """Return the options; a page takes the tables of all that `--only` may choose, or none."""
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = quick_s, 1
    if options.markdown is not None and options.only != list(choices):
        parser.error("--markdown writes the whole block; leave out --only")
    return options


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)
