"""What every system of streaming.py streams. Copied beside each server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any


def items(fields: Mapping[str, Any]) -> Iterator[dict[str, int]]:
    """`COUNT` small items; with `PAUSE`, that many seconds before each but the first."""
    pause_s = float(fields.get("PAUSE") or 0)
    for number in range(int(fields["COUNT"])):
        if number and pause_s:
            time.sleep(pause_s)
        yield {"n": number}
