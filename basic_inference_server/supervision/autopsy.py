"""Why a worker died, and whether its request is to blame."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from basic_inference_server.prefork.respawn import SENT_FROM_OUTSIDE


@dataclass(frozen=True)
class Verdict:
    """What is said of a death; `blames_request` when executing its request has caused it."""

    cause: str
    blames_request: bool


@dataclass(frozen=True)
class Death:
    """A worker's death as it is shown: the newest one of each server."""

    time: str
    worker_id: int
    pid: int
    cause: str
    last_output: tuple[str, ...]


def examine(
    exit_text: str,
    ended_by: int | None,
    doom: Verdict | None,
    out_of_memory: str | None,
    resident_mb: float | None,
) -> Verdict:
    """Return the verdict on a worker that died while it was busy.

    Args:
        exit_text: its end in words, such as `signal 11 (SIGSEGV)`.
        ended_by: the signal that ended it; `None` when it exited by itself.
        doom: why we ended it, if we did.
        out_of_memory: what ran out, if the kernel has just killed for that.
        resident_mb: what it held when it was last looked at.
    """
    if doom is not None:
        return doom
    held = "" if resident_mb is None else f"; it held {resident_mb:.0f} MiB"
    if ended_by == signal.SIGKILL and out_of_memory is not None:
        return Verdict(f"out of memory: the kernel killed it for {out_of_memory}{held}", True)
    return Verdict(exit_text, ended_by is None or ended_by not in SENT_FROM_OUTSIDE)
