"""What the programs here have in common: how they end, and what they leave behind as JSON."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
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


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)
