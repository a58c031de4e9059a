"""The one piece of work that every system of the scoreboard serves. Standard library only.

It is copied into each server's folder, where the scoreboard and the work leave each other notes:
`load_mode` says what loading does, `loads.log` has a line for each load, `hung` the pid of the
worker that was told to hang, `hang_over` is there when something got it out of that.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
HANG_S = 60.0
SLOW_LOAD_S = 5.0

_model = threading.Lock()  # a model runs one request at a time, also where the server has threads


def load(name: str) -> None:
    """Load the model; only "work" ever fails or is slow."""
    with (FOLDER / "loads.log").open("a") as log:
        log.write(f"{name} {os.getpid()}\n")
    mode = (FOLDER / "load_mode").read_text() if name == "work" else ""
    if mode == "raise":
        raise RuntimeError("the model's file is damaged")
    if mode == "slow":
        time.sleep(SLOW_LOAD_S)


def run(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Answer twice VALUE plus one after MS milliseconds of work, or hang when HANG is set."""
    if fields.get("HANG"):
        (FOLDER / "hung").write_text(str(os.getpid()))
        try:
            time.sleep(HANG_S)
        finally:
            (FOLDER / "hang_over").touch()
    work_s = float(fields.get("MS") or 0) / 1000
    if work_s > 0:
        with _model:
            time.sleep(work_s)
    return {"result": float(fields["VALUE"]) * 2 + 1, "pid": os.getpid()}
