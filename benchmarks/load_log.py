"""Reads from the gateway's log how long each server took to load. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

READY = "READY"


def load_seconds(lines: Iterable[str]) -> dict[str, float]:
    """From each server's first change of state to its first READY; others are left out."""
    began: dict[str, datetime] = {}
    found: dict[str, float] = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line that a process printed before its output was captured
        if not isinstance(event, dict) or event.get("event") != "state_changed":
            continue
        server, at = event["server"], datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
        began.setdefault(server, at)
        if event["state"] == READY and server not in found:
            found[server] = (at - began[server]).total_seconds()
    return found
